"""One LIBERO task: its scene, the arm and the goal, without a camera.

The scene, the controller and the predicates are the benchmark's own (hf-libero over robosuite); the
control step is this package's: robosuite's updates some forty observables 25 times a step, and
computes the dynamics three times in each. `step` gives the same motion to the bit (tested).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.libero.arm_control import ArmControl
from helmsight.envs.libero.package import GlobalRandomNumbers, import_libero
from helmsight.envs.libero.tasks import INITIAL_STATES, find_task

CONTROL_RATE_HZ = 20
# No motion, gripper open: with it the benchmark lets a new scene settle.
NO_OPERATION = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SETTLING_STEPS = 10
# A new scene settles for so many times those steps at most, until nothing is faster (m/s).
SETTLING_ROUNDS = 5
REST_SPEED = 0.1
# A thing that slides so far meanwhile was placed into another one (m). A bowl that is dropped onto
# a ramekin comes to lean on it, 0.037 m away.
EJECTED_DISTANCE = 0.06
PLACEMENTS_AT_MOST = 100

# What robosuite's sensors show after a control step is the state before its last but one substep,
# 4 ms ago, at least after the benchmark has set an initial state; so do ours.
OBSERVED_SUBSTEP = 23
_INSTABILITIES = ("mjWARN_BADQPOS", "mjWARN_BADQVEL", "mjWARN_BADQACC")

Vector = NDArray[np.float64]


class UnstableSimulation(RuntimeError):
    """MuJoCo's numbers are no longer finite; only a new scene helps."""


@dataclass(frozen=True)
class LiberoState:
    """All that a picture of the scene depends on.

    physics [1 + nq + nv]: time, positions, velocities. fixtures [F, 7]: position and wxyz
    quaternion of each fixture in the world; they are drawn with the scene and no part of the
    physics' state.
    """

    physics: Vector
    fixtures: Vector


