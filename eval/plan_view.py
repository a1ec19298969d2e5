"""Plan views as SVG: an episode's path on its lot, all paths at once, where cars came to stand.

Drawn in metres; strokes keep their width at any size and colours come from the page's style sheet
through the classes `o-<outcome>`. Views are turned by half a turn where needed, never mirrored, so
that the target slot is always at the bottom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from helmsight.envs.geometry import Pose, Rectangle
from helmsight.envs.parking.lot import Slot
from helmsight.envs.parking.scenario import CAR_LENGTH, CAR_WIDTH, Scenario
from helmsight.envs.parking.task import NEAR_TOLERANCE, SUCCESS_TOLERANCE, placement_error
from helmsight.envs.parking.vehicle import EGO
from helmsight.eval.records import EpisodeRecord

HALF_VIEW_X, HALF_VIEW_Y = 14.0, 9.6
SCATTER_RANGE = 2.4


def shared_shapes() -> str:
    """An invisible SVG with the shapes that the plans refer to; once a page."""
    parked = _rounded(CAR_LENGTH, CAR_WIDTH, 0.55)
    return (
        '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
        f'<path id="parked" d="{parked}"/></defs></svg>'
    )


def episode_plan(record: EpisodeRecord, scenario: Scenario) -> str:
    """The lot around the target slot, what stands on it, the car's path, its start and its end."""
    view = _View(scenario.target_slot)
    parts = [_lot_lines(scenario, view), _target(scenario, view)]
    parts += [
        _use("parked", view.turned(car.pose))
        for car in scenario.cars
        if view.shows(car.pose.x, car.pose.y)
    ]
    parts += [_polygon(view.rectangle(box.footprint()), "box") for box in scenario.boxes]
    poses = [view.turned(Pose(*pose)) for pose in record.path]
    if poses:
        parts.append(_outline(poses[0], "start"))
        parts.append(_path_line(poses))
        parts.append(_outline(poses[-1], "end"))
        parts.append(_nose(poses[-1]))
    label = f"Plan of episode {record.episode}, outcome {record.outcome or 'error'}"
    box = f"{-HALF_VIEW_X} {-HALF_VIEW_Y} {2 * HALF_VIEW_X} {2 * HALF_VIEW_Y}"
    return _svg(box, f"plan o-{escape(record.outcome or 'error')}", label, parts)


def all_paths(records: Sequence[EpisodeRecord], scenarios: dict[int, Scenario]) -> str:
    """Every path in one picture, moved so that all target slots lie on each other."""
    drawn = [record for record in records if record.path and record.episode in scenarios]
    if not drawn:
        return ""
    scenario = scenarios[drawn[0].episode]
    view = _View(scenario.target_slot)
    parts = [_lot_lines(scenario, view), _target(scenario, view)]
    # Successes first, so that what went wrong lies on top.
    for record in sorted(drawn, key=lambda record: not record.success):
        own = _View(scenarios[record.episode].target_slot)
        poses = [own.turned(Pose(*pose)) for pose in record.path]
        line = _path_line(poses)
        end = _point(poses[-1])
        parts.append(
            f'<g class="trace o-{escape(record.outcome)}" data-episode="{record.episode}">'
            f"<title>Episode {record.episode}: {escape(record.outcome)}</title>"
            f'{line}<circle cx="{end[0]}" cy="{end[1]}" r="0.14"/></g>'
        )
    box = f"{-HALF_VIEW_X} {-HALF_VIEW_Y} {2 * HALF_VIEW_X} {2 * HALF_VIEW_Y}"
    return _svg(box, "plan overview", "Paths of all episodes, seen from the target slot", parts)


def final_placements(
    records: Sequence[EpisodeRecord], scenarios: dict[int, Scenario]
) -> tuple[str, int]:
    """Where each car ended, in the frame of its target slot; and how many lie outside the chart."""
    reach = SCATTER_RANGE
    parts = [_tolerance(NEAR_TOLERANCE, "near"), _tolerance(SUCCESS_TOLERANCE, "within")]
    parts += _axes(reach)
    outside = 0
    for record in records:
        scenario = scenarios.get(record.episode)
        if scenario is None or not record.path:
            continue
        error = placement_error(scenario.target_slot, scenario.approach, Pose(*record.path[-1]))
        if max(abs(error.lateral), abs(error.longitudinal)) > reach:
            outside += 1
            continue
        x, y = _number(-error.lateral), _number(-error.longitudinal)
        degrees = math.degrees(error.yaw)
        parts.append(
            f'<g class="dot o-{escape(record.outcome)}" data-episode="{record.episode}">'
            f"<title>Episode {record.episode}: {escape(record.outcome)}, longitudinal "
            f"{error.longitudinal:+.2f} m, lateral {error.lateral:+.2f} m, {degrees:+.1f}°</title>"
            f'<circle cx="{x}" cy="{y}" r="0.055"/></g>'
        )
    edge = reach + 0.5
    box = f"{-edge} {-edge} {2 * edge} {2 * edge}"
    return _svg(box, "scatter", "Final placements in the target slot's frame", parts), outside


