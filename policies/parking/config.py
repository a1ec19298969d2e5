"""Everything that a parking policy's shape and training depend on."""

from __future__ import annotations

from dataclasses import dataclass, field

from helmsight.policies.modules.birds_eye import DepthBins, Grid
from helmsight.policies.modules.control_aided import ControlAidedAttentionConfig
from helmsight.policies.modules.course_guard import CourseGuardConfig
from helmsight.policies.modules.map_memory import MapMemoryConfig
from helmsight.policies.modules.speed_controller import SpeedController
from helmsight.policies.modules.way_out import WayOutConfig

SEES = ("cameras", "label", "nothing")
HEADS = ("action_chunk", "target_speed", "control_tokens")
BIRDS_EYES = ("sampling", "lift_splat")
IMAGE_STRIDES = (8, 4)
# Frames (0.1 s) ahead: the speed that the target-speed head predicts, and the waypoints (0.1, 1.1,
# 2.1, 3.1 s, as published).
SPEED_OFFSET = 3
WAYPOINT_OFFSETS = (1, 11, 21, 31)
SEMANTIC_CLASSES = 3
SEMANTIC_SIZE = 64
LABEL_EXTENT = 10.0  # metres that the recorded bird's-eye label covers in each direction
TARGET_ENTRIES = ("target_x", "target_y", "target_yaw")


@dataclass(frozen=True)
class ParkingLossWeights:
    """Weight of each part of the loss.

    small_things: what the semantic loss of obstacles that stand alone, such as boxes, counts more:
    they are few cells beside those of parked cars, and hit as easily.
    consistency: of the distance between what is attended to and done in two looks of one state
    (costs a second pass through the network; 0: off).
    waiting: weight of the acceleration of an expert that stands on its way and brakes, as it does
    until its wheels are turned. Five in six frames of standing are like that; a clone that takes
    them at full weight never starts again.
    """

    action: float = 1.0
    target_speed: float = 1.0
    waypoints: float = 0.5
    semantics: float = 1.0
    small_things: float = 0.0
    depth: float = 0.25
    attention: float = 0.1
    teacher: float = 1.0
    consistency: float = 0.0
    waiting: float = 0.15


@dataclass(frozen=True)
class ParkingPolicyConfig:
    """Everything that a parking policy's shape and training depend on.

    sees: "cameras", "label" (the bird's-eye label instead: the privileged teacher) or "nothing"
    (state and target alone: the yardstick that every camera policy must beat).
    image_stride: pixels a side of what one feature of the cameras stands for: 8, or 4, which reads
    what stands where from the grid's cells instead of its tokens.
    head: which head drives ("action_chunk" and "target_speed" are trained together in any case).
    state_inputs: sensors that the policy reads beside the target pose. Accelerations are left out
    by default: they tell the previous command, and a clone that can copy it never starts.
    steering_fades_at: speed in m/s from which on the steering angle is hidden. A standing car waits
    for its wheels and must know where they are; a clone that reads them while it moves copies them
    and steers on and on.
    grid: cells a side, and the metres that they cover in each direction; for policies that see,
    those of the recorded label, which they learn from.
    guard: what looks whether the way is free before the car moves; for policies that see.
    memory: of what was seen before; for the guard of policies that see cameras.
    way_out: plans past what is remembered where the car gets no farther; for policies with memory.
    body_front, body_rear, body_width: the parked car's outline about its rear axle in metres.
    """

    sees: str = "cameras"
    head: str = "action_chunk"
    birds_eye: str = "sampling"
    image_stride: int = 8
    chunk: int = 4
    steps_per_decision: int = 1
    width: int = 64
    attention_heads: int = 2
    image_channels: int = 48
    image_blocks: int = 2
    fusion_layers: int = 1
    decoder_layers: int = 2
    state_inputs: tuple[str, ...] = ("speed", "steering_angle")
    steering_fades_at: float = 0.2
    body_front: float = 3.75
    body_rear: float = 0.95
    body_width: float = 1.95
    depth: DepthBins = field(default_factory=DepthBins)
    grid: Grid = field(default_factory=lambda: Grid(size=16))
    attention: ControlAidedAttentionConfig = field(default_factory=ControlAidedAttentionConfig)
    speed_controller: SpeedController = field(default_factory=SpeedController)
    guard: CourseGuardConfig = field(default_factory=CourseGuardConfig)
    memory: MapMemoryConfig = field(default_factory=MapMemoryConfig)
    way_out: WayOutConfig = field(default_factory=WayOutConfig)
    loss: ParkingLossWeights = field(default_factory=ParkingLossWeights)

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("sees", self.sees, SEES),
            ("head", self.head, HEADS),
            ("birds_eye", self.birds_eye, BIRDS_EYES),
            ("image_stride", self.image_stride, IMAGE_STRIDES),
        ):
            if value not in allowed:
                named = ", ".join(map(str, allowed))
                raise ValueError(f"unknown {name} {value!r}; expected one of {named}")
        if self.memory.enabled and not (self.guard.enabled and self.sees == "cameras"):
            raise ValueError(
                "memory.enabled=true needs guard.enabled=true and a policy that sees cameras: the "
                "guard looks at what is remembered"
            )
        if self.way_out.enabled and not self.memory.enabled:
            raise ValueError(
                "way_out.enabled=true needs memory.enabled=true: it plans past what is remembered"
            )
        if self.image_stride == 4 and self.birds_eye != "sampling":
            raise ValueError(f"image_stride=4 needs birds_eye=sampling, got {self.birds_eye!r}")
        if self.image_stride == 4 and self.grid.size > SEMANTIC_SIZE:
            raise ValueError(
                f"image_stride=4 takes grids up to {SEMANTIC_SIZE}, got {self.grid.size}"
            )
        if self.sees != "nothing" and self.grid.extent != LABEL_EXTENT:
            raise ValueError(
                f"policy.grid.extent must be {LABEL_EXTENT:g}, got {self.grid.extent:g}: the "
                "recorded bird's-eye label, from which the policy learns what stands where, "
                f"covers {LABEL_EXTENT:g} m in each direction"
            )
        if not 1 <= self.steps_per_decision <= self.chunk:
            raise ValueError(
                f"steps_per_decision must be 1 to chunk ({self.chunk}), "
                f"got {self.steps_per_decision}"
            )
        if self.grid.size % 2 or SEMANTIC_SIZE * 2 % self.grid.size:
            raise ValueError(
                f"grid.size must be even and divide {SEMANTIC_SIZE * 2}, got {self.grid.size}"
            )