class LiberoSimulator:
    """A task of a suite; kept and reset from episode to episode.

    Raises ValueError for an unknown suite or task, LiberoMissing without the package and
    FileNotFoundError without its scene assets.
    """

    def __init__(self, suite: str, task: int) -> None:
        self.task = find_task(suite, task)
        environments = import_libero()
        import mujoco

        # A scene is drawn as it is made; nothing of that is left after a reset.
        with GlobalRandomNumbers(0):
            self.robosuite = _make_robosuite(environments, str(self.task.bddl_file))
        self.substeps = round(self.robosuite.control_timestep / self.robosuite.model_timestep)
        # What `is_success` asks for: by default the task's own goal.
        self.goal = tuple(map(tuple, self.robosuite.parsed_problem["goal_state"]))
        self._initial_states: Vector | None = None
        # A reset leaves the model, so all of this stays where it is.
        self._model = self.robosuite.sim.model._model
        self._data = self.robosuite.sim.data._data
        self._shown = mujoco.MjData(self._model)
        self._shown_physics: Vector | None = None
        self._look_up()
        self._begin()

    # ---- Episodes ----

    def reset(self, generator: np.random.Generator, arm_noise: float = 0.0) -> None:
        """Draw a new placement of everything and let it settle.

        arm_noise: standard deviation in radians of what is added to each joint of the arm's start.
        Placements that throw something away while they settle are drawn again.
        """
        for _ in range(PLACEMENTS_AT_MOST):
            self._place(int(generator.integers(2**32)))
            self._move_arm(arm_noise * generator.standard_normal(7))
            if self.comes_to_rest():
                return
        raise RuntimeError(
            f"{self.task.name}: none of {PLACEMENTS_AT_MOST} drawn placements came to rest"
        )

    def reset_to(self, index: int) -> None:
        """One of the benchmark's 50 initial states, settled. Raises ValueError for another index.

        Fixtures are no part of those states: their poses are drawn from suite, task and index, so
        that the same episode has them in the same place in every evaluation.
        """
        if not 0 <= index < INITIAL_STATES:
            raise ValueError(
                f"the benchmark has initial states 0 to {INITIAL_STATES - 1}, got {index!r}"
            )
        if self._initial_states is None:
            self._initial_states = self.task.initial_states()
        words = [*self.task.suite.encode(), self.task.index, index]
        seed = np.random.SeedSequence(words).generate_state(1)[0]
        self._place(int(seed))
        self._set_physics(self._initial_states[index])
        self.settle()

    def comes_to_rest(self) -> bool:
        """Settle until nothing moves; whether that came about with nothing far from its place.

        Some tasks put a thing a little into the table, which throws it up: it falls back within a
        second, and only then the scene is one that the arm can work in.
        """
        before = self.object_positions()
        for _ in range(SETTLING_ROUNDS):
            try:
                self.settle()
            except UnstableSimulation:
                return False
            starts = [int(self._model.body_dofadr[body]) for body in self._objects.values()]
            speeds = [float(np.linalg.norm(self._data.qvel[dof : dof + 3])) for dof in starts]
            if max(speeds, default=0.0) <= REST_SPEED:
                break
        else:
            return False
        after = self.object_positions()
        slid = [float(np.linalg.norm((after[name] - before[name])[:2])) for name in before]
        return max(slid, default=0.0) <= EJECTED_DISTANCE

    def settle(self) -> None:
        """Let things fall, as the benchmark does before an episode."""
        for _ in range(SETTLING_STEPS):
            self.step(np.array(NO_OPERATION))

    def step(self, action: NDArray[Any]) -> None:
        """One control period of 50 ms with an action [7].

        Three translations (1 stands for 0.05 m) and three rotations (0.5 rad, axis-angle) in world
        axes, each in -1 to 1; the last entry's sign closes (+) or opens (-) the gripper.
        """
        import mujoco

        model, data, command = self._model, self._data, np.asarray(action, np.float64)
        for substep in range(self.substeps):
            mujoco.mj_step1(model, data)
            if substep == OBSERVED_SUBSTEP:
                self._seen = self._physics()
            # The controller reads positions and velocities; the rest is computed once, with it.
            if substep == 0:
                self._arm_control.aim(command)
            self._arm_control.push()
            mujoco.mj_step2(model, data)
        self.robosuite._post_process()
        self._refuse_instability()

    # ---- Truth ----

    def is_success(self) -> bool:
        """Whether every predicate of the goal holds now."""
        return self.holds(self.goal)

    def holds(self, goal: Sequence[Sequence[str]]) -> bool:
        """Whether every one of some predicates holds now."""
        return all(self.robosuite._eval_predicate(state) for state in goal)

    @property
    def things(self) -> frozenset[str]:
        """Names of all that a goal can be about: things, fixtures and their regions."""
        return frozenset(self.robosuite.object_states_dict)

    def end_effector_position(self) -> Vector:
        """Between the fingers, [3], metres in the world."""
        return np.array(self._data.site_xpos[self._grip_site])

    def end_effector_quaternion(self) -> Vector:
        """Of the hand, [4], xyzw, in the world."""
        return np.array(self._data.xquat[self._hand_body])[[1, 2, 3, 0]]

    def gripper_positions(self) -> Vector:
        """Of both fingers, [2], metres: (0.04, -0.04) is open, (0, 0) closed."""
        return np.array(self._data.qpos[self._fingers])

    def object_positions(self) -> Mapping[str, Vector]:
        """Where each movable thing is, [3], metres in the world, by its name in the task."""
        positions = self._data.xpos
        return {name: np.array(positions[body]) for name, body in self._objects.items()}

    @property
    def sim(self) -> Any:
        """robosuite's simulation: `model` and `data` with their names."""
        return self.robosuite.sim

    # ---- What is observed ----

    def observed(self) -> tuple[Any, Any]:
        """MuJoCo's model, and data with the positions that are observed now, for a renderer."""
        import mujoco

        if self._shown_physics is not self._seen:
            self._shown.qpos[:] = self._seen[1 : 1 + self._model.nq]
            mujoco.mj_kinematics(self._model, self._shown)
            mujoco.mj_comPos(self._model, self._shown)
            mujoco.mj_camlight(self._model, self._shown)
            self._shown_physics = self._seen
        return self._model, self._shown

    def proprioception(self) -> Vector:
        """Position [3], xyzw quaternion [4] of the hand, and both fingers [2], as observed now.

        All are of one moment; robosuite reads the fingers 2 ms later than the rest.
        """
        _, data = self.observed()
        quaternion = data.xquat[self._hand_body][[1, 2, 3, 0]]
        return np.concatenate(
            [data.site_xpos[self._grip_site], quaternion, data.qpos[self._fingers]]
        )

    def state(self) -> LiberoState:
        """What is observed now, 4 ms after it was so (`OBSERVED_SUBSTEP`)."""
        model = self._model
        fixtures = [
            np.concatenate([model.body_pos[body], model.body_quat[body]])
            for body in self._fixtures.values()
        ]
        return LiberoState(np.array(self._seen), np.array(fixtures).reshape(-1, 7))

    def set_state(self, state: LiberoState) -> None:
        """Show a state again. What the arm was about to do is forgotten."""
        if state.fixtures.shape != (len(self._fixtures), 7):
            raise ValueError(
                f"the state has fixtures {state.fixtures.shape}, the scene "
                f"({len(self._fixtures)}, 7): {', '.join(self._fixtures) or 'none'}"
            )
        for body, pose in zip(self._fixtures.values(), state.fixtures, strict=True):
            self._model.body_pos[body] = pose[:3]
            self._model.body_quat[body] = pose[3:]
        self._set_physics(state.physics)
        self._hold_still()

    @property
    def fixture_names(self) -> tuple[str, ...]:
        """Names of the fixtures in the order of `LiberoState.fixtures`."""
        return tuple(self._fixtures)

    # ---- Parts ----

    def _place(self, seed: int) -> None:
        """Draw placements of everything from a seed, until they fit."""
        from robosuite.utils.errors import RandomizationError

        with GlobalRandomNumbers(seed):
            for _ in range(PLACEMENTS_AT_MOST):
                self._return_fixtures()
                try:
                    self.robosuite.reset()
                    break
                except RandomizationError:
                    continue
            else:
                raise RuntimeError(f"{self.task.name}: no placement was found from seed {seed}")
        self._begin()

    def _return_fixtures(self) -> None:
        """Put the fixtures where a newly read model has them.

        The benchmark places things in and on a fixture by where that model has the fixture's sites.
        """
        for name, body in self._fixtures.items():
            made = self.robosuite.fixtures_dict[name].get_obj()
            self._model.body_pos[body] = _numbers(made.get("pos", "0 0 0"))
            self._model.body_quat[body] = _numbers(made.get("quat", "1 0 0 0"))

    def _look_up(self) -> None:
        """Where in MuJoCo's arrays the arm, the things and the fixtures are."""
        environment = self.robosuite
        robot, names = environment.robots[0], environment.sim.model
        self._grip_site = robot.eef_site_id
        self._hand_body = names.body_name2id(robot.robot_model.eef_name)
        self._fingers = list(robot._ref_gripper_joint_pos_indexes)
        self._arm = list(robot._ref_joint_pos_indexes)
        self._objects = {name: environment.obj_body_id[name] for name in environment.objects_dict}
        self._fixtures = {
            name: names.body_name2id(fixture.root_body)
            for name, fixture in environment.fixtures_dict.items()
        }

    def _begin(self) -> None:
        """Take over what a reset has made anew, and reset what it has left as it was."""
        environment, robot = self.robosuite, self.robosuite.robots[0]
        # How far the fingers had been told to close outlives robosuite's quick reset.
        robot.gripper.current_action = np.zeros(robot.gripper.dof)
        self._controller = robot.controller
        # `step` keeps positions and velocities up to date for it.
        self._controller.sim = _UpToDate(environment.sim.model, environment.sim.data)
        self._arm_control = ArmControl(environment)
        self._seen = self._physics()
        self._shown_physics = None

    def _move_arm(self, offsets: Vector) -> None:
        if np.any(offsets):
            self._data.qpos[self._arm] += offsets
            self._refresh()
            self._hold_still()

    def _refuse_instability(self) -> None:
        """MuJoCo answers numbers that are not finite with a warning and its initial state."""
        import mujoco

        for name in _INSTABILITIES:
            if self._data.warning[int(getattr(mujoco.mjtWarning, name))].number:
                raise UnstableSimulation(f"{self.task.name}: the simulation became unstable")

    def _physics(self) -> Vector:
        return np.concatenate([[self._data.time], self._data.qpos, self._data.qvel])

    def _set_physics(self, physics: Vector) -> None:
        positions, velocities = self._model.nq, self._model.nv
        if physics.shape != (1 + positions + velocities,):
            raise ValueError(
                f"a state of {self.task.name} has {1 + positions + velocities} numbers, "
                f"got {physics.shape}"
            )
        self._data.time = physics[0]
        self._data.qpos[:] = physics[1 : 1 + positions]
        self._data.qvel[:] = physics[1 + positions :]
        self._refresh()

    def _refresh(self) -> None:
        """Make everything that derives from the state agree with it, as the benchmark does."""
        self.robosuite.sim.forward()
        self._seen = self._physics()
        # What a state changes in the looks (a burning stove) follows.
        self.robosuite._check_success()
        self.robosuite._post_process()

    def _hold_still(self) -> None:
        """Let the arm hold the pose it has now, and not that of the state before."""
        self._controller.update(force=True)
        self._controller.reset_goal()


@dataclass(frozen=True)
class _UpToDate:
    """A simulation as the arm's controller reads it, which need not be brought up to date."""

    model: Any
    data: Any

    def forward(self) -> None:
        """robosuite's controller asks for this before every reading."""


def _numbers(text: str) -> Vector:
    return np.array([float(word) for word in text.split()])


def _make_robosuite(environments: Any, bddl_file: str) -> Any:
    """robosuite's environment of a task, as hf-libero makes it but without cameras."""
    from libero.libero.envs import bddl_utils
    from robosuite import load_controller_config

    problem = bddl_utils.get_problem_info(bddl_file)["problem_name"]
    return environments.TASK_MAPPING[problem](
        bddl_file_name=bddl_file,
        robots=["Panda"],
        controller_configs=load_controller_config(default_controller="OSC_POSE"),
        gripper_types="default",
        initialization_noise=None,
        use_camera_obs=False,
        has_renderer=False,
        has_offscreen_renderer=False,
        control_freq=CONTROL_RATE_HZ,
        ignore_done=True,
        # The scene of a task never changes, so its model is read once.
        hard_reset=False,
    )
