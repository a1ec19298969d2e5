"""Lots of CARLA maps as data: which map, and where each slot's middle is in its world.

Files of `lots/` come with the package; a file of one's own has the same form:

    map          name of the CARLA map, such as Town04_Opt
    family       the scenario family whose lot this is ("standard" or "cluttered")
    aisle_yaw    direction of the lot frame's x axis, CARLA's degrees
    ground       height of the ground, metres
    rows_axis    "x" or "y": the world's axis along which the rows differ
    rows         that coordinate of the four rows, metres, row 0 first
    columns      the other coordinate of each column, metres, column 0 first
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.carla.frame import WorldFrame
from helmsight.envs.parking.lot import ROWS, Slot
from helmsight.envs.parking.scenario import FAMILIES, Scenario

_KEYS = ("map", "family", "aisle_yaw", "ground", "rows_axis", "rows", "columns")


@dataclass(frozen=True)
class LotMap:
    """A lot in a CARLA map. Fields as in the module's list."""

    map: str
    family: str
    aisle_yaw: float
    ground: float
    rows_axis: str
    rows: tuple[float, ...]
    columns: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"lot of {self.map}: unknown family {self.family!r}")
        if self.rows_axis not in ("x", "y"):
            raise ValueError(f"lot of {self.map}: rows_axis must be x or y, got {self.rows_axis!r}")
        columns = FAMILIES[self.family].lot.columns
        if (len(self.rows), len(self.columns)) != (ROWS, columns):
            raise ValueError(
                f"lot of {self.map}: expected {ROWS} rows and {columns} columns, got "
                f"{len(self.rows)} and {len(self.columns)}"
            )

    def slot_center(self, slot: Slot) -> tuple[float, float]:
        """(x, y) of a slot's middle in CARLA's world, metres."""
        row, column = self.rows[slot.row], self.columns[slot.column]
        return (row, column) if self.rows_axis == "x" else (column, row)

    def frame(self, scenario: Scenario) -> WorldFrame:
        """The lot frame of a scenario in CARLA's world, fixed to the target slot's middle.

        The lot of a scenario has slots of one width; a real one's vary. Everything of the scenario
        is placed rigidly about the target slot, so that labels and planned paths hold where the car
        drives; only painted lines farther away do not meet the parked cars' middles.

        Raises ValueError for a scenario of another lot.
        """
        if scenario.lot != FAMILIES[self.family].lot:
            raise ValueError(
                f"map {self.map} has the {self.family} lot; a scenario of the family "
                f"{scenario.family!r} does not fit on it"
            )
        slot = scenario.target_slot
        x, y = self.slot_center(slot)
        turned = WorldFrame(0.0, 0.0, self.aisle_yaw).to_world(Pose(slot.x, slot.y, 0.0))
        return WorldFrame(x - turned.x, y - turned.y, self.aisle_yaw)


def packaged_lots() -> list[str]:
    """Names of the lots that come with the package."""
    folder = files("helmsight.envs.parking.carla") / "lots"
    return sorted(Path(entry.name).stem for entry in folder.iterdir())


def load_lot_map(name: str) -> LotMap:
    """A lot by its packaged name, or from a JSON file.

    Raises FileNotFoundError for neither, ValueError, naming file and key, for a file of another
    form.
    """
    if name in packaged_lots():
        text = (files("helmsight.envs.parking.carla") / "lots" / f"{name}.json").read_text("utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text("utf-8")
    else:
        raise FileNotFoundError(
            f"lot={name} is neither a file nor one of {', '.join(packaged_lots())}"
        )
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"lot={name} is not JSON: {error}") from None
    missing = [key for key in _KEYS if not isinstance(data, dict) or key not in data]
    if missing:
        raise ValueError(f"lot={name} lacks {', '.join(missing)}")
    return _lot_map(data)


def _lot_map(data: dict[str, Any]) -> LotMap:
    return LotMap(
        map=str(data["map"]),
        family=str(data["family"]),
        aisle_yaw=float(data["aisle_yaw"]),
        ground=float(data["ground"]),
        rows_axis=str(data["rows_axis"]),
        rows=tuple(float(value) for value in data["rows"]),
        columns=tuple(float(value) for value in data["columns"]),
    )
