import itertools
import math

import pytest

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.expert import ParkingExpert, PlanningFailure
from helmsight.envs.parking.expert import expert as expert_module
from helmsight.envs.parking.kinematic import KinematicSimulator
from helmsight.envs.parking.mujoco import MujocoParkingSimulator
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.simulator import VehicleCommand, VehicleState
from helmsight.envs.parking.task import ParkingTask, placement_error


def at_rest(pose):
    return VehicleState(pose, 0.0, 0.0, (0.0, 0.0), 0.0)


def drive(scenario, simulator, disturbance=None):
    """The outcome, final state and expert of an episode; a disturbance is (first, last, steer)."""
    expert, task = ParkingExpert(scenario), ParkingTask(scenario)
    simulator.reset(scenario)
    expert.plan(simulator.vehicle_state())
    commands = []
    while task.outcome is None:
        command = expert.act(simulator.vehicle_state())
        if disturbance and disturbance[0] <= task.steps < disturbance[1]:
            command = VehicleCommand(0.2, disturbance[2], command.reverse)
        elif disturbance and task.steps == disturbance[1]:
            expert.plan(simulator.vehicle_state())
        simulator.step(command)
        commands.append(command)
        task.update(command, simulator.vehicle_state(), simulator.collision())
    return task, simulator.vehicle_state(), expert, commands


@pytest.mark.parametrize("approach", ["reverse", "forward"])
@pytest.mark.parametrize("family", ["standard", "cluttered"])
def test_the_expert_parks_the_dynamic_car_accurately(family, approach):
    simulator = MujocoParkingSimulator(render=False)
    for index in range(4):
        scenario = make_scenario(family, "val", index, approach)
        task, state, expert, _ = drive(scenario, simulator)
        assert task.succeeded
        assert expert.done(state)
        error = expert.goal.relative(state.pose)
        assert math.hypot(error.x, error.y) < 0.1
        assert abs(math.degrees(error.yaw)) < 1.5
    simulator.close()


def test_a_disturbed_car_is_brought_back_and_parked():
    simulator = MujocoParkingSimulator(render=False)
    for index, steer in ((0, 0.6), (1, -0.6), (3, 0.5)):
        scenario = make_scenario("standard", "val", index)
        task, _, _, _ = drive(scenario, simulator, (30, 38, steer))
        assert task.succeeded
    simulator.close()


def test_an_expert_drives_the_same_scenario_the_same_way_twice():
    scenario = make_scenario("standard", "val", 5)
    first = drive(scenario, KinematicSimulator())[3]
    assert drive(scenario, KinematicSimulator())[3] == first


def test_in_the_goal_the_expert_holds_the_brake_in_the_gear_of_its_approach():
    for approach, reverse in (("reverse", True), ("forward", False)):
        scenario = make_scenario("standard", "val", 0, approach)
        expert = ParkingExpert(scenario)
        state = at_rest(expert.goal)
        assert expert.done(state)
        expert.plan(state)
        for _ in range(300):
            command = expert.act(state)
        assert command.acceleration <= 0.0
        assert command.reverse is reverse
        assert placement_error(scenario.target_slot, approach, state.pose).distance < 0.01


def test_a_moving_or_misplaced_car_is_not_done():
    expert = ParkingExpert(make_scenario("standard", "val", 0))
    assert not expert.done(at_rest(expert.goal)._replace(speed=-0.1))
    assert not expert.done(at_rest(expert.goal.transform(Pose(0.5, 0.0, 0.0))))
    assert not expert.done(at_rest(expert.goal.transform(Pose(0.0, 0.0, 0.2))))


def test_a_car_that_left_its_path_plans_anew():
    scenario = make_scenario("standard", "val", 0)
    expert = ParkingExpert(scenario)
    expert.plan(at_rest(scenario.start))
    planned = expert.path
    moved = at_rest(scenario.start.transform(Pose(0.0, 0.5, 0.0)))
    expert.act(moved)
    expert.act(moved)
    assert expert.path is not planned
    assert expert.path.start == moved.pose


