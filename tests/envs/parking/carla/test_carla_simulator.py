"""The real `carla` client against the protocol server: the whole way of a parking episode."""

import contextlib
import dataclasses
import math
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.carla.cameras import MissedFrame
from helmsight.envs.parking.carla.connection import EGO_ROLE, OWN_ROLE, PROTOCOL_LABEL
from helmsight.envs.parking.carla_server.process import ServerProcess
from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.envs.parking.expert import ParkingExpert
from helmsight.envs.parking.mujoco import MujocoParkingSimulator
from helmsight.envs.parking.scenario import ParkedCar, make_scenario
from helmsight.envs.parking.simulator import VehicleCommand
from helmsight.envs.parking.simulator_registry import make_simulator, simulator_label
from helmsight.envs.parking.vehicle import parking_embodiment

carla = pytest.importorskip(
    "carla", reason="needs the client library: pip install carla==0.9.16 (Linux x86-64, Windows)"
)

CREEP = VehicleCommand(0.3, 0.2, False)
BRAKE = VehicleCommand(-1.0, 0.0, False)


@pytest.fixture(scope="module")
def server():
    with ServerProcess() as served:
        yield served


def options(server, **more):
    return {"port": server.port, "seconds": 30.0, **more}


@contextlib.contextmanager
def driven(server, **more):
    simulator = make_simulator("carla", options(server, **more))
    try:
        yield simulator
    finally:
        simulator.close()


def expert_episode(episode, family="standard", **environment_options):
    """Outcome, rear-axle path and the environment's last metrics of one expert-driven episode."""
    environment = ParkingEnvironment(
        family=family, split="test", cameras="none", **environment_options
    )
    environment.reset(options={"episode": episode})
    expert = ParkingExpert(environment.scenario)
    expert.plan(environment.vehicle_state())
    path, done = [environment.vehicle_state().pose], False
    while not done:
        command = expert.act(environment.vehicle_state())
        action = np.array([command.acceleration, command.steer, command.reverse], np.float32)
        _, terminated, truncated, info = environment.advance(action)
        path.append(environment.vehicle_state().pose)
        done = terminated or truncated
    environment.close()
    return info["episode_metrics"], path


def left_behind(server):
    """Role names of the actors that are still there, and whether the server is stopped."""
    client = carla.Client("127.0.0.1", server.port)
    client.set_timeout(10.0)
    world = client.get_world()
    world.wait_for_tick(10.0)
    roles = [actor.attributes.get("role_name") for actor in world.get_actors()]
    return [role for role in roles if role in (OWN_ROLE, EGO_ROLE)], world.get_settings()


@pytest.mark.parametrize(
    ("family", "episode"), [("standard", 0), ("standard", 41), ("cluttered", 7)]
)
def test_the_expert_parks_over_the_protocol_as_it_does_natively(server, family, episode):
    native, native_path = expert_episode(episode, family)
    served, served_path = expert_episode(
        episode, family, simulator="carla", simulator_options=options(server)
    )
    assert served["outcome"] == native["outcome"] == "TSR"
    assert served["steps"] == native["steps"]
    apart = [
        math.hypot(a.x - b.x, a.y - b.y) for a, b in zip(native_path, served_path, strict=True)
    ]
    assert max(apart) < 0.01


def test_a_car_that_is_driven_into_another_is_noticed(server):
    scenario = make_scenario("standard", "test", 0)
    ahead = ParkedCar(scenario.start.transform(Pose(9.0, 0.0, 0.0)), (0.5, 0.5, 0.5))
    scenario = dataclasses.replace(scenario, cars=(ahead,))
    native = MujocoParkingSimulator(render=False)
    with driven(server) as served:
        for simulator in (native, served):
            simulator.reset(scenario)
        for _ in range(40):
            for simulator in (native, served):
                simulator.step(VehicleCommand(1.0, 0.0, False))
            if native.collision():
                break
        assert native.collision() == "car"
        # Events come by themselves, after their tick.
        deadline = time.monotonic() + 30.0
        while served.collision() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert served.collision() == native.collision()
    native.close()


