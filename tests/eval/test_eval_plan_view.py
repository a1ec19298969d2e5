import dataclasses
import math
import re
from xml.etree import ElementTree

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.scenario import make_scenario
from helmsight.eval.plan_view import all_paths, episode_plan, final_placements
from helmsight.eval.records import EpisodeRecord

# Episodes 0 and 8 have targets in the two rows on either side of the aisle.
SCENARIOS = {index: make_scenario("cluttered", "test", index) for index in (0, 8)}


def parked(index, shift=0.0):
    scenario = SCENARIOS[index]
    end = scenario.target.transform(Pose(shift, 0.0, 0.0))
    path = [list(scenario.start), list(end)]
    return EpisodeRecord(episode=index, outcome="TSR", success=True, path=path)


def centre_of(svg, kind):
    points = re.search(f'class="{kind}" points="([^"]+)"', svg).group(1)
    pairs = [tuple(map(float, point.split(","))) for point in points.split()]
    return tuple(sum(values) / len(values) for values in zip(*pairs, strict=True))


def test_plans_are_well_formed_and_show_what_stands_on_the_lot():
    svg = episode_plan(parked(0), SCENARIOS[0])
    root = ElementTree.fromstring(svg)
    kinds = [node.get("class") for node in root]
    assert kinds.count("box") == len(SCENARIOS[0].boxes)
    assert {"marking", "target", "car", "path", "ego start", "ego end"} <= set(kinds)


def test_the_target_slot_is_at_the_bottom_in_the_middle_in_both_rows():
    for index, scenario in SCENARIOS.items():
        x, y = centre_of(episode_plan(parked(index), scenario), "target")
        assert abs(x) < 0.01 and y > 5.0


def test_a_car_on_its_target_is_drawn_in_the_middle_of_the_slot():
    for index, scenario in SCENARIOS.items():
        svg = episode_plan(parked(index), scenario)
        assert math.dist(centre_of(svg, "target"), centre_of(svg, "ego end")) < 0.02


def test_a_placement_ahead_of_the_slot_lies_above_the_origin():
    for index in SCENARIOS:
        svg, outside = final_placements([parked(index, shift=0.5)], SCENARIOS)
        x, y = re.search(r'<circle cx="([^"]+)" cy="([^"]+)"', svg).groups()
        assert (float(x), float(y), outside) == (0.0, -0.5, 0)


def test_placements_beyond_the_chart_are_counted():
    svg, outside = final_placements([parked(0, shift=5.0)], SCENARIOS)
    assert outside == 1 and "<circle" not in svg


def test_the_overview_has_one_trace_an_episode_failures_on_top():
    failed = dataclasses.replace(parked(0), outcome="CR", success=False)
    svg = all_paths([failed, parked(8)], SCENARIOS)
    assert re.findall(r'class="trace o-(\w+)"', svg) == ["TSR", "CR"]
    ElementTree.fromstring(svg)
