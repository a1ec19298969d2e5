import logging
import socket
import threading
import time

import numpy as np
import pytest
from serving import CHUNK, EMBODIMENT, FakeModel, ServerThread, ask, observation, wait_for
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from helmsight.deploy.model import recalled
from helmsight.deploy.server import ServerSettings
from helmsight.deploy.wire import encode
from helmsight.envs.spec import EmbodimentSpec

KEY = "a-key-of-20-characters"
AUTHORIZED = {"Authorization": f"Api-Key {KEY}"}


@pytest.fixture
def server():
    with ServerThread() as running:
        yield running


def test_who_sends_pings_and_reads_no_answer_is_cut_off(server):
    host, port = server.address.removeprefix("ws://").split(":")
    upgrade = (
        "GET / HTTP/1.1", "Host: robot", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==",
    )  # fmt: skip
    masked_ping = bytes([0x89, 0x80 | 125]) + bytes(4) + b"x" * 125
    with socket.create_connection((host, int(port)), timeout=60.0) as flood:
        flood.sendall("\r\n".join([*upgrade, "", ""]).encode())
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(2_000):  # 130 MB, of which some are on the way
                flood.sendall(masked_ping * 500)
    with server.connect() as robot:
        assert ask(robot, observation())["actions"].shape == (CHUNK, 3)


# ---- The protocol ----


def test_the_server_announces_its_policy_first(server):
    with server.connect():
        announced = server.announcement
    assert announced["policy"] == "fake" and announced["steps_per_decision"] == 1
    assert announced["observation_keys"] == list(FakeModel.observation_keys)
    assert not EmbodimentSpec.from_dict(announced["embodiment"]).differences(EMBODIMENT)


def test_an_observation_is_answered_with_a_chunk_and_timing(server):
    seen = observation()
    with server.connect() as robot:
        reply = ask(robot, seen)
        again = ask(robot, seen)
    assert reply["actions"].shape == (CHUNK, 3) and reply["actions"].dtype == np.float32
    assert (reply["actions"][:, 0] == seen["observation.state"][0]).all()
    assert reply["server_timing"].keys() == {"infer_ms"}
    assert again["server_timing"].keys() == {"infer_ms", "prev_total_ms"}


def test_health_is_told(server):
    assert server.get("/healthz") == (200, "OK\n")


def test_metrics_count_what_happened(server):
    with server.connect() as robot:
        ask(robot, observation())
        ask(robot, {})
        _, text = server.get("/metrics")
    assert 'helmsight_requests_total{outcome="answered"} 1\n' in text
    assert 'helmsight_requests_total{outcome="refused"} 1\n' in text
    assert "helmsight_inference_seconds_count 1\n" in text
    assert "helmsight_connections 1\n" in text


def test_other_paths_are_not_found(server):
    assert server.get("/etc/passwd")[0] == 404


# ---- Refusals ----


def test_a_refused_request_names_the_key_and_leaves_the_connection_open(server):
    wrong = {**observation(), "observation.images.left": np.zeros((4, 4, 3), np.uint8)}
    with server.connect() as robot:
        assert "'observation.images.left' must be uint8 [16, 16, 3]" in ask(robot, wrong)
        assert isinstance(ask(robot, observation()), dict)


@pytest.mark.parametrize("message", (b"", b"\xc1", b"\x80", b"\x93\x01\x02\x03", b"cos\nsystem\n"))
def test_a_malformed_request_is_answered_with_text(server, message):
    with server.connect() as robot:
        assert isinstance(ask(robot, message), str)
        assert isinstance(ask(robot, observation()), dict)


def test_a_text_message_is_answered_with_text(server):
    with server.connect() as robot:
        robot.send("hello")
        assert robot.recv(timeout=60.0) == "expected a binary message, got text"


def test_an_error_shows_nothing_of_the_server_s_inside():
    def fail(count):
        raise RuntimeError("/secret/place")

    with ServerThread(FakeModel(fail)) as server, server.connect() as robot:
        assert ask(robot, observation()) == "the policy failed: RuntimeError"


@pytest.mark.parametrize(
    ("actions", "reason"),
    (
        (np.full((1, CHUNK, 3), np.nan, np.float32), "not finite"),
        (np.zeros((1, CHUNK, 2), np.float32), r"instead of floating-point actions [1, K, 3]"),
        (np.zeros((1, CHUNK, 3), np.int64), "instead of floating-point"),
    ),
)
def test_actions_that_no_robot_may_be_sent_are_an_error(actions, reason):
    with ServerThread(FakeModel(lambda _: actions)) as server, server.connect() as robot:
        assert reason in ask(robot, observation())


