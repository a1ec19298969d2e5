"""Films of episodes: the cameras and the bird's eye, with the policy's attention laid over both.

An episode is a pure function of its index, so a chosen one is simply driven again with a camera
running. The film says whether its outcome agreed with the record.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.vehicle import CONTROL_RATE_HZ, EGO
from helmsight.eval.records import EpisodeRecord
from helmsight.eval.rollout import EpisodeRunner, Moment

Image = NDArray[np.uint8]

PANEL = 384
CAPTION = 28
FRAMES_PER_SECOND = 5
PLAYBACK_SPEED = 2
HALF_EXTENT = 10.0
_QUALITY = "31"  # x264's constant rate factor: about 150 kB for 30 s

BACKGROUND = (23, 27, 33)
INK = (232, 236, 241)
FAINT = (128, 138, 150)
_OBSTACLE = (86, 98, 114)
_TARGET = (0, 158, 115)
WAYPOINT = (255, 176, 46)


@dataclass(frozen=True)
class Film:
    """An episode as H.264 in MP4, its poster as JPEG, and the outcome it ended with."""

    episode: int
    mp4: bytes
    poster: bytes
    outcome: str
    agrees: bool


@dataclass(frozen=True)
class FilmJob:
    """Drive a recorded episode again and film it; the result is None where it ended in an error."""

    record: EpisodeRecord

    def run(self, runner: EpisodeRunner) -> Film | None:
        camera = _Cameraman(runner)
        again = runner.run(self.record.episode, camera)
        if again.error is not None or not camera.frames:
            return None
        frames = camera.frames
        # The last frame stays for a second, so that the end can be read.
        frames += [frames[-1]] * (FRAMES_PER_SECOND * PLAYBACK_SPEED)
        return Film(
            episode=self.record.episode,
            mp4=encode(frames),
            poster=_jpeg(frames[len(camera.frames) // 3]),
            outcome=again.outcome,
            agrees=again.outcome == self.record.outcome and again.steps == self.record.steps,
        )


@dataclass
class _Cameraman:
    """Draws a few moments of each second of an episode."""

    runner: EpisodeRunner
    frames: list[Image] = field(default_factory=list)

    def __call__(self, moment: Moment) -> None:
        world: Any = self.runner.environment.unwrapped
        if moment.step % max(1, control_rate(world) // FRAMES_PER_SECOND) != 0:
            return
        observation = moment.observation if moment.observation is not None else world.observe()
        diagnostics: Mapping[str, Any] = getattr(self.runner.policy, "diagnostics", dict)()
        self.frames.append(draw_frame(world, observation, diagnostics, moment))


def control_rate(world: Any) -> int:
    """Control periods a second, as the environment's robot has them."""
    embodiment = getattr(world, "embodiment", None)
    return CONTROL_RATE_HZ if embodiment is None else int(embodiment.rate_hz)


def draw_frame(
    world: Any, observation: Mapping[str, Any], diagnostics: Mapping[str, Any], moment: Moment
) -> Image:
    """One picture [H, W, 3], H and W even: cameras at the left, a caption below.

    A car's bird's eye is at the right.
    """
    panels = []
    cameras = draw_cameras(observation, diagnostics)
    if cameras is not None:
        panels.append(cameras)
    drives = hasattr(world, "birds_eye_label")
    if drives or cameras is None:
        label = world.birds_eye_label() if drives else None
        panels.append(draw_birds_eye(label, observation, diagnostics))
    picture = np.concatenate(panels, axis=1)
    caption = np.full((CAPTION, picture.shape[1], 3), BACKGROUND, np.uint8)
    said = caption_of(observation, moment) if drives else caption_of_an_arm(world, moment)
    write_text(caption, said, (8, 19), INK)
    return np.concatenate([picture, caption], axis=0)


