import pytest
import torch

from helmsight.policies.modules.pointing import (
    Pointing,
    patch_middles,
    pointed_shares,
    pointing_loss,
)

ROWS, COLUMNS = 3, 4
MIDDLES = patch_middles(ROWS, COLUMNS)
NOWHERE = (float("nan"), float("nan"))


def scores_at(patch, height=8.0):
    """Scores [1, 1, 1, 12] that point at one patch, or nowhere for None."""
    scores = torch.full((1, 1, 1, ROWS * COLUMNS), -height)
    if patch is not None:
        scores[..., patch] = height
    return scores


def loss(scores, place):
    return pointing_loss(scores, torch.tensor(place).view(1, 1, 1, 2), MIDDLES).item()


@pytest.mark.parametrize(("place", "patch"), [((0.5, 0.5), 0), ((3.5, 0.5), 3), ((1.5, 2.5), 9)])
def test_the_loss_is_least_where_the_thing_is(place, patch):
    losses = [loss(scores_at(other), place) for other in range(ROWS * COLUMNS)]
    assert losses.index(min(losses)) == patch


def test_what_a_camera_does_not_see_is_pointed_at_nowhere():
    assert loss(scores_at(None), NOWHERE) < 0.01
    assert loss(scores_at(5), NOWHERE) > 5.0
    assert loss(scores_at(None), (1.5, 1.5)) > 5.0


def test_the_loss_of_the_target_itself_is_zero():
    place = torch.tensor([[1.2, 2.0], [2.5, 0.5]]).view(1, 1, 2, 2)
    scores = torch.zeros(1, 1, 2, ROWS * COLUMNS, requires_grad=True)
    optimizer = torch.optim.Adam([scores], 0.3)
    for _ in range(400):
        optimizer.zero_grad()
        value = pointing_loss(scores, place, MIDDLES).mean()
        value.backward()
        optimizer.step()
    assert 0.0 <= value.item() < 0.01


def test_shares_sum_to_one_with_that_of_nowhere():
    shares = pointed_shares(torch.randn(2, 3, 2, 5))
    assert shares.shape == (2, 3, 2, 6)
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(2, 3, 2))


def test_a_patch_is_scored_the_same_wherever_it_lies():
    torch.manual_seed(0)
    pointing = Pointing(8, 4, 2, 3).eval()
    patches, condition = torch.randn(1, 2, 6, 8), torch.randn(1, 4)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    with torch.no_grad():
        before, after = (
            pointing(seen, seen, condition) for seen in (patches, patches[:, :, order])
        )
        torch.testing.assert_close(before[..., order], after)


def test_a_token_tells_where_it_points():
    torch.manual_seed(0)
    pointing = Pointing(8, 4, 2, 3).eval()
    patches, scores = torch.zeros(1, 1, 6, 8), torch.full((1, 1, 2, 6), -20.0)
    scores[..., 0, 0] = scores[..., 1, 5] = 20.0
    with torch.no_grad():
        first, last = (pointing.tokens(patches, scores) - pointing.token_embedding)[0, 0]
        again = pointing.tokens(patches, scores.flip(3)) - pointing.token_embedding
    torch.testing.assert_close(again[0, 0, 1], first)
    torch.testing.assert_close(again[0, 0, 0], last)
    assert (first - last).abs().max() > 0.1


def test_what_patches_show_is_scored_for_many_instructions_as_for_one():
    torch.manual_seed(0)
    pointing = Pointing(8, 4, 2, 3).eval()
    patches, conditions = torch.randn(2, 3, 6, 8), torch.randn(2, 5, 4)
    with torch.no_grad():
        together = pointing.scores_of_any(patches, conditions)
        alone = pointing.scores_of_any(patches, conditions[:, 3:4])
    assert together.shape == (2, 3, 5, 2, 6)
    torch.testing.assert_close(together[:, :, 3:4], alone)


def test_it_learns_to_point_at_what_the_instruction_names():
    torch.manual_seed(0)
    things, instructions = torch.eye(4), torch.randn(4, 6)
    pointing = Pointing(4, 6, 2, 2)
    optimizer = torch.optim.Adam(pointing.parameters(), 1e-2)
    for _ in range(150):
        named = torch.randint(0, 4, (32,))
        order = torch.stack([torch.randperm(4) for _ in range(32)])  # the thing at each place
        place = (order == named[:, None]).int().argmax(dim=1)
        seen = things[order].unsqueeze(1)  # [B, 1, 4, D]
        scores = pointing(seen, seen, instructions[named])  # [B, 1, M, 4]
        wanted = torch.stack([place % 2, place // 2], dim=1) + 0.5  # [B, 2]
        places = wanted[:, None, None].expand(-1, -1, 2, -1)  # [B, 1, M, 2]
        value = pointing_loss(scores, places, patch_middles(2, 2)).mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert (scores[:, 0, 0].argmax(dim=1) == place).float().mean() > 0.95
