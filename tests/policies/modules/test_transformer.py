from __future__ import annotations

import pytest
import torch

from helmsight.policies.modules.image_encoder import STRIDE, ImageEncoder
from helmsight.policies.modules.transformer import Attention, EncoderBlock, fixed_positions


def test_every_place_of_a_grid_has_a_code_of_its_own() -> None:
    codes = fixed_positions(8, 8, 16)
    assert codes.shape == (64, 16)
    distances = torch.cdist(codes, codes) + torch.eye(64) * 10.0
    assert distances.min().item() > 0.05


def test_rows_and_columns_are_told_apart() -> None:
    codes = fixed_positions(4, 4, 8).view(4, 4, 8)
    torch.testing.assert_close(codes[1, 2, :4], codes[1, 0, :4])
    torch.testing.assert_close(codes[1, 2, 4:], codes[3, 2, 4:])


def test_a_causal_query_sees_nothing_behind_it() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2)
    values = torch.randn(1, 5, 8)
    other = values.clone()
    other[:, 3:] += 1.0
    before, after = attention(values, values, causal=True), attention(values, other, causal=True)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert (before[:, 3:] - after[:, 3:]).abs().max().item() > 1e-4


def test_an_encoder_block_permutes_with_its_tokens() -> None:
    torch.manual_seed(0)
    block, tokens = EncoderBlock(8, 2), torch.randn(2, 5, 8)
    torch.testing.assert_close(block(tokens).flip(1), block(tokens.flip(1)), rtol=1e-4, atol=1e-5)


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="10 is not a multiple"):
        Attention(10, 4)
    with pytest.raises(ValueError, match="divisible by 4"):
        fixed_positions(2, 2, 10)


def test_an_image_feature_depends_on_the_pixels_about_it() -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder(8, 0)
    images = torch.full((1, 64, 64, 3), 100, dtype=torch.uint8)
    bright = images.clone()
    bright[:, 8:16, 40:48] = 250
    with torch.no_grad():
        before = encoder.down(_patches(encoder, images))
        after = encoder.down(_patches(encoder, bright))
    changed = (after - before).abs().sum(dim=(0, 1)) > 1e-6  # [8, 8]
    rows, columns = torch.nonzero(changed, as_tuple=True)
    assert bool(changed[1, 5])
    assert rows.min() >= 1 and rows.max() <= 2 and columns.min() >= 5 and columns.max() <= 6


def _patches(encoder: ImageEncoder, images: torch.Tensor) -> torch.Tensor:
    """What the first layer makes of images, with the pixels taken one patch at a time."""
    pixels = (images.float() - 127.5) / 64.0
    rows = [
        torch.stack([encoder.patches(patch.flatten(1)) for patch in row.split(4, dim=2)], dim=2)
        for row in pixels.split(4, dim=1)
    ]
    return torch.relu(torch.stack(rows, dim=2))


def test_the_patches_of_an_image_stay_in_their_places() -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder(8, 0)
    images = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = torch.relu(encoder.norm(encoder.down(_patches(encoder, images))))
        found = encoder(images)
    assert found.shape == (2, 8, 32 // STRIDE, 48 // STRIDE)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_an_image_of_an_odd_size_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8, got 30x32"):
        ImageEncoder(8, 1)(torch.zeros(1, 30, 32, 3, dtype=torch.uint8))
