"""The blueprints that the server offers: identifiers and attributes as CARLA has them.

One is its own: `static.prop.helmsight_looks` carries a scenario's appearance as JSON, which CARLA's
weather cannot say. A client that does not know it gets looks made from the weather.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BOOL, INT, FLOAT, STRING, COLOUR = 1, 2, 3, 4, 5
LOOKS = "static.prop.helmsight_looks"
# Role names of the car that drives.
HEROES = ("hero", "helmsight_ego")
VEHICLES = ("vehicle.lincoln.mkz_2017", "vehicle.tesla.model3", "vehicle.audi.a2")
BOXES = ("static.prop.box01", "static.prop.box02", "static.prop.box03")
RGB_CAMERA = "sensor.camera.rgb"
DEPTH_CAMERA = "sensor.camera.depth"
SEMANTIC_CAMERA = "sensor.camera.semantic_segmentation"
CAMERAS = (RGB_CAMERA, DEPTH_CAMERA, SEMANTIC_CAMERA)
IMU_SENSOR, GNSS_SENSOR = "sensor.other.imu", "sensor.other.gnss"
COLLISION_SENSOR = "sensor.other.collision"


@dataclass(frozen=True)
class Attribute:
    """One attribute of a blueprint; values are text, whatever the type."""

    name: str
    kind: int
    value: str
    recommended: tuple[str, ...] = ()
    modifiable: bool = True

    def packed(self) -> list[Any]:
        """`ActorAttribute` for the wire."""
        return [self.name, self.kind, self.value, list(self.recommended), self.modifiable, False]


@dataclass(frozen=True)
class Blueprint:
    """A kind of actor."""

    name: str
    attributes: tuple[Attribute, ...]

    def packed(self, number: int) -> list[Any]:
        """`ActorDefinition` for the wire."""
        tags = ",".join(self.name.split("."))
        return [number, self.name, tags, [attribute.packed() for attribute in self.attributes]]


def _vehicle(name: str) -> Blueprint:
    return Blueprint(
        name,
        (
            Attribute("role_name", STRING, "autopilot", ("autopilot", "scenario", *HEROES)),
            Attribute("color", COLOUR, "190,194,199", ("190,194,199", "23,23,26", "133,20,20")),
            Attribute("number_of_wheels", INT, "4", modifiable=False),
            Attribute("base_type", STRING, "car", modifiable=False),
            Attribute("generation", INT, "2", modifiable=False),
            Attribute("sticky_control", BOOL, "true"),
        ),
    )


def _sensor(name: str, *attributes: Attribute) -> Blueprint:
    return Blueprint(name, (Attribute("role_name", STRING, "front"), *attributes))


def _camera(name: str) -> Blueprint:
    return _sensor(
        name,
        Attribute("image_size_x", INT, "800"),
        Attribute("image_size_y", INT, "600"),
        Attribute("fov", FLOAT, "90.0"),
    )


BLUEPRINTS = (
    *(_vehicle(name) for name in VEHICLES),
    *(Blueprint(name, (Attribute("role_name", STRING, "prop"),)) for name in BOXES),
    Blueprint(LOOKS, (Attribute("role_name", STRING, "prop"), Attribute("looks", STRING, ""))),
    *(_camera(name) for name in CAMERAS),
    *(_sensor(name) for name in (IMU_SENSOR, GNSS_SENSOR, COLLISION_SENSOR)),
)
BY_NAME = {blueprint.name: blueprint for blueprint in BLUEPRINTS}
