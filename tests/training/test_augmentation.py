from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from helmsight.envs.parking.vehicle import STATE
from helmsight.envs.spec import VectorSpec
from helmsight.training.augmentation import Augmentation, AugmentationSettings

FRONT, REAR = "observation.images.front", "observation.images.rear"
OFF = {
    "exposure": 0.0,
    "contrast": 0.0,
    "gamma": 0.0,
    "white_balance": 0.0,
    "saturation": 0.0,
    "haze_probability": 0.0,
    "uneven_light_probability": 0.0,
    "stains_probability": 0.0,
    "blur_probability": 0.0,
    "noise_probability": 0.0,
    "cutout_probability": 0.0,
    "camera_variation": 0.0,
}


def make_batch(samples: int = 6, side: int = 24, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = (samples, side, side, 3)
    images = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
    state = torch.randn(samples, 8, generator=generator)
    return {FRONT: images, REAR: images.flip(0), "observation.state": state}


def only(**changes: float) -> Augmentation:
    return Augmentation(AugmentationSettings(**{**OFF, **changes}), STATE, seed=3)


def grey(value: int, samples: int = 8) -> dict[str, Tensor]:
    return {
        key: torch.full((samples, 24, 24, 3), value, dtype=torch.uint8) for key in (FRONT, REAR)
    }


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40), step=st.integers(0, 2**31), strength=st.floats(0.0, 4.0))
def test_the_same_seed_and_step_give_the_same_batch(seed: int, step: int, strength: float) -> None:
    first, second = (
        Augmentation(AugmentationSettings(strength=strength, target_position=0.1), STATE, seed)
        for _ in range(2)
    )
    second(make_batch(), step + 1)
    one, other = first(make_batch(), step), second(make_batch(), step)
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert all(one[key].shape == make_batch()[key].shape for key in one)


def test_another_step_gives_another_batch() -> None:
    augmentation = Augmentation(AugmentationSettings(), STATE, seed=0)
    assert not torch.equal(
        augmentation(make_batch(), 1)[FRONT], augmentation(make_batch(), 2)[FRONT]
    )


def test_strength_zero_changes_nothing() -> None:
    batch = make_batch()
    settings = AugmentationSettings(strength=0.0, target_position=1.0)
    result = Augmentation(settings, STATE, seed=0)(batch, 5)
    assert all(torch.equal(result[key], batch[key]) for key in batch)


def test_everything_off_at_strength_one_changes_no_pixel() -> None:
    batch = make_batch()
    result = only()(batch, 5)
    assert torch.equal(result[FRONT], batch[FRONT])


def test_the_given_batch_is_left_as_it_was() -> None:
    batch, same = make_batch(), make_batch()
    settings = AugmentationSettings(strength=2.0, target_position=1.0)
    Augmentation(settings, STATE, seed=0)(batch, 5)
    assert all(torch.equal(batch[key], same[key]) for key in batch)


def test_cameras_of_a_sample_share_their_light() -> None:
    result = only(exposure=0.5)(grey(100), 1)
    levels = result[FRONT][:, 0, 0, 0]
    assert torch.equal(levels, result[REAR][:, 0, 0, 0])
    assert len(levels.unique()) > 4


def test_cameras_differ_less_than_samples() -> None:
    result = only(exposure=0.5, camera_variation=0.25)(grey(100, samples=64), 1)
    front, rear = (result[key][:, 0, 0, 0].double() for key in (FRONT, REAR))
    assert 0.0 < (front - rear).std() < 0.6 * front.std()


def test_noise_has_the_strength_asked_for_and_no_bias() -> None:
    result = only(noise=10.0, noise_probability=1.0)(grey(128, samples=64), 1)
    difference = result[FRONT].double() - 128.0
    deviations = difference.flatten(1).std(dim=1)
    assert deviations.max() == pytest.approx(10.0, rel=0.1)
    assert deviations.min() == pytest.approx(1.25, rel=0.2)
    assert abs(difference.mean()) < 0.2


def test_noise_saturates_instead_of_wrapping() -> None:
    bright = only(noise=40.0, noise_probability=1.0)(grey(250), 1)[FRONT]
    dark = only(noise=40.0, noise_probability=1.0)(grey(5), 1)[FRONT]
    assert bright.min() > 60
    assert dark.max() < 195


def test_white_balance_tints_grey_and_exposure_does_not() -> None:
    tinted = only(white_balance=0.2)(grey(120), 1)[FRONT][:, 0, 0].int()
    exposed = only(exposure=0.4)(grey(120), 1)[FRONT][:, 0, 0].int()
    assert (tinted.amax(1) - tinted.amin(1)).max() > 8
    assert (exposed.amax(1) - exposed.amin(1)).max() <= 1


def test_saturation_leaves_grey_alone() -> None:
    assert torch.equal(only(saturation=0.8)(grey(120), 1)[FRONT], grey(120)[FRONT])


def test_hue_leaves_grey_alone() -> None:
    turned = only(hue=180.0, hue_probability=1.0)(grey(120), 1)
    assert torch.equal(turned[FRONT], grey(120)[FRONT])