def draw_cameras(observation: Mapping[str, Any], diagnostics: Mapping[str, Any]) -> Image | None:
    """All camera images, [384, W, 3], attention over them; None if none. Two stand side by side,
    more in two rows.
    """
    prefix = "observation.images."
    keys = [key for key in observation if key.startswith(prefix)]
    if not keys:
        return None
    side = PANEL if len(keys) == 2 else PANEL // 2
    columns = max(2, math.ceil(len(keys) / 2))
    mosaic = np.full((PANEL, columns * side, 3), BACKGROUND, np.uint8)
    for position, key in enumerate(keys):
        image = cv2.resize(
            np.asarray(observation[key]), (side, side), interpolation=cv2.INTER_LINEAR
        )
        image = lay_attention(np.asarray(image, np.uint8), diagnostics.get(f"attention.{key}"))
        _mark_pointing(image, diagnostics.get(f"pointing.{key}", ()))
        write_text(image, key.removeprefix(prefix).replace("_", " "), (8, 18), INK)
        row, column = divmod(position, columns)
        mosaic[row * side : (row + 1) * side, column * side : (column + 1) * side] = image
    return mosaic


def _mark_pointing(image: Image, places: Iterable[Sequence[float]]) -> None:
    """A ring around the thing that the policy takes the instruction to be about, and a square
    around its place: columns, rows and how sure it is [2, 3]; nothing where it is not.
    """
    side, reach = image.shape[0], image.shape[0] // 24
    for (column, row, sure), is_thing in zip(places, (True, False), strict=False):
        if sure < 0.5:
            continue
        x, y = round(column * side), round(row * side)
        if is_thing:
            cv2.circle(image, (x, y), reach, WAYPOINT, 2, cv2.LINE_AA)
        else:
            corners = (x - reach, y - reach), (x + reach, y + reach)
            cv2.rectangle(image, *corners, _TARGET, 2, cv2.LINE_AA)


def draw_birds_eye(
    truth: NDArray[Any] | None, observation: Mapping[str, Any], diagnostics: Mapping[str, Any]
) -> Image:
    """Bird's eye [384, 384, 3]: predicted classes filled, true ones outlined, forward is up.

    `truth` is the semantic label [S, S]; where no prediction is, it is filled itself.
    """
    picture = np.full((PANEL, PANEL, 3), BACKGROUND, np.uint8)
    predicted = diagnostics.get("birds_eye")
    filled = predicted if predicted is not None else truth
    if filled is not None:
        classes = _enlarged(filled)
        picture[classes == 1] = _OBSTACLE
        picture[classes == 2] = tuple(part // 2 for part in _TARGET)
    picture = lay_attention(picture, diagnostics.get("attention.birds_eye"))
    if truth is not None and predicted is not None:
        _outline(picture, _enlarged(truth) == 1, FAINT)
        _outline(picture, _enlarged(truth) == 2, _TARGET)
    state = observation.get("observation.state")
    if state is not None and len(state) >= 8:
        _draw_car(picture, Pose(*(float(value) for value in state[5:8])), _TARGET, 2)
    _draw_car(picture, Pose(0.0, 0.0, 0.0), INK, 1)
    for x, y, yaw in np.asarray(diagnostics.get("waypoints", ())).reshape(-1, 3):
        tip = Pose(float(x), float(y), float(yaw)).transform(Pose(0.6, 0.0, 0.0))
        cv2.line(picture, _pixel(x, y), _pixel(tip.x, tip.y), WAYPOINT, 1, cv2.LINE_AA)
        cv2.circle(picture, _pixel(x, y), 3, WAYPOINT, -1, cv2.LINE_AA)
    write_text(picture, "bird's eye", (8, 18), INK)
    return picture


def lay_attention(image: Image, attention: NDArray[Any] | None) -> Image:
    """Blend a map [h, w] in [0, 1] over an image [H, W, 3]: the more attention, the more colour.

    The map is taken as it is, so that a camera that the attention leaves alone stays clear.
    """
    if attention is None:
        return image
    height, width = image.shape[:2]
    weights = np.asarray(attention, np.float32)
    peak = float(weights.max(initial=0.0))
    if not math.isfinite(peak) or peak <= 0.0:
        return image
    weights = np.clip(cv2.resize(weights, (width, height), interpolation=cv2.INTER_CUBIC), 0.0, 1.0)
    levels = np.round(255.0 * weights).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = 0.75 * weights[..., None]
    return np.asarray((1.0 - opacity) * image + opacity * colours, np.uint8)


def encode(frames: Iterable[Image]) -> bytes:
    """Frames [H, W, 3] of one even size as H.264 in MP4, at twice the speed of life.

    They are taken one by one and need not be in memory together. Raises ValueError for none.
    """
    waiting = iter(frames)
    first = next(waiting, None)
    if first is None:
        raise ValueError("there is no frame to encode")
    height, width = first.shape[:2]
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=FRAMES_PER_SECOND * PLAYBACK_SPEED)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": _QUALITY, "preset": "veryfast", "threads": "1"}
        for frame in chain([first], waiting):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return memory.getvalue()


