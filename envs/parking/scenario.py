"""Scenarios: the world of one parking episode, a pure function of (family, split, index).

Two families. `standard` has the published benchmark's geometry. `cluttered` has a 7 m aisle with
boxes in the way and neighbours that stand into the target slot, because the published one can be
driven nearly blind. The splits `test` and `shifted` hold the same 96 scenarios (16 target slots x
6 starts); only their appearances and sensor noise differ. `val_wide` is `val` in looks between
those of training and of `shifted`, so that policies can be chosen by how robust they are without
being shown what they are reported on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from helmsight.envs.geometry import Pose, Rectangle
from helmsight.envs.parking.appearance import (
    WIDE,
    Appearance,
    Colour,
    sample_appearance,
    sample_within,
)
from helmsight.envs.parking.lot import MIDDLE_ROWS, Lot, Slot
from helmsight.envs.parking.vehicle import EGO

# Their order is part of the scenarios' random numbers.
SPLITS = ("train", "val", "test", "shifted", "val_wide")
APPROACHES = ("reverse", "forward")
TEST_OFFSETS = (-8.0, -4.8, -1.6, 1.6, 4.8, 8.0)
TEST_COLUMNS = tuple(range(4, 12))
TEST_EPISODES = len(TEST_OFFSETS) * len(TEST_COLUMNS) * len(MIDDLE_ROWS)

BOX_LENGTH = BOX_WIDTH = 0.6
BOX_HEIGHT = 1.0
# What boxes leave free, or no car could get past them and turn into the slot: a straight lane along
# the aisle, and before the slot an area that is wider than it and deep enough to turn in.
BOX_LANE = 3.0
MOUTH_DEPTH, MOUTH_EXTRA_WIDTH = 4.4, 1.0
CAR_LENGTH, CAR_WIDTH = 4.6, 1.9
CAR_COLOURS: tuple[Colour, ...] = (
    (0.75, 0.76, 0.78),
    (0.09, 0.09, 0.10),
    (0.88, 0.88, 0.86),
    (0.36, 0.38, 0.41),
    (0.52, 0.08, 0.08),
    (0.10, 0.19, 0.42),
)
SHIFTED_CAR_COLOURS: tuple[Colour, ...] = (
    (0.85, 0.65, 0.10),
    (0.12, 0.42, 0.20),
    (0.80, 0.38, 0.08),
    (0.35, 0.66, 0.72),
    (0.45, 0.20, 0.50),
    (0.62, 0.52, 0.40),
)
# Of wide looks, beside those of training.
WIDE_CAR_COLOURS: tuple[Colour, ...] = (
    (0.80, 0.52, 0.56),
    (0.80, 0.12, 0.12),
    (0.28, 0.18, 0.13),
    (0.30, 0.50, 0.85),
    (0.42, 0.44, 0.22),
    (0.58, 0.60, 0.66),
)


@dataclass(frozen=True)
class Family:
    """What sets one family of scenarios apart."""

    name: str
    lot: Lot
    time_limit: float
    boxes: tuple[int, int]
    intruder_probability: float


FAMILIES = {
    "standard": Family("standard", Lot(), 30.0, (0, 0), 0.0),
    "cluttered": Family("cluttered", Lot(aisle_width=7.0), 40.0, (1, 3), 0.5),
}


@dataclass(frozen=True)
class ParkedCar:
    """A parked car: pose of its middle in the lot frame and body colour."""

    pose: Pose
    colour: Colour

    def footprint(self) -> Rectangle:
        return Rectangle(self.pose, CAR_LENGTH, CAR_WIDTH)


@dataclass(frozen=True)
class Box:
    """A cardboard-coloured box of 0.6 x 0.6 x 1 m standing on the ground."""

    pose: Pose
    colour: Colour

    def footprint(self) -> Rectangle:
        return Rectangle(self.pose, BOX_LENGTH, BOX_WIDTH)


@dataclass(frozen=True)
class Scenario:
    """One episode's world. Poses are in the lot frame; `start` is the rear axle's."""

    family: str
    split: str
    index: int
    approach: str
    lot: Lot
    target_slot: Slot
    start: Pose
    cars: tuple[ParkedCar, ...]
    boxes: tuple[Box, ...]
    appearance: Appearance
    time_limit: float
    seed: int

    @property
    def target(self) -> Pose:
        """Rear-axle pose of the ego car parked in the middle of the target slot."""
        return self.target_slot.target(self.approach)

    def obstacles(self) -> list[Rectangle]:
        """Footprints of everything that stands on the lot."""
        return [car.footprint() for car in self.cars] + [box.footprint() for box in self.boxes]


def make_scenario(family: str, split: str, index: int, approach: str = "reverse") -> Scenario:
    """The scenario `index` of a family and split; equal arguments give equal scenarios.

    Raises ValueError, naming what is allowed, for an unknown family, split or approach, or an
    index outside the split (`test` and `shifted` hold 96 scenarios, the others as many as asked).
    """
    refuse_wrong_scenario(family, split, index, approach)
    if split == "val_wide":
        return replace(wide_twin(make_scenario(family, "val", index, approach)), split=split)
    kind = FAMILIES[family]
    # `shifted` shares the geometry of `test`; its appearance and its noise are its own.
    geometry_split = "test" if split == "shifted" else split
    random = _random(family, geometry_split, index)
    slot, start = _slot_and_start(kind.lot, split, index, random)
    cars = _parked_cars(kind, slot, random)
    boxes = _boxes(kind, slot, start, random)
    looks = _random(family, split, index, 1)
    shifted = split == "shifted"
    return Scenario(
        family=family,
        split=split,
        index=index,
        approach=approach,
        lot=kind.lot,
        target_slot=slot,
        start=start,
        cars=_painted(cars, looks, SHIFTED_CAR_COLOURS if shifted else CAR_COLOURS),
        boxes=boxes,
        appearance=sample_appearance(looks, shifted),
        time_limit=kind.time_limit,
        seed=int(looks.integers(2**31)),
    )


def shifted_twin(scenario: Scenario) -> Scenario:
    """The same scenario in a look that training never shows; geometry and sensor noise stay.

    The look is drawn as the `shifted` split draws its own, and is a pure function of the scenario:
    driven by the same actions, both go through the same states and differ in their pictures alone.
    """
    looks = _random(scenario.family, scenario.split, scenario.index, 2)
    cars = _painted([car.pose for car in scenario.cars], looks, SHIFTED_CAR_COLOURS)
    return replace(scenario, cars=cars, appearance=sample_appearance(looks, shifted=True))


def wide_twin(scenario: Scenario) -> Scenario:
    """The same scenario in a look drawn from `WIDE`; geometry and sensor noise stay the same.

    Of the splits only `val_wide` has such looks; collections may. A pure function of the scenario.
    """
    looks = _random(scenario.family, scenario.split, scenario.index, 3)
    colours = CAR_COLOURS + WIDE_CAR_COLOURS
    cars = _painted([car.pose for car in scenario.cars], looks, colours)
    return replace(scenario, cars=cars, appearance=sample_within(WIDE, looks))


def _random(family: str, split: str, index: int, *purpose: int) -> np.random.Generator:
    """The scenario's own random numbers: of its geometry, or apart from them for a purpose."""
    key = (tuple(FAMILIES).index(family), SPLITS.index(split), index, *purpose)
    return np.random.default_rng(np.random.SeedSequence(20_260_101, spawn_key=key))


