"""Whole collections with the kinematic simulator."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from helmsight.training.collection import collect
from helmsight.training.collection.demonstration import FailedAttempt
from helmsight.training.collection.parking.demonstrator import ParkingDemonstrator
from helmsight.training.collection.parking.settings import ParkingCollection
from helmsight.training.dataset.writer import DatasetWriter


def settings(out, episodes=3, **options):
    defaults = {"workers": 0, "simulator": "kinematic", "image_size": 32}
    return ParkingCollection(out=out, episodes=episodes, **{**defaults, **options})


def run(*arguments, **options):
    return collect(settings(*arguments, **options), show_progress=False)


def files(root):
    """Contents of the data and video files, and the log."""
    paths = [*root.glob("data/**/*.parquet"), *root.glob("videos/**/*.mp4")]
    contents = {str(path.relative_to(root)): path.read_bytes() for path in paths}
    contents["log"] = (root / "meta/collection.jsonl").read_bytes()
    return contents


def log(root):
    return [json.loads(line) for line in (root / "meta/collection.jsonl").open()]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A collection of three episodes in this process; do not change it."""
    out = tmp_path_factory.mktemp("collections") / "reference"
    return out, run(out)


def test_a_collection_holds_the_episodes_asked_for_and_says_so(reference):
    out, summary = reference
    assert (summary.episodes, summary.new_episodes, summary.interrupted) == (3, 3, False)
    assert summary.episodes_per_hour > 0
    assert json.loads((out / "summary.json").read_text()) == dataclasses.asdict(summary)
    assert sum(line["failure"] is None for line in log(out)) == 3
    table = pq.read_table(out / "data/chunk-000/file-000.parquet").to_pydict()
    assert np.asarray(table["observation.depth.front"]).shape == (len(table["index"]), 256)


def test_two_worker_processes_give_the_same_data_set_as_none(reference, tmp_path):
    run(tmp_path / "other", workers=2)
    assert files(tmp_path / "other") == files(reference[0])


def test_a_collection_in_two_goes_gives_the_same_data_set(reference, tmp_path):
    run(tmp_path / "other", episodes=1)
    summary = run(tmp_path / "other", episodes=3)
    assert summary.new_episodes == 2
    assert files(tmp_path / "other") == files(reference[0])


def test_a_complete_data_set_is_left_as_it_is(reference, capsys):
    before = files(reference[0])
    summary = collect(settings(reference[0], episodes=2))
    assert (summary.episodes, summary.new_episodes) == (3, 0)
    assert files(reference[0]) == before
    assert "nothing to do" in capsys.readouterr().err


def test_other_settings_are_refused_by_name_and_change_nothing(reference):
    before = files(reference[0])
    with pytest.raises(ValueError, match=r"seed is 1, there it was 0.*round=2"):
        run(reference[0], episodes=9, seed=1)
    with pytest.raises(ValueError, match="holds 1 rounds; the next is round 2, got round 3"):
        run(reference[0], episodes=9, seed=1, round=3)
    with pytest.raises(ValueError, match="record the same columns: image_size is 64"):
        run(reference[0], episodes=9, image_size=64, round=2)
    assert files(reference[0]) == before


def test_a_second_round_of_other_settings_is_appended(tmp_path):
    run(tmp_path, episodes=1)
    summary = run(tmp_path, episodes=2, seed=1, round=2)
    assert (summary.episodes, summary.new_episodes) == (2, 1)
    assert [line["round"] for line in log(tmp_path)] == [1, 2]


def test_failed_attempts_are_counted_and_left_out(tmp_path, monkeypatch):
    carry_out = ParkingDemonstrator.run

    def fail_sometimes(self, attempt):
        if attempt.number == 1:
            raise FailedAttempt("expert: CR")
        return carry_out(self, attempt)

    monkeypatch.setattr(ParkingDemonstrator, "run", fail_sometimes)
    summary = run(tmp_path, episodes=2)
    assert (summary.episodes, summary.attempts) == (2, 3)
    assert summary.failures == {"expert: CR": 1}
    assert [line["episode_index"] for line in log(tmp_path)] == [0, None, 1]


def test_nothing_but_failures_ends_the_collection(tmp_path, monkeypatch):
    def fail(self, attempt):
        raise FailedAttempt("expert: no plan")

    monkeypatch.setattr(ParkingDemonstrator, "run", fail)
    with pytest.raises(RuntimeError, match="attempts in a row failed, the last with 'expert"):
        run(tmp_path)


