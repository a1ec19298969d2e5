import dataclasses
import json
import re

import pytest
from evaluation_fakes import FAKE_ENV, FakeSource

from helmsight.eval.evaluation import (
    EpisodesFailed,
    EvaluationInterrupted,
    EvaluationSettings,
    evaluate,
)
from helmsight.eval.records import read_records


def settings(out, **changes):
    standard = EvaluationSettings(
        FakeSource(), out, FAKE_ENV, episodes=7, success_videos=0, failure_videos=0
    )
    return dataclasses.replace(standard, **changes)


def without_times(out):
    records = read_records(out / "episodes.jsonl").values()
    return [dataclasses.replace(record, decision_ms=[]) for record in records]


def test_records_are_the_same_at_any_worker_count(tmp_path):
    evaluate(settings(tmp_path / "one", workers=1))
    evaluate(settings(tmp_path / "two", workers=2))
    assert without_times(tmp_path / "one") == without_times(tmp_path / "two")
    assert len(without_times(tmp_path / "one")) == 7


def test_the_summary_holds_metrics_with_intervals_and_provenance(tmp_path):
    evaluate(settings(tmp_path))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["metrics"]["TSR"]["value"] == pytest.approx(100 * 4 / 7)
    assert summary["metrics"]["TSR"].keys() == {"value", "low", "high", "n"}
    origin = summary["provenance"]
    assert origin["sha256"] == FakeSource().sha256
    assert (origin["target_source"], origin["simulator"], origin["seed"]) == ("tracked", "fake", 0)


def test_a_crash_leaves_every_finished_episode_and_resuming_runs_only_the_rest(tmp_path):
    evaluate(settings(tmp_path))
    path = tmp_path / "episodes.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:4]) + lines[4][:50])
    evaluate(settings(tmp_path))
    again = path.read_text().splitlines(keepends=True)
    # The timing in a line shows that the first four were not run again.
    assert again[:4] == lines[:4]
    assert list(read_records(path)) == list(range(7))


def test_more_episodes_extend_an_evaluation(tmp_path):
    evaluate(settings(tmp_path, episodes=3))
    first = (tmp_path / "episodes.jsonl").read_text()
    assert evaluate(settings(tmp_path, episodes=[0, 1, 2, 9])).episodes == 4
    assert (tmp_path / "episodes.jsonl").read_text().startswith(first)


@pytest.mark.parametrize(
    "change",
    [{"checkpoint": FakeSource("ff")}, {"env_kwargs": {"split": "val"}}, {"seed": 1}],
)
def test_a_folder_of_another_evaluation_is_refused(tmp_path, change):
    evaluate(settings(tmp_path, episodes=1))
    with pytest.raises(ValueError, match="holds another evaluation"):
        evaluate(settings(tmp_path, episodes=1, **change))


def test_an_error_of_the_simulator_fails_the_run_but_no_episode(tmp_path):
    broken = settings(tmp_path, env_kwargs={"broken_episode": 2})
    with pytest.raises(EpisodesFailed, match=r"1 of 7 episodes .* lost its window") as caught:
        evaluate(broken)
    assert caught.value.summary.metrics["TSR"].n == 6
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["episodes"], summary["errors"]) == (6, 1)
    assert "1 of 7 episodes ended in an error" in (tmp_path / "report.html").read_text()


def test_a_worker_that_dies_costs_its_episode_alone(tmp_path):
    deadly = settings(tmp_path, env_kwargs={"deadly_episode": 1}, workers=2)
    with pytest.raises(EpisodesFailed, match="episode 1: WorkerDied"):
        evaluate(deadly)
    records = read_records(tmp_path / "episodes.jsonl")
    assert [index for index, record in records.items() if record.error] == [1]
    assert len(records) == 7


def test_an_interruption_keeps_finished_episodes_and_says_how_to_go_on(tmp_path):
    stopped = settings(tmp_path, env_kwargs={"interrupt_episode": 4})
    with pytest.raises(EvaluationInterrupted, match=r"4 of 7 episodes .* same command"):
        evaluate(stopped)
    assert list(read_records(tmp_path / "episodes.jsonl")) == [0, 1, 2, 3]


def test_an_unknown_option_of_the_environment_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"no option fog; its options are family, split"):
        evaluate(settings(tmp_path, env_kwargs={"fog": 1}))


def test_a_checkpoint_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="neither a checkpoint's folder nor a known driver"):
        evaluate(settings(tmp_path, checkpoint=tmp_path / "nothing"))


@pytest.mark.parametrize(
    "change", [{"episodes": 0}, {"episodes": []}, {"workers": 0}, {"failure_videos": -1}]
)
def test_settings_out_of_range_are_refused(tmp_path, change):
    with pytest.raises(ValueError, match=r"must be"):
        settings(tmp_path, **change)


def test_the_report_is_one_file_with_films_of_failures_before_successes(tmp_path):
    evaluate(settings(tmp_path, success_videos=1, failure_videos=2))
    page = (tmp_path / "report.html").read_text()
    films = re.findall(r'<figure class="film o-(\w+)"', page)
    assert films == ["CR", "TR", "TSR"]
    assert "2 of 3 failures" in page
    assert page.count("data:video/mp4;base64,") == 3
