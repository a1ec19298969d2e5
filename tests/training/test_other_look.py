from __future__ import annotations

import pytest
import torch

from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.policies.base import OTHER_LOOK
from helmsight.training.augmentation import Augmentation, AugmentationSettings
from helmsight.training.other_look import OtherLook

EMBODIMENT = parking_embodiment("surround4", 32)
BATCH = {key: torch.randint(0, 256, (4, 32, 32, 3)).byte() for key in EMBODIMENT.image_keys}


def test_every_image_comes_in_a_look_of_its_own():
    settings = AugmentationSettings()
    first = Augmentation(settings, EMBODIMENT.state, 3)(BATCH, 7)
    other = OtherLook(settings, EMBODIMENT, 3)(BATCH, 7)
    assert other.keys() == {f"{OTHER_LOOK}{key}" for key in EMBODIMENT.image_keys}
    for key in EMBODIMENT.image_keys:
        assert other[f"{OTHER_LOOK}{key}"].shape == first[key].shape
        assert not torch.equal(other[f"{OTHER_LOOK}{key}"], first[key])
        assert not torch.equal(other[f"{OTHER_LOOK}{key}"], BATCH[key])


def test_the_same_step_gives_the_same_look():
    first, second = (OtherLook(AugmentationSettings(), EMBODIMENT, 3) for _ in range(2))
    second(BATCH, 6)
    one, other = first(BATCH, 7), second(BATCH, 7)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_two_looks_without_augmentation_are_refused():
    with pytest.raises(ValueError, match="both looks are the same"):
        OtherLook(AugmentationSettings(strength=0.0), EMBODIMENT, 0)