@pytest.mark.rendering
def test_pictures_and_depth_are_those_of_the_native_simulator(server):
    scenario = make_scenario("standard", "shifted", 11)
    cameras = parking_embodiment("surround4", 64).cameras
    native = MujocoParkingSimulator()
    with driven(server) as served:
        for simulator in (native, served):
            simulator.reset(scenario)
        for _ in range(3):
            expected, found = (s.render(cameras, True) for s in (native, served))
            difference = np.abs(expected.colour.astype(int) - found.colour.astype(int))
            # Colours of cars cross the wire in whole levels; edges may fall on other pixels.
            assert difference.mean() < 0.5 and (difference > 8).mean() < 0.01
            near = (expected.depth < 200.0) & (found.depth < 200.0)
            assert (np.isinf(expected.depth) == np.isinf(found.depth)).mean() > 0.999
            assert (np.abs(expected.depth - found.depth)[near] < 0.05).mean() > 0.99
            for simulator in (native, served):
                simulator.step(CREEP)
    native.close()


@pytest.mark.rendering
def test_images_belong_to_their_tick_and_nothing_is_left_after_many_short_episodes(server):
    cameras = parking_embodiment("surround4", 32).cameras
    with driven(server) as simulator, warnings.catch_warnings():
        warnings.simplefilter("error", MissedFrame)
        for episode in range(15):
            simulator.reset(make_scenario("standard", "train", episode))
            last = simulator.render(cameras, False).colour
            for _ in range(4):
                simulator.step(CREEP)
                now = simulator.render(cameras, False).colour
                assert (now != last).any()  # camera noise alone makes two ticks differ
                np.testing.assert_array_equal(now, simulator.render(cameras, False).colour)
                last = now
        assert simulator.missed_frames == 0
        # The ego car, its two sensors and four cameras, the looks, and what the scenario has.
        scenario = make_scenario("standard", "train", 14)
        own = [
            actor
            for actor in simulator._server.world.get_actors()
            if actor.attributes.get("role_name") in (OWN_ROLE, EGO_ROLE)
        ]
        assert len(own) == 8 + len(scenario.cars) + len(scenario.boxes)
    assert left_behind(server)[0] == []


def test_the_same_scenario_and_commands_give_the_same_readings(server):
    def drive(simulator):
        simulator.reset(make_scenario("standard", "train", 8))
        readings = []
        for _ in range(10):
            simulator.step(CREEP)
            readings.append((simulator.vehicle_state(), simulator.sensors()))
        return readings

    with driven(server) as simulator:
        first = drive(simulator)
        simulator.reset(make_scenario("cluttered", "train", 3))
        assert drive(simulator) == first


def test_the_readings_carry_the_native_sensors_noise(server):
    scenario = make_scenario("standard", "train", 2)
    native = MujocoParkingSimulator(render=False)
    with driven(server) as served:
        for simulator in (native, served):
            simulator.reset(scenario)
            for _ in range(12):
                simulator.step(CREEP)
        np.testing.assert_allclose(
            np.hstack(list(served.sensors())), np.hstack(list(native.sensors())), atol=1e-3
        )
    native.close()


def test_closing_gives_the_server_its_settings_back_also_after_an_exception(server):
    with contextlib.suppress(ZeroDivisionError), driven(server) as simulator:
        simulator.reset(make_scenario("standard", "train", 0))
        raise ZeroDivisionError
    roles, settings = left_behind(server)
    assert roles == [] and not settings.synchronous_mode
    assert settings.fixed_delta_seconds is None
    simulator.close()
    with pytest.raises(RuntimeError, match="closed"):
        simulator.step(BRAKE)


HOLDING = """
    import signal, sys, time
    from helmsight.envs.parking.scenario import ParkedCar, make_scenario
    from helmsight.envs.parking.simulator import VehicleCommand
    from helmsight.envs.parking.simulator_registry import make_simulator
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs inherit "ignore"
    simulator = make_simulator("carla", {"port": int(sys.argv[1])})
    simulator.reset(make_scenario("standard", "train", 0))
    print("driving", flush=True)
    while True:
        simulator.step(VehicleCommand(0.0, 0.0, False))
        time.sleep(0.02)
"""


