"""Sensor data are matched to ticks by frame number, and missed frames are noticed."""

import dataclasses
import threading
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

from helmsight.envs.parking.carla.cameras import CameraMount, MissedFrame, colour_of, depth_of
from helmsight.envs.parking.carla.frames import CollisionLog, FrameBuffer, collision_kind
from helmsight.envs.parking.carla_server.streams import bgra_of_colours, bgra_of_depth
from helmsight.envs.parking.vehicle import CAMERA_RIGS

SOON = 0.02


@dataclass
class Data:
    frame: int


@dataclass
class Image:
    frame: int
    height: int = 2
    width: int = 3

    @property
    def raw_data(self):
        return bytes([self.frame]) * (self.height * self.width * 4)


@dataclass
class Other:
    type_id: str


@dataclass
class Event:
    frame: int
    other_actor: Other


def test_a_buffer_gives_the_frame_asked_for_and_not_the_newest():
    buffer = FrameBuffer()
    for frame in (4, 5, 6):
        buffer.put(Data(frame))
    assert buffer.take(5, 0.0).frame == 5


def test_a_buffer_waits_for_a_frame_that_is_on_its_way():
    buffer = FrameBuffer()
    late = threading.Timer(SOON, buffer.put, [Data(9)])
    late.start()
    assert buffer.take(9, 5.0).frame == 9
    late.join()


def test_a_frame_that_never_comes_is_none_and_the_one_before_is_known():
    buffer = FrameBuffer()
    buffer.put(Data(7))
    assert buffer.take(9, SOON) is None
    assert buffer.before(9).frame == 7
    assert buffer.before(7) is None


def test_a_buffer_keeps_few_frames():
    buffer = FrameBuffer()
    for frame in range(100):
        buffer.put(Data(frame))
    buffer.catch_up()
    assert buffer.take(50, 0.0) is None and buffer.take(99, 0.0).frame == 99


def test_an_image_of_another_size_is_an_error():
    mount = mount_with([4])
    mount.cameras = (dataclasses.replace(mount.cameras[0], width=5),)
    with pytest.raises(ConnectionError, match=r"an image is \(2, 3, 4\), \(2, 5, 3\) was asked"):
        mount.frames(4, SOON)


def mount_with(frames):
    """A mount of one camera into which images of these frames have come."""
    camera = dataclasses.replace(CAMERA_RIGS["surround4"][0], width=3, height=2)
    mount = CameraMount([camera], depth=False)
    buffer = FrameBuffer()
    for frame in frames:
        buffer.put(Image(frame))
    mount._buffers = [buffer]
    return mount


def test_images_of_the_tick_are_taken_without_a_word():
    mount = mount_with([3, 4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = mount.frames(4, SOON)
    assert frames.colour.shape == (1, 2, 3, 3)
    assert (frames.colour == 4).all() and mount.missed == 0


def test_a_missed_image_is_replaced_counted_and_warned_of():
    mount = mount_with([3])
    with pytest.warns(MissedFrame, match="camera front gave no image of frame 4"):
        frames = mount.frames(4, SOON)
    assert (frames.colour == 3).all() and mount.missed == 1


def test_a_camera_that_never_gave_an_image_is_an_error():
    with pytest.raises(ConnectionError, match="camera front"):
        mount_with([]).frames(4, SOON)


def test_colours_come_back_as_they_were_sent():
    colours = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    for colour, sent in zip(colours, bgra_of_colours(colours), strict=True):
        np.testing.assert_array_equal(colour_of(sent), colour)


def test_depth_comes_back_to_a_tenth_of_a_millimetre_and_the_sky_as_infinity():
    depth = np.random.default_rng(0).uniform(0.1, 250.0, (5, 7)).astype(np.float32)
    depth[0, 0] = np.inf
    np.testing.assert_allclose(depth_of(bgra_of_depth(depth)), depth, atol=1e-4)


def test_only_the_first_hit_after_the_start_counts():
    log = CollisionLog()
    log.put(Event(3, Other("vehicle.audi.a2")))
    log.watch(5)
    log.put(Event(5, Other("vehicle.audi.a2")))
    log.put(Event(6, Other("static.road")))
    assert log.hit is None
    log.put(Event(7, Other("static.prop.box01")))
    log.put(Event(8, Other("vehicle.audi.a2")))
    assert log.hit == "box"


@pytest.mark.parametrize(
    ("type_id", "kind"),
    [
        ("vehicle.tesla.model3", "car"),
        ("static.prop.box02", "box"),
        ("static.sidewalk", "kerb"),
        ("static.pole", "post"),
        ("static.wall", "barrier"),
        ("traffic.unknown", "barrier"),
    ],
)
def test_hits_are_called_as_the_task_calls_them(type_id, kind):
    assert collision_kind(type_id) == kind
