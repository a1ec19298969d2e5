import dataclasses

import pytest
import torch

from helmsight.eval.benchmarks.routing import (
    ALL,
    NONE,
    benchmark_arm,
    count_flops,
    make_variants,
    measure_exported_routing,
    measure_in_turns,
    measure_routing,
    random_observation,
    routing_variants,
)
from helmsight.policies.manipulation import ManipulationPolicyConfig
from helmsight.policies.modules.transformer import Attention
from tests.policies.manipulation_batches import tiny_config


def ignore(done, total):
    pass


def test_the_default_policy_saves_more_than_half_of_the_operations():
    import numpy as np

    arm, statistics = benchmark_arm(128)
    policies = make_variants(ManipulationPolicyConfig(), arm, statistics)
    observation = random_observation(arm, np.random.default_rng(0))
    flops = {name: count_flops(policy, observation) for name, policy in policies.items()}
    assert flops[NONE] > 2.0 * flops[ALL]
    assert flops[ALL] < flops["without_lfp"] < flops[NONE]
    assert flops[ALL] < flops["without_efa"] < flops[NONE]


def test_attention_is_counted():
    # Queries and keys of 16 entries and 2 heads, 5 of each: 2 products of 5 x 5 x 16, two
    # operations each, beside the four maps of 5 vectors by 16 x 16 matrices.
    import helmsight.eval.benchmarks.routing as routing

    class One:
        def __init__(self):
            self.attention = Attention(16, 2).requires_grad_(False)

        def to_batch(self, observation):
            return observation

        def predict_action_chunk(self, batch):
            return self.attention(batch["tokens"], batch["tokens"])

    counted = routing.count_flops(One(), {"tokens": torch.zeros(1, 5, 16)})
    assert counted == 2 * (4 * 5 * 16 * 16 + 2 * 5 * 5 * 16)


def test_every_variant_is_measured_against_the_one_without_routing():
    arm, statistics = benchmark_arm(32)
    policies = make_variants(tiny_config(), arm, statistics)
    found = measure_routing(policies, 3, ignore)
    assert {f"time_saved_{name}" for name in policies if name != NONE} <= set(found)
    assert found["decision_ms_routed"].n == 3
    assert found["flops_saved_routed"].value == pytest.approx(
        found["decision_mflop_unrouted"].value / found["decision_mflop_routed"].value
    )


def test_exported_variants_are_timed_against_the_one_without_routing():
    arm, statistics = benchmark_arm(32)
    policies = make_variants(tiny_config(), arm, statistics)
    found = measure_exported_routing(policies, 2, 1, ignore)
    assert set(found) == {f"exported_decision_ms_{name}" for name in policies} | {
        f"exported_time_saved_{name}" for name in policies if name != NONE
    }
    assert found["exported_time_saved_routed"].n == 2


def test_deciders_take_turns_on_the_same_observations():
    arm, _ = benchmark_arm(32)
    seen = {"a": [], "b": []}
    order = []

    def decider(name):
        def decide(observation):
            order.append(name)
            seen[name].append(observation["observation.state"].tolist())

        return decide

    timed = measure_in_turns({name: decider(name) for name in seen}, arm, 4, ignore)
    assert seen["a"] == seen["b"]
    assert {name: len(values) for name, values in timed.seconds.items()} == {"a": 4, "b": 4}
    assert order[:4] == ["a", "b", "b", "a"]


def test_variants_differ_in_their_routing_alone():
    config = tiny_config()
    variants = routing_variants(config)
    assert variants[ALL] == config
    restored = dataclasses.replace(variants[NONE], vision=config.vision, trunk=config.trunk)
    assert restored == config
