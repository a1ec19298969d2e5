"""The visible half of the model: textures, meshes and geoms that take no part in collisions.

Geoms of group `VISIBLE` are drawn, the ego car's (`EGO_GROUP`) for cameras outside it alone;
colliders (`HIDDEN`) never.
"""

from __future__ import annotations

from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco.car_mesh import far_mesh, paint_mesh, trim_mesh
from helmsight.envs.parking.mujoco.ground import texture_size
from helmsight.envs.parking.mujoco.mesh import ATLAS_SIZE, Mesh
from helmsight.envs.parking.mujoco.scenery import Piece, ground_mesh
from helmsight.envs.parking.scenario import BOX_HEIGHT, BOX_LENGTH, BOX_WIDTH, CAR_LENGTH, CAR_WIDTH
from helmsight.envs.parking.vehicle import EGO

VISIBLE, EGO_GROUP, HIDDEN = 0, 1, 3
CAR_PARTS = ("paint", "trim", "far")


def box_mesh() -> Mesh:
    """A box of white cardboard on the ground, to be tinted."""
    x, y = BOX_LENGTH / 2.0, BOX_WIDTH / 2.0
    mesh = Mesh()
    mesh.block((-x, -y, 0.0), (x, y, BOX_HEIGHT), "paint", pattern="cardboard")
    return mesh


def assets(lot: Lot, pieces: list[Piece]) -> str:
    """Textures (blank until the renderer fills them), materials and meshes as MJCF."""
    height, width = texture_size(lot)
    scale = f"{EGO.length / CAR_LENGTH:.4f} {EGO.width / CAR_WIDTH:.4f} 1"
    meshes = [
        paint_mesh().mjcf("paint"),
        trim_mesh().mjcf("trim"),
        far_mesh().mjcf("far"),
        paint_mesh().mjcf("ego_paint").replace("<mesh ", f'<mesh scale="{scale}" '),
        trim_mesh().mjcf("ego_trim").replace("<mesh ", f'<mesh scale="{scale}" '),
        box_mesh().mjcf("box"),
        ground_mesh(lot).mjcf("ground"),
        *(piece.mesh.mjcf(piece.name) for piece in pieces),
    ]
    return f"""
<texture name="ground" type="2d" builtin="flat" width="{width}" height="{height}"/>
<texture name="atlas" type="2d" builtin="flat" width="{ATLAS_SIZE}" height="{ATLAS_SIZE}"/>
<material name="ground" texture="ground" specular="0" shininess="0" rgba="1 1 1 1"/>
<material name="atlas" texture="atlas" specular="0" shininess="0" rgba="1 1 1 1"/>
{"".join(meshes)}"""


def geom(name: str, mesh: str, material: str = "atlas", x: float = 0.0, group: int = 0) -> str:
    """A drawn geom without collisions or mass."""
    return (
        f'<geom name="{name}" type="mesh" mesh="{mesh}" material="{material}" rgba="1 1 1 1" '
        f'pos="{x} 0 0" contype="0" conaffinity="0" mass="0" group="{group}"/>'
    )


def world_geoms(pieces: list[Piece]) -> str:
    """Ground and scenery as MJCF."""
    ground = geom("look:ground", "ground", "ground")
    return ground + "".join(geom(f"look:{piece.name}", piece.name) for piece in pieces)


def car_geoms(index: int) -> str:
    """The parts of one parked car."""
    return "".join(geom(f"{part}:{index}", part) for part in CAR_PARTS)


def ego_geoms() -> str:
    """The ego car as other cameras see it."""
    return "".join(
        geom(f"ego_{part}", f"ego_{part}", x=EGO.center_offset, group=EGO_GROUP)
        for part in ("paint", "trim")
    )