@pytest.mark.parametrize(("family", "index"), [("standard", 0), ("cluttered", 0), ("cluttered", 3)])
def test_an_expert_that_forgets_its_plan_at_every_step_parks_as_well(family, index):
    scenario, simulator = make_scenario(family, "val", index), MujocoParkingSimulator(render=False)
    simulator.reset(scenario)
    expert, task, gears = ParkingExpert(scenario), ParkingTask(scenario), []
    while task.outcome is None:
        state = simulator.vehicle_state()
        expert.plan(state)
        command = expert.act(state)
        simulator.step(command)
        task.update(command, simulator.vehicle_state(), simulator.collision())
        if abs(state.speed) > 0.05:
            gears.append(state.speed > 0.0)
    simulator.close()
    assert task.succeeded
    assert sum(a != b for a, b in itertools.pairwise(gears)) <= 1


def plans_driven(monkeypatch, least_saving):
    """How many different plans an undisturbed expert drives."""
    monkeypatch.setattr(expert_module, "LEAST_SAVING", least_saving)
    scenario, simulator = make_scenario("standard", "val", 0), KinematicSimulator()
    simulator.reset(scenario)
    expert, paths = ParkingExpert(scenario), []
    for _ in range(120):
        simulator.step(expert.act(simulator.vehicle_state()))
        if not paths or paths[-1] is not expert.path:
            paths.append(expert.path)
    return len(paths)


def test_a_plan_that_saves_nothing_is_not_taken(monkeypatch):
    assert plans_driven(monkeypatch, expert_module.LEAST_SAVING) <= 3
    assert plans_driven(monkeypatch, -math.inf) >= 10


def test_where_no_new_plan_is_found_the_old_one_is_driven_on(monkeypatch):
    scenario, simulator = make_scenario("standard", "val", 0), KinematicSimulator()
    simulator.reset(scenario)
    expert = ParkingExpert(scenario)
    expert.plan(simulator.vehicle_state())

    def fails(state):
        raise PlanningFailure("none")

    monkeypatch.setattr(expert, "_searched", fails)
    for _ in range(300):
        simulator.step(expert.act(simulator.vehicle_state()))
    assert expert.done(simulator.vehicle_state())


@pytest.mark.parametrize("beside", [(0.1, 0.0, 2.5), (0.15, 0.05, -2.5), (0.1, 0.15, 0.0)])
def test_a_car_that_stands_in_the_goal_is_not_driven_out(beside):
    expert = ParkingExpert(make_scenario("cluttered", "val", 0))
    x, y, degrees = beside
    state = at_rest(expert.goal.transform(Pose(x, y, math.radians(degrees))))
    assert expert.done(state)
    expert.plan(state)
    assert expert.path.length == 0.0


def test_a_car_a_little_beside_the_line_into_its_slot_goes_straight_in():
    expert = ParkingExpert(make_scenario("standard", "val", 0))
    beside = at_rest(expert.goal.transform(Pose(0.9, 0.05, math.radians(-2.0))))
    expert.plan(beside)
    assert expert.path.gear_changes == 0
    assert expert.path.length == pytest.approx(0.9, abs=0.01)


def test_a_car_too_far_beside_the_line_into_its_slot_is_not_sent_straight_in():
    expert = ParkingExpert(make_scenario("standard", "val", 0))
    expert.plan(at_rest(expert.goal.transform(Pose(0.3, 0.3, 0.0))))
    assert expert.path.length > 1.0


def test_planning_from_within_an_obstacle_says_so():
    scenario = make_scenario("standard", "val", 0)
    car = scenario.cars[0].pose
    with pytest.raises(PlanningFailure, match="stands in an obstacle"):
        ParkingExpert(scenario).plan(at_rest(Pose(car.x, car.y, car.yaw)))