# ---- Policies that remember ----


class _Counting(FakeModel):
    """Remembers how often it was asked by a robot, and says so by the acceleration."""

    def decide(self, observations):
        kept, before = recalled(observations, 1)
        for one, count in zip(kept, before, strict=True):
            one.values = count + 1.0
        actions = np.zeros((len(observations), CHUNK, 3), np.float32)
        actions[:, :, 0] = before
        return actions


def test_what_is_remembered_is_each_robot_s_own_and_ends_with_its_connection():
    with ServerThread(_Counting()) as server:
        with server.connect() as one, server.connect() as other:
            counts = [ask(robot, observation())["actions"][0, 0] for robot in (one, one, other)]
        with server.connect() as again:
            counts.append(ask(again, observation())["actions"][0, 0])
    assert counts == [0.0, 1.0, 0.0, 0.0]


def test_nobody_from_outside_brings_a_memory_along():
    planted = {**observation(), "memory": np.zeros(1, np.float32)}
    with ServerThread(_Counting()) as server, server.connect() as robot:
        assert "unknown key 'memory'" in ask(robot, planted)


# ---- Strangers ----


@pytest.mark.parametrize("host", ("0.0.0.0", "::", "", "192.0.2.7", "robot.example"))
def test_an_address_that_others_reach_needs_a_key(host):
    with pytest.raises(ValueError, match="an API key is needed"):
        ServerSettings(host=host)
    assert ServerSettings(host=host, api_key=KEY).api_key == KEY


@pytest.mark.parametrize("host", ("127.0.0.1", "127.0.0.9", "::1", "localhost"))
def test_this_machine_s_own_address_needs_no_key(host):
    assert ServerSettings(host=host).api_key is None


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="at least 16"):
        ServerSettings(api_key="secret")


@pytest.mark.parametrize(
    "header",
    (
        None,
        KEY,
        f"Bearer {KEY}",
        f"Api-Key {KEY}x",
        f"Api-Key {KEY[:-1]}",
        "Api-Key \xe4",
        "Api-Key ",
    ),
)
def test_without_the_key_nothing_but_health_is_told(header):
    headers = {} if header is None else {"Authorization": header}
    with ServerThread(api_key=KEY) as server:
        with pytest.raises(InvalidStatus, match="401"):
            connect(server.address, additional_headers=headers)
        assert server.get("/metrics", **headers)[0] == 401
        assert server.get("/healthz")[0] == 200
        assert server.server.metrics.turned_away["unauthorized"] == 2
        assert server.model.batches == []


def test_the_key_opens():
    with ServerThread(api_key=KEY) as server:
        assert server.get("/metrics", **AUTHORIZED)[0] == 200
        with server.connect(additional_headers=AUTHORIZED) as robot:
            assert isinstance(ask(robot, observation()), dict)


def test_a_web_page_is_refused(server):
    with pytest.raises(InvalidStatus, match="403"):
        connect(server.address, origin="https://evil.example")


def test_no_more_robots_than_allowed_are_let_in():
    with ServerThread(max_connections=1) as server:
        with server.connect(), pytest.raises(InvalidStatus, match="503"):
            connect(server.address)
        wait_for(lambda: "connections 0" in server.get("/metrics")[1])
        with server.connect():
            pass


# ---- Limits ----


def test_a_message_longer_than_an_observation_closes_the_connection(server):
    with server.connect() as robot, pytest.raises(ConnectionClosed, match="1009"):
        robot.send(b"x" * 100_000)
        robot.recv(timeout=60.0)


def test_a_message_in_countless_fragments_closes_the_connection(server):
    with server.connect() as robot, pytest.raises(ConnectionClosed):
        robot.send(b"" for _ in range(2000))
        robot.recv(timeout=60.0)
    wait_for(lambda: server.server.metrics.turned_away["fragments"] == 1)


def test_a_message_in_a_few_fragments_is_understood(server):
    message = encode(observation())
    with server.connect() as robot:
        robot.send(message[start : start + 1000] for start in range(0, len(message), 1000))
        assert isinstance(robot.recv(timeout=60.0), bytes)


def test_a_silent_robot_is_turned_away():
    with ServerThread(idle_seconds=0.1) as server, server.connect() as robot:
        with pytest.raises(ConnectionClosed, match=r"1008.*silent for 0.1 s"):
            robot.recv(timeout=60.0)
        assert server.server.metrics.turned_away["idle"] == 1


def test_a_message_that_never_ends_is_turned_away():
    def dawdle():
        yield b"x"
        time.sleep(0.5)
        yield b"y"

    with ServerThread(receive_seconds=0.1) as server, server.connect() as robot:
        with pytest.raises(ConnectionClosed):
            robot.send(dawdle())
            robot.recv(timeout=60.0)
        assert server.server.metrics.turned_away["slow"] == 1


