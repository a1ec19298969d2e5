"""Whether an observation from outside is one that the embodiment could have made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.deploy.model import TASK_KEY
from helmsight.envs.spec import EmbodimentSpec

STATE_KEY = "observation.state"
MAX_TASK_LENGTH = 1000
# Names, shapes and msgpack's own bytes of a message, beside the arrays' contents.
OVERHEAD_BYTES = 16384


class ObservationError(ValueError):
    """An observation that does not fit the embodiment; the text names the key."""


class ObservationChecker:
    """Checks observations against an embodiment.

    required: the keys that a decision reads. Others of the embodiment may come along and are
    checked as well; a key that the embodiment does not have is refused, since it is misspelt or
    meant for another robot.
    """

    def __init__(self, embodiment: EmbodimentSpec, required: Iterable[str]) -> None:
        self._cameras = dict(zip(embodiment.image_keys, embodiment.cameras, strict=True))
        self._state = embodiment.state
        self._low = np.array(embodiment.state.low, np.float32)
        self._high = np.array(embodiment.state.high, np.float32)
        self.required = tuple(required)
        self._known = (*embodiment.image_keys, STATE_KEY, TASK_KEY)
        strangers = [key for key in self.required if key not in self._known]
        if strangers:
            raise ValueError(
                f"the policy reads {', '.join(strangers)}, which no sensor of the embodiment "
                f"{embodiment.name!r} gives (it has {', '.join(self._known)})"
            )

    @property
    def max_message_bytes(self) -> int:
        """Length of the longest message that can hold an observation."""
        images = sum(3 * camera.width * camera.height for camera in self._cameras.values())
        return images + 8 * self._state.size + 4 * MAX_TASK_LENGTH + OVERHEAD_BYTES

    def check(self, message: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """The arrays that a decision reads: images uint8 [H, W, 3], state float32 [S].

        Raises ObservationError, which names the key (and the entry of the state), for a key that
        is missing or unknown, and for a wrong shape, type or value.
        """
        for key in message:
            if key not in self._known:
                near = get_close_matches(key, self._known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ObservationError(
                    f"unknown key {key[:80]!r}{hint} (keys: {', '.join(self._known)})"
                )
        for key in self.required:
            if key not in message:
                raise ObservationError(
                    f"the observation lacks {key!r}; this policy reads {', '.join(self.required)}"
                )
        checked = {key: self._checked(key, value) for key, value in message.items()}
        return {key: checked[key] for key in self.required}

    def _checked(self, key: str, value: Any) -> Any:
        if key == TASK_KEY:
            if not isinstance(value, str) or len(value) > MAX_TASK_LENGTH:
                raise ObservationError(
                    f"{key!r} must be text of at most {MAX_TASK_LENGTH} characters"
                )
            return value
        if not isinstance(value, np.ndarray):
            raise ObservationError(f"{key!r} must be an array, got {type(value).__name__}")
        return self._state_vector(value) if key == STATE_KEY else self._image(key, value)

    def _image(self, key: str, value: NDArray[Any]) -> NDArray[np.uint8]:
        camera = self._cameras[key]
        shape = (camera.height, camera.width, 3)
        if value.dtype != np.uint8 or value.shape != shape:
            raise ObservationError(
                f"{key!r} must be uint8 {list(shape)}, got {value.dtype} {list(value.shape)}"
            )
        return value

    def _state_vector(self, value: NDArray[Any]) -> NDArray[np.float32]:
        shape = (self._state.size,)
        if value.dtype not in (np.float32, np.float64) or value.shape != shape:
            raise ObservationError(
                f"{STATE_KEY!r} must be float32 {list(shape)}, "
                f"got {value.dtype} {list(value.shape)}"
            )
        with np.errstate(over="ignore"):  # too large for float32 is out of range below
            state = value.astype(np.float32)
        # Written so that a NaN counts as wrong.
        wrong = np.flatnonzero(~((state >= self._low) & (state <= self._high)))
        if wrong.size:
            index = int(wrong[0])
            raise ObservationError(
                f"{STATE_KEY!r} entry {self._state.names[index]!r} must be in "
                f"[{self._state.low[index]:g}, {self._state.high[index]:g}] "
                f"{self._state.units[index]}, got {value[index]}"
            )
        return state
