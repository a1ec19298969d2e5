"""`helmsight export`: a policy as one ONNX file, checked against torch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmsight.cli.configuration import configuration, require_counts

if TYPE_CHECKING:
    from helmsight.policies.base import Policy

FORMATS, QUANTISATIONS = ("onnx",), (None, "int8")
# Control periods between two observations of a drive that the file is compared on.
STRIDE = 8


def run(words: list[str]) -> int:
    """Export; returns the exit code: 1 when the file decides otherwise than the policy."""
    values = configuration("export", words)
    if values is None:
        return 0
    _check(values)
    import torch

    from helmsight.deploy.export import compare, onnx_graph, quantised, with_metadata, write_whole
    from helmsight.deploy.onnx_model import OnnxModel
    from helmsight.eval.provenance import provenance
    from helmsight.eval.sources import CheckpointSource
    from helmsight.policies.base import load_policy

    torch.set_num_threads(values["threads"])
    policy, file = load_policy(values["checkpoint"]), Path(values["out"])
    origin = {**CheckpointSource(values["checkpoint"]).provenance(), **provenance()}
    origin |= {"format": "onnx", "quantize": values["quantize"] or "none"}
    graph = onnx_graph(policy)
    seen = list(observations(values, policy))
    exact = OnnxModel(with_metadata(graph, policy, origin), values["threads"])
    found = compare(policy, exact, seen, values["repeats"])
    report(found, "onnxruntime", values)
    if not found.difference <= values["tolerance"]:
        print(f"helmsight export: allowed are {values['tolerance']:g}; {file} is not written")
        return 1
    if values["quantize"] == "int8":
        graph = quantised(graph)
        coarse = OnnxModel(with_metadata(graph, policy, origin), values["threads"])
        found = compare(policy, coarse, seen, values["repeats"])
        report(found, "int8", values)
    origin |= {"largest_difference": found.difference, "compared_on": len(seen)}
    content = with_metadata(graph, policy, origin)
    write_whole(file, content)
    print(f"{file}: {len(content) / 1e6:.2f} MB")
    return 0


def _check(values: dict[str, Any]) -> None:
    for key, allowed in (("format", FORMATS), ("quantize", QUANTISATIONS)):
        if values[key] not in allowed:
            names = ", ".join(str(name or "null") for name in allowed)
            raise ValueError(f"unknown {key} {values[key]!r}; expected one of {names}")
    require_counts(values, "observations", "repeats", "threads")
    out = Path(values["out"])
    if out.suffix != ".onnx":
        raise ValueError(f"out={out} must end in .onnx")
    if not out.resolve().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.resolve().parent} to write {out.name} to")


def report(found: Any, name: str, values: dict[str, Any]) -> None:
    """Print how closely an exported policy agrees with torch, and how long it takes."""
    source = values["data"] or f"driving in {values['env_id']}, split {values.get('split')}"
    print(
        f"{name}: largest difference of an action entry {found.difference:.1e} over "
        f"{found.observations} observations ({source})\n"
        f"{name}: decision {found.onnx_ms:.2f} ms, torch {found.torch_ms:.2f} ms "
        f"({found.onnx_ms / found.torch_ms:.2f}x; medians, threads={values['threads']})"
    )


def observations(values: dict[str, Any], policy: Policy) -> Iterator[dict[str, Any]]:
    """What the policy reads, `observations` times: spread over a data set, or met while driving."""
    from helmsight.eval.progress import ProgressReporter

    wanted = values["observations"]
    found = _met(values, policy) if values["data"] is None else _recorded(values, policy)
    with ProgressReporter("Observations", wanted, success="read") as progress:
        for observation in islice(found, wanted):
            progress.advance(True)
            yield {key: observation[key] for key in policy.observation_keys()}


def _met(values: dict[str, Any], policy: Policy) -> Iterator[dict[str, Any]]:
    """Every `STRIDE`th observation of the policy's own drives, over episodes drawn by the seed."""
    from helmsight.cli.trained_options import as_trained
    from helmsight.eval.environments import make_environment
    from helmsight.eval.evaluation import refuse_other_embodiment
    from helmsight.policies.base import TASK_KEY

    options = as_trained(values["checkpoint"], values["env_options"])
    environment: Any = make_environment(values["env_id"], options).unwrapped
    refuse_other_embodiment(policy, environment)
    seed = values["seed"]
    try:
        while True:
            info = environment.restart(seed=seed)
            seed = None  # from now on the sequence that it began
            policy.reset()
            ended, step = False, 0
            while not ended:
                observation = {**environment.observe(), TASK_KEY: info.get("task", "")}
                if step % STRIDE == 0:
                    yield observation
                action, _ = policy.predict(observation)
                _, terminated, truncated, _ = environment.advance(action)
                ended, step = terminated or truncated, step + 1
    finally:
        environment.close()


def _recorded(values: dict[str, Any], policy: Policy) -> Iterator[dict[str, Any]]:
    """Frames of a data set in a random order."""
    import numpy as np

    from helmsight.policies.base import TASK_KEY
    from helmsight.training.dataset.reader import LeRobotDataset

    data = LeRobotDataset(values["data"])
    data.require_embodiment(policy.embodiment)
    states = data.columns("observation.state")
    episodes = data.columns("episode_index")
    keys = [key for key in policy.observation_keys() if key in data.image_keys]
    for index in np.random.default_rng(values["seed"]).permutation(data.num_frames):
        pictures = {key: data.frames(key, [index])[0] for key in keys}
        task = data.episodes.tasks[int(episodes[index])]
        state = states[index].astype(np.float32)
        yield {**pictures, "observation.state": state, TASK_KEY: task}
