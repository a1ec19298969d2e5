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


def geom(
    name: str,
    mesh: str,
    material: str | None = "atlas",
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0),
    x: float = 0.0,
    group: int = VISIBLE,
) -> str:
    """A drawn geom without collisions or mass. Without a material it is drawn a third faster."""
    texture = f'material="{material}"' if material else ""
    return (
        f'<geom name="{name}" type="mesh" mesh="{mesh}" {texture} pos="{x} 0 0" '
        f'rgba="{colour[0]} {colour[1]} {colour[2]} 1" contype="0" conaffinity="0" mass="0" '
        f'group="{group}"/>'
    )


def surroundings(pieces: list[Piece]) -> str:
    """Ground and scenery as the model's last body: what stands before them is drawn first."""
    geoms = [
        geom(
            f"look:{piece.name}",
            piece.name,
            None if piece.colour else "atlas",
            piece.colour or (1, 1, 1),
        )
        for piece in pieces
    ]
    ground = geom("look:ground", "ground", "ground")
    return f'<body name="surroundings">{"".join(geoms)}{ground}</body>'


def car_geoms(index: int) -> str:
    """The parts of one parked car."""
    return "".join(
        geom(f"{part}:{index}", part, None if part == "paint" else "atlas") for part in CAR_PARTS
    )


def ego_geoms() -> str:
    """The ego car as other cameras see it."""
    return "".join(
        geom(
            f"ego_{part}",
            f"ego_{part}",
            None if part == "paint" else "atlas",
            x=EGO.center_offset,
            group=EGO_GROUP,
        )
        for part in ("paint", "trim")
    )
