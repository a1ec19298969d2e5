"""Every drive has a mirror image that is as good a demonstration: left and right exchanged.

The mirror is the vehicle's x-z plane. What is seen is flipped and changes cameras, lateral
positions, turns and steering change their sign. A car whose cameras stand symmetrically learns from
twice the drives that were recorded; draws are a function of (seed, step) alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from helmsight.envs.spec import CameraSpec, EmbodimentSpec

# Quantities that change their sign, by the names that states and actions give them.
ODD = ("acceleration_y", "yaw_rate", "steering_angle", "target_y", "target_yaw", "steer")
# Quantities that keep it. What a mirror does to any other is not known, a robot arm's joints say.
EVEN = ("speed", "acceleration_x", "target_x", "acceleration", "reverse")
# Of `simulator.state`: x, y, yaw, speed, steering_angle. Mirrored in the lot's x-z plane, which
# mirrors all motion in the vehicle's frame.
SIMULATOR_ODD = (1, 2, 4)
USUAL = 0.5
BIRDS_EYE = "observation.birds_eye"
_STREAM = 3


class Mirroring:
    """Callable `(batch, step) -> batch` that mirrors each sample with the given probability.

    probability: None for a half where the robot can be mirrored, and none where it cannot.
    Raises ValueError for a probability above 0 and a robot that cannot be mirrored.
    """

    def __init__(self, embodiment: EmbodimentSpec, probability: float | None, seed: int) -> None:
        if probability is None:
            probability = USUAL if why_not_mirrored(embodiment) is None else 0.0
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"mirror must be a probability in [0, 1], got {probability}")
        self._probability, self._seed = probability, seed
        self._odd = {
            "observation.state": _odd_entries(embodiment.state.names),
            "action": _odd_entries(embodiment.action.names),
            "simulator.state": SIMULATOR_ODD,
        }
        self._partner: dict[str, str] = {}
        if probability > 0.0:
            reason = why_not_mirrored(embodiment)
            if reason is not None:
                raise ValueError(
                    f"{reason}: demonstrations of this robot cannot be mirrored (set mirror=0)"
                )
            partners = mirror_partners(embodiment.cameras)
            for keys in (embodiment.image_keys, embodiment.depth_keys):
                self._partner |= {keys[i]: keys[j] for i, j in enumerate(partners)}

    def __call__(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Mirror some samples of `batch`, which is left as it is."""
        if self._probability == 0.0:
            return dict(batch)
        size = len(next(iter(batch.values())))
        generator = np.random.default_rng([self._seed, _STREAM, step])
        chosen = torch.from_numpy(generator.random(size) < self._probability)
        return self.mirror(batch, chosen)

    def mirror(self, batch: Mapping[str, Tensor], chosen: Tensor) -> dict[str, Tensor]:
        """`batch` with the samples in `chosen` [B] mirrored."""
        result = dict(batch)
        for key, value in batch.items():
            if key in self._partner:  # [B, H, W, 3] images or [B, h, w] depths
                result[key] = _replaced(value, batch[self._partner[key]].flip(2), chosen)
            elif key == BIRDS_EYE:  # [B, S, S], columns from left to right
                result[key] = _replaced(value, value.flip(2), chosen)
            elif key in self._odd:
                signs = torch.ones(value.shape[-1])
                signs[list(self._odd[key])] = -1.0
                result[key] = _replaced(value, value * signs, chosen)
        return result


def why_not_mirrored(embodiment: EmbodimentSpec) -> str | None:
    """What keeps a robot's demonstrations from being mirrored; None where nothing does."""
    for kind, vector in (("state", embodiment.state), ("action", embodiment.action)):
        unknown = [name for name in vector.names if name not in (*ODD, *EVEN)]
        if unknown:
            return f"what a mirror does to {unknown[0]!r} of the {kind} is not known"
    try:
        mirror_partners(embodiment.cameras)
    except ValueError as error:
        return str(error)
    return None


def mirror_partners(cameras: Sequence[CameraSpec]) -> list[int]:
    """For each camera the index of the one that sees the mirrored world as it sees the real one.

    Raises ValueError naming a camera that has none.
    """
    partners = []
    for camera in cameras:
        found = [i for i, other in enumerate(cameras) if _is_mirrored(camera, other)]
        if not found:
            raise ValueError(
                f"camera {camera.name} has no mirror image among "
                f"{', '.join(other.name for other in cameras)}"
            )
        partners.append(found[0])
    return partners


def _is_mirrored(camera: CameraSpec, other: CameraSpec) -> bool:
    (x, y, z), (other_x, other_y, other_z) = camera.position, other.position
    turn = math.remainder(camera.yaw + other.yaw, 2.0 * math.pi)
    pairs = (
        (x, other_x),
        (y, -other_y),
        (z, other_z),
        (turn, 0.0),
        (camera.pitch, other.pitch),
        (camera.horizontal_fov, other.horizontal_fov),
    )
    same_size = (camera.width, camera.height) == (other.width, other.height)
    return same_size and all(math.isclose(a, b, abs_tol=1e-9) for a, b in pairs)


def _odd_entries(names: Sequence[str]) -> tuple[int, ...]:
    return tuple(index for index, name in enumerate(names) if name in ODD)


def _replaced(value: Tensor, by: Tensor, chosen: Tensor) -> Tensor:
    """`value` [B, ...] with the chosen samples taken from `by`."""
    result = value.clone()
    result[chosen] = by[chosen].to(value.dtype)
    return result
