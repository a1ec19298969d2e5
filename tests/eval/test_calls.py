from __future__ import annotations

import json

import pytest
from evaluation_fakes import FAKE_ENV, FakeSource

from helmsight.eval import evaluation
from helmsight.eval.calls import begin_call, calls_of, different_code
from helmsight.eval.evaluation import EvaluationSettings, Summary, evaluate

ORIGIN = {
    "time": "2026-01-01",
    "versions": {"torch": "2.9"},
    "git_revision": "aaaa",
    "machine": {"cpu_count": 2},
    "timing": {"workers": 1},
    "command": "helmsight eval",
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Evaluates the first `episodes` with the code of a revision."""

    def evaluated(revision: str, episodes: int, **more) -> Summary:
        monkeypatch.setattr(evaluation, "provenance", lambda: {**ORIGIN, "git_revision": revision})
        films = {"success_videos": 0, "failure_videos": 0}
        return evaluate(
            EvaluationSettings(
                FakeSource(), tmp_path, FAKE_ENV, episodes=episodes, **{**films, **more}
            )
        )

    return evaluated


def test_every_call_that_ran_episodes_is_in_the_summary(run, tmp_path):
    run("aaaa", 2, command="first")
    run("bbbb", 5, command="second", threads=2)
    origin = json.loads((tmp_path / "summary.json").read_text())["provenance"]
    assert [
        (part["git_revision"], part["command"], part["timing"]["torch_threads"], part["episodes"])
        for part in origin["calls"]
    ] == [("aaaa", "first", 1, 2), ("bbbb", "second", 2, 3)]
    assert (origin["git_revision"], origin["command"]) == ("bbbb", "second")


def test_a_call_that_runs_nothing_keeps_the_former_provenance(run):
    before = run("aaaa", 2, command="first").provenance
    assert run("bbbb", 2, command="second").provenance == before


def test_other_code_is_told_on_the_screen_and_in_the_report(run, tmp_path):
    assert "different code" not in run("aaaa", 2).table()
    said = "different code: revisions aaaa (2 episodes), bbbb (1 episodes)."
    assert said in run("bbbb", 3).table()
    assert said in (tmp_path / "report.html").read_text()


def test_episodes_of_before_sessions_were_written_keep_what_their_summary_said(run, tmp_path):
    run("aaaa", 2)
    (tmp_path / "calls.jsonl").unlink()
    parts = run("bbbb", 3).provenance["calls"]
    assert [(part["git_revision"], part["episodes"]) for part in parts] == [
        ("aaaa", 2),
        ("bbbb", 1),
    ]


def test_episodes_of_which_nothing_is_known_are_of_unknown_code(run, tmp_path):
    run("aaaa", 2)
    for name in ("calls.jsonl", "summary.json"):
        (tmp_path / name).unlink()
    assert "revisions unknown (2 episodes), bbbb (1 episodes)" in run("bbbb", 3).table()


def test_an_episode_is_of_the_last_call_that_set_out_to_run_it(tmp_path):
    begin_call(tmp_path, ORIGIN, [0, 1, 2])
    begin_call(tmp_path, {**ORIGIN, "git_revision": "bbbb"}, [2])
    parts = calls_of(tmp_path, [0, 1, 2])
    assert [(part["git_revision"], part["episodes"]) for part in parts] == [
        ("aaaa", 2),
        ("bbbb", 1),
    ]
    assert [part["git_revision"] for part in calls_of(tmp_path, [2])] == ["bbbb"]


def test_calls_that_differ_in_their_time_alone_are_one(tmp_path):
    begin_call(tmp_path, ORIGIN, [0])
    begin_call(tmp_path, {**ORIGIN, "time": "2026-01-02"}, [1, 2])
    (part,) = calls_of(tmp_path, [0, 1, 2])
    assert (part["time"], part["episodes"]) == ("2026-01-02", 3)


def test_a_torn_last_line_is_no_this_call(tmp_path):
    begin_call(tmp_path, ORIGIN, [0])
    with (tmp_path / "calls.jsonl").open("a") as file:
        file.write('{"epi')
    assert len(calls_of(tmp_path, [0])) == 1
    begin_call(tmp_path, ORIGIN, [1])
    assert calls_of(tmp_path, [0, 1])[0]["episodes"] == 2


def test_packages_that_differ_are_named():
    other = {**ORIGIN, "versions": {"torch": "2.8"}, "episodes": 1}
    said = different_code([{**ORIGIN, "episodes": 2}, other])
    assert said is not None and said.endswith("versions differ of torch.")
