import numpy as np
import pytest
import torch

from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.envs.parking.scenario import shifted_twin
from helmsight.eval.explain.frames import batch_of, drive, drive_again
from helmsight.eval.rollout import EpisodeRunner


class Wanderer:
    """Drives in a slow curve, whatever it sees."""

    def reset(self):
        self.step = 0

    def select_action(self, observation):
        self.step += 1
        return torch.tensor([[0.3, 0.5 * np.sin(self.step / 9.0), 0.0]])


@pytest.fixture(scope="module")
def driven():
    runner = EpisodeRunner(
        lambda: ParkingEnvironment(split="val", simulator="kinematic", image_size=16), Wanderer()
    )
    recording, collector = drive(runner, 2, lambda step: step % 5 == 0)
    yield runner, recording, collector
    runner.close()


def test_the_wanted_moments_are_kept_with_what_was_done_then(driven):
    _, recording, collector = driven
    assert recording.name == "val/2" and recording.driven and recording.outcome
    assert [frame.step for frame in recording.frames[:3]] == [0, 5, 10]
    for frame in recording.frames:
        assert np.array_equal(frame.action, collector.actions[frame.step])
        assert frame.label is not None and frame.pose is not None


def test_driven_again_in_another_look_the_states_are_the_same(driven):
    runner, recording, collector = driven
    world = runner.environment.unwrapped
    steps = [frame.step for frame in recording.frames]
    again = drive_again(world, shifted_twin(world.scenario), collector.actions, steps)
    assert [frame.step for frame in again] == steps
    for first, second in zip(recording.frames, again, strict=True):
        assert first.pose == second.pose
        assert np.array_equal(
            first.observation["observation.state"], second.observation["observation.state"]
        )


def test_an_episode_that_fails_is_named():
    class Broken(Wanderer):
        def select_action(self, observation):
            raise FloatingPointError("no action")

    runner = EpisodeRunner(
        lambda: ParkingEnvironment(simulator="kinematic", cameras="none"), Broken()
    )
    with pytest.raises(RuntimeError, match="episode 4 ended in an error: FloatingPointError"):
        drive(runner, 4, lambda step: True)


def test_a_batch_names_a_key_that_the_moments_lack(driven):
    frames = driven[1].frames
    batch = batch_of(frames, ["observation.state"], "cpu")
    assert batch["observation.state"].shape == (len(frames), 8)
    with pytest.raises(ValueError, match=r"'observation\.birds_eye'"):
        batch_of(frames, ["observation.birds_eye"], "cpu")
