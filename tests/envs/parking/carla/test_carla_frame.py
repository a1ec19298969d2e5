"""CARLA's left-handed degrees against the lot's frame, and lots as data."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose, wrap_angle
from helmsight.envs.parking.carla.frame import (
    WorldFrame,
    along_body,
    camera_from_mount,
    camera_mount,
    from_body,
)
from helmsight.envs.parking.carla.lot_map import load_lot_map, packaged_lots
from helmsight.envs.parking.carla.stage import bicycle_angle
from helmsight.envs.parking.carla.weather import weather_parameters
from helmsight.envs.parking.mujoco.model import TRACK, wheel_angles
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.vehicle import CAMERA_RIGS, EGO

metres = st.floats(-400.0, 400.0)
degrees = st.floats(-720.0, 720.0)
poses = st.builds(Pose, st.floats(-60.0, 60.0), st.floats(-30.0, 30.0), st.floats(-3.1, 3.1))
frames = st.builds(WorldFrame, metres, metres, degrees)


@given(frames, poses)
def test_the_way_into_carlas_world_and_back_is_the_identity(frame, pose):
    back = frame.to_lot(frame.to_world(pose))
    assert math.hypot(back.x - pose.x, back.y - pose.y) < 1e-9
    assert abs(wrap_angle(back.yaw - pose.yaw)) < 1e-9


@given(frames, poses)
def test_distances_are_kept(frame, pose):
    here, there = frame.to_world(Pose(0.0, 0.0, 0.0)), frame.to_world(pose)
    assert math.hypot(there.x - here.x, there.y - here.y) == pytest.approx(
        math.hypot(pose.x, pose.y), abs=1e-9
    )


def test_left_in_the_lot_is_right_in_carlas_world():
    frame = WorldFrame(0.0, 0.0, 0.0)
    left = frame.to_world(Pose(0.0, 1.0, math.pi / 2.0))
    assert (left.x, left.y, left.yaw) == pytest.approx((0.0, -1.0, -90.0))


@given(st.floats(-9.0, 9.0), st.floats(-9.0, 9.0), degrees)
def test_body_vectors_turn_there_and_back(forward, left, yaw):
    assert along_body(from_body(forward, left, yaw), yaw) == pytest.approx((forward, left))


def test_a_car_that_heads_for_carlas_y_drives_forward_along_it():
    assert along_body((0.0, 2.0), 90.0) == pytest.approx((2.0, 0.0))
    # Towards -x is to the left of it: y points right of x.
    assert along_body((-2.0, 0.0), 90.0) == pytest.approx((0.0, -2.0))


@pytest.mark.parametrize("rig", ["surround4", "surround6"])
def test_every_published_camera_survives_its_mount(rig):
    for camera in CAMERA_RIGS[rig]:
        location, rotation = camera_mount(camera, -1.4)
        back = camera_from_mount(
            camera.name,
            location,
            rotation,
            -1.4,
            math.degrees(camera.horizontal_fov),
            (camera.width, camera.height),
        )
        np.testing.assert_allclose(back.camera_to_vehicle(), camera.camera_to_vehicle(), atol=1e-9)
        assert back.horizontal_fov == pytest.approx(camera.horizontal_fov)


def test_the_left_camera_is_mounted_at_negative_y_and_looks_to_negative_yaw():
    left = next(camera for camera in CAMERA_RIGS["surround4"] if camera.name == "left")
    (_, y, _), (pitch, yaw, _) = camera_mount(left, -1.4)
    assert (y, pitch, yaw) == pytest.approx((-0.8, -40.0, -90.0))


@given(st.floats(-0.6, 0.6))
def test_the_bicycles_angle_comes_back_from_carlas_wheel_angles(angle):
    left, _ = wheel_angles(angle)
    found = bicycle_angle(-math.degrees(left), TRACK / (2.0 * EGO.wheelbase))
    assert found == pytest.approx(angle, abs=1e-4)


def test_the_packaged_lots_can_all_be_read():
    assert "town04_opt" in packaged_lots()
    for name in packaged_lots():
        load_lot_map(name)


def test_town04s_facing_rows_are_one_aisle_apart_and_its_slots_three_metres():
    lot = load_lot_map("town04_opt")
    scenario = make_scenario("standard", "test", 0)
    slots = [scenario.lot.slot(row, 5) for row in (1, 2)]
    (x1, y1), (x2, y2) = (lot.slot_center(slot) for slot in slots)
    assert (x1 - x2, y1 - y2) == pytest.approx((10.9, 0.0))
    pitches = np.diff(lot.columns)
    assert pitches.min() > 2.95 and pitches.max() < 3.45


@pytest.mark.parametrize("episode", [0, 37, 95])
def test_the_target_slot_lies_where_the_map_has_it_and_faces_the_aisle(episode):
    lot, scenario = load_lot_map("town04_opt"), make_scenario("standard", "test", episode)
    slot = scenario.target_slot
    place = lot.frame(scenario).to_world(Pose(slot.x, slot.y, slot.entry_yaw))
    assert (place.x, place.y) == pytest.approx(lot.slot_center(slot))
    ahead = place.x + 5.0 * math.cos(math.radians(place.yaw))
    aisle = (lot.rows[1] + lot.rows[2]) / 2.0
    assert abs(ahead - aisle) < abs(place.x - aisle)


@pytest.mark.parametrize("family", ["standard", "cluttered"])
def test_the_served_lots_lie_where_the_mujoco_lot_does(family):
    lot = load_lot_map(f"helmsight_{family}")
    for episode in (0, 50):
        frame = lot.frame(make_scenario(family, "test", episode))
        assert (frame.origin_x, frame.origin_y, frame.aisle_yaw) == pytest.approx((0.0, 0.0, 0.0))


def test_a_scenario_of_another_lot_is_refused():
    with pytest.raises(ValueError, match="Town04_Opt has the standard lot"):
        load_lot_map("town04_opt").frame(make_scenario("cluttered", "test", 0))


def test_a_lot_of_ones_own_is_read_and_a_bad_one_says_what_it_lacks(tmp_path):
    file = tmp_path / "lot.json"
    good = {
        "map": "MyTown",
        "family": "standard",
        "aisle_yaw": 12.0,
        "ground": 1.5,
        "rows_axis": "y",
        "rows": [30.0, 20.0, 10.0, 0.0],
        "columns": list(range(16)),
    }
    file.write_text(json.dumps(good))
    assert load_lot_map(str(file)).ground == 1.5
    file.write_text(json.dumps({key: good[key] for key in good if key != "rows"}))
    with pytest.raises(ValueError, match="lacks rows"):
        load_lot_map(str(file))
    file.write_text(json.dumps({**good, "columns": [1.0]}))
    with pytest.raises(ValueError, match="4 rows and 16 columns, got 4 and 1"):
        load_lot_map(str(file))
    file.write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_lot_map(str(file))
    with pytest.raises(FileNotFoundError, match="town04_opt"):
        load_lot_map(str(tmp_path / "none.json"))


def test_shifted_looks_never_become_training_weather():
    def sun(split, index):
        looks = make_scenario("standard", split, index).appearance
        return weather_parameters(looks)["sun_altitude_angle"]

    assert all(sun("test", index) >= 29.0 for index in range(20))
    assert all(sun("shifted", index) < 29.0 for index in range(20))
