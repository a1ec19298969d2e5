"""`helmsight/Parking-v0`: park a car in a marked slot, as a Gymnasium environment.

The environment joins a scenario, a simulator, a task and a target tracker; each of them is a part
of its own. Images are made when an observation is asked for: `step` is `advance` (drive for one
control period, make no image) followed by `observe`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from helmsight.envs.deferred_images import (
    DeferredImageEnvironment,
    Observation,
    check_choice,
    episode_number,
    float32,
)
from helmsight.envs.geometry import Pose
from helmsight.envs.parking.birds_eye import SIZE, BirdsEyeLabeller
from helmsight.envs.parking.motion_model import MotionModel
from helmsight.envs.parking.plan_view import draw_scene
from helmsight.envs.parking.scenario import TEST_EPISODES, Scenario, make_scenario
from helmsight.envs.parking.simulator import (
    ParkingSimulator,
    SensorReading,
    VehicleCommand,
    VehicleState,
)
from helmsight.envs.parking.simulator_registry import SIMULATORS, make_simulator
from helmsight.envs.parking.target_tracker import TargetTracker
from helmsight.envs.parking.task import ParkingTask, task_instruction
from helmsight.envs.parking.vehicle import ACTION, CONTROL_RATE_HZ, STATE, parking_embodiment

TARGETS = ("tracked", "oracle")


class ParkingEnvironment(DeferredImageEnvironment):
    """One parking episode after another; each is a pure function of its index.

    family, split, approach: which scenarios (`helmsight.envs.parking.scenario`).
    cameras, image_size: a rig of `CAMERA_RIGS` and its images' side in pixels.
    depth: whether observations hold `observation.depth.<camera>`, float32 [H, W] in metres along
    the optical axis, `inf` where nothing is hit.
    birds_eye: whether observations hold the label `observation.birds_eye`, uint8 [200, 200]. It is
    privileged: for teachers and bounds, not for a policy that is to drive.
    target: "tracked" puts the dead-reckoned target pose into the state, "oracle" the true one.
    simulator: a name in `SIMULATORS`. simulator_options: what it is made with, such as the host and
    port of a server; None stands for its defaults.
    motion: what the target is tracked with, by default a kinematic bicycle. One environment's own.

    `reset(options={"episode": index})` chooses the scenario; `{"scenario": Scenario}` gives one of
    any family. Without either, every reset takes the next index of a sequence derived from the
    seed; splits with a fixed number of scenarios are gone through in a random order before any
    comes twice.

    The reward is 1 at the target success and 0 everywhere else. An episode terminates with its
    outcome and is truncated at the scenario's time limit.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_RATE_HZ}  # noqa: RUF012

    def __init__(
        self,
        family: str = "standard",
        split: str = "train",
        approach: str = "reverse",
        cameras: str = "surround4",
        image_size: int = 128,
        depth: bool = False,
        birds_eye: bool = False,
        target: str = "tracked",
        simulator: str = "mujoco",
        motion: MotionModel | None = None,
        render_mode: str | None = None,
        simulator_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        make_scenario(family, split, 0, approach)  # Refuses unknown names now, not at reset.
        check_choice("target", target, TARGETS)
        check_choice("simulator", simulator, tuple(SIMULATORS))
        check_choice("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        self.family, self.split, self.approach = family, split, approach
        self.embodiment = parking_embodiment(cameras, image_size)
        self.depth = depth
        self.birds_eye = birds_eye
        self.target = target
        self.motion = motion
        self.render_mode = render_mode
        self.action_space = spaces.Box(float32(ACTION.low), float32(ACTION.high))
        self.observation_space: spaces.Dict = self._make_observation_space()  # type: ignore[assignment]
        self._simulator_name = simulator
        self._simulator_options = simulator_options
        self._simulator: ParkingSimulator | None = None
        self._scenario: Scenario | None = None

    # ---- Gymnasium; `reset` and `step` are those of all such environments ----

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """Plan view beside the cameras, uint8 [H, W, 3]; None without a render mode."""
        if self.render_mode is None:
            return None
        frames = [self._images()[key] for key in self.embodiment.image_keys]
        return draw_scene(self.scenario, self.vehicle_state().pose, frames)

    def close(self) -> None:
        """Free the simulator; the next reset makes a new one."""
        if self._simulator is not None:
            self._simulator.close()
        self._simulator = None
        self._scenario = None
        self._ended = True

    # ---- Driving and looking apart ----

    def restart(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """`reset` without an observation: start an episode, make no image, return info."""
        self._seed(seed)
        scenario = self._next_scenario(dict(options or {}))
        if self._simulator is None:
            self._simulator = make_simulator(self._simulator_name, self._simulator_options)
        self._simulator.reset(scenario)
        self._scenario = scenario
        self._labeller = BirdsEyeLabeller(scenario)
        self._task = ParkingTask(scenario)
        self._reading = self._simulator.sensors()
        self._tracker = TargetTracker(self._true_target(), self._reading, self.motion)
        self._ended = False
        return self._info()

    def advance(self, action: NDArray[np.float32]) -> tuple[float, bool, bool, dict[str, Any]]:
        """Drive for one control period without making images.

        Returns (reward, terminated, truncated, info). Raises ValueError, naming entry, value and
        range, for an action that is not in the action space, ResetNeeded outside an episode.
        """
        command = command_from_action(action)
        if self._ended:
            raise ResetNeeded("call reset before advance or step: no episode is under way")
        simulator = self._running()
        simulator.step(command)
        self._reading = simulator.sensors()
        self._tracker.update(command, self._reading)
        task = self._task
        outcome = task.update(command, simulator.vehicle_state(), simulator.collision())
        info = self._info()
        self._ended = outcome is not None
        if self._ended:
            info["episode_metrics"] = task.metrics()
        return float(task.succeeded), self._ended and not task.timed_out, task.timed_out, info

    def observe_state(self) -> Observation:
        """The part of the observation that costs no image: `observation.state`, and the label."""
        observation: Observation = {"observation.state": self._state_vector()}
        if self.birds_eye:
            observation["observation.birds_eye"] = self.birds_eye_label()
        return observation

    def birds_eye_label(self) -> NDArray[np.uint8]:
        """Semantic bird's-eye label [200, 200] now, class ids as in `birds_eye.CLASSES`."""
        return self._labeller.label(self.vehicle_state().pose)

    # ---- Truth, for experts, metrics and labels ----

    @property
    def scenario(self) -> Scenario:
        """The scenario of the episode under way or last ended."""
        if self._scenario is None:
            raise ResetNeeded("call reset first: there is no scenario yet")
        return self._scenario

    def vehicle_state(self) -> VehicleState:
        """True motion of the car."""
        return self._running().vehicle_state()

    @property
    def sensor_reading(self) -> SensorReading:
        """The sensors' reading of this control period."""
        return self._reading

    @property
    def target_tracker(self) -> TargetTracker:
        """What follows the target by the car's own sensors, and how sure it is."""
        self._running()
        return self._tracker

    # ---- Parts ----

    def _make_observation_space(self) -> spaces.Dict:
        entries: dict[str, spaces.Space[Any]] = {}
        for camera, image_key, depth_key in zip(
            self.embodiment.cameras,
            self.embodiment.image_keys,
            self.embodiment.depth_keys,
            strict=True,
        ):
            size = (camera.height, camera.width)
            entries[image_key] = spaces.Box(0, 255, (*size, 3), np.uint8)
            if self.depth:
                entries[depth_key] = spaces.Box(0.0, np.inf, size, np.float32)
        entries["observation.state"] = spaces.Box(float32(STATE.low), float32(STATE.high))
        if self.birds_eye:
            entries["observation.birds_eye"] = spaces.Box(0, 2, (SIZE, SIZE), np.uint8)
        return spaces.Dict(entries)

    def _next_scenario(self, options: dict[str, Any]) -> Scenario:
        index, scenario = options.pop("episode", None), options.pop("scenario", None)
        if options:
            unknown = ", ".join(map(repr, options))
            raise ValueError(
                f"unknown reset option {unknown}; the options are 'episode' and 'scenario'"
            )
        if scenario is not None and index is not None:
            raise ValueError("give reset either 'episode' or 'scenario', not both")
        if scenario is not None:
            if not isinstance(scenario, Scenario):
                raise ValueError(f"reset option 'scenario' must be a Scenario, got {scenario!r}")
            return scenario
        index = self._upcoming_index() if index is None else episode_number(index)
        return make_scenario(self.family, self.split, index, self.approach)

    def _upcoming_index(self) -> int:
        if not self._upcoming and self.split in ("test", "shifted"):
            self._upcoming = self.np_random.permutation(TEST_EPISODES).tolist()
        elif not self._upcoming:
            self._upcoming = [int(self.np_random.integers(2**31))]
        return self._upcoming.pop()

    def _running(self) -> ParkingSimulator:
        if self._simulator is None or self._scenario is None:
            raise ResetNeeded("call reset first: no episode is under way")
        return self._simulator

    def _true_target(self) -> Pose:
        return self._running().vehicle_state().pose.relative(self.scenario.target)

    def _images(self) -> Observation:
        cameras = self.embodiment.cameras
        if not cameras:
            return {}
        frames = self._running().render(cameras, self.depth)
        images: Observation = {
            key: np.array(image)
            for key, image in zip(self.embodiment.image_keys, frames.colour, strict=True)
        }
        if frames.depth is not None:
            for key, depth in zip(self.embodiment.depth_keys, frames.depth, strict=True):
                images[key] = np.array(depth)
        return images

    def _state_vector(self) -> NDArray[np.float32]:
        reading = self._reading
        target = self._tracker.target if self.target == "tracked" else self._true_target()
        entries = (
            reading.speed,
            *reading.acceleration,
            reading.yaw_rate,
            reading.steering_angle,
            *target,
        )
        return np.clip(np.array(entries, np.float32), float32(STATE.low), float32(STATE.high))

    def _info(self) -> dict[str, Any]:
        return {
            "is_success": self._task.succeeded,
            "task": task_instruction(self.scenario.approach),
            "episode": self.scenario.index,
        }


def command_from_action(action: NDArray[np.float32]) -> VehicleCommand:
    """The command that an action vector [3] stands for.

    Raises ValueError for a wrong shape, and for a value that is not finite or outside its range,
    naming the entry. Nothing is clipped: what a policy means by such a value is its own to say.
    """
    values = ACTION.checked(action, "action")
    return VehicleCommand(float(values[0]), float(values[1]), bool(values[2] >= 0.5))
