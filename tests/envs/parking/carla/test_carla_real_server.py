"""Against a CARLA 0.9.16 server of one's own: CARLA_HOST, and CARLA_PORT where it is not 2000.

They hold for the protocol server as well, so they can be tried out without CARLA.
"""

import os
import warnings

import numpy as np
import pytest

from helmsight.envs.parking.carla.cameras import MissedFrame
from helmsight.envs.parking.carla.connection import EGO_ROLE, OWN_ROLE
from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.envs.parking.expert import ParkingExpert
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.simulator import VehicleCommand
from helmsight.envs.parking.simulator_registry import make_simulator
from helmsight.envs.parking.vehicle import parking_embodiment

pytestmark = [
    pytest.mark.carla_server,
    pytest.mark.skipif("CARLA_HOST" not in os.environ, reason="CARLA_HOST names no CARLA server"),
]


def options():
    port = int(os.environ.get("CARLA_PORT", "2000"))
    return {"host": os.environ["CARLA_HOST"], "port": port, "seconds": 60.0}


@pytest.fixture
def simulator():
    simulator = make_simulator("carla", options())
    yield simulator
    simulator.close()


def test_the_car_stands_where_the_scenario_starts_and_drives_as_it_is_told(simulator):
    scenario = make_scenario("standard", "test", 0)
    simulator.reset(scenario)
    start = simulator.vehicle_state()
    assert np.hypot(start.pose.x - scenario.start.x, start.pose.y - scenario.start.y) < 0.1
    assert abs(start.pose.yaw - scenario.start.yaw) < 0.02 and abs(start.speed) < 0.05
    for _ in range(15):
        simulator.step(VehicleCommand(0.6, 0.5, False))
    state = simulator.vehicle_state()
    assert state.speed > 0.5 and state.steering_angle > 0.1 and state.yaw_rate > 0.02
    assert scenario.start.relative(state.pose).x > 0.3
    for _ in range(20):
        simulator.step(VehicleCommand(-1.0, 0.0, True))
    assert abs(simulator.vehicle_state().speed) < 1e-2
    for _ in range(15):
        simulator.step(VehicleCommand(0.6, 0.0, True))
    assert simulator.vehicle_state().speed < -0.3
    assert simulator.collision() is None


def test_images_and_depth_come_with_their_tick(simulator):
    cameras = parking_embodiment("surround4", 64).cameras
    with warnings.catch_warnings():
        warnings.simplefilter("error", MissedFrame)
        for episode in range(3):
            simulator.reset(make_scenario("standard", "train", episode))
            for _ in range(5):
                frames = simulator.render(cameras, True)
                assert frames.colour.shape == (4, 64, 64, 3) and frames.colour.std() > 5.0
                # The ground 1.5 m below the front camera begins 1.3 m ahead of it.
                assert 1.0 < np.median(frames.depth[0, -4:]) < 2.5
                simulator.step(VehicleCommand(0.3, 0.0, False))


def test_nothing_is_left_behind(simulator):
    simulator.reset(make_scenario("standard", "train", 0))
    simulator.close()
    again = make_simulator("carla", options())
    actors = again._server.world.get_actors()
    roles = [actor.attributes.get("role_name") for actor in actors]
    again.close()
    assert not {OWN_ROLE, EGO_ROLE} & set(roles)


def test_the_expert_parks():
    environment = ParkingEnvironment(
        split="test", cameras="none", simulator="carla", simulator_options=options()
    )
    environment.reset(options={"episode": 0})
    expert, done = ParkingExpert(environment.scenario), False
    expert.plan(environment.vehicle_state())
    while not done:
        command = expert.act(environment.vehicle_state())
        action = np.array([command.acceleration, command.steer, command.reverse], np.float32)
        _, terminated, truncated, info = environment.advance(action)
        done = terminated or truncated
    environment.close()
    assert info["episode_metrics"]["outcome"] == "TSR"
