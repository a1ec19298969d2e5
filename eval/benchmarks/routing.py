"""What routing saves: floating-point operations and time of a decision, with parts off and on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from helmsight.deploy.model import Model
from helmsight.envs.spec import CameraSpec, EmbodimentSpec, VectorSpec
from helmsight.eval.benchmarks.measurement import Clock, Measurement, Report, measurement
from helmsight.policies.base import Policy, Statistics
from helmsight.policies.manipulation import ManipulationPolicy, ManipulationPolicyConfig

INSTRUCTION = "pick up the milk and place it in the basket"
ALL, NONE = "routed", "unrouted"
_WARM_UP_DECISIONS = 5
Decide = Callable[[dict[str, Any]], Any]


def routing_variants(config: ManipulationPolicyConfig) -> dict[str, ManipulationPolicyConfig]:
    """The configuration as it is, without EFA, without LFP, and without both."""
    seen = dataclasses.replace(config.vision, film=False, aggregation_tokens=0)
    kept = dataclasses.replace(config.trunk, routed=False)
    return {
        ALL: config,
        "without_efa": dataclasses.replace(config, vision=seen),
        "without_lfp": dataclasses.replace(config, trunk=kept),
        NONE: dataclasses.replace(config, vision=seen, trunk=kept),
    }


def make_variants(
    config: ManipulationPolicyConfig, embodiment: EmbodimentSpec, statistics: Statistics
) -> dict[str, ManipulationPolicy]:
    """Untrained policies of `routing_variants`: what they cost does not depend on their weights."""
    made = {}
    for name, changed in routing_variants(config).items():
        policy = ManipulationPolicy(changed, embodiment, statistics)
        policy.know_instructions({INSTRUCTION: [1.0] * config.instruction_width})
        made[name] = policy.requires_grad_(False).eval()
    return made


def count_flops(policy: Policy, observation: Mapping[str, Any]) -> int:
    """Floating-point operations of one decision: of matrix products, convolutions and attention.

    A multiplication and an addition count as two. The attention kernel of CPUs is unknown to
    torch's counter, which would count it as nothing.
    """

    def attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    kernels = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}
    batch = policy.to_batch(observation)
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=kernels) as counter:
        policy.predict_action_chunk(batch)
    return int(counter.get_total_flops())


def measure_routing(
    policies: Mapping[str, Policy], observations: int, report: Report
) -> dict[str, Measurement]:
    """FLOPs and milliseconds of a decision of each policy, and their ratios to `unrouted`."""
    arm = next(iter(policies.values())).embodiment
    seen = random_observation(arm, np.random.default_rng(0))
    flops = {name: float(count_flops(policy, seen)) for name, policy in policies.items()}
    found = {
        f"decision_mflop_{name}": measurement([count / 1e6], "MFLOP", 1.0, "counted")
        for name, count in flops.items()
    }
    for name in (name for name in flops if name != NONE):
        share, how = flops[NONE] / flops[name], f"{NONE} over {name}"
        found[f"flops_saved_{name}"] = measurement([share], "x", 1.0, how)
    deciders = {name: _by_torch(policy) for name, policy in policies.items()}
    timed = measure_in_turns(deciders, arm, observations, report)
    return found | _times(timed, "", f"torch, {torch.get_num_threads()} threads")


def measure_exported_routing(
    policies: Mapping[str, Policy], observations: int, threads: int, report: Report
) -> dict[str, Measurement]:
    """As `measure_routing` times them, decided by onnxruntime: what `helmsight export` writes.

    In a process in which torch decides as well, the threads of the two stand in each other's way.
    Raises ModuleNotFoundError without `onnx` and `onnxruntime`.
    """
    from helmsight.deploy.export import onnx_graph, with_metadata
    from helmsight.deploy.onnx_model import OnnxModel

    arm = next(iter(policies.values())).embodiment
    deciders = {}
    for name, policy in policies.items():
        content = with_metadata(onnx_graph(policy), policy, {"checkpoint": name})
        model = OnnxModel(content, threads)
        model.warm_up()
        deciders[name] = _by_onnxruntime(model)
    timed = measure_in_turns(deciders, arm, observations, report)
    return _times(timed, "exported_", f"onnxruntime, {threads} threads")


def _by_torch(policy: Policy) -> Decide:
    def decide(observation: dict[str, Any]) -> Any:
        policy.reset()
        return policy.predict(observation)

    return decide


def _by_onnxruntime(model: Model) -> Decide:
    def decide(observation: dict[str, Any]) -> Any:
        return model.decide([observation])

    return decide


@dataclass(frozen=True)
class TimedInTurns:
    """Seconds of each decider, one entry an observation, and the cores that were used."""

    seconds: dict[str, list[float]]
    cores_used: float


def measure_in_turns(
    deciders: Mapping[str, Decide], arm: EmbodimentSpec, observations: int, report: Report
) -> TimedInTurns:
    """Let all decide on each of `observations` random observations, each time another one first.

    A ratio is then of two decisions that follow each other closely, so that whatever slows the
    machine down slows both.
    """
    random = np.random.default_rng(0)
    names = list(deciders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with Clock() as total:
        for done in range(observations + _WARM_UP_DECISIONS):
            observation = random_observation(arm, random)
            first = done % len(names)
            for name in names[first:] + names[:first]:
                with Clock() as clock:
                    deciders[name](observation)
                if done >= _WARM_UP_DECISIONS:
                    seconds[name].append(clock.seconds)
            report(done + 1, observations + _WARM_UP_DECISIONS)
    return TimedInTurns(seconds, total.cores_used)


def _times(timed: TimedInTurns, prefix: str, runtime: str) -> dict[str, Measurement]:
    seconds, cores = timed.seconds, timed.cores_used
    found = {}
    for name, values in seconds.items():
        how = f"{runtime}, batch 1, random observations, in turns"
        found[f"{prefix}decision_ms_{name}"] = measurement(
            [1e3 * value for value in values], "ms", cores, how
        )
    for name in (name for name in seconds if name != NONE):
        ratios = [a / b for a, b in zip(seconds[NONE], seconds[name], strict=True)]
        found[f"{prefix}time_saved_{name}"] = measurement(
            ratios, "x", cores, f"{runtime}, {NONE} over {name}, pairs"
        )
    return found


def random_observation(
    embodiment: EmbodimentSpec, random: np.random.Generator
) -> dict[str, NDArray[Any] | str]:
    """Noise in the shape of the embodiment's observations, with an instruction."""
    observation: dict[str, NDArray[Any] | str] = {
        key: random.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
        for key, camera in zip(embodiment.image_keys, embodiment.cameras, strict=True)
    }
    state = random.normal(size=embodiment.state.size).astype(np.float32)
    return {**observation, "observation.state": state, "task": INSTRUCTION}


def benchmark_arm(image_size: int) -> tuple[EmbodimentSpec, Statistics]:
    """An arm with cameras, state and action of LIBERO's sizes, and statistics of no data."""
    cameras = tuple(
        CameraSpec(name, (0.0, 0.0, 1.0), 0.0, 0.0, 0.8, image_size, image_size)
        for name in ("agentview", "eye_in_hand")
    )
    vectors = [
        VectorSpec(
            tuple(f"entry_{index}" for index in range(size)),
            ("1",) * size,
            (-1.0,) * size,
            (1.0,) * size,
        )
        for size in (8, 7)
    ]
    statistics: Statistics = {
        "observation.state": {"mean": [0.0] * 8, "std": [1.0] * 8},
        "action": {"min": [-1.0] * 7, "max": [1.0] * 7},
    }
    return EmbodimentSpec("benchmark-arm", 20, cameras, *vectors), statistics
