"""What stands on the lot for good: wheel stops, medians with hedges, lamp posts, edge barriers.

Plain geometry in the lot frame, for the collision model and for the pictures alike.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

from helmsight.envs.geometry import Pose, Rectangle
from helmsight.envs.parking.lot import Lot, Slot

# From the slot's middle to the stop's. The wheels of a car in the slot's middle stay 0.5 m clear of
# it whichever way it faces, and its body passes above.
WHEEL_STOP_DISTANCE = 2.4
WHEEL_STOP_LENGTH, WHEEL_STOP_DEPTH, WHEEL_STOP_HEIGHT = 1.8, 0.16, 0.12
KERB_HEIGHT = 0.15
HEDGE_WIDTH, HEDGE_HEIGHT = 0.5, 0.75
POST_RADIUS, POST_HEIGHT = 0.09, 5.0
POST_SPACING = 12.4
PLINTH_WIDTH, PLINTH_HEIGHT = 0.5, 0.8
HEDGE_GAP = 0.8
BARRIER_THICKNESS, BARRIER_HEIGHT = 0.5, 2.0


class Block(NamedTuple):
    """An upright block: what it is, its plan, and its top above the ground in metres.

    kind is what a collision with it is called; part names the piece of furniture.
    """

    kind: str
    part: str
    plan: Rectangle
    top: float


def wheel_stop(slot: Slot) -> Block:
    """The low concrete beam across the closed end of a slot."""
    away = slot.entry_yaw + math.pi
    center = Pose(slot.x, slot.y, away).transform(Pose(WHEEL_STOP_DISTANCE, 0.0, 0.0))
    plan = Rectangle(center, WHEEL_STOP_DEPTH, WHEEL_STOP_LENGTH)
    return Block("kerb", "wheel_stop", plan, WHEEL_STOP_HEIGHT)


def median_ys(lot: Lot) -> tuple[float, float]:
    """y of the middles of the strips between rows that stand back to back."""
    middle = (lot.row_y(0) + lot.row_y(1)) / 2.0
    return middle, -middle


def post_positions(lot: Lot) -> list[tuple[float, float]]:
    """Where the lamp posts stand, (x, y)."""
    half = lot.columns * lot.slot_width / 2.0
    count = int(2.0 * half / POST_SPACING) + 1
    spacing = 2.0 * half / count
    xs = [(index + 0.5) * spacing - half for index in range(count)]
    return [(x, y) for y in median_ys(lot) for x in xs]


def blocks(lot: Lot) -> list[Block]:
    """All furniture of a lot as blocks, lamp posts as their bounding squares."""
    found = [wheel_stop(slot) for slot in lot.slots()]
    row_length = lot.columns * lot.slot_width
    for y in median_ys(lot):
        found.append(
            Block(
                "kerb",
                "median",
                Rectangle(Pose(0, y, 0), row_length, lot.median_width),
                KERB_HEIGHT,
            )
        )
        found.extend(_hedges(lot, y))
    for x, y in post_positions(lot):
        plinth = Rectangle(Pose(x, y, 0), PLINTH_WIDTH, PLINTH_WIDTH)
        found.append(Block("post", "plinth", plinth, PLINTH_HEIGHT))
        side = 2.0 * POST_RADIUS
        found.append(Block("post", "post", Rectangle(Pose(x, y, 0), side, side), POST_HEIGHT))
    return found + _barriers(lot)


def _hedges(lot: Lot, y: float) -> list[Block]:
    """The hedges on the median at y, with a gap round every lamp post."""
    end = lot.columns * lot.slot_width / 2.0 - 0.5 + HEDGE_GAP
    ends = sorted([-end, end, *(x for x, post_y in post_positions(lot) if post_y == y)])
    return [
        Block(
            "kerb",
            "hedge",
            Rectangle(Pose((x0 + x1) / 2.0, y, 0), x1 - x0 - 2.0 * HEDGE_GAP, HEDGE_WIDTH),
            HEDGE_HEIGHT,
        )
        for x0, x1 in itertools.pairwise(ends)
    ]


def _barriers(lot: Lot) -> list[Block]:
    """Invisible walls round the lot: scenery without collision would let the car drive away."""
    out = BARRIER_THICKNESS / 2.0
    length = 2.0 * (lot.half_length + BARRIER_THICKNESS)
    width = 2.0 * lot.half_width
    plans = []
    for side in (-1.0, 1.0):
        plans.append(
            Rectangle(Pose(0, side * (lot.half_width + out), 0), length, BARRIER_THICKNESS)
        )
        plans.append(
            Rectangle(Pose(side * (lot.half_length + out), 0, 0), BARRIER_THICKNESS, width)
        )
    return [Block("barrier", "barrier", plan, BARRIER_HEIGHT) for plan in plans]
