"""The parking lot: four rows of slots as in CARLA's Town04_Opt, two of them face one aisle.

Lot frame: x along the aisle, y across it, origin in the middle of the aisle.
Row 0 is the outermost at positive y, row 3 the outermost at negative y; rows 1 and 2 face the
aisle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.vehicle import EGO

ROWS = 4
MIDDLE_ROWS = (1, 2)


@dataclass(frozen=True)
class Slot:
    """A parking slot. `entry_yaw` is the heading of a car in it that faces the aisle."""

    row: int
    column: int
    x: float
    y: float
    entry_yaw: float

    def target(self, approach: str) -> Pose:
        """Rear-axle pose of the ego car parked in the middle of the slot.

        A car that came in reverse faces the aisle, one that drove in forward faces away from it.
        """
        yaw = {"reverse": self.entry_yaw, "forward": self.entry_yaw + math.pi}[approach]
        return Pose(self.x, self.y, yaw).transform(Pose(-EGO.center_offset, 0.0, 0.0))


@dataclass(frozen=True)
class Lot:
    """Geometry of the lot in metres. The default aisle is the published benchmark's."""

    aisle_width: float = 5.4
    slot_width: float = 3.1
    slot_length: float = 5.5
    columns: int = 16
    # Between two rows that stand back to back: a kerbed strip with lamp posts.
    median_width: float = 1.2
    # Drivable margin beyond the rows' ends and behind the outer rows.
    border: float = 6.0

    def row_y(self, row: int) -> float:
        """y of the slots' centres in a row."""
        inner = (self.aisle_width + self.slot_length) / 2.0
        outer = inner + self.slot_length + self.median_width
        return (outer, inner, -inner, -outer)[row]

    def slot(self, row: int, column: int) -> Slot:
        x = (column - (self.columns - 1) / 2.0) * self.slot_width
        # Rows 1 and 2 open to the aisle between them, rows 0 and 3 to the outside.
        opens_down = row in (1, 3)
        entry_yaw = -math.pi / 2.0 if opens_down else math.pi / 2.0
        return Slot(row, column, x, self.row_y(row), entry_yaw)

    def slots(self) -> list[Slot]:
        """All slots, row by row."""
        return [self.slot(row, column) for row in range(ROWS) for column in range(self.columns)]

    @property
    def half_length(self) -> float:
        """Half extent of the lot along x, border included."""
        return self.columns * self.slot_width / 2.0 + self.border

    @property
    def half_width(self) -> float:
        """Half extent of the lot along y, border included."""
        return self.row_y(0) + self.slot_length / 2.0 + self.border

    def contains(self, x: float, y: float) -> bool:
        """Whether a point is on the lot, border included."""
        return abs(x) <= self.half_length and abs(y) <= self.half_width
