"""A policy's whole decision as one ONNX file: normalisation, attention, heads and action range.

The file needs nothing beside it: what it was made from, for which robot and how closely it agrees
with torch stands in its metadata (`onnx_model.OnnxModel.about`).
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.onnx.symbolic_helper import parse_args

from helmsight.deploy.model import MEMORY_KEY, Model, Recollection, blank_observation
from helmsight.deploy.onnx_model import METADATA, NEXT_MEMORY, OUTPUT, TASK_INDEX, OnnxModel
from helmsight.deploy.torch_model import TorchModel
from helmsight.policies.base import TASK_INDEX_KEY, TASK_KEY, Policy

Observations = Sequence[dict[str, Any]]

# The first whose GridSample reads volumes, as depth-weighted sampling does.
OPSET = 20
# Of the operators with integer kernels. Convolutions are left as they are: quantised for each
# picture anew they are slower than in float32.
QUANTISED_OPERATORS = ("MatMul",)


@dataclass(frozen=True)
class Comparison:
    """An exported policy beside the original, over the same observations.

    difference: largest absolute difference of any action entry, in its unit. Times are medians of
    a decision in milliseconds.
    """

    observations: int
    difference: float
    torch_ms: float
    onnx_ms: float


class _Decision(nn.Module):
    """A policy's decision with tensors in the order of `keys`, which name them in a batch.

    Of a policy that remembers, one more goes in and one more comes out.
    """

    def __init__(self, policy: Policy, keys: Sequence[str]) -> None:
        super().__init__()
        self.policy, self.keys = policy, keys

    def forward(self, *values: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.policy.memory_size == 0:
            return self.policy.predict_action_chunk(dict(zip(self.keys, values, strict=True)))
        *seen, memory = values
        return self.policy.decide(dict(zip(self.keys, seen, strict=True)), memory)


def onnx_graph(policy: Policy) -> onnx.ModelProto:
    """A policy's decision on one observation (a batch of 1), in float32.

    The batch is fixed: every shape is then known, and the graph holds nothing that computes them.
    An instruction is given by its index among those that the policy knows; their embeddings are in
    the graph, a language model is not. Raises ValueError for a policy that reads what no sensor of
    its embodiment gives.
    """
    blank = blank_observation(policy.embodiment)
    tensors = {key: torch.from_numpy(value)[None] for key, value in blank.items()}  # [1, ...]
    if policy.known_instructions:
        tensors[TASK_KEY] = torch.zeros(1, dtype=torch.int64)
    keys = policy.observation_keys()
    strangers = [key for key in keys if key not in tensors]
    if strangers:
        raise ValueError(f"the policy reads {', '.join(strangers)}, which no sensor gives")
    inputs = tuple(tensors[key] for key in keys)
    in_batch = [TASK_INDEX_KEY if key == TASK_KEY else key for key in keys]
    named = [TASK_INDEX if key == TASK_KEY else key for key in keys]
    outputs = [OUTPUT]
    if policy.memory_size > 0:
        inputs = (*inputs, torch.zeros(1, policy.memory_size))
        named, outputs = [*named, MEMORY_KEY], [OUTPUT, NEXT_MEMORY]
    decision = _Decision(copy.deepcopy(policy).cpu().float(), in_batch).eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), _operators_are_known():
        file = Path(folder) / "graph.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's, about shapes that are fixed here
            torch.onnx.export(
                decision,
                inputs,
                str(file),
                input_names=named,
                output_names=outputs,
                opset_version=OPSET,
                dynamo=False,
            )
        graph: onnx.ModelProto = onnx.load_model(file)
    onnx.checker.check_model(graph, full_check=True)
    return graph


def quantised(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with 8-bit weights; activations are quantised as they come (dynamically).

    Weights are unsigned: where a CPU has no VNNI, sums of products of unsigned activations and
    signed weights overflow, which moved actions more than ten times as far.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Pre-processing, which it would ask for, finds out shapes; here they are known.
    onnx.helper.set_model_props(graph, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(graph.SerializeToString())
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=list(QUANTISED_OPERATORS),
            per_channel=True,
            weight_type=QuantType.QUInt8,
        )
        smaller: onnx.ModelProto = onnx.load_model(target)
    return smaller


def with_metadata(graph: onnx.ModelProto, policy: Policy, provenance: dict[str, Any]) -> bytes:
    """The file's content: graph, what a server and a robot must know, and where it comes from."""
    about = {
        "policy": provenance["checkpoint"],
        "observation_keys": policy.observation_keys(),
        "steps_per_decision": policy.steps_per_decision,
        "memory_size": policy.memory_size,
        "embodiment": policy.embodiment.to_dict(),
        "instructions": list(policy.known_instructions),
        "provenance": provenance,
    }
    onnx.helper.set_model_props(graph, {METADATA: json.dumps(about)})
    content: bytes = graph.SerializeToString()
    return content


