"""Collections of several groups of attempts, each with a quota of its own."""

import json
from collections import Counter

from fake_collection import FakeCollection

from helmsight.training.collection import collect
from helmsight.training.dataset import writer as writer_module
from helmsight.training.dataset.metadata import load_info


def run(out, episodes=3, **options):
    settings = FakeCollection(out, episodes, **{"workers": 0, **options})
    return collect(settings, show_progress=False)


def log(root):
    return [json.loads(line) for line in (root / "meta/collection.jsonl").open()]


def test_every_group_gets_its_episodes_however_often_it_fails(tmp_path):
    summary = run(tmp_path)
    made = Counter(line["group"] for line in log(tmp_path) if line["failure"] is None)
    assert made == {"easy": 3, "hard": 3}
    assert (summary.episodes, summary.failures) == (6, {"expert: not this time": 3})


def test_attempts_of_a_full_group_leave_no_trace(tmp_path):
    run(tmp_path)
    lines = log(tmp_path)
    assert [line["attempt"] for line in lines if line["group"] == "easy"] == [0, 2, 4]
    assert [line["attempt"] for line in lines if line["group"] == "hard"] == [1, 3, 5, 7, 9, 11]


def test_groups_fill_the_same_way_with_workers_and_in_two_goes(tmp_path):
    run(tmp_path / "one")
    run(tmp_path / "two", workers=2)
    run(tmp_path / "three", episodes=1)
    run(tmp_path / "three", episodes=3)
    assert log(tmp_path / "two") == log(tmp_path / "one")
    made = [(line["group"], line["extra"]) for line in log(tmp_path / "three") if "extra" in line]
    wanted = [(line["group"], line["extra"]) for line in log(tmp_path / "one") if "extra" in line]
    assert Counter(group for group, _ in made) == Counter(group for group, _ in wanted)


def test_what_a_demonstration_adds_stands_in_its_line_of_the_log(tmp_path):
    run(tmp_path, episodes=1)
    assert all(line["extra"] == line["attempt"] for line in log(tmp_path) if not line["failure"])


def test_a_collection_interrupted_at_the_end_of_a_commit_counts_it_and_goes_on(
    tmp_path, monkeypatch
):
    synced = writer_module.sync_folder

    def interrupted(folder):
        synced(folder)
        if load_info(tmp_path)["total_episodes"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(writer_module, "sync_folder", interrupted)
    summary = run(tmp_path)
    monkeypatch.undo()
    assert (summary.interrupted, summary.episodes) == (True, 2)
    assert summary.attempts == len(log(tmp_path))
    assert run(tmp_path).episodes == 6
