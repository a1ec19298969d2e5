"""Meshes with fewer faces, for pictures that are made quickly.

LIBERO's scenes show scanned groceries of 15,000 faces and arm links of as many, each on a few
pixels; a software renderer's time goes into those faces. Vertex clustering (Rossignac & Borrel
1993): the vertices in a cell of a cubic grid become one, and faces that shrink to a line go.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# A cell's side: a share of the mesh's largest extent (2 mm for a can), or this many metres.
_CELL_SHARE, _LARGEST_CELL = 1.0 / 40.0, 0.004
# A mesh of fewer faces or of a larger extent (m) is left as it is: large ones are the room, whose
# few wide faces show the seams of their texture.
_FEW_FACES, _LARGE = 1000, 0.5
_CHANGED = ("mesh_facenum", "mesh_face", "mesh_facenormal", "mesh_facetexcoord")

Indices = NDArray[np.int32]


class Faces(NamedTuple):
    """Faces of one mesh, [F, 3] each: indices of vertices, of normals, of texture places.

    A mesh without texture places has -1 for all.
    """

    vertices: Indices
    normals: Indices
    texture: Indices


@contextmanager
def coarse_meshes(model: Any) -> Iterator[None]:
    """While it lasts, the meshes of a mujoco.MjModel have few faces; then they are as before.

    To be used around the making of an MjrContext, which copies the meshes to the renderer. What
    collides is not touched: the physics reads hulls, not faces.
    """
    before = {name: np.array(getattr(model, name)) for name in _CHANGED}
    try:
        for mesh in range(model.nmesh):
            if model.mesh_facenum[mesh] >= _FEW_FACES:
                _make_coarse(model, mesh)
        yield
    finally:
        for name, values in before.items():
            getattr(model, name)[...] = values


def _make_coarse(model: Any, mesh: int) -> None:
    """Put the faces that stay first in the mesh's own part of the model's lists."""
    start, vertices = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    places = model.mesh_vert[start : start + vertices]
    extent = float(np.ptp(places, axis=0).max())
    if extent > _LARGE:
        return
    first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    part = slice(first, first + count)
    faces = Faces(*(np.array(getattr(model, name)[part]) for name in _CHANGED[1:]))
    coarse = clustered(places, faces, min(_CELL_SHARE * extent, _LARGEST_CELL))
    kept = len(coarse.vertices)
    for name, values in zip(_CHANGED[1:], coarse, strict=True):
        getattr(model, name)[first : first + kept] = values
    model.mesh_facenum[mesh] = kept


def clustered(places: NDArray[np.floating[Any]], faces: Faces, cell: float) -> Faces:
    """The faces that are left when vertices [V, 3] in one cell of side `cell` are made one.

    A cell's first vertex stands for all, with its place in the texture; a face keeps its normals,
    so that edges stay as sharp as they are.
    """
    _, first, inverse = np.unique(_cells(places, cell), return_index=True, return_inverse=True)
    standing_for = first[inverse]  # [V]
    moved = standing_for[faces.vertices]  # [F, 3]
    a, b, c = moved.T
    wide = np.flatnonzero((a != b) & (b != c) & (a != c))
    # One of those that became the same face.
    corners = np.sort(moved[wide], axis=1).astype(np.int64)
    codes = (corners[:, 0] * len(places) + corners[:, 1]) * len(places) + corners[:, 2]
    _, single = np.unique(codes, return_index=True)
    kept = wide[np.sort(single)]
    texture = faces.texture[kept]
    if texture.size and texture[0, 0] >= 0:
        of_vertex = np.zeros(len(places), np.int32)
        of_vertex[faces.vertices.reshape(-1)] = faces.texture.reshape(-1)
        texture = of_vertex[moved[kept]]
    return Faces(moved[kept].astype(np.int32), faces.normals[kept], texture)


def _cells(places: NDArray[np.floating[Any]], cell: float) -> NDArray[np.int64]:
    """A number [V] of the cell that each of the places [V, 3] lies in."""
    steps = np.floor((places - places.min(axis=0)) / cell).astype(np.int64)
    sides = steps.max(axis=0) + 1
    numbers: NDArray[np.int64] = (steps[:, 0] * sides[1] + steps[:, 1]) * sides[2] + steps[:, 2]
    return numbers
