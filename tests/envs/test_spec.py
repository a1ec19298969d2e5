from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmsight.envs.parking.vehicle import ACTION, CAMERA_RIGS, parking_embodiment
from helmsight.envs.spec import CameraSpec, EmbodimentSpec, VectorSpec

cameras = st.builds(
    CameraSpec,
    name=st.just("camera"),
    position=st.tuples(*[st.floats(-3.0, 3.0)] * 3),
    yaw=st.floats(-math.pi, math.pi),
    pitch=st.floats(-1.5, 1.5),
    horizontal_fov=st.floats(0.3, 2.5),
    width=st.integers(16, 512),
    height=st.integers(16, 512),
)


@given(cameras)
def test_a_cameras_rotation_is_one(camera: CameraSpec) -> None:
    rotation = camera.rotation()
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


@given(cameras)
def test_the_image_is_level_and_its_lower_border_is_below(camera: CameraSpec) -> None:
    right, down = camera.rotation()[:, 0], camera.rotation()[:, 1]
    assert right[2] == 0.0
    assert down[2] < 0.0


@given(cameras)
def test_the_fields_of_view_reach_from_border_to_border(camera: CameraSpec) -> None:
    focal = camera.focal_length
    assert math.tan(camera.horizontal_fov / 2.0) * focal == pytest.approx(camera.width / 2.0)
    assert math.tan(camera.vertical_fov / 2.0) * focal == pytest.approx(camera.height / 2.0)


@pytest.mark.parametrize(
    ("yaw", "pitch", "forward"),
    (
        (0.0, 0.0, (1.0, 0.0, 0.0)),
        (90.0, 0.0, (0.0, 1.0, 0.0)),
        (180.0, 0.0, (-1.0, 0.0, 0.0)),
        (0.0, -90.0, (0.0, 0.0, -1.0)),
    ),
)
def test_yaw_turns_left_and_pitch_up(
    yaw: float, pitch: float, forward: tuple[float, float, float]
) -> None:
    front = CAMERA_RIGS["surround4"][0]
    camera = dataclasses.replace(front, yaw=math.radians(yaw), pitch=math.radians(pitch))
    np.testing.assert_allclose(camera.rotation()[:, 2], forward, atol=1e-12)


def test_the_origin_of_the_optical_frame_is_the_cameras_position() -> None:
    camera = CAMERA_RIGS["surround4"][1]
    origin = camera.camera_to_vehicle() @ np.array([0.0, 0.0, 0.0, 1.0])
    assert origin[:3] == pytest.approx(camera.position)


@pytest.mark.parametrize("rig", tuple(CAMERA_RIGS))
def test_an_embodiment_survives_json(rig: str) -> None:
    embodiment = parking_embodiment(rig)
    again = EmbodimentSpec.from_dict(json.loads(json.dumps(embodiment.to_dict())))
    assert again == embodiment
    assert again.differences(embodiment) == []


def test_each_difference_is_named_with_both_values() -> None:
    here = parking_embodiment("surround4")
    front = dataclasses.replace(here.cameras[0], yaw=0.5)
    there = dataclasses.replace(here, rate_hz=20, cameras=(front, *here.cameras[1:]))
    assert here.differences(there) == [
        "cameras[0].yaw: 0.0 here, 0.5 there",
        "rate_hz: 10 here, 20 there",
    ]


def test_other_cameras_are_a_difference() -> None:
    lines = parking_embodiment("surround4").differences(parking_embodiment("none"))
    assert len(lines) == 1 and lines[0].startswith("cameras: ")


def test_keys_follow_the_cameras() -> None:
    embodiment = parking_embodiment("surround4")
    assert embodiment.image_keys[0] == "observation.images.front"
    assert embodiment.depth_keys[3] == "observation.depth.rear"


def test_an_entry_is_found_by_its_name_and_an_unknown_one_is_refused() -> None:
    assert ACTION.index("reverse") == 2
    with pytest.raises(KeyError, match="no entry 'gear'; the entries are acceleration, steer"):
        ACTION.index("gear")


def test_a_vector_with_an_entry_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="2 names, 1 units, 2 lows, 2 highs"):
        VectorSpec(("a", "b"), ("m",), (0.0, 0.0), (1.0, 1.0))


def test_a_saved_embodiment_with_a_field_missing_or_unknown_is_refused() -> None:
    saved = parking_embodiment("surround4").to_dict()
    with pytest.raises(KeyError, match="rate_hz"):
        EmbodimentSpec.from_dict({k: v for k, v in saved.items() if k != "rate_hz"})
    camera = {**saved["cameras"][0], "roll": 0.0}
    with pytest.raises(TypeError, match="roll"):
        EmbodimentSpec.from_dict({**saved, "cameras": (camera,)})


@pytest.mark.parametrize(
    ("rig", "size", "named"), (("surround5", 128, "surround5"), ("surround4", 8, "16 to 1024"))
)
def test_an_unknown_rig_or_size_is_named(rig: str, size: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parking_embodiment(rig, size)


def test_what_a_camera_has_by_default_is_not_said_in_json() -> None:
    front = parking_embodiment("surround4").to_dict()["cameras"][0]
    assert set(front) == {
        "name",
        "position",
        "yaw",
        "pitch",
        "horizontal_fov",
        "width",
        "height",
    }


def test_a_camera_of_another_frame_survives_json_and_is_no_vehicles() -> None:
    embodiment = parking_embodiment("surround4")
    hand = dataclasses.replace(embodiment.cameras[0], frame="hand", mirrored=True)
    arm = dataclasses.replace(embodiment, cameras=(hand,))
    assert EmbodimentSpec.from_dict(json.loads(json.dumps(arm.to_dict()))) == arm
    with pytest.raises(ValueError, match="fixed to the hand, not to a vehicle"):
        hand.camera_to_vehicle()
    one = dataclasses.replace(embodiment, cameras=embodiment.cameras[:1])
    assert "cameras[0].frame: 'vehicle' here, 'hand' there" in one.differences(arm)


@pytest.mark.parametrize(
    ("values", "message"),
    (
        ((0.0, 0.0), r"must have shape \(3,\) = \(acceleration, steer, reverse\), got \(2,\)"),
        ((0.0, 2.0, 0.0), r"entry 'steer' must be in \[-1, 1\], got 2.0"),
        ((0.0, math.nan, 0.0), "entry 'steer' must be in"),
        ("left", "must be 3 numbers, got 'left'"),
    ),
)
def test_a_vector_out_of_its_range_is_named(values: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ACTION.checked(values, "action")
