"""The learned motion model: bicycle, corrections, variances."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.motion_model import MotionEstimate, bicycle_motion
from helmsight.envs.parking.simulator import SensorReading, VehicleCommand
from helmsight.envs.parking.target_tracker import TargetTracker
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.policies.base import load_model, load_policy
from helmsight.policies.motion import MotionConfig, MotionNetwork, _motions, _path, path_variance

STATISTICS = {"observation.state": {"mean": [0.0] * 8, "std": [1.0] * 8}}
PERIOD = 0.1


def network(**changes):
    torch.manual_seed(0)
    config = MotionConfig(**{"width": 16, "horizon": 12, **changes})
    return MotionNetwork(config, parking_embodiment("none"), STATISTICS)


def windows(model, count, random, steering_bias=0.0, speed_noise=0.0):
    """Drives of an ideal bicycle as training windows [count, ...]; the speed sensor is noisy."""
    offsets = model.window_offsets()
    first = offsets["action"][0]
    length = model.config.horizon - first + 2
    speed = random.uniform(-1.5, 1.5, (count, 1)).repeat(length, 1)
    angle = random.uniform(-0.5, 0.5, (count, 1)).repeat(length, 1)
    poses = np.zeros((count, length, 3))
    for row in range(count):
        motion, pose = bicycle_motion(speed[row, 0], angle[row, 0], PERIOD), Pose(0.0, 0.0, 0.3)
        for step in range(length):
            poses[row, step] = pose
            pose = pose.transform(motion)
    state = np.zeros((count, length, 8))
    state[..., 0] = speed + speed_noise * random.standard_normal(speed.shape)
    state[..., 4] = angle + steering_bias
    action = np.zeros((count, length, 3))
    action[..., 1] = angle / model.config.max_steering_angle
    columns = {"observation.state": state, "action": action, "simulator.state": poses}
    batch = {
        key: torch.from_numpy(columns[key][:, np.array(wanted) - first]).float()
        for key, wanted in offsets.items()
    }
    padding = torch.zeros(count, model.config.horizon + 1, dtype=torch.bool)
    return batch | {"simulator.state_is_pad": padding}


def trained(model, steps=250, **world):
    random = np.random.default_rng(1)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1.0 - step / steps)
        loss, _ = model(windows(model, 16, random, **world))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        return model(windows(model, 64, random, **world))[1]


@given(st.floats(-2.0, 2.0), st.floats(-0.6, 0.6))
def test_untrained_it_moves_as_the_bicycle(speed, angle):
    model = network()
    readings = torch.tensor([[speed, 0.0, 0.0, 0.0, angle]]).repeat(4, 1)
    motion = model.estimate(readings, torch.zeros(4, 3))
    expected = bicycle_motion(speed, angle, PERIOD)
    assert motion.mean.tolist() == pytest.approx(expected, abs=1e-5)
    assert (motion.variance > 0.0).all()


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_whatever_its_weights_it_corrects_the_bicycle_by_no_more_than_allowed(seed):
    model, limits = network(), MotionConfig().largest_correction
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(3.0 * torch.randn(parameter.shape, generator=generator))
        readings = torch.randn(4, 5, generator=generator)
        readings[:, 4] *= 0.3
        motion = model.estimate(readings, torch.rand(4, 3, generator=generator))
    speed, angle = readings[-2:, 0].mean().item(), readings[-2:, 4].mean().item()
    distance = math.hypot(*motion.mean[:2].tolist())
    assert abs(distance - abs(speed) * PERIOD) <= limits[0] * PERIOD + limits[2] + 1e-6
    curvatures = [
        math.tan(angle + sign * limits[1]) / model.config.wheelbase for sign in (-1.0, 1.0)
    ]
    turns = [
        PERIOD * (speed + sign * limits[0]) * curvature
        for sign in (-1.0, 1.0)
        for curvature in curvatures
    ]
    assert min(turns) - 1e-6 <= motion.mean[2].item() <= max(turns) + 1e-6
    assert torch.isfinite(motion.variance).all()


def test_it_learns_the_steering_angle_from_the_command_where_the_sensor_is_biased():
    model = network(command_noise=0.0)
    random = np.random.default_rng(2)
    biased = {"steering_bias": 0.01}
    before = model(windows(model, 64, random, **biased))[1]["period"].item()
    after = trained(model, **biased)["period"].item()
    assert after < before - 1.0
    readings = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.31]]).repeat(4, 1)
    commands = torch.tensor([[0.0, 0.3 / 0.61, 0.0]]).repeat(4, 1)
    turn = model.estimate(readings, commands).mean[2].item()
    true, measured = (bicycle_motion(1.0, angle, PERIOD).yaw for angle in (0.3, 0.31))
    assert abs(turn - true) < 0.3 * abs(measured - true)


def test_its_variances_are_honest_and_grow_with_the_noise():
    calm, noisy = network(), network()
    parts = trained(noisy, speed_noise=0.05)
    trained(calm, speed_noise=0.005)
    assert parts["within_sigma_x"].item() == pytest.approx(0.68, abs=0.08)
    readings = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.1]]).repeat(4, 1)
    spread = [m.estimate(readings, torch.zeros(4, 3)).variance[0].item() for m in (calm, noisy)]
    assert spread[1] > 4.0 * spread[0]


def test_periods_beyond_the_end_of_an_episode_count_for_nothing():
    model = network(command_noise=0.0)
    batch = windows(model, 4, np.random.default_rng(3))
    batch["simulator.state_is_pad"][:, 6:] = True
    changed = {key: value.clone() for key, value in batch.items()}
    changed["simulator.state"][:, 6:] += 5.0
    changed["observation.state"][:, 10:] += 1.0  # readings of no valid period
    loss, parts = model(batch)
    other_loss, other_parts = model(changed)
    assert loss.item() == other_loss.item()
    assert parts["within_sigma_yaw"] == other_parts["within_sigma_yaw"]


POSES = st.lists(
    st.tuples(st.floats(-5.0, 5.0), st.floats(-5.0, 5.0), st.floats(-math.pi, math.pi)),
    min_size=2,
    max_size=8,
)


@given(POSES)
def test_true_motions_lead_back_along_the_poses_that_they_come_from(poses):
    states = torch.tensor([poses], dtype=torch.float64)
    places, headings = _path(_motions(states).double())
    for index, pose in enumerate(poses):
        expected = Pose(*poses[0]).relative(Pose(*pose))
        assert places[0, index].tolist() == pytest.approx(expected[:2], abs=1e-4)
        turn = math.remainder(headings[0, index].item() - expected.yaw, 2.0 * math.pi)
        assert turn == pytest.approx(0.0, abs=1e-4)


class Said:
    def __init__(self, motions, variances):
        self.estimates = iter(list(zip(motions, variances, strict=True)))

    def start(self, reading):
        pass

    def update(self, command, reading):
        motion, variance = next(self.estimates)
        return MotionEstimate(Pose(*motion), tuple(variance), tuple(variance))


def test_a_ways_variance_in_training_is_the_trackers():
    random = np.random.default_rng(4)
    motions = random.normal((0.1, 0.0, 0.05), (0.05, 0.01, 0.05), (30, 3))
    variances = random.uniform(1e-6, 1e-4, (30, 3))
    end = Pose(0.0, 0.0, 0.0)
    for motion in motions:
        end = end.transform(Pose(*motion))
    reading = SensorReading(0.0, (0.0, 0.0), 0.0, 0.0)
    # A target where the car ends: its error in the car's frame there is the car's own.
    tracker = TargetTracker(end, reading, Said(motions.tolist(), variances.tolist()))
    for _ in motions:
        tracker.update(VehicleCommand(0.0, 0.0, False), reading)
    claimed = path_variance(torch.from_numpy(motions)[None], torch.from_numpy(variances)[None])
    assert np.diag(tracker.covariance) == pytest.approx(claimed[0].numpy(), rel=1e-6)


@pytest.mark.parametrize("latest_frame", (0, 1))
def test_the_frames_looked_at_end_at_the_period_or_before_it(latest_frame):
    model = network(latest_frame=latest_frame)
    offsets = model.window_offsets()
    horizon = model.config.horizon
    assert offsets["observation.state"] == list(range(latest_frame - 3, horizon + latest_frame))
    assert offsets["action"] == list(range(latest_frame - 4, horizon))
    loss, _ = model(windows(model, 2, np.random.default_rng(5)))
    assert torch.isfinite(loss)


def test_a_saved_model_says_the_same_and_drives_nothing(tmp_path):
    model = network()
    with torch.no_grad():
        model.network[-1].weight.normal_(0.0, 0.1)
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    assert isinstance(loaded, MotionNetwork)
    readings, commands = torch.randn(3, 4, 5), torch.rand(3, 4, 3)
    assert torch.equal(
        loaded.estimate(readings, commands).mean, model.estimate(readings, commands).mean
    )
    with pytest.raises(ValueError, match="motion model, which drives nothing"):
        load_policy(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    (
        ({"latest_frame": 2}, "latest_frame must be 0 or 1"),
        ({"frames": 1}, "frames must be 2 or more"),
        ({"horizon": 0}, "horizon must be 1 or more"),
        ({"least_deviation": (0.0, 1.0, 1.0)}, "three numbers above 0"),
    ),
)
def test_a_shape_that_cannot_be_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        MotionConfig(**changes)
