"""`helmsight bench`: measure speed on this machine."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmsight.cli.configuration import configuration, require_counts

if TYPE_CHECKING:
    from helmsight.eval.benchmarks.measurement import Measurement, Report

Values = dict[str, Any]
Measurements = dict[str, "Measurement"]


def run(words: list[str]) -> int:
    """Measure; returns the exit code."""
    values = configuration("bench", words)
    if values is None:
        return 0
    _check(values)
    out = Path(values["out"])
    out.mkdir(parents=True, exist_ok=True)
    _warn_if_busy()
    with tempfile.TemporaryDirectory(prefix="recorded-", dir=out) as recorded:
        found = _measure(values, Path(recorded) / "data", out / "summary.json")
    _print_table(found)
    print(f"summary: {out / 'summary.json'}")
    return 0


def _warn_if_busy() -> None:
    """Say so where other programs hold the cores: every figure would be too bad."""
    from helmsight.training.cores import available_cores

    load = os.getloadavg()[0]
    if load > 0.5 * available_cores():
        print(
            f"helmsight bench: {load:.1f} other processes run on {available_cores()} cores; the "
            "figures will be too bad (column cores: how much of them the measurement got)",
            file=sys.stderr,
        )


def _check(values: Values) -> None:
    for part in values["parts"]:
        if part not in PARTS:
            raise ValueError(f"unknown part {part!r}; the parts are {', '.join(PARTS)}")
    if not values["parts"]:
        raise ValueError(f"no parts given; the parts are {', '.join(PARTS)}")
    if "simulator" not in values and any(p not in WITHOUT_PARKING for p in values["parts"]):
        raise ValueError(
            f"this environment has the parts {', '.join(WITHOUT_PARKING)}; "
            f"got {', '.join(values['parts'])}"
        )
    counts = ("repeats", "episodes", "batch_size", "step_batch_size", "pairs", "decisions")
    require_counts(values, *counts)
    if values["episodes"] < values["repeats"]:
        raise ValueError(
            f"episodes ({values['episodes']}) must be at least repeats ({values['repeats']})"
        )
    threads = values["threads"]
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads must be null or a whole number of 1 or more, got {threads!r}")
    if not values["seconds"] > 0.0:
        raise ValueError(f"seconds must be above 0, got {values['seconds']}")


def _measure(values: Values, recorded: Path, summary: Path) -> Measurements:
    """Every part in turn; the summary is written after each."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from helmsight.eval.benchmarks.isolation import run_isolated

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    found: Measurements = {}
    # The display shares the cores with what is measured: few refreshes.
    with Progress(*columns, TimeElapsedColumn(), console=console, refresh_per_second=1) as bar:

        def isolated(name: str, part: Part, one_core: bool) -> Measurements:
            task = bar.add_task(name, total=None)

            def report(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            return run_isolated(part, values, data, report=report, one_core=one_core)

        data = Path(values["data"]) if values["data"] else recorded
        for name in (part for part in PARTS if part in values["parts"]):
            if name in NEEDS_DATA and data == recorded and not recorded.exists():
                isolated("recording data", record, False)
            found |= isolated(name, *PARTS[name])
            _write_summary(summary, values, found)
    return found


def _write_summary(file: Path, values: Values, found: Measurements) -> None:
    from helmsight.eval.provenance import command_line, provenance
    from helmsight.training.cores import available_cores

    figures = {name: dataclasses.asdict(entry) for name, entry in found.items()}
    about = {
        "spread": "low and high are the quartiles of n repeats, value their median",
        "available_cores": available_cores(),
        "load_average": os.getloadavg()[0],
        "command": command_line(),
        "settings": values,
    }
    file.write_text(json.dumps({**figures, **about, **provenance()}, indent=2) + "\n")


def _print_table(found: Measurements) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("figure", "value", "quartiles", "n", "cores"):
        table.add_column(heading, no_wrap=True)
    for name, entry in found.items():
        digits = 0 if entry.value >= 100.0 else 2
        value, low, high = (f"{x:.{digits}f}" for x in (entry.value, entry.low, entry.high))
        unit = "" if entry.unit in ("1/s", "1/h") else f" {entry.unit}"
        spread = f"{low} to {high}"
        cores = f"{entry.cores_used:.2f}"
        table.add_row(name, value + unit, spread, str(entry.n), cores)
    console = Console(highlight=False)
    console.print(table)
    for name, entry in found.items():
        console.print(f"{name}: {entry.how}", soft_wrap=True, markup=False, style="dim")


# ---- The parts: each runs in a process of its own ----


def observations(values: Values, data: Path, report: Report) -> Measurements:
    """Observations a second on one core."""
    from helmsight.eval.benchmarks.observations import measure_observations_per_second

    options = {**_environment_options(values), "depth": True}
    found = measure_observations_per_second(options, values["seconds"], values["repeats"], report)
    return {"observations_per_second": found}


def collection(values: Values, data: Path, report: Report) -> Measurements:
    """Episodes an hour on one core, everything stored: rounds of one growing data set."""
    from helmsight.eval.benchmarks.measurement import Clock, measurement
    from helmsight.training.collection.collect import collect

    folder = data.with_name("collected")
    collect(_collection(values, folder, 1), show_progress=False)  # loads what is loaded once
    repeats, rates = values["repeats"], []
    with Clock() as clock:
        for done in range(repeats):
            episodes = 1 + values["episodes"] * (done + 1) // repeats
            summary = collect(_collection(values, folder, episodes), show_progress=False)
            rates.append(summary.episodes_per_hour)
            report(done + 1, repeats)
    how = (
        f"{values['episodes']} episodes in {repeats} rounds, pictures, depth and labels stored, "
        "one core"
    )
    if not values["data"]:
        folder.rename(data)
    return {"episodes_per_hour": measurement(rates, "1/h", clock.cores_used, how)}


def windows(values: Values, data: Path, report: Report) -> Measurements:
    """Training windows a second from disk."""
    from helmsight.eval.benchmarks.measurement import Clock, measurement
    from helmsight.training.dataset.frame_cache import open_frame_cache
    from helmsight.training.dataset.reader import LeRobotDataset
    from helmsight.training.dataset.throughput import measure_windows_per_second

    dataset = LeRobotDataset(data)
    open_frame_cache(dataset, progress=False)
    repeats, size, rates = values["repeats"], values["batch_size"], []
    with Clock() as clock:
        for done in range(repeats):
            rates.append(measure_windows_per_second(data, size, values["seconds"] / repeats))
            report(done + 1, repeats)
    how = (
        f"batches of {size}, all cameras, depth and labels of {dataset.num_frames} frames, "
        "one loader thread"
    )
    return {"windows_per_second": measurement(rates, "1/s", clock.cores_used, how)}


def step(values: Values, data: Path, report: Report) -> Measurements:
    """Time of a training step with control-aided attention over without, on all cores."""
    from helmsight.training.memory import keep_freed_memory

    keep_freed_memory()  # before the first large tensor, as in training
    import torch

    from helmsight.eval.benchmarks.training_step import measure_step_time_ratio
    from helmsight.training.cores import available_cores
    from helmsight.training.data import LeRobotTrainingData
    from helmsight.training.settings import TrainingSettings

    torch.set_num_threads(values["threads"] or available_cores())
    settings = TrainingSettings((data,), data, max_steps=1, batch_size=values["step_batch_size"])
    source = LeRobotTrainingData(settings)
    aided, plain = (
        _policy(values["policy"], signal, source.embodiment, source.statistics)
        for signal in (values["attention"], "none")
    )
    batch = next(source.batches(aided, 0, 0))
    return measure_step_time_ratio(aided, plain, batch, values["pairs"], report)


def decision(values: Values, data: Path, report: Report) -> Measurements:
    """Milliseconds of a decision on all cores."""
    import torch

    from helmsight.cli.trained_options import as_trained
    from helmsight.envs.parking.env import ParkingEnvironment
    from helmsight.eval.benchmarks.decision import measure_decision_ms
    from helmsight.policies.base import load_policy
    from helmsight.training.cores import available_cores

    torch.set_num_threads(values["threads"] or available_cores())
    options = _environment_options(values)
    if values["checkpoint"]:
        options |= as_trained(values["checkpoint"], {})
    environment = ParkingEnvironment(**options)
    if values["checkpoint"]:
        policy = load_policy(values["checkpoint"])
    else:
        entries = environment.embodiment.state.size
        statistics = {"observation.state": {"mean": [0.0] * entries, "std": [1.0] * entries}}
        signal = values["attention"]
        policy = _policy(values["policy"], signal, environment.embodiment, statistics)
    try:
        found = measure_decision_ms(policy, environment, values["decisions"], report)
    finally:
        environment.close()
    return {"decision_ms": found}


def libero(values: Values, data: Path, report: Report) -> Measurements:
    """Control steps, pictures and episodes of LIBERO on one core."""
    from helmsight.eval.benchmarks.arm_episodes import ArmEpisodes

    return ArmEpisodes(**values["libero"], repeats=values["repeats"]).measure(report)


def routing(values: Values, data: Path, report: Report) -> Measurements:
    """FLOPs and time of a decision of a manipulation policy, with its routing parts on and off."""
    import torch

    from helmsight.eval.benchmarks.routing import measure_routing
    from helmsight.training.cores import available_cores

    torch.set_num_threads(values["threads"] or available_cores())
    return measure_routing(_routing_variants(values), values["decisions"], report)


def routing_exported(values: Values, data: Path, report: Report) -> Measurements:
    """The same times where an exported file decides."""
    from helmsight.eval.benchmarks.routing import measure_exported_routing
    from helmsight.training.cores import available_cores

    threads = values["threads"] or available_cores()
    variants = _routing_variants(values)
    try:
        return measure_exported_routing(variants, values["decisions"], threads, report)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"routing_exported needs {error.name}: pip install 'helmsight[deploy,export]', or "
            "leave it out with parts=[routing]"
        ) from None


