from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parking_batches import (
    STATISTICS,
    random_batch,
    random_observation,
    tiny_policy,
    trained_a_little,
)
from torch import Tensor

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.policies.base import OTHER_LOOK
from helmsight.policies.modules.control_aided import SIGNALS, ControlAidedAttentionConfig
from helmsight.policies.parking import ParkingPolicy, ParkingPolicyConfig
from helmsight.policies.parking.config import (
    BIRDS_EYES,
    HEADS,
    SEES,
    SPEED_OFFSET,
    WAYPOINT_OFFSETS,
    ParkingLossWeights,
)
from helmsight.policies.parking.labels import ParkingLabels
from helmsight.policies.parking.losses import consistency_loss
from helmsight.policies.parking.semantics import SEMANTIC_WEIGHTS, class_shares, coarse_label

# ---- Training ----


@pytest.mark.parametrize(
    ("head", "birds_eye", "signal"), list(itertools.product(HEADS, BIRDS_EYES, SIGNALS))
)
def test_every_combination_of_parts_trains(head: str, birds_eye: str, signal: str) -> None:
    policy = tiny_policy(signal, head=head, birds_eye=birds_eye).train()
    loss, parts = policy(random_batch(policy.embodiment, 2))
    loss.backward()
    expected = {"action", "target_speed", "waypoints", "semantics", "depth"}
    assert parts.keys() == expected | ({"attention"} if signal != "none" else set())
    assert all(part.ndim == 0 and bool(part.isfinite()) for part in parts.values())
    gradients = {name: parameter.grad for name, parameter in policy.named_parameters()}
    assert all(g is None or bool(g.isfinite().all()) for g in gradients.values())
    untrained = [name for name, gradient in gradients.items() if gradient is None]
    # The chunk is not trained where control tokens drive; everything else always is.
    allowed = "chunk_read_out" if head == "control_tokens" else "none at all"
    assert [name for name in untrained if not name.startswith(allowed)] == []


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    policy = tiny_policy()
    loss, parts = policy(random_batch(policy.embodiment, 2))
    expected = sum(getattr(policy.config.loss, name) * part for name, part in parts.items())
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("head", HEADS)
def test_four_samples_are_learnt_by_heart(head: str) -> None:
    policy = tiny_policy(head=head)
    losses = trained_a_little(policy, random_batch(policy.embodiment, 4), steps=40)
    assert losses[-1] < 0.8 * losses[0]
    _, parts = policy(random_batch(policy.embodiment, 4))
    _, before = tiny_policy(head=head)(random_batch(policy.embodiment, 4))
    for name in ("action", "target_speed", "waypoints"):
        assert parts[name].item() < 0.75 * before[name].item(), name


@pytest.mark.parametrize("signal", ("jacobian", "removal", "mean_logit"))
def test_it_trains_in_bfloat16(signal: str) -> None:
    policy = tiny_policy(signal).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss, parts = policy(random_batch(policy.embodiment, 2))
    loss.backward()
    assert all(bool(part.isfinite()) for part in parts.values())


def test_padded_actions_count_for_nothing() -> None:
    policy = tiny_policy(sees="nothing")
    batch = random_batch(policy.embodiment, 3)
    _, before = policy(batch)
    changed = {**batch, "action": batch["action"].clone()}
    changed["action"][batch["action_is_pad"]] = 0.123
    _, after = policy(changed)
    torch.testing.assert_close(before["action"], after["action"])


def test_depth_beyond_the_bins_counts_for_nothing() -> None:
    policy = tiny_policy()
    batch = random_batch(policy.embodiment, 2)
    for key in policy.embodiment.depth_keys:
        batch[key] = torch.full_like(batch[key], 65535)
    _, parts = policy(batch)
    assert parts["depth"].item() == 0.0


@pytest.mark.parametrize("image_size", (64, 128, 256))
def test_depth_labels_of_sixteen_cells_fit_images_of_any_size(image_size: int) -> None:
    policy = tiny_policy(image_size=image_size)
    _, parts = policy(random_batch(policy.embodiment, 1))
    assert bool(parts["depth"].isfinite())


def test_detached_attention_is_trained_by_its_own_loss_alone() -> None:
    for detached, trained in ((True, False), (False, True)):
        config = ControlAidedAttentionConfig("removal", detached=detached)
        policy = tiny_policy(attention=config)
        loss, parts = policy(random_batch(policy.embodiment, 2))
        (loss - policy.config.loss.attention * parts["attention"]).backward()
        assert isinstance(policy.attention, torch.nn.Module)
        found = [p.grad for p in policy.attention.parameters()]
        moved = any(g is not None and g.abs().max().item() > 1e-12 for g in found)
        assert moved == trained


# ---- Labels ----