def test_hue_turns_colours_of_all_cameras_alike_and_keeps_their_mean() -> None:
    red = {key: torch.full((64, 24, 24, 3), 100, dtype=torch.uint8) for key in (FRONT, REAR)}
    for images in red.values():
        images[..., 0] = 160
    turned = only(hue=180.0, hue_probability=1.0)(red, 1)
    assert torch.equal(turned[FRONT], turned[REAR])
    colours = turned[FRONT][:, 0, 0].float()  # [64, 3]
    torch.testing.assert_close(colours.mean(dim=1), torch.full((64,), 120.0), rtol=0.0, atol=1.0)
    assert set(colours.argmax(dim=1).tolist()) == {0, 1, 2}


def test_hue_turns_the_share_of_samples_asked_for() -> None:
    batch = make_batch(samples=400, side=8)
    turned = only(hue=180.0, hue_probability=0.25)(batch, 1)
    changed = (turned[FRONT] != batch[FRONT]).flatten(1).any(dim=1).float().mean().item()
    assert changed == pytest.approx(0.25, abs=0.07)


def test_blur_smooths_and_keeps_the_mean() -> None:
    batch = make_batch(side=64)
    result = only(blur=3.0, blur_probability=1.0)(batch, 1)[FRONT].double()
    assert result.std() < 0.8 * batch[FRONT].double().std()
    assert result.mean() == pytest.approx(float(batch[FRONT].double().mean()), abs=1.5)


def test_haze_lifts_black_and_lowers_contrast() -> None:
    dark = only(haze=0.5, haze_probability=1.0)(grey(0), 1)[FRONT][:, 0, 0, 0].int()
    light = only(haze=0.5, haze_probability=1.0)(grey(255), 1)[FRONT][:, 0, 0, 0].int()
    assert (dark > 0).all()
    assert (light - dark < 255).all()


def test_uneven_light_is_smooth_and_keeps_the_colour() -> None:
    changed = only(uneven_light=0.5, uneven_light_probability=1.0)(grey(100), 0)[FRONT].float()
    assert changed.std(dim=(1, 2, 3)).min() > 3.0
    assert (changed.diff(dim=2).abs().max() < 20.0) and (changed.diff(dim=1).abs().max() < 20.0)
    assert torch.equal(changed[..., 0], changed[..., 2])
    assert changed.min() >= 60.0 and changed.max() <= 165.0  # 100 * exp(-0.5) and exp(0.5)


def test_stains_are_coloured_coarser_than_a_pixel_and_without_bias() -> None:
    changed = only(stains=40.0, stains_probability=1.0)(grey(128, 200), 0)[FRONT].float() - 128.0
    assert changed.mean().abs() < 1.5
    assert 5.0 < changed.std() < 40.0
    neighbours = (changed[:, :, 1:] * changed[:, :, :-1]).mean() / changed.square().mean()
    channels = (changed[..., 0] * changed[..., 1]).mean() / changed.square().mean()
    assert neighbours > 0.5 and channels.abs() < 0.2


def test_cutout_covers_a_rectangle_no_larger_than_asked() -> None:
    batch = grey(77, samples=32)
    changed = only(cutout=0.5, cutout_probability=1.0)(batch, 1)[FRONT][..., 0] != 77
    assert changed.any()
    for mask in changed:
        rows, columns = mask.any(1), mask.any(0)
        assert int(rows.sum()) <= 12
        assert int(mask.sum()) == int(rows.sum()) * int(columns.sum())


def test_target_noise_moves_only_the_target_pose() -> None:
    batch = {"observation.state": torch.zeros(4000, 8)}
    moved = only(target_position=0.05, target_yaw=0.5)(batch, 1)["observation.state"]
    columns = [STATE.index(f"target_{name}") for name in ("x", "y", "yaw")]
    others = [column for column in range(8) if column not in columns]
    assert not moved[:, others].any()
    expected = [0.05, 0.05, np.deg2rad(0.5)]
    assert moved[:, columns].std(dim=0).tolist() == pytest.approx(expected, rel=0.1)


def test_target_yaw_stays_wrapped() -> None:
    state = torch.zeros(100, 8)
    state[:, STATE.index("target_yaw")] = np.pi
    moved = only(target_yaw=5.0)({"observation.state": state}, 1)["observation.state"]
    assert moved[:, STATE.index("target_yaw")].abs().max() <= np.pi + 1e-6


def test_target_noise_without_a_target_in_the_state_is_refused() -> None:
    state = VectorSpec(names=("speed",), units=("m/s",), low=(0.0,), high=(1.0,))
    with pytest.raises(ValueError, match="target_x"):
        Augmentation(AugmentationSettings(target_position=0.1), state, seed=0)


def test_images_of_another_kind_are_refused_by_key() -> None:
    with pytest.raises(ValueError, match=r"images\.front must be uint8 \[B, H, W, 3\]"):
        only()({FRONT: torch.zeros(2, 3, 8, 8)}, 0)


def test_a_probability_above_one_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="blur_probability"):
        AugmentationSettings(blur_probability=1.5)


def test_an_image_larger_than_the_noise_bank_is_covered_whole() -> None:
    batch = {FRONT: torch.full((1, 600, 600, 3), 128, dtype=torch.uint8)}
    result = only(noise=80.0, noise_probability=1.0)(batch, 1)[FRONT]
    assert (result[0, -100:] != 128).float().mean() > 0.5
