"""A film of one explained episode: a column a map, cameras, bird's eye, decisions below."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.eval.explain.maps import TITLES
from helmsight.eval.explain.view import Explained
from helmsight.eval.progress import ProgressReporter
from helmsight.eval.rollout import Moment
from helmsight.eval.video import (
    BACKGROUND,
    CAPTION,
    FAINT,
    INK,
    PANEL,
    WAYPOINT,
    Image,
    caption_of,
    draw_birds_eye,
    draw_cameras,
    encode,
    write_text,
)
from helmsight.policies.base import TASK_KEY

COLUMNS = ("attention", "gradient", "integrated_gradients", "masking")
COLUMNS_AT_MOST = 3
STRIP_ROW = 44
_MARGIN = 96
_RULE = (48, 55, 63)


def film_explanation(explained: Explained) -> bytes:
    """All moments as H.264 in MP4."""
    total = len(explained.recording.frames)
    with ProgressReporter("Filming", total, success="done") as progress:

        def watched() -> Iterator[Image]:
            for picture in draw_explanation(explained):
                yield picture
                progress.advance(True)

        return encode(watched())


def draw_explanation(explained: Explained) -> Iterator[Image]:
    """One picture [H, W, 3] a moment, H and W even.

    Raises ValueError when none of the maps to film was made.
    """
    columns = [name for name in COLUMNS if name in explained.maps][:COLUMNS_AT_MOST]
    if not columns:
        raise ValueError(f"there is none of the maps {', '.join(COLUMNS)} to film")
    strip = _strip(explained, PANEL * len(columns))
    for index in range(len(explained.recording.frames)):
        yield _draw_moment(explained, index, columns, strip)


def _draw_moment(explained: Explained, index: int, columns: list[str], strip: Image) -> Image:
    panels = [_draw_column(explained, index, name) for name in columns]
    picture = np.concatenate(panels, axis=1)
    caption = np.full((CAPTION, picture.shape[1], 3), BACKGROUND, np.uint8)
    write_text(caption, _caption(explained, index), (8, 19), INK)
    cursor = strip.copy()
    column = _column_of(explained, index, strip.shape[1])
    cv2.line(cursor, (column, 4), (column, strip.shape[0] - 4), INK, 1)
    return np.concatenate([picture, caption, cursor], axis=0)


def _caption(explained: Explained, index: int) -> str:
    """Time, and what the car does or what the arm is told to do."""
    frame = explained.recording.frames[index]
    if explained.grid is not None:
        return caption_of(frame.observation, Moment(frame.step, None, frame.action))
    return f"{explained.times[index]:5.1f} s   {frame.observation.get(TASK_KEY, '')}"


def _draw_column(explained: Explained, index: int, name: str) -> Image:
    """One map: its title, over the cameras if there are any, over the bird's eye."""
    frame, grid = explained.recording.frames[index], explained.grid
    overlay: dict[str, Any] = {}
    if grid is not None:
        square = explained.maps[name][index].reshape(grid.size, grid.size)  # [N] -> [G, G]
        overlay["attention.birds_eye"] = square / square.max()
    if explained.waypoints is not None:
        overlay["waypoints"] = explained.waypoints[index]
    seen = _over_cameras(explained, index, name)
    if seen is not None:
        for camera, key in enumerate(explained.image_keys):
            overlay[f"attention.{key}"] = seen[camera]
    title = np.full((CAPTION, PANEL, 3), BACKGROUND, np.uint8)
    write_text(title, TITLES[name], (8, 19), INK)
    images = {key: frame.observation[key] for key in explained.image_keys}
    parts = [title, draw_cameras(images, overlay)]
    if grid is not None:
        parts.append(draw_birds_eye(frame.label, frame.observation, overlay))
    shown = [_padded(part) for part in parts if part is not None]
    return np.concatenate(shown, axis=0)


def _over_cameras(explained: Explained, index: int, name: str) -> NDArray[np.float32] | None:
    """A map over all cameras [C, h, w], its largest value 1; None where it is not known."""
    if name == "integrated_gradients" and explained.saliency is not None:
        seen = np.stack([smoothed(picture) for picture in explained.saliency[index]])
    elif explained.camera_maps is not None:
        seen = explained.camera_maps[index, :, list(explained.maps).index(name)]
    else:
        return None
    return np.asarray(seen / max(float(seen.max()), 1e-12), np.float32)


def smoothed(saliency: NDArray[Any]) -> NDArray[np.float32]:
    """A saliency of pixels [H, W], blurred to what an eye can take in."""
    height = saliency.shape[0]
    values = np.asarray(saliency, np.float32)
    return np.asarray(cv2.GaussianBlur(values, (0, 0), max(1.0, height / 40.0)), np.float32)


def _padded(part: Image) -> Image:
    """A part as wide as the panel: mosaics of more than four cameras are scaled down to it."""
    if part.shape[1] == PANEL:
        return part
    height = part.shape[0] * PANEL // part.shape[1] // 2 * 2
    return np.asarray(cv2.resize(part, (PANEL, height), interpolation=cv2.INTER_AREA), np.uint8)


def _strip(explained: Explained, width: int) -> Image:
    """The decisions over time: carried out in ink, where recorded the policy's own in amber."""
    names = explained.action_names
    strip = np.full((STRIP_ROW * len(names) + 8, width, 3), BACKGROUND, np.uint8)
    done = np.stack([frame.action for frame in explained.recording.frames])
    for row, name in enumerate(names):
        middle = 4 + STRIP_ROW * row + STRIP_ROW // 2
        cv2.line(
            strip, (_MARGIN, middle), (width - 8, middle), tuple(part // 3 for part in FAINT), 1
        )
        series = (
            [(done, INK)]
            if explained.recording.driven
            else [
                (explained.actions, WAYPOINT),
                (done, INK),
            ]
        )
        reach = max(1.0, float(np.abs(done[:, row]).max()))
        for values, colour in series:
            points = [
                (_column_of(explained, index, width), round(middle - value / reach * 17))
                for index, value in enumerate(values[:, row])
            ]
            cv2.polylines(strip, [np.array(points, np.int32)], False, colour, 1, cv2.LINE_AA)
        write_text(strip, name, (8, middle + 4), FAINT)
    return strip


def _column_of(explained: Explained, index: int, width: int) -> int:
    last = max(1, len(explained.recording.frames) - 1)
    return round(_MARGIN + (width - 8 - _MARGIN) * index / last)
