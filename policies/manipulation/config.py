"""Everything that a manipulation policy's shape and training depend on."""

from __future__ import annotations

from dataclasses import dataclass, field

from helmsight.policies.modules.control_aided import ControlAidedAttentionConfig
from helmsight.policies.modules.film_vision import VisionConfig
from helmsight.policies.modules.routed_trunk import TrunkConfig


@dataclass(frozen=True)
class ManipulationLossWeights:
    """Weight of each part of the loss."""

    action: float = 1.0
    focus: float = 1.0
    pointing: float = 0.1
    others: float = 0.2
    attention: float = 0.1


@dataclass(frozen=True)
class ManipulationPolicyConfig:
    """Everything that a manipulation policy's shape and training depend on.

    chunk: actions decoded at once. steps_per_decision: how many of them are executed.
    axis_angle_entry: the first of the three entries of the state that are an orientation as axis
    times angle; None for a state without. unscaled_actions: entries of the action, the gripper's
    say, that are learned as they are; the others are scaled by their quantiles.
    focus: learn where the thing is that the instruction is about, and where it goes, and let the
    decision read it. Needs a data set that says so (`simulator.focus`), and a state that begins
    with the hand's position.
    other_instruction_share: of a batch, that is asked where to look by another instruction that the
    scene allows, and not what to do; needs `focus` and data that say so (`simulator.other_focus`).
    Where demonstrations nearly always do what their scene usually asks for, a policy learns the
    scene and not to listen.
    state_noise: standard deviation of the noise on the standardised state in training; a clone that
    trusts its own position to the millimetre replays a demonstration instead of looking.
    attention_share: of a batch, whose attention has a target in a step; a target costs another pass
    through the trunk and back, a fifth of the time of a sample's step.
    instruction_noise: norm of the noise on the instruction's embedding (of norm 1) in training, so
    that a paraphrase, which lies near it, is followed as well. instruction_blend: how much of
    another instruction of the training data is mixed in at most, for the same end: noise in
    hundreds of dimensions hardly ever leads towards the instructions that could be mistaken for it.
    """

    chunk: int = 8
    steps_per_decision: int = 8
    axis_angle_entry: int | None = 3
    unscaled_actions: tuple[int, ...] = (6,)
    instruction_width: int = 384
    focus: bool = False
    other_instruction_share: float = 0.0
    state_noise: float = 0.05
    instruction_noise: float = 0.4
    instruction_blend: float = 0.0
    attention_share: float = 0.25
    vision: VisionConfig = field(default_factory=VisionConfig)
    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    attention: ControlAidedAttentionConfig = field(default_factory=ControlAidedAttentionConfig)
    loss: ManipulationLossWeights = field(default_factory=ManipulationLossWeights)

    def __post_init__(self) -> None:
        if not 1 <= self.steps_per_decision <= self.chunk:
            raise ValueError(
                f"steps_per_decision must be 1 to chunk ({self.chunk}), "
                f"got {self.steps_per_decision}"
            )
        if not 0.0 < self.attention_share <= 1.0:
            raise ValueError(f"attention_share must lie in (0, 1], got {self.attention_share}")
        for name in ("other_instruction_share", "instruction_blend"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.other_instruction_share > 0.0 and not self.focus:
            raise ValueError(
                "other_instruction_share asks the focus alone, which is off; "
                "set focus to true or the share to 0"
            )
        for name in ("state_noise", "instruction_noise"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
