"""The learned motion model in the tracker, the environment and the evaluation."""

import pickle

import numpy as np
import pytest
import torch

from helmsight.envs.parking.env import ParkingEnvironment
from helmsight.envs.parking.motion_model import BicycleMotion
from helmsight.envs.parking.simulator import SensorReading, VehicleCommand
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.eval.evaluation import EvaluationSettings, RunnerSetup, evaluate, evaluation_identity
from helmsight.eval.learned_motion import LearnedMotion, load_motion
from helmsight.eval.sources import ExpertSource
from helmsight.policies.motion import MotionConfig, MotionNetwork
from helmsight.policies.parking import ParkingPolicy, ParkingPolicyConfig

STATISTICS = {"observation.state": {"mean": [0.0] * 8, "std": [1.0] * 8}}


def network(**changes):
    return MotionNetwork(MotionConfig(**changes), parking_embodiment("none"), STATISTICS)


def readings(count):
    random = np.random.default_rng(0)
    return [
        SensorReading(*row[:1], tuple(row[1:3]), *row[3:])
        for row in random.uniform(-0.5, 0.5, (count, 5)).tolist()
    ]


@pytest.fixture
def saved(tmp_path):
    network().save(tmp_path / "motion")
    return tmp_path / "motion"


class Listening(MotionNetwork):
    """Keeps the frames that it is asked about."""

    def estimate(self, readings, commands):
        self.asked = [
            *getattr(self, "asked", []),
            (readings[:, 0].tolist(), commands[:, 1].tolist()),
        ]
        return super().estimate(readings, commands)


@pytest.mark.parametrize("latest_frame", (0, 1))
def test_it_is_asked_with_the_frames_that_it_was_trained_with(latest_frame):
    config = MotionConfig(latest_frame=latest_frame, horizon=3)
    listening = Listening(config, parking_embodiment("none"), STATISTICS)
    motion, seen = LearnedMotion(listening), readings(9)
    motion.start(seen[0])
    steers = [0.1 * period for period in range(8)]
    for period, steer in enumerate(steers):
        motion.update(VehicleCommand(0.0, steer, False), seen[period + 1])
    offsets = listening.window_offsets()
    frames = offsets["observation.state"][: config.frames]
    commands = offsets["action"][: config.commands]
    for period, (asked_speeds, asked_steers) in enumerate(listening.asked):
        # Frames before the episode's first repeat it, as `Windows` pads.
        speeds = [seen[max(period + offset, 0)].speed for offset in frames]
        assert asked_speeds == pytest.approx(speeds)
        expected = [steers[max(period + offset, 0)] for offset in commands]
        assert asked_steers == pytest.approx(expected)


def test_an_untrained_one_tracks_as_the_bicycle_and_says_how_sure_it_is():
    learned, bicycle = LearnedMotion(network()), BicycleMotion()
    seen = readings(6)
    for model in (learned, bicycle):
        model.start(seen[0])
    for reading in seen[1:]:
        command = VehicleCommand(0.5, 0.1, False)
        ours, theirs = (model.update(command, reading) for model in (learned, bicycle))
        assert ours.motion == pytest.approx(theirs.motion, abs=1e-5)
        assert theirs.variance is None
        assert all(g > v > 0.0 for g, v in zip(ours.growth, ours.variance, strict=True))


def test_a_new_episode_forgets_the_last_one():
    model = network()
    with torch.no_grad():
        model.network[-1].weight.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(0))
    motion, seen = LearnedMotion(model), readings(6)
    command = VehicleCommand(0.5, 0.1, False)
    said = []
    for _ in range(2):
        motion.start(seen[0])
        said.append([motion.update(command, reading) for reading in seen[1:]])
    assert said[0] == said[1]


def test_the_environment_tracks_with_the_model_that_it_is_given():
    environment = ParkingEnvironment(
        cameras="none", simulator="kinematic", motion=LearnedMotion(network())
    )
    environment.reset(options={"episode": 0})
    assert environment.target_tracker.covariance == pytest.approx(np.zeros((3, 3)))
    for _ in range(5):
        environment.advance(np.array([0.5, 0.2, 0.0], np.float32))
    spread = np.diag(environment.target_tracker.covariance)
    assert (spread > 0.0).all()
    environment.reset(options={"episode": 1})
    assert environment.target_tracker.covariance == pytest.approx(np.zeros((3, 3)))


def test_another_kind_of_policy_is_refused(tmp_path):
    config = ParkingPolicyConfig(sees="nothing")
    ParkingPolicy(config, parking_embodiment("none"), STATISTICS).save(tmp_path)
    with pytest.raises(ValueError, match="expected a motion model"):
        load_motion(tmp_path)


def evaluation(out, motion):
    return EvaluationSettings(
        ExpertSource(),
        out,
        env_kwargs={"cameras": "none", "simulator": "kinematic"},
        episodes=1,
        success_videos=0,
        failure_videos=0,
        motion=motion,
    )


def test_an_evaluation_says_which_motion_model_tracked_the_target(tmp_path, saved):
    with_bicycle = evaluation_identity(evaluation(tmp_path / "out", None))
    assert "motion" not in with_bicycle
    assert "motion" not in with_bicycle["env_kwargs"]
    with_model = evaluation_identity(evaluation(tmp_path / "out", saved))
    assert with_model["motion"]["policy"] == "motion"
    assert len(with_model["motion"]["sha256"]) == 64


def test_an_evaluation_drives_with_the_motion_model(tmp_path, saved):
    summary = evaluate(evaluation(tmp_path / "out", saved))
    assert summary.episodes == 1
    assert summary.provenance["motion"]["policy"] == "motion"
    with pytest.raises(ValueError, match="holds another evaluation"):
        evaluate(evaluation(tmp_path / "out", None))


def test_each_worker_loads_the_motion_model_for_itself(saved):
    options = {"cameras": "none", "simulator": "kinematic"}
    setup = RunnerSetup(ExpertSource(), "helmsight/Parking-v0", options, 0, "cpu", 1, saved)
    world = pickle.loads(pickle.dumps(setup)).make_environment().unwrapped
    assert isinstance(world.motion, LearnedMotion)
