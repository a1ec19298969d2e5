import pytest
from evaluation_fakes import FakeSource

from helmsight.eval.sources import (
    CheckpointSource,
    ExpertSource,
    policy_source,
    register_policy_source,
)
from helmsight.policies.pretrained import POLICY_FILES


def saved(folder):
    folder.mkdir(parents=True)
    for name in POLICY_FILES:
        (folder / name).write_text('{"type": "parking", "config": {}}')
    return folder


def test_a_name_comes_before_a_folder():
    assert policy_source("expert") == ExpertSource()


def test_a_registered_name_gives_its_source():
    register_policy_source("fake", FakeSource)
    assert policy_source("fake") == FakeSource()


def test_the_hash_changes_with_any_file_of_the_policy(tmp_path):
    folder = saved(tmp_path / "policy")
    before = CheckpointSource(folder).provenance()["sha256"]
    (folder / "statistics.json").write_text("{}")
    assert CheckpointSource(folder).provenance()["sha256"] != before


def test_a_run_folder_stands_for_the_policy_in_it(tmp_path):
    folder = saved(tmp_path / "run" / "policy")
    inner, outer = CheckpointSource(folder), CheckpointSource(tmp_path / "run")
    assert inner.provenance()["sha256"] == outer.provenance()["sha256"]
    assert inner.provenance()["policy"] == "parking"


def test_a_folder_without_weights_is_refused_by_file(tmp_path):
    (saved(tmp_path / "policy") / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors missing"):
        CheckpointSource(tmp_path / "policy").provenance()


def test_the_expert_refuses_a_world_without_a_car_or_an_arm():
    with pytest.raises(ValueError, match="the parking car and LIBERO's arm; object has neither"):
        ExpertSource().load("cpu").bind(object())