def labels_of(states: list[tuple[float, ...]], policy: ParkingPolicy) -> ParkingLabels:
    batch = random_batch(policy.embodiment, 1)
    batch["simulator.state"] = torch.tensor([states])
    return policy.labels(batch)


def test_waypoints_are_labelled_in_the_frame_of_the_car() -> None:
    policy = tiny_policy(sees="nothing")
    now = (2.0, 1.0, math.pi / 2, 0.0, 0.0)  # looking along +y of the lot
    ahead, left = (2.0, 6.0, math.pi / 2, 0.0, 0.0), (-3.0, 1.0, math.pi, 0.0, 0.0)
    waypoints = labels_of([now, now, ahead, left, now, now], policy).waypoints[0]
    torch.testing.assert_close(waypoints[0], torch.tensor([1.0, 0.0, 1.0, 0.0]))
    torch.testing.assert_close(waypoints[1], torch.tensor([0.0, 1.0, 0.0, 1.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(waypoints[2], torch.tensor([0.0, 0.0, 1.0, 0.0]))


poses = st.builds(
    Pose, st.floats(-20.0, 20.0), st.floats(-20.0, 20.0), st.floats(-math.pi, math.pi)
)


@given(now=poses, later=poses)
@settings(max_examples=25, deadline=None)
def test_waypoint_labels_agree_with_the_geometry_of_poses(now: Pose, later: Pose) -> None:
    states = [(*pose, 0.0, 0.0) for pose in (now, now, later, now, now, now)]
    x, y, cos, sin = labels_of(states, STATE_POLICY).waypoints[0, 0].tolist()
    expected = now.relative(later)
    assert (5.0 * x, 5.0 * y) == pytest.approx(expected[:2], abs=1e-3)
    assert (cos, sin) == pytest.approx((math.cos(expected.yaw), math.sin(expected.yaw)), abs=1e-4)


STATE_POLICY = tiny_policy(sees="nothing")


def test_the_target_speed_is_that_of_the_frame_it_is_asked_for() -> None:
    policy = tiny_policy(sees="nothing")
    assert policy.window_offsets()["simulator.state"] == [0, SPEED_OFFSET, *WAYPOINT_OFFSETS]
    states = [(0.0, 0.0, 0.0, float(index), 0.0) for index in range(6)]
    assert labels_of(states, policy).speed[0, 0].item() == 0.5  # in units of 2 m/s


def test_class_shares_are_the_pooled_one_hot_classes() -> None:
    fine = torch.randint(0, 3, (2, 16, 16), generator=torch.Generator().manual_seed(0))
    one_hot = torch.nn.functional.one_hot(fine, 3).permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.avg_pool2d(one_hot, 2)
    torch.testing.assert_close(class_shares(fine), expected)


def test_the_coarse_label_takes_the_cell_at_the_same_place() -> None:
    place = torch.arange(200)
    label = (place[:, None] * 200 + place[None]).expand(2, -1, -1)
    found = coarse_label(label)
    assert found.shape == (2, 64, 64)
    row, column = found[0] // 200, found[0] % 200
    middles = (torch.arange(64) + 0.5) * 200 / 64
    assert (row[:, 0] + 0.5 - middles).abs().max().item() <= 0.5
    assert torch.equal(row, row[:, :1].expand(-1, 64))
    assert torch.equal(column, row.T)


def test_the_semantic_logits_lie_as_the_label_does() -> None:
    """Trained on an obstacle in the front left alone, it predicts one there alone."""
    policy = tiny_policy(loss=type(tiny_policy().config.loss)(depth=0.0, attention=0.0))
    batch = random_batch(policy.embodiment, 2)
    batch["observation.birds_eye"] = torch.zeros(2, 200, 200, dtype=torch.uint8)
    batch["observation.birds_eye"][:, :100, :100] = 1
    trained_a_little(policy, batch, steps=60)
    policy.eval().predict_action_chunk(batch)
    found = policy.diagnostics()["birds_eye"]
    wanted = coarse_label(batch["observation.birds_eye"])[0].numpy()
    assert (found == wanted).mean() > 0.95


def test_predicted_classes_are_probabilities_without_the_weights_of_the_loss() -> None:
    policy = tiny_policy()
    batch = random_batch(policy.embodiment, 2)
    classes = policy.predict_semantics(batch)
    assert classes.shape == (2, 3, 64, 64)
    torch.testing.assert_close(classes.sum(dim=1), torch.ones(2, 64, 64))
    policy.predict_action_chunk(batch)
    weighted = classes[0] * torch.tensor(SEMANTIC_WEIGHTS).view(3, 1, 1)
    assert (weighted.argmax(dim=0).numpy() == policy.diagnostics()["birds_eye"]).all()


def standing_far_from_the_target(count: int) -> dict[str, Tensor]:
    batch = random_batch(STATE_POLICY.embodiment, count)
    batch["simulator.state"][:, 0, 3] = 0.0
    batch["observation.state"][:, -3:-1] = 4.0
    return batch


def test_braking_on_the_way_weighs_little_while_the_car_stands() -> None:
    batch = standing_far_from_the_target(2)
    batch["action"][:, 0, 0] = torch.tensor([-0.4, 0.4])
    weight = STATE_POLICY.labels(batch).weight
    torch.testing.assert_close(weight, torch.tensor([[0.15, 1.0, 1.0], [1.0, 1.0, 1.0]]))


def test_braking_weighs_fully_in_the_slot_and_while_the_car_moves() -> None:
    batch = standing_far_from_the_target(2)
    batch["action"][:, 0, 0] = -0.4
    batch["observation.state"][0, -3:-1] = 0.1
    batch["simulator.state"][1, 0, 3] = -0.5
    assert bool((STATE_POLICY.labels(batch).weight == 1.0).all())


@pytest.mark.parametrize(("speed", "hidden"), ((1.5, True), (-1.5, True), (0.0, False)))
def test_a_moving_car_does_not_see_its_steering_angle(speed: float, hidden: bool) -> None:
    names = STATE_POLICY.embodiment.state.names
    states = torch.zeros(2, len(names))
    states[:, names.index("speed")] = speed
    states[1, names.index("steering_angle")] = 0.4
    one, other = STATE_POLICY.predict_action_chunk({"observation.state": states})
    assert torch.allclose(one, other, atol=1e-6) == hidden


# ---- Control ----


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("sees", SEES)
def test_chunks_have_their_shape_and_lie_in_the_action_range(head: str, sees: str) -> None:
    policy = tiny_policy(head=head, sees=sees, chunk=5)
    batch = policy.to_batch(random_observation(policy.embodiment, count=3), single=False)
    chunk = policy.predict_action_chunk(batch)
    assert chunk.shape == (3, 1 if head == "target_speed" else 5, 3)
    low, high = map(torch.tensor, (policy.embodiment.action.low, policy.embodiment.action.high))
    assert bool(((chunk >= low) & (chunk <= high)).all())


@pytest.mark.parametrize("birds_eye", BIRDS_EYES)
@pytest.mark.parametrize("signal", ("jacobian", "removal", "mean_logit"))
def test_an_observation_gives_the_same_action_alone_and_in_a_batch(
    birds_eye: str, signal: str
) -> None:
    policy = tiny_policy(signal, birds_eye=birds_eye)
    batch = policy.to_batch(random_observation(policy.embodiment, count=4), single=False)
    together = policy.predict_action_chunk(batch)
    for index in range(4):
        alone = policy.predict_action_chunk({key: v[index : index + 1] for key, v in batch.items()})
        torch.testing.assert_close(alone[0], together[index], rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("camera", range(4))
def test_every_camera_changes_the_action(camera: int) -> None:
    policy = tiny_policy(image_size=64)
    observation = policy.to_batch(random_observation(policy.embodiment))
    before = policy.predict_action_chunk(observation)
    key = policy.embodiment.image_keys[camera]
    after = policy.predict_action_chunk({**observation, key: 255 - observation[key]})
    assert (before - after).abs().max().item() > 1e-7


def test_the_target_pose_changes_the_action() -> None:
    policy = tiny_policy()
    observation = policy.to_batch(random_observation(policy.embodiment))
    before = policy.predict_action_chunk(observation)
    moved = observation["observation.state"].clone()
    moved[:, policy.embodiment.state.index("target_y")] += 2.0
    after = policy.predict_action_chunk({**observation, "observation.state": moved})
    assert (before - after).abs().max().item() > 1e-5


def test_sensors_that_are_no_input_change_nothing() -> None:
    policy = tiny_policy(state_inputs=("speed",))
    observation = policy.to_batch(random_observation(policy.embodiment))
    before = policy.predict_action_chunk(observation)
    moved = observation["observation.state"].clone()
    moved[:, policy.embodiment.state.index("acceleration_x")] += 2.0
    after = policy.predict_action_chunk({**observation, "observation.state": moved})
    assert torch.equal(before, after)


# ---- The policy without cameras ----


def test_the_state_policy_reads_no_image() -> None:
    policy = tiny_policy(sees="nothing")
    keys = [*policy.input_keys(), *policy.observation_keys()]
    assert not [key for key in keys if "images" in key or "depth" in key or "birds_eye" in key]
    batch = random_batch(policy.embodiment, 2)
    fed = {key: batch[key] for key in (*policy.input_keys(), "action_is_pad")}
    loss, parts = policy(fed)
    loss.backward()
    assert parts.keys() == {"action", "target_speed", "waypoints"}
    action, _ = policy.predict({"observation.state": np.zeros(8, np.float32)})
    assert action.shape == (3,)


def test_the_camera_policy_asks_for_what_it_reads() -> None:
    policy = tiny_policy()
    batch = random_batch(policy.embodiment, 2)
    fed = {key: batch[key] for key in (*policy.input_keys(), "action_is_pad")}
    assert bool(policy(fed)[0].isfinite())
    assert policy.observation_keys() == [*policy.embodiment.image_keys, "observation.state"]


def test_cameras_are_demanded_of_the_embodiment() -> None:
    with pytest.raises(ValueError, match="needs an embodiment that has some"):
        ParkingPolicy(ParkingPolicyConfig(), parking_embodiment("none"), STATISTICS)


def test_the_state_policy_fits_an_embodiment_without_cameras() -> None:
    config = ParkingPolicyConfig(sees="nothing")
    policy = ParkingPolicy(config, parking_embodiment("none"), STATISTICS)
    assert policy.predict({"observation.state": np.zeros(8, np.float32)})[0].shape == (3,)


# ---- Consistency ----


def looks(policy: ParkingPolicy, seed: int) -> dict[str, Tensor]:
    """The images of a batch of 4 in another look: noise of 40 grey values."""
    batch = random_batch(policy.embodiment, 4)
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{OTHER_LOOK}{key}": (
            batch[key] + 40.0 * torch.randn(batch[key].shape, generator=generator)
        )
        .clamp(0, 255)
        .byte()
        for key in policy.embodiment.image_keys
    }


def test_two_equal_looks_are_consistent_and_two_others_are_not() -> None:
    attention, actions = torch.rand(3, 8).softmax(dim=1), torch.rand(3, 4, 3)
    assert consistency_loss((attention, attention), (actions, actions)).item() == 0.0
    flat = torch.full((3, 8), 0.125)
    assert consistency_loss((attention, flat), (actions, actions)).item() > 0.0
    apart = consistency_loss((attention, attention), (actions, actions + 0.25))
    assert apart.item() == pytest.approx(0.25, abs=1e-6)


def test_consistency_draws_the_decisions_of_two_looks_together() -> None:
    distances = []
    for weight in (0.0, 10.0):
        policy = tiny_policy(loss=ParkingLossWeights(consistency=weight))
        assert policy.wants_other_look == (weight > 0.0)
        batch = random_batch(policy.embodiment, 4)
        trained_a_little(policy, batch | looks(policy, 0), 25)
        policy.eval()
        other = {key.removeprefix(OTHER_LOOK): value for key, value in looks(policy, 1).items()}
        with torch.no_grad():
            first = policy.predict_action_chunk(batch)
            second = policy.predict_action_chunk(batch | other)
        distances.append((first - second).abs().mean().item())
    assert distances[1] < 0.5 * distances[0]


def test_a_policy_that_sees_no_images_wants_no_other_look() -> None:
    weights = ParkingLossWeights(consistency=1.0)
    assert not tiny_policy(sees="label", loss=weights).wants_other_look


# ---- Diagnostics ----


def test_there_is_nothing_to_say_before_the_first_decision() -> None:
    assert tiny_policy().diagnostics() == {}


@pytest.mark.parametrize("signal", SIGNALS)
def test_diagnostics_have_their_shapes_and_ranges(signal: str) -> None:
    policy = tiny_policy(signal, image_size=64)
    batch = policy.to_batch(random_observation(policy.embodiment, count=2), single=False)
    policy.predict_action_chunk(batch)
    found = policy.diagnostics()
    maps = {f"attention.{key}": (8, 8) for key in policy.embodiment.image_keys}
    maps["attention.birds_eye"] = (8, 8)
    expected = {} if signal == "none" else maps
    assert found.keys() == {"waypoints", "birds_eye", *expected}
    for name, shape in expected.items():
        assert found[name].shape == shape
        assert found[name].min() >= 0.0 and found[name].max() <= 1.0
    if signal != "none":
        assert found["attention.birds_eye"].max() == pytest.approx(1.0)
    assert found["birds_eye"].shape == (64, 64) and found["birds_eye"].dtype == np.uint8
    assert found["birds_eye"].max() <= 2
    assert found["waypoints"].shape == (4, 3)
    assert bool((np.abs(found["waypoints"][:, 2]) <= math.pi).all())


def test_the_state_policy_tells_its_waypoints_alone() -> None:
    policy = tiny_policy(sees="nothing")
    policy.predict(random_observation(policy.embodiment))
    assert policy.diagnostics().keys() == {"waypoints"}


def test_a_policy_needs_no_sensor_beside_the_target() -> None:
    policy = tiny_policy(sees="nothing", state_inputs=())
    action, _ = policy.predict(random_observation(policy.embodiment))
    assert np.isfinite(action).all()
