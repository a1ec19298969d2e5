"""A policy evaluated in LIBERO: records, report and films as for parking."""

from __future__ import annotations

import dataclasses
import importlib.util
import json

import pytest
from arm_policies import ArmSource, ReachingPolicy

from helmsight.envs.libero import tasks
from helmsight.envs.libero.package import find_assets, package_folder
from helmsight.eval.evaluation import EpisodesFailed, EvaluationSettings, evaluate
from helmsight.eval.records import read_records
from helmsight.eval.sources import ExpertSource

HERE = package_folder() is not None and importlib.util.find_spec("robosuite") is not None
pytestmark = [
    pytest.mark.rendering,
    pytest.mark.skipif(
        not HERE or find_assets() is None,
        reason="LIBERO or its scene assets (HELMSIGHT_LIBERO_ASSETS) are not here",
    ),
]
LIMIT = 12


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setitem(tasks.STEP_LIMITS, "libero_object", LIMIT)


def settings(out, policy, **options):
    world = {"suite": "libero_object", "render": "fast", "image_size": 32, **options}
    return EvaluationSettings(
        checkpoint=ArmSource(policy),
        out=out,
        env="helmsight/Libero-v0",
        env_kwargs=world,
        episodes=[0, 350, 351],
        success_videos=0,
        failure_videos=1,
        command="helmsight eval",
    )


def test_an_evaluation_records_tasks_scenes_and_what_was_rendered(tmp_path, short):
    policy = ReachingPolicy()
    summary = evaluate(settings(tmp_path, policy))
    records = read_records(tmp_path / "episodes.jsonl")
    assert [record.metrics["task_index"] for record in records.values()] == [0, 7, 7]
    assert [record.metrics["scene"] for record in records.values()] == [0, 0, 1]
    record = records[350]
    assert record.task == "pick up the milk and place it in the basket"
    assert (record.family, record.split, record.approach) == (
        "libero_object",
        "official",
        "original",
    )
    assert (record.outcome, record.steps, len(record.decision_ms)) == ("TR", LIMIT, 2)
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["metrics"]["SR"]["n"] == 3 and written["metrics"]["SR"]["value"] == 0.0
    assert [rate["n"] for rate in written["tasks"].values()] == [1, 2]
    assert written["provenance"]["env_kwargs"]["render"] == "fast"
    assert written["provenance"]["env_kwargs"]["protocol"] == "official"
    assert len(written["provenance"]["env_kwargs"]["assets"]) >= 12
    assert "7 pick up the milk" in summary.table()
    page = (tmp_path / "report.html").read_text()
    assert "libero_object, official" in page
    assert "7 pick up the milk and place it in the basket" in page
    assert page.count("<video") == 1


def test_images_are_made_for_decisions_alone(tmp_path, short):
    policy = ReachingPolicy()
    evaluate(settings(tmp_path, policy, blank_cameras=True))
    # Two an episode and in its film; and one for nothing before the first of either.
    assert len(policy.brightness) == (1 + 3 * 2) + (1 + 2)
    assert set(policy.brightness) == {0.0}


def test_the_policy_is_told_another_sentence(tmp_path, short):
    policy = ReachingPolicy()
    evaluate(settings(tmp_path, policy, instruction="grab it", blank_cameras=True))
    assert set(policy.tasks) == {"grab it"}
    records = read_records(tmp_path / "episodes.jsonl")
    assert {record.approach for record in records.values()} == {"grab it"}


def test_a_simulator_error_is_no_failed_episode(tmp_path, short, monkeypatch):
    from helmsight.envs.libero.simulator import LiberoSimulator

    step = LiberoSimulator.step

    def breaking(simulator, action):
        settles = not any(action[:6])
        if simulator.task.index == 7 and not settles:
            raise RuntimeError("the simulation became unstable")
        step(simulator, action)

    monkeypatch.setattr(LiberoSimulator, "step", breaking)
    with pytest.raises(EpisodesFailed, match="2 of 3 episodes ended in an error") as failure:
        evaluate(settings(tmp_path, ReachingPolicy(), blank_cameras=True))
    assert failure.value.summary.metrics["SR"].n == 1


def test_the_expert_is_evaluated_by_its_name(tmp_path):
    by_name = dataclasses.replace(
        settings(tmp_path, None), checkpoint=ExpertSource(), episodes=[350], failure_videos=0
    )
    evaluate(by_name)
    (record,) = read_records(tmp_path / "episodes.jsonl").values()
    assert (record.outcome, record.error) == ("SR", None)
