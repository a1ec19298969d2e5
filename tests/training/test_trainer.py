from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_run import TinyData, TinyPolicy, logged, tiny_run, tiny_settings
from torch import nn

from helmsight.training.optimizer import make_optimizer
from helmsight.training.settings import TrainingSettings, uses_bfloat16
from helmsight.training.trainer import NonFiniteLossError, train_on

PROGRAM = Path(__file__).with_name("tiny_run.py")


def start(out: Path, **changes: int) -> subprocess.Popen[bytes]:
    arguments = [f"{key}={value}" for key, value in changes.items()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(out), *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
    )


def wait_for_lines(out: Path, count: int) -> None:
    deadline = time.monotonic() + 60.0
    metrics = out / "metrics.jsonl"
    while not metrics.is_file() or metrics.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "the run logs nothing"
        time.sleep(0.01)


def test_a_run_killed_in_the_middle_and_started_again_gives_the_same_losses(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole, max_steps=40).wait(timeout=60) == 0
    process = start(killed, max_steps=40, delay_ms=20)
    wait_for_lines(killed, 18)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "policy").exists()
    assert start(killed, max_steps=40).wait(timeout=60) == 0
    assert logged(killed) == logged(whole)
    for name in ("policy", "checkpoints/000040"):
        mine = load_file(killed / name / "model.safetensors")
        theirs = load_file(whole / name / "model.safetensors")
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_a_run_under_way_is_not_started_a_second_time(tmp_path: Path) -> None:
    process = start(tmp_path, max_steps=1000, delay_ms=20)
    wait_for_lines(tmp_path, 2)
    with pytest.raises(ValueError, match="another process is training in"):
        tiny_run(tmp_path, max_steps=1000)
    process.kill()
    process.wait()


