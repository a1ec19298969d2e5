"""What tells the policy where to look: labels from the simulator, of what it was told and of what
it could have been told.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.base import TASK_INDEX_KEY
from helmsight.policies.modules.camera_rig import CameraRig
from helmsight.policies.modules.focus_head import focus_label
from helmsight.policies.modules.pointing import MAPS, patch_middles, pointing_loss

STATE_KEY = "observation.state"
HAND_POSITION = slice(0, 3)
# Positions of the thing that the demonstrator dealt with and of where it goes [6].
FOCUS_KEY = "simulator.focus"
# The same for other instructions of the scene [6 I], and the instructions' indices or -1 [I].
OTHER_FOCUS_KEY, OTHER_INSTRUCTION_KEY = "simulator.other_focus", "simulator.other_instruction"


def ask_otherwise(batch: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The batch [B], some of it with another instruction, its focus, and no action to imitate.

    share: how much of it, drawn anew at each call, as is the instruction, of those [B, I] that the
    scene allows; where it allows none, an entry stays as it is.
    """
    others = batch[OTHER_INSTRUCTION_KEY]
    possible = others >= 0  # [B, I]
    asked = (torch.rand(len(others), device=others.device) < share) & possible.any(dim=1)  # [B]
    drawn = torch.rand(others.shape, device=others.device).masked_fill(~possible, -1.0).argmax(1)
    rows = torch.arange(len(others), device=others.device)
    focus = batch[OTHER_FOCUS_KEY].unflatten(1, (others.shape[1], -1))[rows, drawn]  # [B, 6]
    return {
        **batch,
        TASK_INDEX_KEY: torch.where(asked, others[rows, drawn], batch[TASK_INDEX_KEY]),
        FOCUS_KEY: torch.where(asked[:, None], focus, batch[FOCUS_KEY]),
        "action_is_pad": batch["action_is_pad"] | asked[:, None],
    }


def focus_error(found: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """L1 of the positions that `FocusHead` found, [B, 6], in its units."""
    wanted = focus_label(batch[FOCUS_KEY], batch[STATE_KEY][:, HAND_POSITION])
    return (found - wanted).abs().mean()


class PointingTeacher(nn.Module):
    """How far pointing's maps are from where things lie in the pictures (nats).

    rows, columns: of the patches. axis_angle_entry: the first of the three entries of the state
    that are the hand's orientation.
    """

    middles: Tensor

    def __init__(
        self, embodiment: EmbodimentSpec, rows: int, columns: int, axis_angle_entry: int
    ) -> None:
        super().__init__()
        self.rig = CameraRig(embodiment.cameras)
        self.register_buffer("middles", patch_middles(rows, columns), persistent=False)  # [N, 2]
        self._sides = columns, rows
        self._orientation = slice(axis_angle_entry, axis_angle_entry + 3)

    def told(self, scores: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Of the maps [B, C, M, N] of the instruction itself."""
        points = batch[FOCUS_KEY].unflatten(1, (MAPS, 3))
        return pointing_loss(scores, self._in_patches(points, batch), self.middles).mean()

    def others(self, scores: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Of the maps [B, C, I, M, N] of all others that the scenes allow; 0 where none is."""
        points = batch[OTHER_FOCUS_KEY].unflatten(1, (-1, 3))  # [B, I * M, 3]
        places = self._in_patches(points, batch)  # [B, C, I * M, 2]
        losses = pointing_loss(scores.flatten(2, 3), places, self.middles)  # [B, C, I * M]
        possible = batch[OTHER_INSTRUCTION_KEY] >= 0  # [B, I]
        asked = possible.repeat_interleave(MAPS, dim=1).unsqueeze(1).to(losses.dtype)
        return (losses * asked).sum() / (asked.sum() * losses.shape[1]).clamp(min=1.0)

    def _in_patches(self, points: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Where world points [B, M, 3] lie in the cameras [B, C, M, 2], in patches."""
        state = batch[STATE_KEY]
        places: Tensor = self.rig(points, state[:, HAND_POSITION], state[:, self._orientation])
        return places * places.new_tensor(self._sides)
