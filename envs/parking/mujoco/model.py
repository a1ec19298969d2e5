"""The physics of a lot and its ego car as a MuJoCo model, compiled once and reused.

Parked cars and boxes are mocap bodies, one each: moving a geom of the world body instead silently
misses collisions. The ego car is a free body on four sphere wheels; cylinder wheels slip by
decimetres where spheres stay within centimetres of the ideal bicycle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco

from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco.furniture import Block, blocks
from helmsight.envs.parking.mujoco.obstacles import MAX_BOXES, MAX_CARS, mocap_bodies
from helmsight.envs.parking.scenario import (
    BOX_HEIGHT,
    BOX_LENGTH,
    BOX_WIDTH,
    CAR_LENGTH,
    CAR_WIDTH,
)
from helmsight.envs.parking.vehicle import EGO

TIMESTEP = 0.01

BODY_MASS, WHEEL_MASS, WHEEL_RADIUS, TRACK = 1650.0, 35.0, 0.34, 1.6
# Below the hull the car's ground clearance: wheel stops and kerbs meet the wheels alone.
CLEARANCE = 0.2
PARKED_CAR_HEIGHT = 1.45
# The wheels' rotation adds to the inertia along the road: 0.4 m for each solid sphere.
EFFECTIVE_MASS = BODY_MASS + 4.0 * WHEEL_MASS * 1.4

# Collision bits: the wheels feel the ground and low blocks, the hull feels what stands high.
GROUND, HIGH, LOW = 1, 2, 4
WHEELS = ("front_left", "front_right", "rear_left", "rear_right")


@dataclass(frozen=True)
class Indices:
    """Where things are in the model's arrays.

    kinds: by geom id, what a collision with it is called; None for the ground and the ego car.
    """

    steering_qpos: tuple[int, int]
    wheel_dofs: tuple[int, ...]
    kinds: tuple[str | None, ...]


def build_model(lot: Lot) -> tuple[mujoco.MjModel, Indices]:
    """Compile the physics of a lot: ground, furniture, mocap cars and boxes, the ego car."""
    model = mujoco.MjModel.from_xml_string(_mjcf(lot))
    steering = tuple(
        int(model.jnt_qposadr[model.joint(f"steer_{side}").id]) for side in ("left", "right")
    )
    wheels = tuple(int(model.jnt_dofadr[model.joint(f"spin_{name}").id]) for name in WHEELS)
    kinds = tuple(_kind(model.geom(index).name) for index in range(model.ngeom))
    return model, Indices((steering[0], steering[1]), wheels, kinds)


def _kind(name: str) -> str | None:
    kind = name.partition(":")[0]
    return kind if kind in ("car", "box", "kerb", "post", "barrier") else None


def _mjcf(lot: Lot) -> str:
    furniture = "\n".join(_block(block, index) for index, block in enumerate(blocks(lot)))
    cars = [
        _upright_box("car", index, CAR_LENGTH, CAR_WIDTH, PARKED_CAR_HEIGHT)
        for index in range(MAX_CARS)
    ]
    boxes = [
        _upright_box("box", index, BOX_LENGTH, BOX_WIDTH, BOX_HEIGHT) for index in range(MAX_BOXES)
    ]
    return f"""
<mujoco model="parking">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{TIMESTEP}" integrator="implicitfast"/>
  <default>
    <default class="block"><geom type="box" contype="{HIGH}" conaffinity="0"/></default>
    <default class="wheel">
      <geom type="sphere" size="{WHEEL_RADIUS}" mass="{WHEEL_MASS}" contype="0"
            conaffinity="{GROUND | LOW}" friction="1.0"/>
    </default>
  </default>
  <worldbody>
    <geom name="ground" type="plane" size="0 0 1" contype="{GROUND}" conaffinity="0"/>
    {furniture}
    {mocap_bodies(cars, boxes)}
    {_ego()}
  </worldbody>
  <actuator>
    <position name="steer_left" joint="steer_left" kp="8000" kv="500"/>
    <position name="steer_right" joint="steer_right" kp="8000" kv="500"/>
    <motor name="drive_left" joint="spin_rear_left"/>
    <motor name="drive_right" joint="spin_rear_right"/>
  </actuator>
</mujoco>"""


def _block(block: Block, index: int) -> str:
    center, half_top = block.plan.center, block.top / 2.0
    bits = LOW if block.part in ("wheel_stop", "median") else HIGH
    size = f"{block.plan.length / 2.0} {block.plan.width / 2.0} {half_top}"
    return (
        f'<geom name="{block.kind}:{index}" class="block" size="{size}" contype="{bits}" '
        f'pos="{center.x} {center.y} {half_top}" euler="0 0 {center.yaw}"/>'
    )


def _upright_box(kind: str, index: int, length: float, width: float, height: float) -> str:
    return (
        f'<geom name="{kind}:{index}" class="block" pos="0 0 {height / 2.0}" '
        f'size="{length / 2.0} {width / 2.0} {height / 2.0}"/>'
    )


def _ego() -> str:
    """The ego car: origin on the ground below the rear axle, mass about its wheelbase's middle."""
    middle = (EGO.wheelbase / 2.0, 0.0, 0.5)
    roll, pitch, yaw = (
        BODY_MASS / 12.0 * (a * a + b * b)
        for a, b in (
            (EGO.width, EGO.height - CLEARANCE),
            (EGO.length, EGO.height - CLEARANCE),
            (EGO.length, EGO.width),
        )
    )
    hull_height = EGO.height - CLEARANCE
    return f"""
<body name="ego">
  <freejoint name="ego"/>
  <inertial pos="{middle[0]} {middle[1]} {middle[2]}" mass="{BODY_MASS}"
            diaginertia="{roll} {pitch} {yaw}"/>
  <geom name="hull" type="box" pos="{EGO.center_offset} 0 {CLEARANCE + hull_height / 2.0}"
        size="{EGO.length / 2.0} {EGO.width / 2.0} {hull_height / 2.0}"
        contype="0" conaffinity="{HIGH}" mass="0"/>
  {_wheel("front_left", EGO.wheelbase, TRACK / 2.0)}
  {_wheel("front_right", EGO.wheelbase, -TRACK / 2.0)}
  {_wheel("rear_left", 0.0, TRACK / 2.0)}
  {_wheel("rear_right", 0.0, -TRACK / 2.0)}
</body>"""


def _wheel(name: str, x: float, y: float) -> str:
    axle, _, side = name.partition("_")
    steer = f'<joint name="steer_{side}" axis="0 0 1"/>' if axle == "front" else ""
    return f"""
  <body name="{name}" pos="{x} {y} {WHEEL_RADIUS}">
    {steer}
    <joint name="spin_{name}" axis="0 1 0"/>
    <geom name="{name}" class="wheel"/>
  </body>"""


def wheel_angles(steering_angle: float) -> tuple[float, float]:
    """Left and right wheel angles of exact Ackermann steering for a bicycle's angle, radians."""
    curvature = math.tan(steering_angle) / EGO.wheelbase
    half = TRACK / 2.0
    return (
        math.atan(EGO.wheelbase * curvature / (1.0 - half * curvature)),
        math.atan(EGO.wheelbase * curvature / (1.0 + half * curvature)),
    )


def bicycle_angle(left: float, right: float) -> float:
    """The bicycle's steering angle for two wheel angles: inverse of `wheel_angles`, averaged."""
    half = TRACK / (2.0 * EGO.wheelbase)
    from_left = math.tan(left) / (1.0 + half * math.tan(left))
    from_right = math.tan(right) / (1.0 - half * math.tan(right))
    return math.atan((from_left + from_right) / 2.0)
