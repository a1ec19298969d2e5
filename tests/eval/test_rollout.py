import gymnasium
import numpy as np
import pytest
import torch
from evaluation_fakes import ChunkPolicy, FakeEnvironment

from helmsight.eval.rollout import EpisodeRunner, batch_of_one


def fake_runner(policy=None, **options):
    return EpisodeRunner(
        lambda: gymnasium.make("helmsight-tests/Fake-v0", disable_env_checker=True, **options),
        policy or ChunkPolicy(),
    )


def test_images_are_made_only_for_decisions():
    runner = fake_runner()
    record = runner.run(0)
    assert record.steps == 5
    # Decisions at steps 0, 2 and 4; the first reads the observation of the reset.
    assert len(record.decision_ms) == 3
    assert runner.environment.unwrapped.observations_made == 3


def test_no_stale_image_reaches_a_policy_between_its_decisions():
    class Watcher(ChunkPolicy):
        def select_action(self, observation):
            assert ("observation.images.front" in observation) == self.needs_observation
            assert "observation.state" in observation
            return super().select_action(observation)

    assert fake_runner(Watcher()).run(0).error is None


def test_the_path_has_the_start_and_one_pose_each_step_to_the_millimetre():
    record = fake_runner().run(1)
    assert len(record.path) == record.steps + 1
    assert record.path[0] == record.initial_state
    assert all(round(value, 4) == value for pose in record.path for value in pose)


def test_a_record_says_which_world_it_ran_in():
    record = fake_runner(split="shifted", approach="forward").run(7)
    assert (record.family, record.split, record.approach) == ("standard", "shifted", "forward")
    assert (record.task, record.episode) == ("park", 7)


def test_metrics_of_the_episode_become_plain_json():
    record = fake_runner().run(3)
    assert record.metrics["position_error"] == pytest.approx(0.3)
    assert type(record.metrics["position_error"]) is float
    assert "outcome" not in record.metrics


def test_an_error_is_recorded_as_such_and_the_next_episode_gets_a_new_environment():
    runner = fake_runner(broken_episode=0)
    before = runner.environment.unwrapped
    assert runner.run(0).error == "RuntimeError: the simulator lost its window"
    after = runner.run(1)
    assert after.error is None and after.outcome == "TSR"
    assert runner.environment.unwrapped is not before


def test_a_policy_is_bound_once_to_each_environment():
    policy = ChunkPolicy()
    runner = fake_runner(policy)
    runner.run(0)
    runner.run(1)
    assert policy.bound == [runner.environment.unwrapped]


def test_an_action_without_batch_axis_is_an_error_that_says_so():
    class Flat(ChunkPolicy):
        def select_action(self, observation):
            return torch.zeros(3)

    assert "[1, A], got (3,)" in str(fake_runner(Flat()).run(0).error)


def test_an_interruption_is_not_taken_for_an_error():
    with pytest.raises(KeyboardInterrupt):
        fake_runner(interrupt_episode=0).run(0)


def test_a_batch_of_one_keeps_types_and_adds_an_axis():
    environment = FakeEnvironment()
    observation, _ = environment.reset(options={"episode": 0})
    batch = batch_of_one(observation, "park")
    assert batch["observation.images.front"].dtype == torch.uint8
    assert batch["observation.images.front"].shape == (1, 16, 16, 3)
    assert np.array_equal(batch["observation.state"][0].numpy(), observation["observation.state"])
    assert batch["task"] == ["park"]