def test_an_interrupted_collection_keeps_its_episodes_and_goes_on(
    reference, tmp_path, monkeypatch, capsys
):
    commit = DatasetWriter.commit

    def commit_once(self, staged, line=None):
        if self.num_episodes == 1:
            raise KeyboardInterrupt
        return commit(self, staged, line)

    out = tmp_path / "other"
    with monkeypatch.context() as patch:
        patch.setattr(DatasetWriter, "commit", commit_once)
        summary = collect(settings(out))
    assert (summary.episodes, summary.interrupted) == (1, True)
    assert "Run the same command again to go on" in capsys.readouterr().err
    assert run(out).interrupted is False
    assert files(out) == files(reference[0])


COLLECT_IN_A_PROCESS = """
import sys
from pathlib import Path
from helmsight.training.collection import collect
from helmsight.training.collection.parking.settings import ParkingCollection

if __name__ == "__main__":
    collect(
        ParkingCollection(
            Path(sys.argv[1]), 3, workers=1, simulator="kinematic", image_size=32
        )
    )
"""


def test_a_killed_collection_keeps_its_episodes_ends_its_workers_and_goes_on(reference, tmp_path):
    script, out = tmp_path / "script.py", tmp_path / "data"
    script.write_text(COLLECT_IN_A_PROCESS)
    process = subprocess.Popen([sys.executable, script, out], stderr=subprocess.DEVNULL)
    info, deadline = out / "meta/info.json", time.monotonic() + 60
    while not info.is_file() or json.loads(info.read_text())["total_episodes"] < 1:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = _children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert children
    while any(_alive(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run(out)
    assert files(out) == files(reference[0])


def _children(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()]


def _alive(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def saved_policy(reference, sees, folder):
    """Folder of an untrained policy."""
    from helmsight.envs.parking.vehicle import parking_embodiment
    from helmsight.policies.parking import ParkingPolicy, ParkingPolicyConfig

    statistics = json.loads((reference[0] / "meta/stats.json").read_text())
    config = ParkingPolicyConfig(sees=sees)
    ParkingPolicy(config, parking_embodiment(), statistics).save(folder)
    return folder


def test_a_policy_without_cameras_rolls_in_without_an_image(reference, tmp_path, monkeypatch):
    from helmsight.envs.parking.env import ParkingEnvironment
    from helmsight.training.collection.parking.policy_driver import PolicyDriver

    rolling, rendered = [False], []
    drive, images = PolicyDriver.drive, ParkingEnvironment._images

    def watched_drive(self, *arguments):
        rolling[0] = True
        result = drive(self, *arguments)
        rolling[0] = False
        return result

    def watched_images(self):
        rendered.append(rolling[0])
        return images(self)

    monkeypatch.setattr(PolicyDriver, "drive", watched_drive)
    monkeypatch.setattr(ParkingEnvironment, "_images", watched_images)
    policy = saved_policy(reference, "nothing", tmp_path / "policy")
    run(tmp_path / "data", episodes=1, policy=policy)
    assert [line["mode"] for line in log(tmp_path / "data")][-1] == "handover"
    assert rendered
    assert not any(rendered)


def test_a_privileged_policy_rolls_in_though_the_recording_leaves_the_label_out(
    reference, tmp_path
):
    policy = saved_policy(reference, "label", tmp_path / "policy")
    run(tmp_path / "data", episodes=1, policy=policy, birds_eye=False)
    assert [line["mode"] for line in log(tmp_path / "data")][-1] == "handover"


def test_a_folder_without_a_policy_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="no saved policy"):
        run(tmp_path / "data", policy=tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_data_set_without_its_whole_log_is_not_collected_twice(reference, tmp_path):
    root = shutil.copytree(reference[0], tmp_path / "set")
    before = files(root)
    path = root / "meta" / "collection.jsonl"
    for kept in (before["log"].splitlines(keepends=True)[:1], None):
        path.unlink()
        if kept is not None:
            path.write_bytes(b"".join(kept))
        with pytest.raises(ValueError, match=r"collection\.jsonl: counts \d episodes.* has 3"):
            run(root, episodes=5)
    path.write_bytes(before["log"])
    assert files(root) == before


def test_a_damaged_line_of_the_log_is_named(reference, tmp_path):
    root = shutil.copytree(reference[0], tmp_path / "set")
    path = root / "meta" / "collection.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b'{"a\n', *lines[1:]]))
    with pytest.raises(ValueError, match=r"collection\.jsonl, line 2: not an attempt"):
        run(root, episodes=5)