@contextlib.contextmanager
def another_client(server):
    """A process that drives the server in synchronous mode; killed at the end."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDING), str(server.port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "driving\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_server_that_another_client_drives_is_refused_and_a_dead_one_s_is_cleaned_up(server):
    with (
        another_client(server),
        pytest.raises(ConnectionError, match="another client drives the CARLA server"),
    ):
        make_simulator("carla", options(server))
    # The other client was killed in mid-episode; its actors and its settings are still there.
    with driven(server) as simulator:
        simulator.reset(make_scenario("standard", "train", 1))
        simulator.step(BRAKE)
    roles, settings = left_behind(server)
    assert roles == [] and not settings.synchronous_mode


def test_ctrl_c_leaves_a_clean_server(server):
    with another_client(server) as process:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        roles, settings = left_behind(server)
    assert roles == [] and not settings.synchronous_mode


def test_a_server_that_dies_in_mid_episode_is_a_clear_error_within_the_time_out():
    with ServerProcess() as served:
        simulator = make_simulator("carla", {"port": served.port, "seconds": 5.0})
        simulator.reset(make_scenario("standard", "train", 0))
        simulator.step(CREEP)
        served.kill()
        started = time.monotonic()
        with pytest.raises(
            ConnectionError, match=r"CARLA server at 127.0.0.1:\d+ stopped answering"
        ):
            simulator.step(CREEP)
        simulator.close()
        assert time.monotonic() - started < 15.0


def test_where_no_server_is_the_error_says_how_to_start_one():
    with pytest.raises(ConnectionError, match="helmsight carla serve"):
        make_simulator("carla", {"port": 1, "seconds": 0.5})


OTHER_VERSION = """
    import socket, msgpack
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    connection, _ = listening.accept()
    unpacker = msgpack.Unpacker()
    while data := connection.recv(4096):
        unpacker.feed(data)
        for request in unpacker:
            connection.sendall(msgpack.packb([1, request[1], None, [[1, "0.9.15"]]]))
"""


def test_another_version_is_refused_with_its_number():
    # In a process of its own: the client holds the interpreter's lock while it waits.
    command = [sys.executable, "-c", textwrap.dedent(OTHER_VERSION)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline())
        try:
            with pytest.raises(RuntimeError, match=r"server .* is 0\.9\.15; .* speaks 0\.9\.16"):
                make_simulator("carla", {"port": port, "seconds": 5.0})
        finally:
            process.kill()


def test_results_are_never_called_carlas(server):
    assert simulator_label("carla", options(server)) == PROTOCOL_LABEL == "carla-protocol (MuJoCo)"
    with driven(server) as simulator:
        assert simulator.label == PROTOCOL_LABEL


def test_a_map_that_the_server_has_not_is_refused_with_those_it_has(server):
    with (
        driven(server, lot="town04_opt") as simulator,
        pytest.raises(ValueError, match="no map Town04_Opt; it has Helmsight_cluttered"),
    ):
        simulator.reset(make_scenario("standard", "train", 0))


def test_an_unknown_option_is_refused_before_anything_is_connected():
    with pytest.raises(ValueError, match="no option prot; its options are host, port"):
        make_simulator("carla", {"prot": 2000})
    with pytest.raises(ValueError, match="simulator kinematic has no option port"):
        make_simulator("kinematic", {"port": 2000})


def test_an_evaluation_over_the_protocol_says_so_and_forgets_the_servers_address(server, tmp_path):
    from helmsight.eval.evaluation import EvaluationSettings, evaluate

    summary = evaluate(
        EvaluationSettings(
            "expert",
            tmp_path,
            env_kwargs={
                "split": "test",
                "cameras": "none",
                "simulator": "carla",
                "simulator_options": options(server),
            },
            episodes=[5],
            success_videos=0,
            failure_videos=0,
        )
    )
    assert summary.metrics["TSR"].value == 100.0
    assert summary.provenance["simulator"] == PROTOCOL_LABEL
    assert summary.provenance["env_kwargs"]["simulator"] == PROTOCOL_LABEL
    assert str(server.port) not in (tmp_path / "evaluation.json").read_text()
    assert "carla-protocol (MuJoCo)" in (tmp_path / "report.html").read_text()
