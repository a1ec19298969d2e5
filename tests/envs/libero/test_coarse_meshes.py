"""Fewer faces for quick pictures, and the model as it was afterwards."""

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from helmsight.envs.libero.coarse_meshes import Faces, clustered, coarse_meshes

CHANGED = ("mesh_facenum", "mesh_face", "mesh_facenormal", "mesh_facetexcoord")
SCENE = """
<mujoco>
  <asset>
    <mesh name="fine" builtin="supersphere" params="160 1 1" scale="0.05 0.05 0.05"/>
    <mesh name="large" builtin="supersphere" params="160 1 1" scale="0.5 0.5 0.5"/>
    <mesh name="simple" builtin="sphere" params="1" scale="0.05 0.05 0.05"/>
  </asset>
  <worldbody>
    <geom type="mesh" mesh="fine"/>
    <geom type="mesh" mesh="large"/>
    <geom type="mesh" mesh="simple"/>
  </worldbody>
</mujoco>
"""


@pytest.fixture(scope="module")
def model():
    return mujoco.MjModel.from_xml_string(SCENE)


def face_count(model, name):
    return int(model.mesh_facenum[model.mesh(name).id])


def test_a_small_mesh_of_many_faces_has_few_of_them(model):
    before = face_count(model, "fine")
    with coarse_meshes(model):
        assert 100 < face_count(model, "fine") < before / 3


def test_rooms_and_simple_meshes_keep_theirs(model):
    before = [face_count(model, name) for name in ("large", "simple")]
    with coarse_meshes(model):
        assert [face_count(model, name) for name in ("large", "simple")] == before


def test_afterwards_the_model_is_as_before_also_after_an_error(model):
    before = {name: np.array(getattr(model, name)) for name in CHANGED}
    with pytest.raises(RuntimeError, match="no renderer"), coarse_meshes(model):
        raise RuntimeError("no renderer")
    for name, values in before.items():
        assert np.array_equal(getattr(model, name), values), name


def test_the_surface_stays_where_it_was_to_a_cell(model):
    first = model.mesh_vertadr[model.mesh("fine").id]
    start = model.mesh_faceadr[model.mesh("fine").id]
    with coarse_meshes(model):
        faces = model.mesh_face[start : start + face_count(model, "fine")]
        centres = model.mesh_vert[first + faces].mean(axis=1)
    distances = np.linalg.norm(centres, axis=1)
    cell = 0.1 / 40.0
    assert distances.min() > 0.05 - cell
    assert distances.max() <= 0.05 + 1e-6


@settings(max_examples=50, deadline=None)
@given(
    places=arrays(np.float64, (12, 3), elements=some.floats(-1.0, 1.0, width=32)),
    corners=arrays(np.int32, (20, 3), elements=some.integers(0, 11)),
    cell=some.floats(0.01, 3.0),
)
def test_what_is_left_are_different_faces_with_three_corners_each(places, corners, cell):
    numbers = np.arange(60, dtype=np.int32).reshape(20, 3)
    kept = clustered(places, Faces(corners, numbers, np.full((20, 3), -1, np.int32)), cell)
    assert all(len(set(face)) == 3 for face in kept.vertices.tolist())
    assert len({tuple(sorted(face)) for face in kept.vertices.tolist()}) == len(kept.vertices)
    assert len(kept.vertices) == len(kept.normals) == len(kept.texture)


def test_a_vertex_that_moves_takes_the_place_in_the_texture_of_the_one_that_stands_for_it():
    # The last two lie in one cell.
    places = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.02, 1, 0]])
    faces = Faces(
        np.array([[0, 1, 2], [1, 3, 0]], np.int32),
        np.zeros((2, 3), np.int32),
        np.array([[10, 11, 12], [11, 13, 10]], np.int32),
    )
    # The second face became the first one.
    assert clustered(places, faces, 0.1).texture.tolist() == [[10, 11, 12]]
    alone = Faces(*(values[1:] for values in faces))
    assert clustered(places, alone, 0.1).vertices.tolist() == [[1, 2, 0]]
