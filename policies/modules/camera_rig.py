"""Where points of the world lie in the pictures of cameras that stand still or are on the hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from helmsight.envs.spec import CameraSpec
from helmsight.policies.modules.axis_angle import rotation_columns

WORLD, HAND = "world", "hand"
# Nearer to the camera's plane than this a point has no place in the picture (m).
_NEAREST = 0.01


class CameraRig(nn.Module):
    """World points [B, M, 3] and the hand's pose -> columns and rows [B, C, M, 2].

    The unit is the picture's side: 0 to 1 from the upper left corner. NaN where the camera does not
    see the point, and for a camera that is fixed to neither the world nor the hand. What stands in
    between is not considered.
    """

    position: Tensor
    rotation: Tensor

    def __init__(self, cameras: Sequence[CameraSpec]) -> None:
        super().__init__()
        self._cameras = tuple(cameras)
        position = torch.tensor([camera.position for camera in cameras], dtype=torch.float32)
        rotation = torch.stack(
            [torch.as_tensor(camera.rotation(), dtype=torch.float32) for camera in cameras]
        )
        self.register_buffer("position", position, persistent=False)  # [C, 3]
        self.register_buffer("rotation", rotation, persistent=False)  # [C, 3, 3]

    def forward(self, points: Tensor, hand: Tensor, turned: Tensor) -> Tensor:
        """hand: its position [B, 3]; turned: its orientation [B, 3] as axis times angle (rad)."""
        first, second = rotation_columns(turned).split(3, dim=1)
        axes = torch.stack([first, second, torch.linalg.cross(first, second)], dim=2)  # [B, 3, 3]
        from_hand = (points - hand.unsqueeze(1)) @ axes  # [B, M, 3] in the hand's frame
        places = [
            self._place(index, {WORLD: points, HAND: from_hand}.get(camera.frame), points)
            for index, camera in enumerate(self._cameras)
        ]
        return torch.stack(places, dim=1)

    def _place(self, index: int, points: Tensor | None, like: Tensor) -> Tensor:
        """Columns and rows [B, M, 2] of points in the camera's own frame; NaN for None."""
        if points is None:
            return torch.full_like(like[..., :2], torch.nan)
        camera = self._cameras[index]
        seen = (points - self.position[index]) @ self.rotation[index]  # right, down, forward
        depth = seen[..., 2:]
        sides = seen.new_tensor([camera.width, camera.height])
        place = 0.5 + camera.focal_length / sides * seen[..., :2] / depth.clamp(min=_NEAREST)
        if camera.mirrored:
            place = torch.cat([1.0 - place[..., :1], place[..., 1:]], dim=-1)
        inside = ((place >= 0.0) & (place < 1.0)).all(dim=-1, keepdim=True) & (depth > _NEAREST)
        return torch.where(inside, place, torch.nan)
