"""Everything that a page or film shows of one episode, computed for each of its moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from helmsight.eval.explain.faithfulness import rank_correlation
from helmsight.eval.explain.frames import Recording, batch_of
from helmsight.eval.explain.maps import MapMaker, image_saliency
from helmsight.eval.progress import ProgressReporter
from helmsight.policies.base import Policy
from helmsight.policies.modules.birds_eye import Grid

MOMENTS_AT_ONCE = 8
# Integrated gradients of the images pass the encoder once a step; half the steps do for looking.
IMAGE_STEPS = 8
NOT_SHOWN = ("random",)

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Explained:
    """T moments of an episode with what explains them.

    maps: [T, N] by name, each row a distribution over the cells of `grid`, row by row, or over the
    tokens of a policy whose tokens lie in no grid.
    camera_maps: [T, C, M, h, w], the maps in that order as the cameras `image_keys` see them.
    saliency: Captum's integrated gradients of the images, [T, C, H, W]. Both None without cameras.
    actions: what the policy would do, [T, A] in physical units; the recording has what was done.
    waypoints: [T, W, 3] or None. agreement: rank correlation of each map with masking, [T].
    """

    recording: Recording
    grid: Grid | None
    image_keys: tuple[str, ...]
    action_names: tuple[str, ...]
    maps: dict[str, FloatArray]
    camera_maps: FloatArray | None
    saliency: FloatArray | None
    actions: FloatArray
    waypoints: FloatArray | None
    agreement: dict[str, NDArray[np.float64]]

    @property
    def times(self) -> list[float]:
        """Seconds since the start of the episode."""
        return [frame.step / self.recording.rate_hz for frame in self.recording.frames]


def explain_recording(
    policy: Policy, maker: MapMaker, recording: Recording, generator: torch.Generator
) -> Explained:
    """Maps, saliency and decisions of every moment of a recording.

    Raises ValueError for a recording without moments.
    """
    frames = recording.frames
    if not frames:
        raise ValueError(f"episode {recording.name} has no moment to explain")
    device = next(policy.parameters()).device
    parts: list[dict[str, Any]] = []
    with ProgressReporter("Explaining", len(frames), success="done") as progress:
        for start in range(0, len(frames), MOMENTS_AT_ONCE):
            chosen = frames[start : start + MOMENTS_AT_ONCE]
            batch = batch_of(chosen, maker.policy.observation_keys(), str(device))
            parts.append(_explain_batch(policy, maker, batch, generator))
            for _ in chosen:
                progress.advance(True)
    maps = {
        name: np.concatenate([part["maps"][name] for part in parts]) for name in parts[0]["maps"]
    }
    joined = {
        key: None if parts[0][key] is None else np.concatenate([part[key] for part in parts])
        for key in ("camera_maps", "saliency", "actions", "waypoints")
    }
    assert joined["actions"] is not None
    return Explained(
        recording=recording,
        grid=maker.policy.token_grid,
        image_keys=maker.policy.image_keys(),
        action_names=policy.embodiment.action.names,
        maps=maps,
        camera_maps=joined["camera_maps"],
        saliency=joined["saliency"],
        actions=joined["actions"],
        waypoints=joined["waypoints"],
        agreement=_agreement(maps),
    )


def _explain_batch(
    policy: Policy, maker: MapMaker, batch: dict[str, torch.Tensor], generator: torch.Generator
) -> dict[str, Any]:
    with torch.no_grad():
        state = maker.policy.tokens(batch)
    maps = maker.maps(batch, state, generator)
    maps = {name: values for name, values in maps.items() if name not in NOT_SHOWN}
    stacked = torch.stack(list(maps.values()), dim=1)  # M x [B, N] -> [B, M, N]
    saliency = image_saliency(maker.policy, batch, IMAGE_STEPS)
    pictures = torch.stack(list(saliency.values()), dim=1) if saliency else None  # [B, C, H, W]
    return {
        "maps": {name: _numpy(values) for name, values in maps.items()},
        "camera_maps": _numpy(maker.policy.in_cameras(batch, stacked)),
        "saliency": _numpy(pictures),
        "actions": _numpy(policy.predict_action_chunk(batch)[:, 0]),
        "waypoints": _numpy(maker.policy.waypoints(state)),
    }


def _agreement(maps: dict[str, FloatArray]) -> dict[str, NDArray[np.float64]]:
    if "masking" not in maps:
        return {}
    masking = torch.from_numpy(maps["masking"])
    return {
        name: rank_correlation(torch.from_numpy(values), masking)
        for name, values in maps.items()
        if name != "masking"
    }


def _numpy(values: torch.Tensor | None) -> Any:
    return None if values is None else values.detach().float().cpu().numpy()
