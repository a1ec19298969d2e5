"""The model that is drawn: textures, meshes and mocap bodies, with no physics in it.

It is apart from the model that is driven, so that neither pays for the other.
"""

from __future__ import annotations

import mujoco

from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco.car_mesh import far_mesh, paint_mesh, trim_mesh
from helmsight.envs.parking.mujoco.ground import texture_size
from helmsight.envs.parking.mujoco.mesh import ATLAS_SIZE, Mesh
from helmsight.envs.parking.mujoco.obstacles import MAX_BOXES, MAX_CARS, mocap_bodies
from helmsight.envs.parking.mujoco.scenery import Piece, ground_mesh
from helmsight.envs.parking.scenario import BOX_HEIGHT, BOX_LENGTH, BOX_WIDTH, CAR_LENGTH, CAR_WIDTH
from helmsight.envs.parking.vehicle import EGO

CAR_PARTS = ("paint", "trim", "far")
EGO_PARTS = ("ego_paint", "ego_trim")
# The ego car's mocap body comes after the obstacles'.
EGO_MOCAP = MAX_CARS + MAX_BOXES


def build_visual_model(lot: Lot, pieces: list[Piece]) -> mujoco.MjModel:
    """Compile what is drawn of a lot; textures stay blank until the renderer fills them."""
    cars = [
        "".join(_geom(f"{part}:{index}", part) for part in CAR_PARTS) for index in range(MAX_CARS)
    ]
    boxes = [_geom(f"cardboard:{index}", "box") for index in range(MAX_BOXES)]
    ego = "".join(_geom(part, part, x=EGO.center_offset) for part in EGO_PARTS)
    # What stands before the ground is drawn first, so that no pixel of ground is drawn in vain.
    surroundings = "".join(_scenery_geom(piece) for piece in pieces)
    return mujoco.MjModel.from_xml_string(f"""
<mujoco model="parking_pictures">
  <visual><headlight active="0"/><quality offsamples="0"/></visual>
  <asset>{_assets(lot, pieces)}</asset>
  <worldbody>
    <light name="sun" type="directional" castshadow="false" specular="0 0 0"/>
    {mocap_bodies(cars, boxes)}
    <body name="ego" mocap="true">{ego}</body>
    <body name="surroundings">{surroundings}{_geom("look:ground", "ground", "ground")}</body>
  </worldbody>
</mujoco>""")


def _assets(lot: Lot, pieces: list[Piece]) -> str:
    height, width = texture_size(lot)
    scale = (EGO.length / CAR_LENGTH, EGO.width / CAR_WIDTH, 1.0)
    meshes = [
        paint_mesh().mjcf("paint"),
        trim_mesh().mjcf("trim"),
        far_mesh().mjcf("far"),
        paint_mesh().mjcf("ego_paint", scale),
        trim_mesh().mjcf("ego_trim", scale),
        _box_mesh().mjcf("box"),
        ground_mesh(lot).mjcf("ground"),
        *(piece.mesh.mjcf(piece.name) for piece in pieces),
    ]
    return f"""
<texture name="ground" type="2d" builtin="flat" width="{width}" height="{height}"/>
<texture name="atlas" type="2d" builtin="flat" width="{ATLAS_SIZE}" height="{ATLAS_SIZE}"/>
<material name="ground" texture="ground" specular="0" shininess="0" rgba="1 1 1 1"/>
<material name="atlas" texture="atlas" specular="0" shininess="0" rgba="1 1 1 1"/>
{"".join(meshes)}"""


def _box_mesh() -> Mesh:
    """A box of white cardboard on the ground, to be tinted."""
    x, y = BOX_LENGTH / 2.0, BOX_WIDTH / 2.0
    mesh = Mesh()
    mesh.block((-x, -y, 0.0), (x, y, BOX_HEIGHT), "paint", pattern="cardboard")
    return mesh


def _scenery_geom(piece: Piece) -> str:
    return _geom(f"look:{piece.name}", piece.name, None if piece.colour else "atlas", piece.colour)


def _geom(
    name: str,
    mesh: str,
    material: str | None = "atlas",
    colour: tuple[float, float, float] | None = None,
    x: float = 0.0,
) -> str:
    """A drawn geom. Without a texture it is cheaper, so plain meshes go without."""
    plain = material is None or mesh.endswith("paint")
    red, green, blue = colour or (1.0, 1.0, 1.0)
    return (
        f'<geom name="{name}" type="mesh" mesh="{mesh}" pos="{x} 0 0" '
        f'rgba="{red} {green} {blue} 1" contype="0" conaffinity="0" mass="0" '
        + ("/>" if plain else f'material="{material}"/>')
    )
