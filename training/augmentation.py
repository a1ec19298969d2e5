"""Augmentation of camera images and target poses, drawn from (seed, step) alone.

Cameras of one car stand in the same light and mostly share a setting, so the draw of a sample is
common to its cameras, with a small variation each. An image goes through one colour matrix (hue,
white balance and saturation), one look-up table (haze, exposure, tone curve), then uneven light
(pools and shadows), stains (coloured noise coarser than a pixel, as textures are), blur, noise and
dirt on the lens. A matrix and one table for all channels take two thirds of the time of a table a
channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helmsight.envs.spec import VectorSpec

IMAGE_PREFIX = "observation.images."
STATE_KEY = "observation.state"
# Rec. 601 luma, the weights that cv2 uses for grey values.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_NOISE_LEVELS = 8
_NOISE_BANK_SIZE = 1 << 19
# Points a side at which uneven light is drawn, and the sides of a stain in pixels.
_LIGHT_POINTS = 4
_STAIN_SIDES = (2, 3, 4, 6)


@dataclass(frozen=True)
class AugmentationSettings:
    """Ranges at strength 1. `strength` scales every one of them; 0 turns everything off.

    Values are half-widths of uniform draws unless a comment says otherwise: of the logarithm for
    the factors exposure, contrast, gamma and white balance. Probabilities are a camera image's.
    """

    strength: float = 1.0
    exposure: float = 0.4
    contrast: float = 0.25
    gamma: float = 0.3
    white_balance: float = 0.2  # a channel
    saturation: float = 0.4
    hue: float = 0.0  # degrees by which all colours are turned; for tasks that name no colour
    hue_probability: float = 0.3  # of a sample, all cameras alike
    haze: float = 0.35  # largest share of the scene's light replaced by the haze
    haze_probability: float = 0.25
    uneven_light: float = 0.5  # logarithm of the light at points of a coarse grid
    uneven_light_probability: float = 0.3
    stains: float = 18.0  # largest standard deviation in grey values of 255
    stains_probability: float = 0.15
    blur: float = 1.2  # largest standard deviation in pixels
    blur_probability: float = 0.2
    noise: float = 10.0  # largest standard deviation in grey values of 255
    noise_probability: float = 0.5
    cutout: float = 0.3  # largest side as a share of the image's
    cutout_probability: float = 0.1
    shift: float = 0.0  # largest, as a share of the side; the border is repeated
    camera_variation: float = 0.25  # of a camera about its sample's draw, as a share of the range
    target_position: float = 0.0  # standard deviation in metres
    target_yaw: float = 0.0  # standard deviation in degrees

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0.0 or ("probability" in field.name and value > 1.0):
                limit = "in [0, 1]" if "probability" in field.name else "0 or more"
                raise ValueError(f"augmentation.{field.name} must be {limit}, got {value}")

    def scaled(self, name: str) -> float:
        """The setting `name` times the strength; probabilities stop at 1, shares below 0.9."""
        value = float(getattr(self, name)) * self.strength
        if name.endswith("probability"):
            return min(1.0, value)
        return min(0.9, value) if name in ("haze", "cutout", "saturation", "shift") else value


class Augmentation:
    """Callable `(batch, step) -> batch`, a pure function of its arguments and the seed.

    Images are uint8 [B, H, W, 3]; the batch given is left as it is. Safe to call from several
    threads: nothing changes after construction.
    """

    def __init__(self, settings: AugmentationSettings, state: VectorSpec, seed: int) -> None:
        self.settings = settings
        self._seed = seed
        self._target = _target_columns(state) if self._jitters_target else None
        # One bank of unit noise serves all levels; a level is a table of the two signs' parts.
        unit = np.random.default_rng([seed, 0]).standard_normal(_NOISE_BANK_SIZE, np.float32)
        levels = np.linspace(0.0, settings.scaled("noise"), _NOISE_LEVELS + 1)[1:, None]
        noise = np.clip(np.rint(unit * levels), -255, 255)
        self._noise_added = np.maximum(noise, 0).astype(np.uint8)
        self._noise_taken = np.maximum(-noise, 0).astype(np.uint8)

    @property
    def _jitters_target(self) -> bool:
        settings = self.settings
        return settings.scaled("target_position") > 0.0 or settings.scaled("target_yaw") > 0.0

    def __call__(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Augment `batch` as the one of `step`."""
        result = dict(batch)
        if self.settings.strength == 0.0:
            return result
        generator = np.random.default_rng([self._seed, 1, step])
        keys = sorted(key for key in batch if key.startswith(IMAGE_PREFIX))
        if keys:
            samples = len(batch[keys[0]])
            light = _Light(self.settings, generator, samples, len(keys))
            for camera, key in enumerate(keys):
                images = _image_array(key, batch[key])
                matrices, tables = light.matrices(camera), light.tables(camera)
                augmented = self._augment(images, matrices, tables, generator)
                result[key] = torch.from_numpy(augmented)
        if self._target is not None and STATE_KEY in batch:
            result[STATE_KEY] = self._move_target(batch[STATE_KEY], generator)
        return result

    def _augment(
        self,
        images: NDArray[np.uint8],  # [B, H, W, 3]
        matrices: NDArray[np.float32],  # [B, 3, 3]
        tables: NDArray[np.uint8],  # [B, 256]
        generator: np.random.Generator,
    ) -> NDArray[np.uint8]:
        settings, samples = self.settings, len(images)
        augmented = np.empty_like(images)

        def chosen(name: str) -> NDArray[np.bool_]:
            return generator.random(samples) < settings.scaled(f"{name}_probability")

        blurred, noisy, dirty = chosen("blur"), chosen("noise"), chosen("cutout")
        uneven, stained = chosen("uneven_light"), chosen("stains")
        sigma = settings.scaled("blur") * generator.uniform(0.25, 1.0, samples)
        # [B, 3] and [B, 5]: where the noise is read from the bank; where and how large the dirt is.
        noise_draw = generator.random((samples, 2))
        dirt_draw = generator.random((samples, 5))
        # [B, 2]: rows and columns; drawn only where asked for, so that other runs stay as they are.
        shift_draw = generator.uniform(-1.0, 1.0, (samples, 2)) if settings.shift > 0.0 else None
        for sample in range(samples):
            image, source = augmented[sample], images[sample]
            if shift_draw is not None:
                source = _shifted(source, settings.scaled("shift") * shift_draw[sample])
            cv2.transform(source, matrices[sample], dst=image)
            cv2.LUT(image, tables[sample], dst=image)
            if uneven[sample]:
                _light_unevenly(image, settings.scaled("uneven_light"), generator)
            if stained[sample]:
                _stain(image, settings.scaled("stains"), generator)
            if blurred[sample]:
                side = 3 if sigma[sample] < 0.8 else 5
                cv2.GaussianBlur(image, (side, side), float(sigma[sample]), dst=image)
            if noisy[sample]:
                self._add_noise(image, noise_draw[sample])
            if dirty[sample]:
                _cut_out(image, settings.scaled("cutout"), dirt_draw[sample])
        return augmented

    def _add_noise(self, image: NDArray[np.uint8], draw: NDArray[np.float64]) -> None:
        """Saturating noise in place; two passes of unsigned bytes, which run at memory speed."""
        level = int(draw[0] * _NOISE_LEVELS)
        start = int(draw[1] * max(1, _NOISE_BANK_SIZE - image.size))
        for bank, operation in ((self._noise_added, cv2.add), (self._noise_taken, cv2.subtract)):
            piece = bank[level, start : start + image.size]
            if piece.size < image.size:
                piece = np.resize(piece, image.size)
            operation(image, piece.reshape(image.shape), dst=image)

    def _move_target(self, state: Tensor, generator: np.random.Generator) -> Tensor:
        """Noise on the target pose in `observation.state` [B, S]: the tracker's error."""
        x, y, yaw = cast("tuple[int, int, int]", self._target)
        noise = torch.from_numpy(generator.standard_normal((3, len(state)), np.float32))
        moved = state.clone()
        moved[:, x] += self.settings.scaled("target_position") * noise[0]
        moved[:, y] += self.settings.scaled("target_position") * noise[1]
        turned = moved[:, yaw] + np.deg2rad(self.settings.scaled("target_yaw")) * noise[2]
        moved[:, yaw] = torch.atan2(torch.sin(turned), torch.cos(turned))
        return moved


