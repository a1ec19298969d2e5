"""Video files of a data set: H.264, decoded to I420 (planar YUV 4:2:0).

An I420 picture of [H, W] is uint8 [H * 3 / 2, W]: the Y plane, then U and V at half resolution,
BT.601 limited range. It is what the decoder gives, at half the bytes of RGB.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.training.dataset.format import DatasetError

# A short group of pictures makes random access cheap; without B frames the first frame has time 0.
GROUP_OF_PICTURES = 2
ENCODER_OPTIONS = {"preset": "ultrafast", "crf": "18", "bf": "0"}
# A wanted frame this close ahead is reached by decoding on, one farther ahead by seeking.
SEEK_BEYOND_FRAMES = 8

# U and V of BT.601 limited range from (R, G, B, 1).
_CHROMA_FROM_RGB = np.array(
    [[-0.148223, -0.290993, 0.439216, 128.0], [0.439216, -0.367788, -0.071427, 128.0]]
)


def rgb_to_i420(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert RGB [T, H, W, 3] to I420 [T, H * 3 / 2, W], chroma averaged over 2 x 2 pixels.

    OpenCV's own conversion takes the chroma of one pixel in four, which keeps its noise.
    """
    count, height, width = frames.shape[:3]
    # All frames as one tall picture [T * H, W, 3]: one call for a whole episode.
    tall = np.ascontiguousarray(frames).reshape(count * height, width, 3)
    luma = cv2.cvtColor(tall, cv2.COLOR_RGB2YUV_I420)[: count * height]
    small = cv2.resize(tall, (width // 2, count * height // 2), interpolation=cv2.INTER_AREA)
    chroma = cv2.transform(small, _CHROMA_FROM_RGB)  # [T * H / 2, W / 2, 2]
    planes = chroma.reshape(count, -1, 2).transpose(0, 2, 1).reshape(count, -1)
    pictures = np.concatenate([luma.reshape(count, -1), planes], axis=1)
    return pictures.reshape(count, height * 3 // 2, width)


def i420_to_rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert one I420 picture [H * 3 / 2, W] to RGB [H, W, 3]."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420), dtype=np.uint8)


def encode_video(path: Path, frames: NDArray[np.uint8], fps: int) -> None:
    """Write RGB frames uint8 [T, H, W, 3] (H and W even) as H.264 in MP4."""
    height, width = frames.shape[1:3]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=ENCODER_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = GROUP_OF_PICTURES
        stream.codec_context.thread_count = 1  # episodes are encoded in parallel, not slices
        for picture in rgb_to_i420(frames):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def decode_video(path: Path, timestamps: NDArray[np.float64], fps: int) -> NDArray[np.uint8]:
    """Frames of `path` at `timestamps` [N] (seconds, any order), I420 [N, H * 3 / 2, W].

    Raises DatasetError naming the file if it is missing, damaged, or ends before a timestamp.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: the video file is missing")
    order = np.argsort(timestamps, kind="stable")
    output: NDArray[np.uint8] | None = None
    try:
        for position, picture in _decode_sorted(path, timestamps[order], fps):
            if output is None:
                output = np.empty((len(timestamps), *picture.shape), np.uint8)
            output[order[position]] = picture
    except av.FFmpegError as error:
        raise DatasetError(f"{path}: the video is truncated or damaged ({error})") from error
    if output is None:
        raise ValueError("decode_video needs at least one timestamp")
    return output


def _decode_sorted(
    path: Path, timestamps: NDArray[np.float64], fps: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (position, I420 picture) for ascending `timestamps`, seeking over long gaps."""
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise DatasetError(f"{path}: holds no video stream")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        tolerance = 0.5 / fps
        position = 0
        while position < len(timestamps):
            target = float(timestamps[position])
            if target > SEEK_BEYOND_FRAMES / fps or position:
                container.seek(max(0, int(target / stream.time_base)), stream=stream)
            reached = position
            for frame in container.decode(stream):
                time = float(frame.time or 0.0)
                # A seek may land before the target, never after it.
                while reached < len(timestamps) and abs(timestamps[reached] - time) <= tolerance:
                    yield reached, _picture(frame)
                    reached += 1
                if reached == len(timestamps):
                    return
                if reached > position and timestamps[reached] - time > SEEK_BEYOND_FRAMES / fps:
                    break
                if time > timestamps[reached] + tolerance:
                    break
            if reached == position:
                raise DatasetError(
                    f"{path}: no frame at {target:.3f} s; the video is truncated or has another "
                    f"frame rate than {fps} Hz"
                )
            position = reached


def _picture(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """I420 picture of a decoded frame; other layouts, matrices and ranges are converted."""
    bt709 = frame.colorspace == av.video.reformatter.Colorspace.ITU709
    full_range = frame.color_range == av.video.reformatter.ColorRange.JPEG
    if frame.format.name != "yuv420p" or bt709 or full_range:
        frame = frame.reformat(
            format="yuv420p",
            dst_colorspace=av.video.reformatter.Colorspace.ITU601,
            dst_color_range=av.video.reformatter.ColorRange.MPEG,
        )
    return np.asarray(frame.to_ndarray(), dtype=np.uint8)
