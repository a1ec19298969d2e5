import dataclasses
import json

import numpy as np
import pytest
import torch

from helmsight.policies.base import load_policy
from helmsight.policies.manipulation import ManipulationPolicy, ManipulationPolicyConfig
from helmsight.policies.manipulation.where_to_look import ask_otherwise
from helmsight.policies.modules import instruction_encoder
from helmsight.policies.plain_config import config_from_dict
from tests.policies.manipulation_batches import (
    CHUNK,
    ENTRIES,
    INSTRUCTIONS,
    STATISTICS,
    TRUNK,
    VISION,
    WORDS,
    arm,
    embedding,
    tiny_batch,
    tiny_config,
    tiny_observation,
    tiny_policy,
)

PLAIN = {
    "vision": dataclasses.replace(VISION, film=False, aggregation_tokens=0),
    "trunk": dataclasses.replace(TRUNK, routed=False, mask="causal"),
}


def test_a_chunk_lies_within_the_actions_range():
    policy = tiny_policy()
    with torch.no_grad():
        policy.read_out[-1].bias.fill_(100.0)
    chunk = policy.predict_action_chunk(policy.to_batch(tiny_observation()))
    assert chunk.shape == (1, CHUNK, ENTRIES)
    assert (chunk == 1.0).all()


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    policy = tiny_policy(state_noise=0.0, instruction_noise=0.0).train()
    batch = tiny_batch(4)
    optimizer = torch.optim.Adam(policy.parameters(), 5e-3)
    losses = []
    for _ in range(120):
        loss, parts = policy(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(parts["action"].item())
    assert losses[-1] < 0.2 * losses[0]


def test_every_parameter_learns():
    policy = tiny_policy().train()
    loss, parts = policy(tiny_batch())
    loss.backward()
    assert set(parts) == {"action", "attention"}
    assert all(parameter.grad is not None for parameter in policy.parameters())


def test_it_learns_where_the_thing_is_and_decides_by_it():
    policy = tiny_policy(focus=True, state_noise=0.0, instruction_noise=0.0).train()
    batch = tiny_batch(4)
    assert "simulator.focus" in policy.input_keys()
    batch["simulator.focus"] = torch.rand(4, 6, generator=torch.Generator().manual_seed(1))
    loss, first = policy(batch)
    loss.backward()
    assert all(parameter.grad is not None for parameter in policy.parameters())
    optimizer = torch.optim.Adam(policy.parameters(), 5e-3)
    for _ in range(60):
        loss, parts = policy(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert parts["focus"].item() < 0.2 * first["focus"].item()
    policy.eval()
    before = policy.predict_action_chunk(policy.to_batch(tiny_observation()))
    with torch.no_grad():
        policy.focus.positions[-1].bias.add_(2.0)
    after = policy.predict_action_chunk(policy.to_batch(tiny_observation()))
    assert (after - before).abs().max() > 1e-3


def asked_batch(size=64):
    """Windows told the second instruction; every other scene allows the first one as well."""
    batch = tiny_batch(size)
    allows = torch.arange(size) % 2 == 0
    other = torch.stack([torch.where(allows, 0, -1), torch.full((size,), -1)], dim=1)
    focus = torch.stack([torch.ones(size, 6), torch.full((size, 6), 7.0)], dim=1)
    return batch | {
        "task_index": torch.ones(size, dtype=torch.int64),
        "simulator.focus": torch.zeros(size, 6),
        "simulator.other_focus": focus.flatten(1),  # [B, 2, 6] -> [B, 12]
        "simulator.other_instruction": other,
    }


def test_a_share_of_a_batch_is_asked_where_to_look_by_another_instruction_of_its_scene():
    torch.manual_seed(0)
    batch = asked_batch()
    asked = ask_otherwise(batch, 0.5)
    other = asked["task_index"] == 0  # [B]
    assert 8 <= int(other.sum()) <= 24  # half of the 32 that allow another
    assert not other[batch["simulator.other_instruction"][:, 0] < 0].any()
    assert torch.equal(asked["simulator.focus"], other.float()[:, None].expand(-1, 6))
    assert torch.equal(asked["action_is_pad"], other[:, None].expand(-1, CHUNK))
    assert torch.equal(batch["task_index"], torch.ones(64, dtype=torch.int64))


def test_every_instruction_that_a_scene_allows_is_asked_for():
    batch = asked_batch(200) | {"simulator.other_instruction": torch.tensor([[0, 1]] * 200)}
    asked = ask_otherwise(batch, 0.9)
    taught = asked["simulator.focus"].mean(dim=1)
    assert (taught == 1.0).sum() > 50 and (taught == 7.0).sum() > 50
    assert torch.equal(asked["task_index"] == 0, taught == 1.0)


def test_what_another_instruction_would_do_is_not_imitated():
    policy = tiny_policy("none", focus=True, other_instruction_share=0.5)
    batch = asked_batch(4) | {"action_is_pad": torch.zeros(4, CHUNK, dtype=torch.bool)}
    first = {key: values[:1] for key, values in batch.items()}
    batch["action_is_pad"][1:] = True
    assert torch.allclose(policy(batch)[1]["action"], policy(first)[1]["action"], atol=1e-6)


def test_every_parameter_learns_when_other_instructions_are_asked_too():
    policy = tiny_policy(focus=True, other_instruction_share=0.5).train()
    assert {"simulator.other_focus", "simulator.other_instruction"} <= set(policy.input_keys())
    loss, _ = policy(asked_batch(8))
    loss.backward()
    assert all(parameter.grad is not None for parameter in policy.parameters())


def test_asking_where_to_look_needs_a_head_that_finds_it():
    with pytest.raises(ValueError, match="other_instruction_share asks the focus alone"):
        tiny_config(other_instruction_share=0.25)


def test_a_misheard_instruction_stays_nearer_to_itself_than_to_any_other():
    policy = tiny_policy(instruction_noise=0.2, instruction_blend=0.3).train()
    tasks = torch.arange(200) % 2
    heard = policy.condition({"task_index": tasks})  # [B, T]
    nearest = (heard @ policy.instructions.vectors.T).argmax(dim=1)
    assert torch.equal(nearest, tasks)
    assert not torch.equal(heard[0], heard[2])
    policy.eval()
    assert torch.equal(*policy.condition({"task_index": torch.tensor([1, 1])}))


def test_the_attention_of_a_share_of_the_batch_has_a_target():
    some = tiny_policy("expected_action", attention_share=0.3)
    whole = tiny_policy("expected_action", attention_share=1.0)
    batch = tiny_batch(3)
    first = {key: value[:1] for key, value in batch.items()}
    expected = whole(first)[1]["attention"]
    assert torch.allclose(some(batch)[1]["attention"], expected, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [PLAIN, {"trunk": dataclasses.replace(TRUNK, mask="bidirectional")}],
    ids=["plain", "bidirectional"],
)
def test_its_parts_can_be_switched_off(changes):
    policy = tiny_policy("none", **changes).train()
    loss, parts = policy(tiny_batch())
    loss.backward()
    assert set(parts) == {"action"}
    assert torch.isfinite(loss)
    observation = policy.eval().to_batch(tiny_observation())
    assert policy.predict_action_chunk(observation).shape == (1, CHUNK, ENTRIES)


def test_steps_beyond_an_episodes_end_do_not_count():
    policy = tiny_policy("none", state_noise=0.0, instruction_noise=0.0)
    batch = tiny_batch()
    batch["action_is_pad"][:, 2:] = True
    before = policy(batch)[0]
    batch["action"][:, 2:] += 5.0
    assert torch.equal(policy(batch)[0], before)


def test_a_saved_policy_follows_its_instructions_to_the_bit_without_a_language_model(
    tmp_path, monkeypatch
):
    policy = tiny_policy()
    policy.save(tmp_path)
    monkeypatch.setattr(instruction_encoder, "_installed", None)
    loaded = load_policy(tmp_path)
    observation = tiny_observation(INSTRUCTIONS[1])
    first = policy.predict_action_chunk(policy.to_batch(observation))
    assert torch.equal(first, loaded.predict_action_chunk(loaded.to_batch(observation)))


def test_weights_are_loaded_strictly(tmp_path):
    tiny_policy().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["config"]["trunk"]["layers"] = 5
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"missing tensor trunk\.layers\.4"):
        load_policy(tmp_path)


def test_sentences_and_task_indices_ask_for_the_same():
    policy = tiny_policy()
    batch = tiny_batch(2)
    by_index = policy.predict_action_chunk({**batch, "task": list(INSTRUCTIONS)})
    sentences = {key: value for key, value in batch.items() if key != "task_index"}
    by_sentence = policy.predict_action_chunk({**sentences, "task": list(INSTRUCTIONS)})
    assert torch.equal(by_index, by_sentence)
    del batch["action"]
    assert torch.equal(policy.condition(batch), policy.condition({"task": list(INSTRUCTIONS)}))


def test_an_unknown_instruction_is_read_by_the_language_model(monkeypatch):
    asked = []

    def embed(instructions):
        asked.extend(instructions)
        return torch.tensor([embedding(instruction) for instruction in instructions])

    monkeypatch.setattr("helmsight.policies.manipulation.policy.encode_instructions", embed)
    policy = tiny_policy()
    policy.predict_action_chunk(policy.to_batch(tiny_observation("fetch the milk")))
    assert asked == ["fetch the milk"]


def test_an_observation_without_an_instruction_names_the_missing_key():
    policy = tiny_policy()
    observation = {key: value for key, value in tiny_observation().items() if key != "task"}
    with pytest.raises(KeyError, match="the observation lacks 'task'"):
        policy.to_batch(observation)
    with pytest.raises(ValueError, match="'task' must be a sentence, got ' '"):
        policy.to_batch({**observation, "task": " "})


def test_a_batch_of_observations_becomes_a_list_of_sentences():
    policy = tiny_policy()
    one, two = tiny_observation(seed=1), tiny_observation(INSTRUCTIONS[1], seed=2)
    stacked = {key: np.stack([one[key], two[key]]) for key in policy.observation_keys()}
    batch = policy.to_batch(stacked, single=False)
    assert batch["task"] == list(INSTRUCTIONS)
    together = policy.predict_action_chunk(batch)
    alone = policy.predict_action_chunk(policy.to_batch(two))
    assert torch.allclose(together[1], alone[0], atol=1e-5)


def test_noise_on_state_and_instruction_is_for_training_alone():
    policy = tiny_policy()
    batch = tiny_batch()
    assert torch.equal(policy(batch)[1]["action"], policy(batch)[1]["action"])
    policy.train()
    assert not torch.equal(policy.condition(batch), policy.condition(batch))


def test_it_predicts_as_stable_baselines_policies_do():
    policy = tiny_policy()
    action, _ = policy.predict(tiny_observation(), episode_start=np.array([True]))
    assert action.shape == (ENTRIES,)
    assert not policy.needs_observation


def test_diagnostics_show_the_attention_over_both_cameras():
    policy = tiny_policy()
    assert policy.diagnostics() == {}
    policy.predict_action_chunk(policy.to_batch(tiny_observation()))
    found = policy.diagnostics()
    assert set(found) == {f"attention.{key}" for key in arm().image_keys}
    assert all(picture.shape == (2, 2) for picture in found.values())
    assert max(float(picture.max()) for picture in found.values()) == 1.0


def test_a_default_policy_has_at_most_eight_million_parameters():
    statistics = {**STATISTICS}
    policy = ManipulationPolicy(ManipulationPolicyConfig(), arm(128), statistics)
    assert sum(parameter.numel() for parameter in policy.parameters()) <= 8_000_000


def test_a_robot_without_cameras_is_refused():
    blind = dataclasses.replace(arm(), cameras=())
    with pytest.raises(ValueError, match="needs an embodiment with cameras"):
        ManipulationPolicy(tiny_config(), blind, STATISTICS)


def test_entries_that_the_robot_does_not_have_are_refused():
    with pytest.raises(ValueError, match="axis_angle_entry is 6, but the state has the entries"):
        tiny_policy(axis_angle_entry=6)
    with pytest.raises(ValueError, match="unscaled_actions names entry 7, but the action has"):
        tiny_policy(unscaled_actions=(7,))


def test_a_configuration_from_plain_values_is_the_same():
    config = tiny_config()
    assert config_from_dict(ManipulationPolicyConfig, dataclasses.asdict(config)) == config
    assert config.instruction_width == WORDS


def test_a_decision_longer_than_the_chunk_is_refused():
    with pytest.raises(ValueError, match=r"steps_per_decision must be 1 to chunk \(8\), got 9"):
        ManipulationPolicyConfig(steps_per_decision=9)


def test_diagnostics_say_what_the_instruction_is_taken_to_be_about():
    pointing = dataclasses.replace(VISION, pointing=True)
    policy = tiny_policy(vision=pointing)
    policy.predict(tiny_observation())
    found = policy.diagnostics()
    for key in policy.embodiment.image_keys:
        assert found[f"pointing.{key}"].shape == (2, 3)
        assert ((found[f"pointing.{key}"] >= 0.0) & (found[f"pointing.{key}"] <= 1.0)).all()


def test_pointing_learns_where_thing_and_place_lie_in_the_pictures():
    pointing = dataclasses.replace(VISION, pointing=True)
    policy = tiny_policy("none", vision=pointing, focus=True).train()
    loss, parts = policy(asked_batch(4))
    loss.backward()
    assert set(parts) == {"action", "focus", "pointing", "others"}
    assert all(parameter.grad is not None for parameter in policy.parameters())


def test_instructions_that_no_scene_allows_teach_nothing():
    pointing = dataclasses.replace(VISION, pointing=True)
    policy = tiny_policy("none", vision=pointing, focus=True)
    batch = asked_batch(2)
    batch["simulator.other_instruction"][:] = -1
    assert policy(batch)[1]["others"] == 0.0