class _Light:
    """Colour matrices and tone curves of a batch: drawn once a sample, varied a little a camera."""

    def __init__(
        self,
        settings: AugmentationSettings,
        generator: np.random.Generator,
        samples: int,
        cameras: int,
    ) -> None:
        # 9 draws: exposure, contrast, gamma, haze, its grey, saturation, 3 channels' balance.
        common = generator.uniform(-1.0, 1.0, (samples, 1, 9))
        own = generator.uniform(-1.0, 1.0, (samples, cameras, 9))
        self._draws = (common + settings.camera_variation * own).astype(np.float32)
        hazy = generator.random((samples, 1)) < settings.scaled("haze_probability")
        self._haze = np.where(hazy, settings.scaled("haze"), 0.0).astype(np.float32)
        self._turns: NDArray[np.float32] | None = None
        if settings.hue > 0.0:  # drawn only where asked for, so that other runs stay as they are
            turned = generator.random(samples) < settings.scaled("hue_probability")
            angle = settings.scaled("hue") * generator.uniform(-1.0, 1.0, samples)
            self._turns = _hue_turns(np.deg2rad(np.where(turned, angle, 0.0)))
        self._settings = settings

    def matrices(self, camera: int) -> NDArray[np.float32]:
        """Colour matrices [B, 3, 3]: channel gains, then the distance from grey scaled."""
        settings = self._settings
        saturation = 1.0 + settings.scaled("saturation") * self._draws[:, camera, 5, None, None]
        gain = np.exp(settings.scaled("white_balance") * self._draws[:, camera, None, 6:])
        matrices = (1.0 - saturation) * _LUMA + saturation * np.eye(3, dtype=np.float32)
        if self._turns is not None:
            matrices = matrices @ self._turns
        return (matrices * gain).astype(np.float32)

    def tables(self, camera: int) -> NDArray[np.uint8]:
        """Look-up tables [B, 256] of one camera."""
        settings = self._settings
        # Each [B, 1].
        exposure, contrast, gamma, haze, haze_grey = self._draws[:, camera, :5].T[..., None]
        light = np.linspace(0.0, 1.0, 256, dtype=np.float32)
        share = self._haze * np.clip(0.5 + 0.5 * haze, 0.0, 1.0)
        light = light * (1.0 - share) + share * (0.7 + 0.2 * haze_grey)  # [B, 256]
        # Exposure and gamma at once: (light * e^exposure) ^ e^gamma.
        exponent = np.exp(settings.scaled("gamma") * gamma)
        gain = settings.scaled("exposure") * exposure
        light = np.exp(exponent * (np.log(np.maximum(light, 1e-4)) + gain))
        light = 0.5 + (light - 0.5) * np.exp(settings.scaled("contrast") * contrast)
        return (np.clip(light, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _hue_turns(angles: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rotations [B, 3, 3] of colours about the axis of greys, by angles [B] in radians."""
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None] / np.sqrt(3.0)
    across = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    return (cos * np.eye(3) + (1.0 - cos) / 3.0 + sin * across).astype(np.float32)


def _light_unevenly(image: NDArray[np.uint8], reach: float, generator: np.random.Generator) -> None:
    """Scale an image [H, W, 3] in place by a smooth field of light."""
    field = np.exp(generator.uniform(-reach, reach, (_LIGHT_POINTS, _LIGHT_POINTS)))
    height, width = image.shape[:2]
    field = cv2.resize(field.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    image[:] = np.minimum(image * field[..., None], 255.0)  # [H, W, 3] * [H, W, 1]


def _stain(image: NDArray[np.uint8], largest: float, generator: np.random.Generator) -> None:
    """Add coloured noise that is coarser than a pixel in place; its strength is drawn."""
    height, width = image.shape[:2]
    side = int(generator.choice(_STAIN_SIDES))
    shape = (-(-height // side), -(-width // side), 3)
    coarse = generator.standard_normal(shape, np.float32) * (largest * generator.random())
    stains = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    image[:] = np.clip(image + stains, 0.0, 255.0)


def _shifted(image: NDArray[np.uint8], share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """An image moved by whole pixels, shares of its height and width; its border is repeated.

    After Yarats et al. 2021 (DrQ), who found it to do more for learning from few pictures than any
    change of colours.
    """
    height, width = image.shape[:2]
    down, right = round(float(share[0]) * height), round(float(share[1]) * width)
    above, below = max(down, 0), max(-down, 0)
    left, over = max(right, 0), max(-right, 0)
    padded = cv2.copyMakeBorder(image, above, below, left, over, cv2.BORDER_REPLICATE)
    return np.asarray(padded[below : below + height, over : over + width], np.uint8)


def _cut_out(image: NDArray[np.uint8], largest: float, draw: NDArray[np.float64]) -> None:
    """Cover a rectangle in place with one grey value, as dirt on a lens does."""
    height, width = image.shape[:2]
    rows = int(1 + draw[0] * largest * (height - 1))
    columns = int(1 + draw[1] * largest * (width - 1))
    top, left = int(draw[2] * (height - rows)), int(draw[3] * (width - columns))
    image[top : top + rows, left : left + columns] = int(draw[4] * 255)


def _image_array(key: str, images: Tensor) -> NDArray[np.uint8]:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"{key} must be uint8 [B, H, W, 3], got {images.dtype} {list(images.shape)}"
        )
    return cast("NDArray[np.uint8]", np.ascontiguousarray(images.numpy()))


def _target_columns(state: VectorSpec) -> tuple[int, int, int]:
    names = ("target_x", "target_y", "target_yaw")
    missing = [name for name in names if name not in state.names]
    if missing:
        raise ValueError(
            f"target noise needs {', '.join(missing)} in the state, which has "
            f"{', '.join(state.names)}; set augmentation.target_position and target_yaw to 0"
        )
    return state.index("target_x"), state.index("target_y"), state.index("target_yaw")
