"""Pictures show what is there, at its true distance, and repeat."""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Iterator

import numpy as np
import pytest

from helmsight.envs import opengl
from helmsight.envs.geometry import Pose
from helmsight.envs.parking.mujoco import MujocoParkingSimulator
from helmsight.envs.parking.mujoco.camera_rig import CameraRig
from helmsight.envs.parking.scenario import ParkedCar, Scenario, make_scenario
from helmsight.envs.parking.simulator import CameraFrames, VehicleCommand
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.envs.spec import CameraSpec

CAMERAS = parking_embodiment(image_size=64).cameras
pytestmark = pytest.mark.rendering


@pytest.fixture(scope="module")
def simulator() -> Iterator[MujocoParkingSimulator]:
    simulator = MujocoParkingSimulator()
    yield simulator
    simulator.close()


def picture(
    simulator: MujocoParkingSimulator,
    scenario: Scenario,
    cameras: tuple[CameraSpec, ...] = CAMERAS,
) -> CameraFrames:
    simulator.reset(scenario)
    return simulator.render(cameras, depth=True)


def empty_lot(start: Pose) -> Scenario:
    scenario = make_scenario("standard", "train", 0)
    return dataclasses.replace(scenario, start=start, cars=(), boxes=())


def rays(camera: CameraSpec) -> np.ndarray:
    """Directions [H, W, 3] in the vehicle frame of depth 1 along the optical axis."""
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=2)
    optical = pixels @ np.linalg.inv(camera.intrinsics()).T
    return optical @ camera.rotation().T


def test_frames_have_the_cameras_shape_and_type(simulator: MujocoParkingSimulator) -> None:
    frames = picture(simulator, make_scenario("standard", "train", 1))
    assert frames.colour.shape == (4, 64, 64, 3)
    assert frames.colour.dtype == np.uint8
    assert frames.depth is not None
    assert frames.depth.shape == (4, 64, 64)
    assert frames.depth.dtype == np.float32
    assert simulator.render(CAMERAS, depth=False).depth is None


@pytest.mark.parametrize("image", [(64, 64), (80, 60)])
def test_depth_of_the_ground_is_the_geometry_of_the_camera(
    simulator: MujocoParkingSimulator, image: tuple[int, int]
) -> None:
    cameras = tuple(
        dataclasses.replace(camera, width=image[0], height=image[1]) for camera in CAMERAS
    )
    start = Pose(2.0, 0.5, 0.7)
    frames = picture(simulator, empty_lot(start), cameras)
    assert frames.depth is not None
    across = np.array([math.sin(start.yaw), math.cos(start.yaw)])
    for camera, depth in zip(cameras, frames.depth, strict=True):
        directions = rays(camera)
        with np.errstate(divide="ignore"):
            expected = -camera.position[2] / directions[..., 2]
        ground = np.array(camera.position) + expected[..., None] * directions
        # Up to the wheel stops at 7.8 m nothing stands on this lot.
        bare = (expected > 0.0) & (expected < 15.0)
        bare &= np.abs(start.y + ground[..., :2] @ across) < 7.0
        assert bare.sum() > 500
        np.testing.assert_allclose(depth[bare], expected[bare], rtol=1e-3)


def test_the_sky_is_infinitely_far(simulator: MujocoParkingSimulator) -> None:
    frames = picture(simulator, empty_lot(Pose(0.0, 0.0, 0.0)))
    assert frames.depth is not None
    assert np.isinf(frames.depth[0, 0]).all()
    assert np.isfinite(frames.depth[0, -1]).all()


def test_a_parked_car_stands_where_it_should(simulator: MujocoParkingSimulator) -> None:
    camera = CAMERAS[0]
    start = Pose(-3.0, 0.2, 0.3)
    middle = start.transform(Pose(camera.position[0] + 6.0, 0.0, math.pi))
    scenario = dataclasses.replace(empty_lot(start), cars=(ParkedCar(middle, (0.8, 0.1, 0.1)),))
    frames = picture(simulator, scenario)
    assert frames.depth is not None
    # 20 degrees down at a bonnet whose bumper is 2.3 m nearer than the car's middle.
    row = int(32 + 32 * math.tan(math.radians(14.0)) / math.tan(math.radians(50.0)))
    assert frames.depth[0, row, 32] == pytest.approx(3.7, abs=0.15)
    red, green, blue = frames.colour[0, row - 2 : row + 3, 24:40].reshape(-1, 3).mean(axis=0)
    assert red > 2.0 * max(green, blue)