def caption_of(observation: Mapping[str, Any], moment: Moment) -> str:
    """Time, speed and the action in words."""
    parts = [f"{moment.step / CONTROL_RATE_HZ:5.1f} s"]
    state = observation.get("observation.state")
    if state is not None and len(state) >= 1:
        parts.append(f"{float(state[0]):+5.2f} m/s")
    if len(moment.action) == 3:
        acceleration, steer, reverse = (float(value) for value in moment.action)
        pedal = "throttle" if acceleration > 0.0 else "brake"
        parts.append(f"{pedal} {abs(acceleration):.2f}")
        parts.append(f"steer {'left' if steer > 0 else 'right'} {abs(steer):.2f}")
        parts.append("reverse" if reverse >= 0.5 else "forward")
    return "   ".join(parts)


def caption_of_an_arm(world: Any, moment: Moment) -> str:
    """Time, what the fingers do, and what the arm was told."""
    parts = [f"{moment.step / control_rate(world):5.1f} s"]
    if len(moment.action):
        parts.append("closing" if float(moment.action[-1]) > 0.0 else "opening")
    if hasattr(world, "order"):
        parts.append(world.order.instruction)
    return "   ".join(parts)


def _enlarged(classes: NDArray[Any]) -> Image:
    resized = cv2.resize(
        np.asarray(classes, np.uint8), (PANEL, PANEL), interpolation=cv2.INTER_NEAREST
    )
    return np.asarray(resized, np.uint8)


def _outline(picture: Image, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    cv2.drawContours(picture, contours, -1, colour, 1, cv2.LINE_AA)


def _draw_car(picture: Image, rear_axle: Pose, colour: tuple[int, int, int], width: int) -> None:
    """Outline of the car with its rear axle at a pose in the vehicle frame, and its nose."""
    corners = np.array([_pixel(x, y) for x, y in EGO.footprint(rear_axle).corners()], np.int32)
    cv2.polylines(picture, [corners], True, colour, width, cv2.LINE_AA)
    axle = rear_axle.transform(Pose(EGO.wheelbase, 0.0, 0.0))
    nose = rear_axle.transform(Pose(EGO.front, 0.0, 0.0))
    cv2.line(picture, _pixel(axle.x, axle.y), _pixel(nose.x, nose.y), colour, width, cv2.LINE_AA)


def _pixel(x: float, y: float) -> tuple[int, int]:
    """(column, row) of a point in the vehicle frame; forward is up, left is left."""
    scale = PANEL / (2.0 * HALF_EXTENT)
    return round((HALF_EXTENT - float(y)) * scale), round((HALF_EXTENT - float(x)) * scale)


def write_text(
    picture: Image, text: str, place: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    """Text on a dark label, its baseline starting at (column, row) `place`."""
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    column, row = place
    label = picture[max(0, row - height - 4) : row + baseline + 2, max(0, column - 5) :][
        :, : width + 10
    ]
    label[:] = (0.35 * label + 0.65 * np.array(BACKGROUND)).astype(np.uint8)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)


def _jpeg(frame: Image) -> bytes:
    done, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    if not done:
        raise RuntimeError("OpenCV could not encode the poster as JPEG")
    return bytes(data)