def _routing_variants(values: Values) -> Any:
    """The policy to be measured with its routing parts on and off."""
    from helmsight.eval.benchmarks.routing import benchmark_arm, make_variants
    from helmsight.policies.base import load_policy
    from helmsight.policies.manipulation import ManipulationPolicyConfig

    config: Any
    if values["checkpoint"]:
        trained = load_policy(values["checkpoint"])
        config, arm, statistics = trained.config, trained.embodiment, trained.statistics
    else:
        arm, statistics = benchmark_arm(values["image_size"])
        config = _policy(values["policy"], values["attention"], arm, statistics).config
    if not isinstance(config, ManipulationPolicyConfig):
        raise ValueError("only a manipulation policy routes; give policy=manipulation or its run")
    return make_variants(config, arm, statistics)


def record(values: Values, data: Path, report: Report) -> Measurements:
    """A small data set for the parts that read one."""
    from helmsight.training.collection.collect import collect

    collect(_collection(values, data, 8), show_progress=False)
    return {}


Part = Callable[[Values, Path, "Report"], Measurements]
# Each with whether it is held to one core, in the order in which they are measured.
PARTS: dict[str, tuple[Part, bool]] = {
    "observations": (observations, True),
    "collection": (collection, True),
    "windows": (windows, False),
    "step": (step, False),
    "decision": (decision, False),
    "libero": (libero, True),
    "routing": (routing, False),
    "routing_exported": (routing_exported, False),
}
# The others need the parking simulator.
WITHOUT_PARKING = ("libero", "routing", "routing_exported")
NEEDS_DATA = ("windows", "step")


def _environment_options(values: Values) -> dict[str, Any]:
    return {key: values[key] for key in ("cameras", "image_size", "simulator")}


def _collection(values: Values, folder: Path, episodes: int) -> Any:
    from helmsight.training.collection.parking.settings import ParkingCollection

    options = _environment_options(values)
    return ParkingCollection(out=folder, episodes=episodes, workers=0, **options)


def _policy(name: str, signal: str, embodiment: Any, statistics: Any) -> Any:
    """An untrained policy as `helmsight train policy=... attention=...` would make it."""
    from helmsight.policies.base import policy_type
    from helmsight.policies.plain_config import config_from_dict

    words = [f"policy={name}", f"attention={signal}", "data=none", "out=none"]
    values = configuration("train", words)
    assert values is not None
    options = dict(values["policy"])
    policy_class = policy_type(options.pop("type"))
    config = config_from_dict(policy_class.config_class, options)
    return policy_class(config, embodiment, statistics)
