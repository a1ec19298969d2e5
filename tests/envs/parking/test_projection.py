"""Do pictures, depth, labels and camera poses tell the same story? A box at a known place says."""

import dataclasses
import math

import cv2
import numpy as np
import pytest

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.birds_eye import CELL, OBSTACLE, RANGE, SIZE
from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.envs.parking.scenario import BOX_HEIGHT, Box, make_scenario

IMAGE_SIZE = 128


@pytest.fixture(scope="module", params=["surround4", "surround6"])
def environment(request):
    environment = ParkingEnvironment(cameras=request.param, image_size=IMAGE_SIZE, depth=True)
    yield environment
    environment.close()


def observe_with(environment, boxes):
    plain = make_scenario("cluttered", "val", 0)
    scenario = dataclasses.replace(plain, cars=(), boxes=boxes)
    environment.reset(options={"scenario": scenario})
    return environment.observe(), environment.birds_eye_label()


def box_in_front_of(camera, start, distance=3.5):
    """A box on the ground, `distance` ahead of the camera and a little to its side."""
    direction = camera.yaw + 0.2
    local = Pose(
        camera.position[0] + distance * math.cos(direction),
        camera.position[1] + distance * math.sin(direction),
        0.4,
    )
    return Box(start.transform(local), (0.6, 0.4, 0.2))


def projected_hull(camera, box, vehicle):
    """Mask [H, W] of the box's outline as the pinhole model projects it."""
    footprint = np.array(
        [vehicle.relative(Pose(x, y, 0.0))[:2] for x, y in box.footprint().corners()]
    )
    corners = np.concatenate(
        [np.column_stack([footprint, np.full(4, height)]) for height in (0.0, BOX_HEIGHT)]
    )
    optical = (corners - camera.position) @ camera.rotation()  # [8, 3]
    pixels = optical @ camera.intrinsics().T
    points = (pixels[:, :2] / pixels[:, 2:] - 0.5).astype(np.float32)
    mask = np.zeros((camera.height, camera.width), np.uint8)
    hull = np.round(cv2.convexHull(points) * 16).astype(np.int32)
    return cv2.fillConvexPoly(mask, hull, 1, shift=4).astype(bool)


def in_vehicle_frame(camera, depth, mask):
    """Points [N, 3] that the depth image [H, W] has at the pixels of the mask."""
    rows, columns = np.nonzero(mask)
    pixels = np.column_stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
    optical = (pixels @ np.linalg.inv(camera.intrinsics()).T) * depth[mask][:, None]
    return optical @ camera.rotation().T + camera.position


@pytest.mark.rendering
def test_a_box_appears_where_camera_pose_depth_and_label_say(environment):
    empty, _ = observe_with(environment, ())
    start = environment.vehicle_state().pose
    for camera in environment.embodiment.cameras:
        box = box_in_front_of(camera, start)
        seen, label = observe_with(environment, (box,))
        key = f"observation.depth.{camera.name}"
        before = np.minimum(empty[key], 1e3)
        appeared = np.minimum(seen[key], 1e3) < before - 0.02

        expected = projected_hull(camera, box, start)
        # fillConvexPoly draws half a pixel too much all round; allow for a pixel either way.
        surely = cv2.erode(expected.astype(np.uint8), np.ones((3, 3))).astype(bool)
        possibly = cv2.dilate(expected.astype(np.uint8), np.ones((3, 3))).astype(bool)
        assert surely.sum() > 100
        assert appeared[surely].mean() > 0.99, camera.name
        assert possibly[appeared].all(), camera.name

        points = in_vehicle_frame(camera, seen[key], appeared)
        center = start.relative(box.pose)
        offsets = points[:, :2] - center[:2]
        assert np.abs(np.hypot(*offsets.T)).max() < 0.3 * math.sqrt(2.0) + 0.05, camera.name
        assert points[:, 2].min() > -0.05
        assert points[:, 2].max() < BOX_HEIGHT + 0.05

        rows = np.floor((RANGE - points[:, 0]) / CELL).astype(int)
        columns = np.floor((RANGE - points[:, 1]) / CELL).astype(int)
        assert rows.min() >= 0
        assert rows.max() < SIZE
        grown = cv2.dilate((label == OBSTACLE).astype(np.uint8), np.ones((3, 3), np.uint8))
        assert grown[rows, columns].mean() > 0.99, camera.name


@pytest.mark.rendering
def test_the_colour_image_changes_where_the_depth_image_does(environment):
    empty, _ = observe_with(environment, ())
    camera = environment.embodiment.cameras[-1]
    box = box_in_front_of(camera, environment.vehicle_state().pose)
    seen, _ = observe_with(environment, (box,))
    key, depth_key = f"observation.images.{camera.name}", f"observation.depth.{camera.name}"
    appeared = np.minimum(seen[depth_key], 1e3) < np.minimum(empty[depth_key], 1e3) - 0.02
    change = np.abs(seen[key].astype(int) - empty[key].astype(int)).mean(axis=-1)
    assert change[appeared].mean() > 5.0 * change[~appeared].mean()