def test_looking_twice_changes_nothing(simulator: MujocoParkingSimulator) -> None:
    first = picture(simulator, make_scenario("standard", "train", 2))
    again = simulator.render(CAMERAS, depth=True)
    np.testing.assert_array_equal(first.colour, again.colour)
    simulator.step(VehicleCommand(0.0, 0.0, False))
    assert (simulator.render(CAMERAS, depth=False).colour != first.colour).mean() > 0.3


def test_pictures_depend_on_the_scenario_and_the_commands_alone(
    simulator: MujocoParkingSimulator,
) -> None:
    scenario = make_scenario("cluttered", "shifted", 4)
    first = picture(simulator, scenario)
    picture(simulator, make_scenario("standard", "train", 7))
    other = MujocoParkingSimulator()
    for again in (picture(simulator, scenario), picture(other, scenario)):
        np.testing.assert_array_equal(first.colour, again.colour)
        np.testing.assert_array_equal(first.depth, again.depth)
    other.close()
    np.testing.assert_array_equal(first.colour, picture(simulator, scenario).colour)


def test_the_same_lot_looks_different_when_shifted(simulator: MujocoParkingSimulator) -> None:
    plain = picture(simulator, make_scenario("standard", "test", 5))
    shifted = picture(simulator, make_scenario("standard", "shifted", 5))
    difference = plain.colour.astype(float) - shifted.colour
    assert np.abs(difference).mean() > 20.0
    np.testing.assert_allclose(plain.depth, shifted.depth, atol=1e-3)


def test_culling_leaves_out_only_what_cannot_be_seen(
    simulator: MujocoParkingSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = CAMERAS + tuple(parking_embodiment("surround6", 64).cameras)
    random = np.random.default_rng(3)

    whole_view = CameraRig.distances_and_visibility

    def everything(
        self: CameraRig, vehicle: Pose, centers: np.ndarray, radii: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        distance, inside = whole_view(self, vehicle, centers, radii)
        return distance, np.ones_like(inside)

    for index in range(4):
        start = Pose(*random.uniform((-18, -2), (18, 2)), random.uniform(-3.1, 3.1))
        scenario = dataclasses.replace(make_scenario("cluttered", "train", index), start=start)
        culled = picture(simulator, scenario, cameras)
        with monkeypatch.context() as patch:
            patch.setattr(CameraRig, "distances_and_visibility", everything)
            whole = picture(simulator, scenario, cameras)
        np.testing.assert_array_equal(culled.depth, whole.depth)
        np.testing.assert_array_equal(culled.colour, whole.colour)


def test_only_a_camera_outside_sees_the_ego_car(simulator: MujocoParkingSimulator) -> None:
    above = dataclasses.replace(
        CAMERAS[0], position=(1.4, 0.0, 12.0), pitch=-math.pi / 2.0 + 1e-6, yaw=0.0
    )
    for distance in (0.0, 1.0):
        simulator.reset(empty_lot(Pose(distance, 0.0, 0.5)))
        for _ in range(3):
            simulator.step(VehicleCommand(0.5, 0.0, False))
        frames = simulator.render((above, CAMERAS[0]), depth=True)
        assert frames.depth is not None
        # The roof, and the ground two metres beside the car.
        assert frames.depth[0, 32, 32] == pytest.approx(12.0 - 1.45, abs=0.1)
        assert frames.depth[0, 32, 16] == pytest.approx(12.0, abs=0.1)
        # The front camera looks over the place where the bonnet is, down to the ground.
        assert frames.depth[1].min() == pytest.approx(1.5 / math.tan(math.radians(50.0)), abs=0.03)


def test_cameras_of_two_sizes_are_refused(simulator: MujocoParkingSimulator) -> None:
    simulator.reset(empty_lot(Pose(0.0, 0.0, 0.0)))
    with pytest.raises(ValueError, match="one image size"):
        simulator.render((CAMERAS[0], dataclasses.replace(CAMERAS[1], width=32)), depth=False)
    with pytest.raises(ValueError, match="at least one camera"):
        simulator.render((), depth=False)


def test_missing_opengl_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"no {name}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(RuntimeError, match="libegl1 libgl1-mesa-dri"):
        opengl.make_context()


def test_an_unknown_opengl_backend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "vulkan")
    with pytest.raises(ValueError, match=r"'vulkan'.*egl"):
        opengl.make_context()


def test_without_a_display_egl_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert opengl.backend() == "egl"
