from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from helmsight.cli import bench
from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.eval.benchmarks.decision import measure_decision_ms
from helmsight.eval.benchmarks.drives import replay, typical_drives
from helmsight.eval.benchmarks.isolation import held_to, run_isolated, usable_cores
from helmsight.eval.benchmarks.measurement import Clock, Report, measurement
from helmsight.eval.benchmarks.training_step import measure_step_time_ratio


class Reports(list[tuple[int, int]]):
    def __call__(self, done: int, total: int) -> None:
        self.append((done, total))


# ---- Figures ----


def test_a_measurement_is_the_median_with_its_quartiles() -> None:
    found = measurement([5.0, 1.0, 2.0, 4.0, 3.0], "1/s", 0.98765, "so")
    assert (found.value, found.low, found.high, found.n) == (3.0, 2.0, 4.0, 5)
    assert found.cores_used == 0.988


def test_a_measurement_without_repeats_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one repeat"):
        measurement([], "1/s", 1.0, "so")


def test_a_clock_adds_up_its_blocks_and_nothing_between_them() -> None:
    clock = Clock()
    for _ in range(2):
        with clock:
            time.sleep(0.02)
        time.sleep(0.2)
    assert 0.04 <= clock.seconds < 0.2
    assert clock.cores_used < 0.5


# ---- A process of its own ----


def _where(word: str, report: Report) -> tuple[str, int, int]:
    report(1, 2)
    report(2, 2)
    return word, os.getpid(), len(os.sched_getaffinity(0))


def _fails(report: Report) -> None:
    raise ValueError("no such thing")


def _dies(report: Report) -> None:
    os._exit(7)


def test_a_part_runs_in_a_process_of_its_own_held_to_one_core() -> None:
    before, reports = os.sched_getaffinity(0), Reports()
    word, process, cores = run_isolated(_where, "hello", report=reports, one_core=True)
    assert word == "hello"
    assert process != os.getpid()
    assert cores == 1
    assert os.sched_getaffinity(0) == before
    assert reports == [(1, 2), (2, 2)]


def test_a_thread_is_held_to_cores_and_let_go_again() -> None:
    before = usable_cores()
    with held_to(frozenset({max(before)})):
        assert usable_cores() == {max(before)}
    assert usable_cores() == before


def test_being_held_to_no_core_changes_nothing() -> None:
    before = usable_cores()
    with held_to(frozenset()):
        assert usable_cores() == before


def test_an_error_in_the_process_is_raised_here() -> None:
    with pytest.raises(ValueError, match="no such thing"):
        run_isolated(_fails, report=Reports())


def test_a_process_that_dies_is_told_with_its_exit_code() -> None:
    with pytest.raises(RuntimeError, match="died with exit code 7"):
        run_isolated(_dies, report=Reports())


# ---- Training step ----


class Sleeper(nn.Module):
    """A policy whose forward pass takes as long as asked."""

    def __init__(self, name: str, seconds: float, order: list[str]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.name, self.seconds, self.order = name, seconds, order

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        self.order.append(self.name)
        time.sleep(self.seconds)
        loss = (self.weight * batch["x"]).sum()
        return loss, {"x": loss}


def test_the_step_time_ratio_is_that_of_steps_taken_in_turns() -> None:
    order: list[str] = []
    slow, fast = Sleeper("slow", 0.06, order), Sleeper("fast", 0.02, order)
    reports = Reports()
    found = measure_step_time_ratio(slow, fast, {"x": torch.ones(5, 2)}, 4, reports)  # type: ignore[arg-type]
    assert 1.5 < found["step_time_ratio"].value < 3.5
    assert found["step_time_ratio"].n == 4
    assert found["step_ms_with_attention"].value >= 60.0
    assert found["step_ms_without"].value >= 20.0
    assert order[-8:] == ["slow", "fast", "fast", "slow"] * 2
    assert reports[-1] == (4, 4)


# ---- Drives and decisions ----


@pytest.fixture
def blind_environment() -> ParkingEnvironment:
    return ParkingEnvironment(cameras="none", simulator="kinematic")


def test_drives_are_of_both_families_and_can_be_driven_again(
    blind_environment: ParkingEnvironment,
) -> None:
    drives = typical_drives(blind_environment, a_family=1, steps=5)
    assert [drive.scenario.family for drive in drives] == ["standard", "cluttered"]
    poses = []
    for _ in range(2):
        for action in replay(blind_environment, drives[0]):
            blind_environment.advance(action)
        poses.append(blind_environment.vehicle_state().pose)
    assert poses[0] == poses[1]
    assert poses[0] != drives[0].scenario.start


def test_so_many_decisions_are_timed_as_asked(blind_environment: ParkingEnvironment) -> None:
    policy = bench._policy(
        "state",
        "jacobian",
        blind_environment.embodiment,
        {"observation.state": {"mean": [0.0] * 8, "std": [1.0] * 8}},
    )
    reports = Reports()
    found = measure_decision_ms(policy, blind_environment, 12, reports)
    assert found.n == 12 and reports[-1] == (12, 12)
    assert 0.0 < found.low <= found.value <= found.high


# ---- The command ----


@pytest.mark.parametrize(
    ("words", "message"),
    (
        (["parts=[observation]"], "unknown part 'observation'; the parts are observations"),
        (["parts=[]"], "no parts given"),
        (["repeats=0"], "repeats must be a whole number of 1 or more, got 0"),
        (["episodes=3"], r"episodes \(3\) must be at least repeats \(5\)"),
        (["threads=0"], "threads must be null or a whole number of 1 or more, got 0"),
        (["seconds=0"], "seconds must be above 0, got 0"),
        (["second=3"], "unknown key 'second'; did you mean 'seconds'"),
    ),
)
def test_a_wrong_option_is_named(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bench.run([f"out={tmp_path / 'out'}", *words])
    assert not (tmp_path / "out").exists()


FIGURES = (
    "observations_per_second",
    "episodes_per_hour",
    "windows_per_second",
    "step_time_ratio",
    "decision_ms",
)


@pytest.mark.rendering
def test_the_command_measures_every_part(tmp_path: Path, capsys: Any) -> None:
    small = ["seconds=0.2", "repeats=1", "episodes=1", "pairs=2", "decisions=3", "image_size=32"]
    sizes = ["batch_size=4", "step_batch_size=4", "threads=1"]
    assert bench.run([f"out={tmp_path}", *small, *sizes]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    for name in FIGURES:
        found = summary[name]
        assert 0.0 < found["low"] <= found["value"] <= found["high"], name
        assert found["n"] >= 1 and found["cores_used"] > 0.0
    assert summary["machine"]["cpu"] and summary["versions"]["torch"]
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]  # recorded data are gone
    printed = capsys.readouterr().out
    assert all(name in printed for name in FIGURES)
