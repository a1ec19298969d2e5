import signal
import subprocess
import sys
import time

import pytest
from serving import EMBODIMENT, ask, observation
from websockets.sync.client import connect

from helmsight.cli.main import main
from helmsight.cli.serve import read_api_key
from helmsight.deploy.wire import decode

KEY = "a-key-of-20-characters"


@pytest.fixture
def checkpoint(tmp_path):
    from helmsight.policies.parking import ParkingPolicy, ParkingPolicyConfig

    config = ParkingPolicyConfig(sees="nothing", width=16, decoder_layers=1)
    statistics = {"observation.state": {"mean": [0.0] * 8, "std": [1.0] * 8}}
    ParkingPolicy(config, EMBODIMENT, statistics).save(tmp_path / "policy")
    return str(tmp_path / "policy")


@pytest.fixture
def serve(checkpoint, tmp_path):
    """Starts `helmsight serve` with some words; gives its process and its address."""
    processes = []

    def start(*words):
        log = tmp_path / "log"
        command = [sys.executable, "-m", "helmsight.cli.main", "serve", f"checkpoint={checkpoint}"]
        with log.open("w") as file:
            processes.append(subprocess.Popen([*command, "port=0", *words], stderr=file))
        end = time.monotonic() + 120.0
        while "serving" not in log.read_text():
            assert processes[-1].poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        address = next(w for w in log.read_text().split() if w.startswith("ws://")).rstrip(",")
        return processes[-1], address

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_served_policy_decides_as_it_does_here_and_ends_on_sigterm(serve, checkpoint):
    from helmsight.policies.base import load_policy

    process, address = serve()
    policy = load_policy(checkpoint)
    with connect(address, compression=None) as robot:
        keys = decode(bytes(robot.recv(timeout=60.0)))["observation_keys"]
        seen = {key: observation()[key] for key in keys}
        here = policy.predict_action_chunk(policy.to_batch(seen))[0].numpy()
        assert ask(robot, seen)["actions"] == pytest.approx(here, abs=1e-6)

    process.send_signal(signal.SIGTERM)
    assert process.wait(30.0) == 0


def test_an_open_address_without_a_key_is_refused_before_anything_is_loaded(capsys, monkeypatch):
    monkeypatch.delenv("HELMSIGHT_API_KEY", raising=False)
    assert main(["serve", "checkpoint=nowhere", "host=0.0.0.0"]) == 2
    assert "an API key is needed" in capsys.readouterr().err


def test_the_key_comes_from_a_file_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HELMSIGHT_API_KEY", KEY)
    assert read_api_key(None) == KEY
    (tmp_path / "key").write_text("another-key-of-25-letters\n")
    assert read_api_key(str(tmp_path / "key")) == "another-key-of-25-letters"


def test_an_empty_key_file_is_refused(tmp_path):
    (tmp_path / "key").write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        read_api_key(str(tmp_path / "key"))


def test_a_key_file_that_is_not_there_is_named_by_its_option(tmp_path):
    with pytest.raises(ValueError, match=r"api_key_file=.*key cannot be read"):
        read_api_key(str(tmp_path / "key"))


def test_without_a_key_there_is_none(monkeypatch):
    monkeypatch.delenv("HELMSIGHT_API_KEY", raising=False)
    assert read_api_key(None) is None
