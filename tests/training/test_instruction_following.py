import dataclasses

import numpy as np
import pytest
import torch

from helmsight.policies.base import load_policy
from helmsight.policies.manipulation import ManipulationPolicy, ManipulationPolicyConfig
from helmsight.policies.modules.film_vision import VisionConfig
from helmsight.policies.modules.routed_trunk import TrunkConfig
from helmsight.training.augmentation import AugmentationSettings
from helmsight.training.data import LeRobotTrainingData, train
from helmsight.training.dataset.windows import Windows
from helmsight.training.settings import TrainingSettings
from tests.training.instructed_dataset import (
    INSTRUCTIONS,
    aside,
    embodiment,
    record,
    scene,
    with_embeddings,
)

CONFIG = ManipulationPolicyConfig(
    chunk=2,
    steps_per_decision=2,
    axis_angle_entry=None,
    unscaled_actions=(1,),
    instruction_width=16,
    vision=VisionConfig(
        stem_channels=16,
        stem_blocks=1,
        width=32,
        heads=2,
        blocks=2,
        film_rank=8,
        aggregation_tokens=4,
    ),
    trunk=TrunkConfig(width=32, heads=2, layers=4, router_rank=4),
)


def settings(data, out, **changes):
    values = {
        "max_steps": 250,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "warmup_steps": 20,
        "ema_decay": 0.9,
        "validate_every": 0,
        "checkpoint_every": 1000,
        "validation_fraction": 0.0,
        "mirror": None,
        "device": "cpu",
        "augmentation": AugmentationSettings(strength=0.0),
    }
    return TrainingSettings(data=(data,), out=out, **{**values, **changes})


def make_policy(embodiment, statistics):
    return ManipulationPolicy(CONFIG, embodiment, statistics)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return with_embeddings(record(tmp_path_factory.mktemp("instructed") / "data", 40))


def test_a_trained_policy_goes_where_the_instruction_says(data, tmp_path):
    train(settings(data, tmp_path / "run"), make_policy)
    policy = load_policy(tmp_path / "run")
    random = np.random.default_rng(1)
    right, cases = 0, 0
    for _ in range(20):
        red_is_left = bool(random.integers(2))
        images = scene(red_is_left, random)
        for task, instruction in enumerate(INSTRUCTIONS):  # the same scene, either instruction
            policy.reset()
            state = random.normal(size=2).astype(np.float32)
            observation = {**images, "observation.state": state, "task": instruction}
            action, _ = policy.predict(observation)
            right += int(np.sign(action[0]) == aside(red_is_left, task))
            cases += 1
    assert right >= 0.95 * cases


def test_each_window_comes_with_its_episodes_instruction(data):
    source = LeRobotTrainingData(settings(data, data / "unused"))
    policy = make_policy(embodiment(), source.statistics)
    policy.know_instructions(source.instruction_embeddings())
    batch = next(source.batches(policy, 0, 0))
    task, move = batch["task_index"], batch["action"][:, 0, 0]
    red = batch["observation.images.agentview"].int()  # [B, H, W, 3]
    is_red = (red[..., 0] > 180) & (red[..., 2] < 100)
    red_is_left = is_red[:, :, :16].sum(dim=(1, 2)) > is_red[:, :, 16:].sum(dim=(1, 2))
    assert torch.equal(move < 0.0, red_is_left == (task == 0))


def test_instructions_of_several_data_sets_are_counted_together(data, tmp_path):
    other = with_embeddings(record(tmp_path / "other", 2, tasks=INSTRUCTIONS[::-1]))
    both = dataclasses.replace(settings(data, tmp_path / "run"), data=(other, data), batch_size=8)
    source = LeRobotTrainingData(both)
    assert source.tasks == [INSTRUCTIONS[1], INSTRUCTIONS[0]]
    policy = make_policy(embodiment(), source.statistics)
    windows = source._windows(policy, [range(2), range(2)])
    assert windows[0].batch([0])["task_index"].tolist() == [0]
    assert windows[1].batch([0])["task_index"].tolist() == [1]


def test_a_column_of_other_instructions_counts_them_as_the_tasks_are_counted(data, tmp_path):
    strange = "go to the green square"
    asked = record(tmp_path / "asked", 2, others=(strange, INSTRUCTIONS[0]))
    both = dataclasses.replace(settings(data, tmp_path / "run"), data=(data, asked), batch_size=8)
    source = LeRobotTrainingData(both)
    assert source.tasks == [*INSTRUCTIONS, strange]
    windows = Windows(source.datasets[1], {}, ["other"], [0], tasks=source.tasks)
    assert windows.batch([0, 1, 2, 3])["other"].tolist() == [-1, 2, 0, -1]


def test_embeddings_beside_the_data_do_not_make_it_another_data_set(data, tmp_path):
    bare = record(tmp_path / "bare", 2)
    source = settings(bare, tmp_path / "run", batch_size=1)
    before = LeRobotTrainingData(source).contents
    with_embeddings(bare)
    assert LeRobotTrainingData(source).contents == before


def test_an_arm_is_not_mirrored_unless_asked_and_then_the_error_says_why(data, tmp_path):
    policy = make_policy(embodiment(), LeRobotTrainingData(settings(data, tmp_path)).statistics)
    next(LeRobotTrainingData(settings(data, tmp_path)).batches(policy, 0, 0))
    asked = LeRobotTrainingData(settings(data, tmp_path, mirror=0.5))
    with pytest.raises(ValueError, match=r"does to 'height' of the state is not known.*mirror=0"):
        asked.batches(policy, 0, 0)


def test_data_without_places_names_the_option_that_does_without_them(data, tmp_path):
    finding = dataclasses.replace(CONFIG, focus=True)
    expected = r"no feature 'simulator.focus'.*policy\.focus=false .* trains without it"
    with pytest.raises(ValueError, match=expected):
        train(
            settings(data, tmp_path / "run"),
            lambda robot, statistics: ManipulationPolicy(finding, robot, statistics),
        )