def test_a_handshake_that_never_comes_is_cut_off():
    with ServerThread(open_seconds=0.1) as server:
        host, port = server.address.removeprefix("ws://").split(":")
        with socket.create_connection((host, int(port)), timeout=60.0) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n")
            assert stranger.recv(100) == b""


def held():
    """A model that decides when it is released, and the event that releases it."""
    release = threading.Event()
    return FakeModel(lambda count: release.wait(60.0) and None), release


def asking(robot, answers):
    """A thread that puts a robot's reply into a list."""
    thread = threading.Thread(target=lambda: answers.append(ask(robot, observation())))
    thread.start()
    return thread


def test_a_decision_that_takes_too_long_is_answered_with_an_error():
    model, release = held()
    with ServerThread(model, request_seconds=0.1) as server, server.connect() as robot:
        assert ask(robot, observation()) == "no decision within 0.1 s"
        release.set()
        wait_for(lambda: isinstance(ask(robot, observation()), dict))


def test_robots_that_ask_while_the_model_is_busy_are_decided_together():
    model, release = held()
    answers = []
    with ServerThread(model) as server:
        robots = [server.connect() for _ in range(4)]
        threads = [asking(robots[0], answers)]
        wait_for(lambda: model.batches == [1])
        threads += [asking(robot, answers) for robot in robots[1:]]
        wait_for(lambda: "queue_length 3" in server.get("/metrics")[1])
        release.set()
        for thread in threads:
            thread.join()
        for robot in robots:
            robot.close()
    assert model.batches == [1, 3]
    assert len(answers) == 4 and all(isinstance(answer, dict) for answer in answers)


def test_a_full_queue_is_answered_at_once():
    model, release = held()
    answers = []
    with ServerThread(model, queue_length=1) as server:
        robots = [server.connect() for _ in range(3)]
        threads = [asking(robots[0], answers)]
        wait_for(lambda: model.batches == [1])
        threads.append(asking(robots[1], answers))
        wait_for(lambda: "queue_length 1" in server.get("/metrics")[1])
        assert ask(robots[2], observation()) == "busy: 1 requests are waiting already"
        release.set()
        for thread in threads:
            thread.join()
        for robot in robots:
            robot.close()
    assert all(isinstance(answer, dict) for answer in answers)


def test_a_request_that_fails_does_not_fail_those_beside_it():
    class Choosy(FakeModel):
        def decide(self, observations):
            entered.set()
            release.wait(60.0)
            if any(seen["observation.state"][1] > 0.9 for seen in observations):
                raise RuntimeError
            return super().decide(observations)

    entered, release = threading.Event(), threading.Event()
    poison = observation()
    poison["observation.state"][1] = 1.0
    answers = []
    with ServerThread(Choosy()) as server:
        robots = [server.connect() for _ in range(3)]
        threads = [asking(robots[0], answers)]
        assert entered.wait(60.0)
        threads.append(asking(robots[1], answers))
        robots[2].send(encode(poison))
        wait_for(lambda: "queue_length 2" in server.get("/metrics")[1])
        release.set()
        for thread in threads:
            thread.join()
        assert robots[2].recv(timeout=60.0) == "the policy failed: RuntimeError"
        for robot in robots:
            robot.close()
    assert all(isinstance(answer, dict) for answer in answers)


# ---- The end ----


def test_stopping_answers_what_is_under_way_and_closes_the_rest():
    model, release = held()
    answers = []
    with ServerThread(model) as server:
        idle, busy = server.connect(), server.connect()
        thread = asking(busy, answers)
        wait_for(lambda: model.batches == [1])
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        with pytest.raises(ConnectionClosed, match="1001"):
            idle.recv(timeout=60.0)
        assert not answers
        release.set()
        thread.join()
        with pytest.raises(ConnectionClosed, match="1001"):
            busy.recv(timeout=60.0)
        stopping.join()
    assert isinstance(answers[0], dict)


def test_stopping_cuts_off_what_does_not_end():
    model, release = held()
    with ServerThread(model, drain_seconds=0.2) as server, server.connect() as robot:
        robot.send(encode(observation()))
        wait_for(lambda: model.batches == [1])
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 30.0
        release.set()


def test_refusals_are_logged_once_a_connection(server, caplog):
    caplog.set_level(logging.WARNING, logger="helmsight.deploy.server")
    with server.connect() as robot:
        for _ in range(20):
            ask(robot, b"\xc1")
    assert len(caplog.records) == 1