def test_an_interrupted_run_saves_where_it_stands_and_goes_on_from_there(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    tiny_run(whole, log_every=4)
    summary = tiny_run(stopped, TinyData(interrupted_at=7), log_every=4)
    assert not summary.completed
    assert 0 < summary.steps < 12
    assert (stopped / "checkpoints" / "last").read_text().strip() == f"{summary.steps:06d}"
    assert tiny_run(stopped, log_every=4).completed
    assert logged(stopped) == logged(whole)


def test_a_repeated_run_gives_the_same_losses_whatever_the_caller_drew_before(
    tmp_path: Path,
) -> None:
    tiny_run(tmp_path / "a")
    torch.rand(3)
    tiny_run(tmp_path / "b")
    assert logged(tmp_path / "a") == logged(tmp_path / "b")


def test_another_seed_gives_other_losses(tmp_path: Path) -> None:
    tiny_run(tmp_path / "a")
    tiny_run(tmp_path / "b", seed=1)
    assert logged(tmp_path / "a")[0]["loss"] != logged(tmp_path / "b")[0]["loss"]


def test_the_generators_of_the_caller_are_left_as_they_were(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    tiny_run(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    summary = tiny_run(tmp_path, max_steps=200, learning_rate=1e-2, log_every=20)
    lines = [line for line in logged(tmp_path) if "loss" in line]
    assert summary.losses["loss"] < 0.5 * lines[0]["loss"]
    assert summary.validation is not None
    assert summary.validation["imitation"] < 0.1


def test_a_finished_run_answers_with_its_summary(tmp_path: Path) -> None:
    first = tiny_run(tmp_path)
    data = TinyData()
    assert tiny_run(tmp_path, data) == first
    assert data.started_at == []
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 12


def test_the_run_folder_holds_what_it_promises(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["max_steps"] == 12
    assert json.loads((tmp_path / "versions.json").read_text())["packages"]["torch"]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "000010",
        "000012",
        "last",
    ]
    assert (tmp_path / "policy" / "model.safetensors").is_file()
    assert list((tmp_path / "metrics").iterdir())
    line = logged(tmp_path)[0]
    assert line["step"] == 1
    assert set(line["parts"]) == {"imitation", "smooth"}


def test_the_final_policy_has_the_averaged_weights(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    policy = load_file(tmp_path / "policy" / "model.safetensors")
    checkpoint = tmp_path / "checkpoints" / "000012"
    average = load_file(checkpoint / "average.safetensors")
    trained = load_file(checkpoint / "model.safetensors")
    assert all(torch.equal(policy[key], average[key]) for key in average)
    assert not torch.equal(policy["head.weight"], trained["head.weight"])


def test_validation_is_logged_once_at_its_steps_and_at_the_end(tmp_path: Path) -> None:
    for max_steps, steps in ((12, [6, 12]), (13, [6, 12, 13])):
        out = tmp_path / str(max_steps)
        tiny_run(out, max_steps=max_steps)
        assert [line["step"] for line in logged(out) if "validation" in line] == steps


def test_validation_changes_nothing_about_training(tmp_path: Path) -> None:
    tiny_run(tmp_path / "with", validate_every=2)
    tiny_run(tmp_path / "without", validate_every=0)
    losses = [line for line in logged(tmp_path / "with") if "loss" in line]
    assert losses == logged(tmp_path / "without")


def test_another_configuration_in_the_folder_is_refused_by_its_keys(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    with pytest.raises(ValueError, match=r"learning_rate was 0.001, is 0.5") as caught:
        tiny_run(tmp_path, learning_rate=0.5)
    assert "max_steps" not in str(caught.value)


def test_a_loss_that_is_not_finite_names_step_and_part_and_keeps_the_checkpoint(
    tmp_path: Path,
) -> None:
    with pytest.raises(NonFiniteLossError, match=r"step 8: .*imitation.*000005") as caught:
        tiny_run(tmp_path, TinyData(broken_at=8))
    assert "smooth" not in str(caught.value)
    weights = load_file(tmp_path / "checkpoints" / "000005" / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert not (tmp_path / "policy").exists()


def test_a_time_budget_ends_the_run(tmp_path: Path) -> None:
    summary = tiny_run(tmp_path, TinyData(delay=0.02), max_steps=None, max_minutes=1 / 60)
    assert 1 < summary.steps < 50
    rates = [line["learning_rate"] for line in logged(tmp_path) if "loss" in line]
    assert rates[-1] < 0.1 * max(rates)


def test_weights_decay_but_biases_norms_and_embeddings_do_not(tmp_path: Path) -> None:
    policy = TinyPolicy()
    names = {id(parameter): name for name, parameter in policy.named_parameters()}
    decayed, free = make_optimizer(policy, tiny_settings(tmp_path)).param_groups
    assert {names[id(p)] for p in decayed["params"]} == {
        "encoder.weight",
        "trunk.0.weight",
        "head.weight",
    }
    assert free["weight_decay"] == 0.0
    assert len(free["params"]) == 6


def test_bfloat16_trains_with_float32_weights(tmp_path: Path) -> None:
    summary = tiny_run(tmp_path, precision="bf16")
    assert summary.precision == "bf16"
    weights = load_file(tmp_path / "policy" / "model.safetensors")
    assert weights["head.weight"].dtype == torch.float32


def test_precision_no_is_never_bfloat16() -> None:
    assert not uses_bfloat16("no", torch.device("cpu"))


def test_a_cpu_trains_in_float32_unless_it_is_told_otherwise() -> None:
    assert not uses_bfloat16("auto", torch.device("cpu"))
    assert uses_bfloat16("bf16", torch.device("cpu"))


def test_settings_out_of_range_are_refused_by_name(tmp_path: Path) -> None:
    for name, value in {"batch_size": 0, "learning_rate": 0.0, "precision": "fp8"}.items():
        with pytest.raises(ValueError, match=name.replace("_", ".")):
            tiny_settings(tmp_path, **{name: value})
    with pytest.raises(ValueError, match="max_steps"):
        TrainingSettings(data=(), out=tmp_path)


def test_a_checkpoint_of_another_network_is_refused_by_its_tensors(tmp_path: Path) -> None:
    class Other(TinyPolicy):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(16, 3, bias=False)

    tiny_run(tmp_path)
    with pytest.raises(ValueError, match=r"head\.bias is unknown"):
        train_on(TinyData(), tiny_settings(tmp_path), Other)