class _View:
    """The frame of the picture: the target slot's column in the middle, its row at the bottom."""

    def __init__(self, target: Slot) -> None:
        self._center = target.x
        self._turn = 1.0 if target.y < 0.0 else -1.0

    def turned(self, pose: Pose) -> Pose:
        yaw = pose.yaw if self._turn > 0.0 else pose.yaw + math.pi
        return Pose(self._turn * (pose.x - self._center), self._turn * pose.y, yaw)

    def rectangle(self, rectangle: Rectangle) -> Rectangle:
        return rectangle._replace(center=self.turned(rectangle.center))

    def shows(self, x: float, y: float) -> bool:
        return abs(x - self._center) < HALF_VIEW_X + 3.0 and abs(y) < HALF_VIEW_Y + 3.0


def _lot_lines(scenario: Scenario, view: _View) -> str:
    lot = scenario.lot
    strokes = []
    for slot in (slot for slot in lot.slots() if slot.row in (1, 2) and view.shows(slot.x, slot.y)):
        for side in (-lot.slot_width / 2.0, lot.slot_width / 2.0):
            start = Pose(slot.x + side, slot.y - lot.slot_length / 2.0, 0.0)
            end = Pose(slot.x + side, slot.y + lot.slot_length / 2.0, 0.0)
            (x1, y1), (x2, y2) = _point(view.turned(start)), _point(view.turned(end))
            strokes.append(f"M{x1} {y1}L{x2} {y2}")
    # Where two rows stand back to back: the kerb of the strip between them.
    kerb = _number(lot.aisle_width / 2.0 + lot.slot_length)
    strokes += [f"M-60 {sign}{kerb}H60" for sign in ("", "-")]
    return f'<path class="marking" d="{"".join(dict.fromkeys(strokes))}"/>'


def _target(scenario: Scenario, view: _View) -> str:
    slot, lot = scenario.target_slot, scenario.lot
    area = Rectangle(Pose(slot.x, slot.y, slot.entry_yaw), lot.slot_length, lot.slot_width)
    return _polygon(view.rectangle(area), "target")


def _path_line(poses: Sequence[Pose]) -> str:
    """The path of the rear axle, one point every 0.2 s and the last."""
    points = [_point(pose) for pose in (*poses[:-1:2], poses[-1])]
    moved = [
        point for index, point in enumerate(points) if index == 0 or point != points[index - 1]
    ]
    return f'<polyline class="path" points="{" ".join(f"{x},{y}" for x, y in moved)}"/>'


def _outline(rear_axle: Pose, kind: str) -> str:
    return _polygon(EGO.footprint(rear_axle), f"ego {kind}")


def _nose(rear_axle: Pose) -> str:
    screen = rear_axle.transform(Pose(EGO.front - 1.35, 0.0, 0.0))
    return _polygon(Rectangle(screen, 0.5, EGO.width - 0.45), "nose")


def _polygon(rectangle: Rectangle, kind: str) -> str:
    points = " ".join(f"{_number(x)},{_number(-y)}" for x, y in rectangle.corners())
    return f'<polygon class="{kind}" points="{points}"/>'


def _use(name: str, pose: Pose) -> str:
    x, y = _point(pose)
    turn = _number(-math.degrees(pose.yaw) % 360.0)
    return f'<use class="car" href="#{name}" transform="translate({x} {y}) rotate({turn})"/>'


def _rounded(length: float, width: float, radius: float) -> str:
    a, b = length / 2.0 - radius, width / 2.0 - radius
    return (
        f"M{-a} {-b - radius}H{a}a{radius} {radius} 0 0 1 {radius} {radius}V{b}"
        f"a{radius} {radius} 0 0 1 {-radius} {radius}H{-a}"
        f"a{radius} {radius} 0 0 1 {-radius} {-radius}V{-b}"
        f"a{radius} {radius} 0 0 1 {radius} {-radius}z"
    )


def _tolerance(tolerance: tuple[float, float, float], kind: str) -> str:
    longitudinal, lateral = tolerance[:2]
    return (
        f'<rect class="{kind}" x="{-lateral}" y="{-longitudinal}" '
        f'width="{2 * lateral}" height="{2 * longitudinal}"/>'
    )


def _axes(reach: float) -> list[str]:
    parts = [
        f'<path class="axis" d="M{-reach} 0H{reach}M0 {-reach}V{reach}"/>',
        f'<text class="name" x="0" y="{reach + 0.42}">lateral error (m), left is left</text>',
        f'<text class="name" transform="translate({-reach - 0.3} 0) rotate(-90)">'
        "longitudinal error (m), the car's front is up</text>",
    ]
    for tick in np.arange(-2.0, 2.5, 1.0):
        said = "0" if tick == 0 else f"{tick:+.0f}".replace("-", "\u2212")
        parts.append(f'<text class="tick" x="{_number(tick)}" y="{reach + 0.16}">{said}</text>')
        parts.append(
            f'<text class="tick" x="{-reach - 0.1}" y="{_number(0.05 - tick)}">{said}</text>'
        )
    return parts


def _svg(box: str, kind: str, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="{kind}" viewBox="{box}" role="img" aria-label="{escape(label)}" '
        f'preserveAspectRatio="xMidYMid slice">{"".join(parts)}</svg>'
    )


def _point(pose: Pose) -> tuple[str, str]:
    """SVG coordinates: its y points down."""
    return _number(pose.x), _number(-pose.y)


def _number(value: float) -> str:
    """Two decimals, without trailing zeros or a negative zero."""
    text = f"{float(value):.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
