import dataclasses

import pytest
import torch

from helmsight.policies.modules.film import FilmBlock, LowRankFilm
from helmsight.policies.modules.film_vision import FilmVisionTransformer, VisionConfig, patch_grid

CONFIG = VisionConfig(
    stem_channels=8, stem_blocks=1, width=16, heads=2, blocks=2, film_rank=4, aggregation_tokens=3
)


def vision(seed=0, **changes):
    torch.manual_seed(seed)
    return FilmVisionTransformer(dataclasses.replace(CONFIG, **changes), 2, 2, 3, 8).eval()


def images(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (4, 2, 32, 48, 3), dtype=torch.uint8, generator=generator)


def conditions(seed=0):
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(seed))


def awake(model):
    """Modulation starts as the identity; give it something to say."""
    for module in model.modules():
        if isinstance(module, LowRankFilm):
            torch.nn.init.normal_(module.up.weight, std=0.5)
    return model


def test_a_fixed_number_of_tokens_comes_of_each_camera():
    with torch.no_grad():
        assert vision()(images(), conditions()).tokens.shape == (4, 2, 3, 16)


def test_aggregation_tokens_may_begin_as_learned_vectors_alone():
    model = vision(seeded=False)
    assert not any("mix" in name or "reduce" in name for name in model.aggregation.state_dict())
    with torch.no_grad():
        assert model(images(), conditions()).tokens.shape == (4, 2, 3, 16)


def test_without_aggregation_every_patch_goes_on():
    with torch.no_grad():
        assert vision(aggregation_tokens=0)(images(), conditions()).tokens.shape == (4, 2, 6, 16)


def test_modulation_starts_as_the_identity():
    model = vision()
    with torch.no_grad():
        assert torch.equal(*(model(images(), conditions(seed)).tokens for seed in (1, 2)))


def test_the_instruction_steers_what_is_seen():
    model = awake(vision())
    with torch.no_grad():
        first, second = (model(images(), conditions(seed)).tokens for seed in (1, 2))
    assert (first - second).abs().max() > 0.01


def test_without_modulation_the_instruction_is_not_read():
    model = vision(film=False)
    assert not any(isinstance(module, LowRankFilm) for module in model.modules())
    with torch.no_grad():
        assert torch.equal(*(model(images(), conditions(seed)).tokens for seed in (1, 2)))


def test_a_block_that_carries_on_some_tokens_gives_them_what_it_always_does():
    torch.manual_seed(0)
    block = FilmBlock(16, 2, 8, 4)
    tokens, condition = torch.randn(3, 7, 16), torch.randn(3, 8)
    with torch.no_grad():
        whole, some = block(tokens, condition), block(tokens, condition, first=5)
    assert torch.allclose(whole[:, 5:], some, atol=1e-6)


def test_cameras_do_not_see_each_other():
    model = vision()
    changed = images().clone()
    changed[:, 1] = 255 - changed[:, 1]
    with torch.no_grad():
        before, after = (model(seen, conditions()).tokens for seen in (images(), changed))
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, 1], after[:, 1])


def test_patch_weights_say_how_each_token_mixes_the_patches():
    weights = vision().patch_weights(images(), conditions())
    assert weights.shape == (4, 2, 3, 6)
    assert ((weights > 0.0) & (weights < 1.0)).all()
    without = vision(aggregation_tokens=0).patch_weights(images(), conditions())
    assert torch.equal(without[0, 0], torch.eye(6))


def test_pointing_adds_a_token_of_the_thing_and_one_of_its_place_to_each_camera():
    model = vision(pointing=True)
    with torch.no_grad():
        encoded = model(images(), conditions())
        weights = model.patch_weights(images(), conditions())
    assert encoded.tokens.shape == (4, 2, 5, 16)
    assert model.tokens_per_camera == 5
    assert encoded.scores.shape == (4, 2, 2, 6)
    assert torch.allclose(weights[:, :, 3:], encoded.scores.softmax(dim=-1))
    every = vision(pointing=True, aggregation_tokens=0)
    with torch.no_grad():
        assert every(images(), conditions()).tokens.shape == (4, 2, 8, 16)
    assert every.patch_weights(images(), conditions()).shape == (4, 2, 8, 6)


def test_cameras_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="cameras of one size"):
        patch_grid([(32, 32), (64, 64)])
    with pytest.raises(ValueError, match="multiples of 16, got 40x32"):
        patch_grid([(40, 32)])