def refuse_wrong_scenario(family: str, split: str, index: int, approach: str) -> None:
    """Raises ValueError, naming what there is, for a scenario that does not exist."""
    for name, value, allowed in (
        ("family", family, tuple(FAMILIES)),
        ("split", split, SPLITS),
        ("approach", approach, APPROACHES),
    ):
        if value not in allowed:
            raise ValueError(f"unknown {name} {value!r}; expected one of {', '.join(allowed)}")
    if index < 0:
        raise ValueError(f"the scenario index must be 0 or more, got {index}")
    if split in ("test", "shifted") and index >= TEST_EPISODES:
        raise ValueError(f"split {split!r} holds scenarios 0 to {TEST_EPISODES - 1}, got {index}")


def _slot_and_start(
    lot: Lot, split: str, index: int, random: np.random.Generator
) -> tuple[Slot, Pose]:
    """Target slot and the start in the aisle, given by the offset of the body's middle.

    Training starts reach beyond the tested range: at its edge a car that never saw more turns in
    early and clips a neighbour.
    """
    heading = float(random.choice((0.0, math.pi)))
    if split in ("test", "shifted"):
        place, lap = index % 16, index // 16
        row = MIDDLE_ROWS[place // len(TEST_COLUMNS)]
        slot = lot.slot(row, TEST_COLUMNS[place % len(TEST_COLUMNS)])
        offset, across, yaw = TEST_OFFSETS[(place + lap) % len(TEST_OFFSETS)], 0.0, 0.0
    else:
        slot = lot.slot(int(random.choice(MIDDLE_ROWS)), int(random.integers(3, 13)))
        reach = 10.0 if split == "train" else 8.0
        offset = float(random.uniform(-reach, reach))
        across = float(random.uniform(-0.4, 0.4))
        yaw = math.radians(float(random.uniform(-6.0, 6.0)))
    middle = Pose(slot.x + offset, across, heading + yaw)
    return slot, middle.transform(Pose(-EGO.center_offset, 0.0, 0.0))


def _parked_cars(kind: Family, target: Slot, random: np.random.Generator) -> list[Pose]:
    """Poses of the parked cars: 21 to 63 of the shuffled slots, the target free, as published."""
    free = [slot for slot in kind.lot.slots() if slot != target]
    order = random.permutation(len(free))
    taken = [free[position] for position in order[: int(random.integers(21, 64))]]
    intruder = None
    if random.random() < kind.intruder_probability:
        side = int(random.choice((-1, 1)))
        intruder = kind.lot.slot(target.row, target.column + side)
        if intruder not in taken:
            taken[-1] = intruder
    poses = []
    for slot in taken:
        along, across = random.uniform(-0.3, 0.3), random.uniform(-0.15, 0.15)
        yaw = math.radians(float(random.uniform(-2.0, 2.0)))
        if random.random() < 0.5:
            yaw += math.pi
        pose = Pose(slot.x + across, slot.y + along, slot.entry_yaw + yaw)
        if slot == intruder:
            reach = (kind.lot.slot_width - CAR_WIDTH) / 2.0 + float(random.uniform(0.35, 0.6))
            pose = pose._replace(x=slot.x + math.copysign(reach, target.x - slot.x))
        poses.append(pose)
    return poses


def _boxes(kind: Family, target: Slot, start: Pose, random: np.random.Generator) -> tuple[Box, ...]:
    """Boxes in the aisle within 7 m of the target, clear of the start and of the slot's mouth.

    A lane of `BOX_LANE` along one side or the other stays free, so that they must be driven round
    but never wall the aisle off.
    """
    count = int(random.integers(kind.boxes[0], kind.boxes[1] + 1))
    half_aisle = kind.lot.aisle_width / 2.0
    mouth_y = math.copysign(half_aisle - MOUTH_DEPTH / 2.0, target.y)
    mouth_width = kind.lot.slot_width + MOUTH_EXTRA_WIDTH
    mouth = Rectangle(Pose(target.x, mouth_y, 0.0), mouth_width, MOUTH_DEPTH)
    kept_clear = [EGO.footprint(start, margin=0.9), mouth]
    boxes: list[Box] = []
    while len(boxes) < count:
        x = target.x + float(random.uniform(-7.0, 7.0))
        y = float(random.uniform(-half_aisle + 0.5, half_aisle - 0.5))
        pose = Pose(x, y, float(random.uniform(-math.pi, math.pi)))
        spaced = all(math.hypot(x - box.pose.x, y - box.pose.y) > 2.0 for box in boxes)
        footprint = Rectangle(pose, BOX_LENGTH, BOX_WIDTH)
        if (
            spaced
            and _free_lane(half_aisle, [footprint, *(box.footprint() for box in boxes)]) >= BOX_LANE
            and not any(footprint.overlaps(area) for area in kept_clear)
        ):
            tint = float(random.uniform(0.8, 1.1))
            boxes.append(Box(pose, (0.62 * tint, 0.47 * tint, 0.30 * tint)))
    return tuple(boxes)


def _free_lane(half_aisle: float, footprints: list[Rectangle]) -> float:
    """Width of the wider of the two straight lanes that footprints leave along the aisle."""
    y = np.concatenate([footprint.corners()[:, 1] for footprint in footprints])
    return float(max(half_aisle - y.max(), half_aisle + y.min()))


def _painted(
    poses: list[Pose], random: np.random.Generator, colours: tuple[Colour, ...]
) -> tuple[ParkedCar, ...]:
    cars = []
    for pose in poses:
        red, green, blue = colours[int(random.integers(len(colours)))]
        tint = float(random.uniform(0.85, 1.1))
        cars.append(ParkedCar(pose, (red * tint, green * tint, blue * tint)))
    return tuple(cars)