def write_whole(file: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def compare(
    policy: Policy, exported: OnnxModel, observations: Observations, repeats: int = 1
) -> Comparison:
    """Both decide on every observation `repeats` times, in turns; each time from the same memory.

    Raises ValueError where the policy itself decides NaN or infinity.
    """
    models: tuple[Model, Model] = (TorchModel(policy), exported)
    for model in models:
        model.warm_up()
    differences: list[float] = []
    times: tuple[list[float], list[float]] = ([], [])
    memory = None
    for _ in range(repeats):
        for observation in observations:
            actions, kept = [], [Recollection(memory) for _ in models]
            for model, recollection, spent in zip(models, kept, times, strict=True):
                seen = {**observation, MEMORY_KEY: recollection}
                started = time.perf_counter()
                actions.append(model.decide([seen]))
                spent.append(1000.0 * (time.perf_counter() - started))
            memory = kept[1].values  # the exported one's, which is to drive
            if not np.isfinite(actions[0]).all():
                raise ValueError("the policy's own actions are not finite; it cannot be exported")
            differences.append(float(np.abs(actions[0] - actions[1]).max()))
    torch_ms, onnx_ms = (float(np.median(spent)) for spent in times)
    # Not `max`, for which NaN is no number to beat 0.
    return Comparison(len(observations), float(np.max(differences)), torch_ms, onnx_ms)


@contextlib.contextmanager
def _operators_are_known() -> Iterator[None]:
    """Teaches the exporter operators that it lacks, or writes wrongly."""
    symbolics: dict[str, Any] = {
        "aten::hypot": _hypot,
        "aten::index_add": _index_add,
        "aten::sinc": _sinc,
    }
    for name, symbolic in symbolics.items():
        torch.onnx.register_custom_op_symbolic(name, symbolic, OPSET)
    try:
        yield
    finally:
        for name in symbolics:
            torch.onnx.unregister_custom_op_symbolic(name, OPSET)


def _hypot(graph: Any, one: Any, other: Any) -> Any:
    squares = (graph.op("Mul", value, value) for value in (one, other))
    return graph.op("Sqrt", graph.op("Add", *squares))


def _sinc(graph: Any, value: Any) -> Any:
    """sin(pi x) / (pi x), which is 1 at 0."""
    angle = graph.op("Mul", value, graph.op("Constant", value_t=torch.tensor(torch.pi)))
    is_zero = graph.op("Equal", angle, graph.op("Constant", value_t=torch.tensor(0.0)))
    one = graph.op("Constant", value_t=torch.tensor(1.0))
    divisor = graph.op("Where", is_zero, one, angle)
    return graph.op("Where", is_zero, one, graph.op("Div", graph.op("Sin", angle), divisor))


@parse_args("v", "i", "v", "v", "v")
def _index_add(graph: Any, target: Any, axis: int, index: Any, source: Any, alpha: Any) -> Any:
    """The exporter's own loses all but one of the values that fall into the same place."""
    sizes = [1] * source.type().dim()
    sizes[axis] = -1
    along_axis = graph.op("Reshape", index, graph.op("Constant", value_t=torch.tensor(sizes)))
    places = graph.op("Expand", along_axis, graph.op("Shape", source))
    return graph.op("ScatterElements", target, places, source, axis_i=axis, reduction_s="add")
