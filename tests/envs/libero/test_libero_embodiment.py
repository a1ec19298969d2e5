from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from libero_worlds import NEEDS_PACKAGE, NEEDS_SCENES

from helmsight.envs.libero.embodiment import (
    ACTION,
    STATE,
    libero_embodiment,
    rotation_vector,
    state_vector,
)
from helmsight.envs.libero.simulator import LiberoSimulator
from helmsight.envs.spec import EmbodimentSpec

axes = st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.1)


@given(axes, st.floats(0.01, 2.0 * math.pi - 0.01))
def test_a_rotation_vector_is_axis_times_angle(axis, angle):
    unit = np.array(axis) / np.linalg.norm(axis)
    quaternion = np.array([*(unit * math.sin(angle / 2.0)), math.cos(angle / 2.0)])
    np.testing.assert_allclose(rotation_vector(quaternion), unit * angle, atol=1e-6)


def test_no_rotation_is_a_vector_of_zeros():
    assert not rotation_vector(np.array([0.0, 0.0, 0.0, 1.0])).any()


@NEEDS_PACKAGE
def test_an_embodiment_survives_json_with_its_frames():
    embodiment = libero_embodiment("libero_object", 128)
    again = EmbodimentSpec.from_dict(json.loads(json.dumps(embodiment.to_dict())))
    assert again == embodiment
    assert [camera.frame for camera in again.cameras] == ["world", "hand"]
    assert embodiment.image_keys == (
        "observation.images.agentview",
        "observation.images.eye_in_hand",
    )
    assert (STATE.size, ACTION.size, embodiment.rate_hz) == (8, 7, 20)


@NEEDS_PACKAGE
def test_suites_with_other_cameras_are_other_embodiments():
    lines = libero_embodiment("libero_object").differences(libero_embodiment("libero_goal"))
    assert any(line.startswith("cameras[0].position") for line in lines)
    assert libero_embodiment("libero_10").cameras[0].frame == "scene"


@NEEDS_PACKAGE
def test_an_impossible_image_size_is_refused():
    with pytest.raises(ValueError, match="16 to 1024 pixels, got 8"):
        libero_embodiment("libero_object", 8)


@NEEDS_SCENES
@pytest.mark.parametrize(("suite", "task"), [("libero_object", 7), ("libero_goal", 7)])
def test_cameras_stand_where_the_scene_has_them(suite, task, milk, stove):
    simulator = milk if suite == "libero_object" else stove
    simulator.reset_to(0)
    model, data = simulator.observed()
    hand = data.body(simulator.robosuite.robots[0].robot_model.eef_name)
    frames = {
        "world": (np.zeros(3), np.eye(3)),
        # Where and how the state says that the hand is.
        "hand": (simulator.end_effector_position(), hand.xmat.reshape(3, 3)),
    }
    names = ("agentview", "robot0_eye_in_hand")
    for camera, name in zip(libero_embodiment(suite).cameras, names, strict=True):
        origin, rotation = frames[camera.frame]
        seen = data.camera(name)
        np.testing.assert_allclose(origin + rotation @ camera.position, seen.xpos, atol=1e-3)
        # MuJoCo's cameras look along -z with y up; the optical frame is x right, y down, z forward.
        axes_seen = seen.xmat.reshape(3, 3) @ np.diag([1.0, -1.0, -1.0])
        np.testing.assert_allclose(rotation @ camera.rotation(), axes_seen, atol=1e-3)
        fov = math.degrees(camera.vertical_fov)
        assert fov == pytest.approx(float(model.camera(name).fovy[0]), abs=1e-3)


@NEEDS_SCENES
def test_the_state_is_robosuites_own_reading(milk):
    milk.reset_to(0)
    data = milk.sim.data
    from robosuite.utils.transform_utils import quat2axisangle

    milk.set_state(milk.state())
    expected = np.concatenate(
        [
            data.site_xpos[milk.robosuite.robots[0].eef_site_id],
            quat2axisangle(milk.end_effector_quaternion()),
            milk.gripper_positions(),
        ]
    )
    np.testing.assert_allclose(state_vector(milk), expected, atol=1e-6)
    assert state_vector(milk).dtype == np.float32


@NEEDS_SCENES
def test_every_suites_first_scene_can_be_made():
    for suite in ("libero_spatial", "libero_10"):
        simulator = LiberoSimulator(suite, 0)
        simulator.reset_to(0)
        low, high = np.array(STATE.low), np.array(STATE.high)
        state = state_vector(simulator)
        assert dataclasses.asdict(simulator.task)["suite"] == suite
        assert ((low < state) & (state < high)).all()
