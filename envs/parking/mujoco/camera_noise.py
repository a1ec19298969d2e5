"""Noise of an image sensor, cheaply: two saturating additions of 8-bit images."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

BANK_SIZE = 1 << 20


@functools.lru_cache(maxsize=1)
def _unit_noise() -> NDArray[np.float32]:
    """A bank of standard normal numbers, the same in every process."""
    return np.random.default_rng(3).standard_normal(BANK_SIZE, dtype=np.float32)


class CameraNoise:
    """Independent Gaussian noise on every pixel and channel, from a bank read at random offsets."""

    def __init__(self, seed: int, deviation: float) -> None:
        self._seed = seed
        noise = np.rint(_unit_noise() * deviation)
        self._brighter = np.clip(noise, 0, 255).astype(np.uint8)
        self._darker = np.clip(-noise, 0, 255).astype(np.uint8)

    def apply(self, image: NDArray[np.uint8], moment: int) -> NDArray[np.uint8]:
        """A noisy copy of an image [H, W, 3].

        Noise is a function of the seed and `moment` alone, so that looking twice changes nothing.
        """
        size = image.size
        if size > BANK_SIZE:
            repeats = -(-size // BANK_SIZE) + 1
            brighter, darker = np.tile(self._brighter, repeats), np.tile(self._darker, repeats)
        else:
            brighter, darker = self._brighter, self._darker
        # Knuth's multiplicative hash spreads neighbouring moments over the bank.
        spread = (self._seed * 40_503 + moment * 2_654_435_761) % 2**32
        start = spread % (brighter.size - size + 1)
        rows = image.reshape(image.shape[0], -1)
        noisy = cv2.add(rows, brighter[start : start + size].reshape(rows.shape))
        cv2.subtract(noisy, darker[start : start + size].reshape(rows.shape), dst=noisy)
        return np.asarray(noisy, np.uint8).reshape(image.shape)
