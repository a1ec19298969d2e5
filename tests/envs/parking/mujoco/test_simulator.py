"""The car drives like a bicycle, stands still, and notices what it hits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pytest

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.mujoco import MujocoParkingSimulator
from helmsight.envs.parking.mujoco.furniture import median_ys, post_positions
from helmsight.envs.parking.scenario import Box, ParkedCar, Scenario, make_scenario
from helmsight.envs.parking.simulator import VehicleCommand, VehicleState
from helmsight.envs.parking.vehicle import EGO, parking_embodiment

COAST = VehicleCommand(0.0, 0.0, False)
GREY = (0.5, 0.5, 0.5)
ORIGIN = Pose(0.0, 0.0, 0.0)
# A lot on which one can drive circles.
WIDE = Lot(aisle_width=30.0)


@pytest.fixture(scope="module")
def simulator() -> Iterator[MujocoParkingSimulator]:
    simulator = MujocoParkingSimulator(render=False)
    yield simulator
    simulator.close()


def scenario_at(
    start: Pose,
    cars: tuple[ParkedCar, ...] = (),
    boxes: tuple[Box, ...] = (),
    lot: Lot | None = None,
) -> Scenario:
    scenario = make_scenario("standard", "train", 0)
    return dataclasses.replace(
        scenario, start=start, cars=cars, boxes=boxes, lot=lot or scenario.lot
    )


def drive(
    simulator: MujocoParkingSimulator, command: VehicleCommand, periods: int
) -> list[VehicleState]:
    states = []
    for _ in range(periods):
        simulator.step(command)
        states.append(simulator.vehicle_state())
    return states


def wild_commands(seed: int, count: int) -> list[VehicleCommand]:
    random = np.random.default_rng(seed)
    return [
        VehicleCommand(float(a), float(s), bool(r > 0.7))
        for a, s, r in zip(
            random.uniform(-1, 1, count),
            random.uniform(-1, 1, count),
            random.uniform(0, 1, count),
            strict=True,
        )
    ]


def test_after_reset_everything_repeats_to_the_bit(simulator: MujocoParkingSimulator) -> None:
    def run() -> list[object]:
        simulator.reset(make_scenario("cluttered", "train", 3))
        seen: list[object] = [simulator.vehicle_state(), simulator.sensors()]
        for command in wild_commands(1, 40):
            simulator.step(command)
            seen += [simulator.vehicle_state(), simulator.sensors(), simulator.collision()]
        return seen

    first = run()
    simulator.reset(make_scenario("standard", "train", 5))
    drive(simulator, VehicleCommand(-0.5, 1.0, True), 10)
    assert run() == first


def test_two_simulators_agree_to_the_bit(simulator: MujocoParkingSimulator) -> None:
    other = MujocoParkingSimulator(render=False)
    scenario = make_scenario("standard", "val", 2)
    for one in (simulator, other):
        one.reset(scenario)
    for command in wild_commands(2, 20):
        simulator.step(command)
        other.step(command)
        assert simulator.vehicle_state() == other.vehicle_state()
    other.close()


def test_a_car_left_alone_stays_where_it_is(simulator: MujocoParkingSimulator) -> None:
    start = Pose(1.0, 0.3, 0.4)
    simulator.reset(scenario_at(start))
    for state in drive(simulator, COAST, 30):
        assert abs(state.speed) * 3.6 < 1e-3
        assert math.dist(state.pose[:2], start[:2]) < 1e-4


@pytest.mark.parametrize("brake", [0.0, -0.2, -1.0])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_slow_car_comes_to_a_true_standstill(
    simulator: MujocoParkingSimulator, brake: float, reverse: bool
) -> None:
    simulator.reset(scenario_at(ORIGIN))
    drive(simulator, VehicleCommand(0.3, 0.0, reverse), 2)
    seconds_to_stop = 0.2 / max(0.15, 6.0 * -brake)
    states = drive(simulator, VehicleCommand(brake, 0.0, reverse), int(seconds_to_stop * 10) + 8)
    assert abs(states[-1].speed) * 3.6 < 1e-3


def test_steering_at_standstill_does_not_move_the_car(simulator: MujocoParkingSimulator) -> None:
    simulator.reset(scenario_at(ORIGIN))
    states = drive(simulator, VehicleCommand(0.0, 1.0, False), 10)
    assert states[-1].steering_angle == pytest.approx(EGO.max_steering_angle, abs=0.005)
    assert math.hypot(*states[-1].pose[:2]) < 0.005


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (VehicleCommand(1.0, 0.0, False), 2.5),
        (VehicleCommand(1.0, 0.0, True), -2.5),
        (VehicleCommand(0.5, 0.0, False), 1.175),
    ],
)
def test_throttle_gives_its_acceleration(
    simulator: MujocoParkingSimulator, command: VehicleCommand, expected: float
) -> None:
    simulator.reset(scenario_at(ORIGIN))
    state = drive(simulator, command, 8)[-1]
    assert state.acceleration[0] == pytest.approx(expected, rel=0.02)
    assert state.speed == pytest.approx(0.8 * expected, rel=0.03)


@pytest.mark.parametrize(("acceleration", "expected"), [(0.0, -0.15), (-0.5, -3.15), (-1.0, -6.15)])
def test_brake_and_coasting_slow_the_car(
    simulator: MujocoParkingSimulator, acceleration: float, expected: float
) -> None:
    simulator.reset(scenario_at(Pose(-10.0, 0.0, 0.0)))
    drive(simulator, VehicleCommand(1.0, 0.0, False), 10)
    state = drive(simulator, VehicleCommand(acceleration, 0.0, False), 2)[-1]
    assert state.acceleration[0] == pytest.approx(expected, rel=0.03)


def test_steering_turns_no_faster_than_its_rate(simulator: MujocoParkingSimulator) -> None:
    simulator.reset(scenario_at(ORIGIN))
    angles = [0.0] + [
        state.steering_angle for state in drive(simulator, VehicleCommand(0.0, 1.0, False), 8)
    ]
    rates = np.diff(angles) / 0.1
    assert rates.max() < 1.55
    assert rates.max() > 1.2


def test_steering_left_turns_left_forwards_and_the_other_way_in_reverse(
    simulator: MujocoParkingSimulator,
) -> None:
    for reverse, sign in ((False, 1.0), (True, -1.0)):
        simulator.reset(scenario_at(ORIGIN, lot=WIDE))
        state = drive(simulator, VehicleCommand(0.5, 0.5, reverse), 15)[-1]
        assert sign * state.yaw_rate > 0.1
        assert sign * state.pose.yaw > 0.05


def test_full_lock_drives_the_ideal_circle(simulator: MujocoParkingSimulator) -> None:
    simulator.reset(scenario_at(ORIGIN, lot=WIDE))
    points = []
    for period in range(250):
        slow = simulator.vehicle_state().speed < 1.5
        simulator.step(VehicleCommand(0.3 if slow else 0.05, 1.0, False))
        if period > 30:
            points.append(simulator.vehicle_state().pose[:2])
    plan = np.array(points)
    system = np.column_stack([2.0 * plan, np.ones(len(plan))])
    (x, y, rest), *_ = np.linalg.lstsq(system, (plan**2).sum(axis=1), rcond=None)
    ideal = EGO.wheelbase / math.tan(EGO.max_steering_angle)
    assert math.sqrt(rest + x * x + y * y) == pytest.approx(ideal, abs=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_the_car_follows_the_ideal_bicycle(simulator: MujocoParkingSimulator, seed: int) -> None:
    """12 s of gears, brakes and full steering, against the bicycle of its own speed and angle."""
    simulator.reset(scenario_at(ORIGIN, lot=WIDE))
    random = np.random.default_rng(seed)
    before, bicycle = simulator.vehicle_state(), ORIGIN
    driven = 0.0
    for period in range(120):
        if period % 12 == 0:
            steer, reverse = float(random.uniform(-1, 1)), bool(random.random() < 0.3)
        throttle = 0.35 if abs(before.speed) < 1.5 or (before.speed > 0) == reverse else -0.1
        simulator.step(VehicleCommand(throttle, steer, reverse))
        now = simulator.vehicle_state()
        speed = (before.speed + now.speed) / 2.0
        angle = (before.steering_angle + now.steering_angle) / 2.0
        turn = speed * math.tan(angle) / EGO.wheelbase * 0.1
        heading = bicycle.yaw + turn / 2.0
        bicycle = Pose(
            bicycle.x + 0.1 * speed * math.cos(heading),
            bicycle.y + 0.1 * speed * math.sin(heading),
            bicycle.yaw + turn,
        )
        driven += abs(speed) * 0.1
        before = now
    assert driven > 8.0
    assert simulator.collision() is None
    assert math.dist(bicycle[:2], before.pose[:2]) < 0.05
    assert abs(math.remainder(bicycle.yaw - before.pose.yaw, 2.0 * math.pi)) < math.radians(1.0)


def test_collisions_with_cars_agree_with_the_separating_axis_test(
    simulator: MujocoParkingSimulator,
) -> None:
    random = np.random.default_rng(4)
    hits = 0
    for _ in range(600):
        car = ParkedCar(Pose(*random.uniform(-2.5, 2.5, 2), random.uniform(-3.1, 3.1)), GREY)
        ego = Pose(*random.uniform(-3.5, 3.5, 2), random.uniform(-3.1, 3.1))
        simulator.reset(scenario_at(ego, cars=(car,), lot=WIDE))
        # A contact needs a hair's breadth; near misses of that size may go either way.
        surely = EGO.footprint(ego, margin=-0.002).overlaps(car.footprint())
        perhaps = EGO.footprint(ego, margin=0.002).overlaps(car.footprint())
        if surely == perhaps:
            assert (simulator.collision() == "car") == surely
            hits += surely
    assert 100 < hits < 500


@pytest.mark.parametrize("kind", ["car", "box", "kerb", "post", "barrier"])
def test_driving_into_things_names_them(simulator: MujocoParkingSimulator, kind: str) -> None:
    lot = Lot()
    ahead = Pose(7.0, 0.0, 0.0)
    post = min(post_positions(lot), key=lambda point: abs(point[0]))
    starts = {
        "car": ORIGIN,
        "box": ORIGIN,
        "kerb": lot.slot(1, 5).target("forward"),
        "post": Pose(post[0] - 5.0, 0.0, 0.0),
        "barrier": Pose(lot.half_length - 5.5, 0.0, 0.0),
    }
    scenario = scenario_at(
        starts[kind],
        cars=(ParkedCar(ahead, GREY),) if kind == "car" else (),
        boxes=(Box(ahead, GREY),) if kind == "box" else (),
    )
    if kind == "post":
        # Posts stand amid the medians, where only a car that was put there meets one at once.
        inside = Pose(post[0] - 1.0, post[1] + EGO.width / 2.0, 0.0)
        simulator.reset(dataclasses.replace(scenario, start=inside))
        assert simulator.collision() == "post"
        return
    simulator.reset(scenario)
    assert simulator.collision() is None
    drive(simulator, VehicleCommand(1.0, 0.0, False), 30)
    assert simulator.collision() == kind


def test_the_first_collision_stays_until_reset(simulator: MujocoParkingSimulator) -> None:
    simulator.reset(scenario_at(ORIGIN, boxes=(Box(Pose(5.0, 0.0, 0.0), GREY),)))
    drive(simulator, VehicleCommand(1.0, 0.0, False), 20)
    drive(simulator, VehicleCommand(1.0, 0.0, True), 30)
    assert simulator.collision() == "box"
    simulator.reset(scenario_at(ORIGIN))
    assert simulator.collision() is None


@pytest.mark.parametrize("approach", ["reverse", "forward"])
@pytest.mark.parametrize("off", [0.0, 0.4])
def test_a_car_parked_in_any_slot_touches_nothing(
    simulator: MujocoParkingSimulator, approach: str, off: float
) -> None:
    for slot in Lot().slots():
        target = slot.target(approach)
        deeper = -off if approach == "reverse" else off
        simulator.reset(scenario_at(target.transform(Pose(deeper, 0.0, 0.0))))
        simulator.step(COAST)
        assert simulator.collision() is None


def test_rolling_over_the_wheel_stop_is_a_kerb_collision(
    simulator: MujocoParkingSimulator,
) -> None:
    simulator.reset(scenario_at(Lot().slot(2, 7).target("reverse")))
    drive(simulator, VehicleCommand(0.5, 0.0, True), 20)
    assert simulator.collision() == "kerb"


def test_unused_bodies_of_an_earlier_scenario_are_gone(simulator: MujocoParkingSimulator) -> None:
    simulator.reset(scenario_at(ORIGIN, cars=(ParkedCar(Pose(9.0, 0.0, 0.0), GREY),)))
    simulator.reset(scenario_at(ORIGIN))
    drive(simulator, VehicleCommand(1.0, 0.0, False), 25)
    assert simulator.vehicle_state().pose.x > 6.0
    assert simulator.collision() is None


def test_the_medians_lie_between_the_rows() -> None:
    lot = Lot()
    for y in median_ys(lot):
        gaps = [abs(abs(y) - abs(lot.row_y(row))) - lot.slot_length / 2.0 for row in (0, 1)]
        assert gaps == pytest.approx([lot.median_width / 2.0] * 2)


def test_too_many_cars_are_refused_by_number(simulator: MujocoParkingSimulator) -> None:
    cars = (ParkedCar(Pose(0.0, 9.0, 0.0), GREY),) * 65
    with pytest.raises(ValueError, match=r"at most 64 cars .* got 65"):
        simulator.reset(scenario_at(ORIGIN, cars=cars))


def test_use_before_reset_and_after_close_is_refused() -> None:
    simulator = MujocoParkingSimulator(render=False)
    with pytest.raises(RuntimeError, match="reset"):
        simulator.step(COAST)
    simulator.reset(scenario_at(ORIGIN))
    simulator.close()
    simulator.close()
    with pytest.raises(RuntimeError, match="closed"):
        simulator.vehicle_state()


def test_a_simulator_without_pictures_refuses_to_make_some() -> None:
    simulator = MujocoParkingSimulator(render=False)
    simulator.reset(scenario_at(ORIGIN))
    with pytest.raises(RuntimeError, match="render=False"):
        simulator.render(parking_embodiment().cameras, depth=False)
    simulator.close()
