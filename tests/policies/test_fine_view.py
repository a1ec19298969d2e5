"""The finer way from cameras to the bird's eye: `image_stride=4`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parking_batches import random_batch, random_observation, tiny_policy

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.birds_eye import BirdsEyeLabeller
from helmsight.envs.parking.scenario import make_scenario
from helmsight.policies.modules.image_encoder import PyramidEncoder
from helmsight.policies.parking.config import ParkingLossWeights
from helmsight.policies.parking.losses import semantic_loss, small_obstacles
from helmsight.policies.parking.semantics import coarse_label


def test_everything_of_a_fine_policy_is_trained() -> None:
    policy = tiny_policy(image_stride=4).train()
    loss, parts = policy(random_batch(policy.embodiment, 2))
    loss.backward()
    assert {"semantics", "depth", "attention"} < parts.keys()
    assert [name for name, value in policy.named_parameters() if value.grad is None] == []


def test_what_stands_where_is_read_from_the_cells_and_not_from_the_tokens() -> None:
    policy = tiny_policy(image_stride=4).train()
    _, parts = policy(random_batch(policy.embodiment, 2))
    parts["semantics"].backward()
    trained = {name for name, value in policy.named_parameters() if value.grad is not None}
    assert {"view.encoder.lateral.weight", "view.merge.0.weight"} < trained
    assert not any(name.startswith("view.birds_eye") for name in trained)


def test_a_fine_policy_learns_from_the_same_teacher() -> None:
    teacher = tiny_policy(sees="label", seed=1)
    pupil = tiny_policy(image_stride=4, seed=2)
    pupil.learn_from(teacher)
    own, taught = pupil.state_dict(), teacher.state_dict()
    same = [name for name in own if name in taught and torch.equal(own[name], taught[name])]
    assert "view.birds_eye.grid_encoder.2.weight" in same and "state_encoder.0.weight" in same
    _, parts = pupil.train()(random_batch(pupil.embodiment, 2))
    assert parts["teacher"] > 0.0


def test_a_fine_policy_tells_what_it_sees_and_attends_to() -> None:
    policy = tiny_policy(image_stride=4)
    observation = random_observation(policy.embodiment)
    policy.predict(observation)
    told = policy.diagnostics()
    assert told["birds_eye"].shape == (64, 64)
    assert told["attention.observation.images.rear"].shape == (8, 8)  # 32 pixels at stride 4
    classes = policy.predict_semantics(policy.to_batch(observation))
    torch.testing.assert_close(classes.sum(dim=1), torch.ones(1, 64, 64))


def test_a_patch_changes_the_pyramid_most_where_it_is() -> None:
    torch.manual_seed(0)
    encoder = PyramidEncoder(16, 1)
    image = torch.full((1, 64, 64, 3), 128, dtype=torch.uint8)
    marked = image.clone()
    marked[0, 20:24, 40:44] = 255
    with torch.no_grad():
        change = (encoder(marked) - encoder(image)).square().sum(dim=1)[0]  # [16, 16]
    assert change.argmax() == 5 * 16 + 10


def test_boxes_are_small_obstacles_and_parked_cars_are_not() -> None:
    scenario = make_scenario("cluttered", "train", 3, "reverse")
    box = scenario.boxes[0].pose
    labeller = BirdsEyeLabeller(scenario)
    label = torch.from_numpy(labeller.label(Pose(box.x - 3.0, box.y, 0.0)))[None]
    coarse = coarse_label(label)
    small = small_obstacles(coarse)[0]
    # 3 m ahead of the car: row (10 - 3) / 0.3125, in the middle column
    assert small[20:25, 30:34].sum() >= 1.0
    cars = BirdsEyeLabeller(make_scenario("standard", "train", 3, "reverse"))
    beside_cars = coarse_label(torch.from_numpy(cars.label(scenario.start))[None])
    assert small_obstacles(beside_cars).sum() <= 0.1 * (beside_cars == 1).sum()


@pytest.mark.parametrize("more", [0.0, 5.0])
def test_small_things_count_more_in_the_semantic_loss(more: float) -> None:
    label = torch.zeros(1, 200, 200, dtype=torch.uint8)
    label[0, 100:106, 100:106] = 1
    logits = torch.zeros(1, 3, 64, 64, requires_grad=True)
    semantic_loss(logits, label, more).backward()
    assert logits.grad is not None
    strength = logits.grad.abs().sum(dim=1)[0]
    box = np.unravel_index(int(strength.argmax()), strength.shape)
    assert strength[box] / strength[0, 0] == pytest.approx(2.0 * (1.0 + more), rel=1e-4)


def test_the_weight_of_small_things_is_a_part_of_the_configuration() -> None:
    policy = tiny_policy(image_stride=4, loss=ParkingLossWeights(small_things=8.0))
    batch = random_batch(policy.embodiment, 2)
    batch["observation.birds_eye"].zero_()
    batch["observation.birds_eye"][:, 50:56, 50:56] = 1
    plain = tiny_policy(image_stride=4)
    assert policy(batch)[1]["semantics"] > plain(batch)[1]["semantics"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_stride": 5}, "unknown image_stride 5; expected one of 8, 4"),
        ({"image_stride": 4, "birds_eye": "lift_splat"}, "needs birds_eye=sampling"),
    ],
)
def test_a_wrong_fine_view_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tiny_policy(**changes)  # type: ignore[arg-type]
