"""`helmsight/Libero-v0`: follow an instruction with a Franka arm, as a Gymnasium environment.

As in the parking environment, images are made when an observation is asked for: `step` is `advance`
(act for one control period, make no image) followed by `observe`.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from helmsight.envs.libero.embodiment import (
    ACTION,
    IMAGE_SIZE,
    STATE,
    libero_embodiment,
    state_vector,
)
from helmsight.envs.libero.instructions import ORIGINAL, Order, choose_order
from helmsight.envs.libero.package import require_assets
from helmsight.envs.libero.renderer import QUALITIES, CameraRenderer
from helmsight.envs.libero.simulator import CONTROL_RATE_HZ, LiberoSimulator
from helmsight.envs.libero.tasks import INITIAL_STATES, LiberoTask, find_task, suite_tasks

PROTOCOLS = ("official", "fresh")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class LiberoEpisode:
    """One episode: a task of a suite, which of its scenes, and what the arm is told about it."""

    task: LiberoTask
    index: int
    protocol: str
    drawn_from: str
    approach: str

    @property
    def family(self) -> str:
        """The suite."""
        return self.task.suite

    @property
    def split(self) -> str:
        """The protocol, and of scenes drawn anew where from."""
        return self.protocol if self.protocol == "official" else f"fresh {self.drawn_from}"

    @property
    def number(self) -> int:
        """Its number among the episodes of the whole suite."""
        return self.task.index * INITIAL_STATES + self.index


class LiberoEnvironment(DeferredImageEnvironment):
    """One LIBERO episode after another; each is a pure function of its number.

    suite: a name in `helmsight.envs.libero.tasks.SUITES`. task: an index of one task, whose
    episodes are then numbered by their scene; None for the whole suite, whose episode 50 t + i is
    scene i of task t.
    protocol: "official" for the benchmark's 50 initial states a task, "fresh" for scenes drawn
    anew, from `split` and as many as one likes where a task is given.
    render: "official" for the benchmark's own pixels, "fast" for plainer ones.
    image_size: side of the pictures in pixels.
    instruction: what the arm is told (`helmsight.envs.libero.instructions.choose_order`):
    "original", "paraphrased", "swapped", or a sentence.
    blank_cameras: whether all pictures are black.
    arm_noise: standard deviation in radians of each joint at the start of a fresh episode.

    `reset(options={"episode": number})` chooses the episode. Without it, every reset takes the next
    one of a sequence derived from the seed. The reward is 1 at the success, which ends the episode,
    and 0 elsewhere; it is truncated at the suite's step limit.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_RATE_HZ}  # noqa: RUF012

    def __init__(
        self,
        suite: str = "libero_object",
        task: int | None = None,
        protocol: str = "official",
        split: str = "test",
        render: str = "official",
        image_size: int = IMAGE_SIZE,
        instruction: str = ORIGINAL,
        blank_cameras: bool = False,
        arm_noise: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        super().__init__()
        self._tasks = suite_tasks(suite) if task is None else (find_task(suite, task),)
        require_assets()
        check_choice("protocol", protocol, PROTOCOLS)
        check_choice("split", split, SPLITS)
        check_choice("render", render, QUALITIES)
        check_choice("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        if arm_noise < 0.0 or (arm_noise > 0.0 and protocol == "official"):
            raise ValueError(
                f"arm_noise must be 0 or more, and 0 with protocol='official', got {arm_noise}"
            )
        self.suite, self.protocol, self.split = suite, protocol, split
        self.quality, self.instruction = render, instruction
        self.blank_cameras, self.arm_noise = blank_cameras, arm_noise
        self.render_mode = render_mode
        self.embodiment = libero_embodiment(suite, image_size)
        self.action_space = spaces.Box(float32(ACTION.low), float32(ACTION.high))
        self.observation_space: spaces.Dict = self._make_observation_space()  # type: ignore[assignment]
        self._simulator: LiberoSimulator | None = None
        self._renderer: CameraRenderer | None = None
        self._episode: LiberoEpisode | None = None

    # ---- Gymnasium; `reset` and `step` are those of all such environments ----

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """Both pictures side by side, uint8 [H, 2 W, 3]; None without a render mode."""
        if self.render_mode is None:
            return None
        return np.concatenate(list(self._images().values()), axis=1)

    def close(self) -> None:
        """Free the simulator and the renderer; the next reset makes new ones."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = self._simulator = self._episode = None
        self._ended = True

    # ---- Acting and looking apart ----

    def restart(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """`reset` without an observation: start an episode, make no image, return info."""
        self._seed(seed)
        episode = self._next_episode(dict(options or {}))
        simulator = self._simulator_of(episode.task)
        if episode.protocol == "official":
            simulator.reset_to(episode.index)
        else:
            simulator.reset(_generator(episode), self.arm_noise)
        # After the reset: what may be asked for depends on what the scene fulfils at its start.
        self._order = self._order_of(simulator, episode)
        simulator.goal = self._order.goal
        self._episode, self._steps, self._succeeded = episode, 0, False
        self._ended = False
        return self._info()

    def advance(self, action: NDArray[np.float32]) -> tuple[float, bool, bool, dict[str, Any]]:
        """Act for one control period without making images.

        Returns (reward, terminated, truncated, info). Raises ValueError, naming entry, value and
        range, for an action that is not in the action space, ResetNeeded outside an episode.
        """
        command = ACTION.checked(action, "action")
        if self._ended:
            raise ResetNeeded("call reset before advance or step: no episode is under way")
        simulator = self.simulator
        simulator.step(command)
        self._steps += 1
        self._succeeded = simulator.is_success()
        timed_out = not self._succeeded and self._steps >= self.scenario.task.step_limit
        self._ended = self._succeeded or timed_out
        info = self._info()
        if self._ended:
            info["episode_metrics"] = self._metrics()
        return float(self._succeeded), self._succeeded, timed_out, info

    def observe_state(self) -> Observation:
        """The part of the observation that costs no image: `observation.state`."""
        return {"observation.state": state_vector(self.simulator)}

    # ---- Truth, for experts and metrics ----

    @property
    def scenario(self) -> LiberoEpisode:
        """The episode under way or last ended."""
        if self._episode is None:
            raise ResetNeeded("call reset first: there is no episode yet")
        return self._episode

    @property
    def order(self) -> Order:
        """What the arm is told in that episode, and the goal that counts."""
        if self._episode is None:
            raise ResetNeeded("call reset first: there is no episode yet")
        return self._order

    @property
    def simulator(self) -> LiberoSimulator:
        """The simulator of the episode under way or last ended."""
        if self._simulator is None or self._episode is None:
            raise ResetNeeded("call reset first: no episode is under way")
        return self._simulator

    # ---- Parts ----

    def _make_observation_space(self) -> spaces.Dict:
        entries: dict[str, spaces.Space[Any]] = {
            key: spaces.Box(0, 255, (camera.height, camera.width, 3), np.uint8)
            for key, camera in zip(self.embodiment.image_keys, self.embodiment.cameras, strict=True)
        }
        entries["observation.state"] = spaces.Box(float32(STATE.low), float32(STATE.high))
        return spaces.Dict(entries)

    def _next_episode(self, options: dict[str, Any]) -> LiberoEpisode:
        number = options.pop("episode", None)
        if options:
            unknown = ", ".join(map(repr, options))
            raise ValueError(f"unknown reset option {unknown}; the option is 'episode'")
        number = self._upcoming_number() if number is None else episode_number(number)
        if len(self._tasks) == 1:
            task, index = self._tasks[0], number
        else:
            place, index = divmod(number, INITIAL_STATES)
            if not 0 <= place < len(self._tasks):
                raise ValueError(f"{self.suite} has no episode {number}; {self._numbers()}")
            task = self._tasks[place]
        if index < 0 or (self.protocol == "official" and index >= INITIAL_STATES):
            raise ValueError(f"{self.suite} has no episode {number}; {self._numbers()}")
        return LiberoEpisode(task, index, self.protocol, self.split, self.instruction)

    def _numbers(self) -> str:
        count = len(self._tasks)
        if count == 1:
            return "a task's are 0 to 49" if self.protocol == "official" else "a task's begin at 0"
        return f"its {count} tasks have 50 each, 0 to {count * INITIAL_STATES - 1}"

    def _upcoming_number(self) -> int:
        if not self._upcoming:
            count = len(self._tasks) * INITIAL_STATES
            self._upcoming = self.np_random.permutation(count).tolist()
        return self._upcoming.pop()

    def _simulator_of(self, task: LiberoTask) -> LiberoSimulator:
        """The simulator of a task, kept until another task is wanted."""
        if self._simulator is None or self._simulator.task != task:
            self._simulator = LiberoSimulator(task.suite, task.index)
        return self._simulator

    def _order_of(self, simulator: LiberoSimulator, episode: LiberoEpisode) -> Order:
        return choose_order(
            episode.task, simulator.things, self.instruction, episode.index, simulator.holds
        )

    def _images(self) -> Observation:
        keys, simulator = self.embodiment.image_keys, self.simulator
        size = self.embodiment.cameras[0].width
        if self.blank_cameras:
            return {key: np.zeros((size, size, 3), np.uint8) for key in keys}
        if self._renderer is None:
            self._renderer = CameraRenderer(size, self.quality)
        pictures = self._renderer.render(*simulator.observed())
        return dict(zip(keys, pictures, strict=True))

    def _info(self) -> dict[str, Any]:
        return {
            "is_success": self._succeeded,
            "task": self.order.instruction,
            "episode": self.scenario.number,
        }

    def _metrics(self) -> dict[str, Any]:
        """What an evaluation records of an episode that has ended."""
        episode = self.scenario
        return {
            "outcome": "SR" if self._succeeded else "TR",
            "task_index": episode.task.index,
            "task_name": episode.task.name,
            "scene": episode.index,
        }


def _generator(episode: LiberoEpisode) -> np.random.Generator:
    """The random numbers of a fresh episode, from nothing but what names it."""
    words = [*episode.task.name.encode(), SPLITS.index(episode.drawn_from), episode.index]
    return np.random.default_rng(words)
