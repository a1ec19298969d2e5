"""The benchmark's robot: a Franka Panda arm, its two cameras, its state and its action."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from helmsight.envs.libero.simulator import CONTROL_RATE_HZ, LiberoSimulator
from helmsight.envs.libero.tasks import suite_tasks
from helmsight.envs.spec import CameraSpec, EmbodimentSpec, SafetySpec, VectorSpec

# The benchmark evaluates with pictures of 256 x 256; ours are learned from at half of that.
IMAGE_SIZE = 128
OFFICIAL_IMAGE_SIZE = 256

# Position of the point between the fingers in the scene's world frame, whose origin lies below the
# middle of the work space, x away from the robot, z up; the hand's orientation as axis times angle,
# 0 to 2 pi; how far each finger is from the middle.
STATE = VectorSpec(
    names=(
        "x",
        "y",
        "z",
        "rotation_x",
        "rotation_y",
        "rotation_z",
        "finger_left",
        "finger_right",
    ),
    units=("m", "m", "m", "rad", "rad", "rad", "m", "m"),
    low=(-2.0, -2.0, -0.5, *[-2.0 * math.pi] * 3, -0.06, -0.06),
    high=(2.0, 2.0, 3.0, *[2.0 * math.pi] * 3, 0.06, 0.06),
)

# Steps of the goal that the arm is drawn to, in world axes from where it is: 1 stands for 0.05 m,
# and for 0.5 rad about the axis. The gripper closes at positive values, opens at negative ones.
ACTION = VectorSpec(
    names=("x", "y", "z", "rotation_x", "rotation_y", "rotation_z", "gripper"),
    units=("0.05 m", "0.05 m", "0.05 m", "0.5 rad", "0.5 rad", "0.5 rad", "1"),
    low=(-1.0,) * 7,
    high=(1.0,) * 7,
)

# In doubt the arm holds where it is and the gripper what it has. A change of a whole range within
# one period is no plausible motion. An arm at rest reports the same state twice.
LIBERO_SAFETY = SafetySpec(
    safe_action=(0.0,) * 6 + (None,),
    max_velocity=(20.0,) * 6 + (math.inf,),
    max_jump=(1.9,) * 6 + (math.inf,),
    max_observation_age=0.15,
    max_action_age=0.6,
    never_repeats=False,
)

# Of the camera `agentview` in the world, for each kind of scene: position, and the pitch of a look
# back to the robot.
_TABLE_PITCH, _FLOOR_PITCH = -0.6793229835, -0.5571504438
_SCENE_CAMERAS = {
    "libero_floor_manipulation": ((0.8965773716836134, 0.0, 0.65), _FLOOR_PITCH),
    "libero_tabletop_manipulation": ((0.6586131746834771, 0.0, 1.6103500240372423), _TABLE_PITCH),
    "libero_kitchen_tabletop_manipulation": (
        (0.6586131746834771, 0.0, 1.6103500240372423),
        _TABLE_PITCH,
    ),
    "libero_living_room_tabletop_manipulation": ((0.6065773716836134, 0.0, 0.96), _FLOOR_PITCH),
    "libero_study_tabletop_manipulation": (
        (0.4586131746834771, 0.0, 1.6103500240372423),
        _TABLE_PITCH,
    ),
}
_AGENT_VIEW_FOV = math.radians(45.0)
# From the point between the fingers, along the hand's axes: 97 mm back towards the wrist.
_HAND_CAMERA = (0.05, 0.0, -0.097)
_HAND_FOV = math.radians(75.0)


def libero_embodiment(suite: str, image_size: int = IMAGE_SIZE) -> EmbodimentSpec:
    """The arm as it stands in a suite, with square images of `image_size` pixels.

    Where a suite's scenes differ in their camera, its frame is called "scene" and its pose is that
    of the suite's first task. Raises ValueError for an unknown suite or a size outside 16 to 1024.
    """
    if not 16 <= image_size <= 1024:
        raise ValueError(f"image_size must be 16 to 1024 pixels, got {image_size}")
    poses = [_SCENE_CAMERAS[task.scene] for task in suite_tasks(suite)]
    position, pitch = poses[0]
    agent_view = CameraSpec(
        name="agentview",
        position=position,
        yaw=math.pi,
        pitch=pitch,
        horizontal_fov=_AGENT_VIEW_FOV,
        width=image_size,
        height=image_size,
        frame="world" if len(set(poses)) == 1 else "scene",
        # The benchmark turns pictures by half a turn that robosuite gives upside down.
        mirrored=True,
    )
    eye_in_hand = CameraSpec(
        name="eye_in_hand",
        position=_HAND_CAMERA,
        yaw=math.pi,
        pitch=math.pi / 2.0,
        horizontal_fov=_HAND_FOV,
        width=image_size,
        height=image_size,
        frame="hand",
        mirrored=True,
    )
    return EmbodimentSpec(
        f"franka-{suite}", CONTROL_RATE_HZ, (agent_view, eye_in_hand), STATE, ACTION
    )


def state_vector(simulator: LiberoSimulator) -> NDArray[np.float32]:
    """`observation.state` [8] as `STATE` names it, clipped to its ranges."""
    reading = simulator.proprioception()
    entries = (*reading[:3], *rotation_vector(reading[3:7]), *reading[7:])
    low, high = np.array(STATE.low, np.float32), np.array(STATE.high, np.float32)
    return np.clip(np.array(entries, np.float32), low, high)


def rotation_vector(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Axis times angle [3] of a unit quaternion xyzw [4], the angle from 0 to 2 pi.

    As the benchmark has it: the same rotation by less than half a turn the other way round would
    make the vector of a hand that points downwards jump.
    """
    cosine = float(np.clip(quaternion[3], -1.0, 1.0))
    sine = math.sqrt(1.0 - cosine * cosine)
    if sine < 1e-9:
        return np.zeros(3)
    return quaternion[:3] * (2.0 * math.acos(cosine) / sine)
