import numpy as np
import pytest
import torch

from helmsight.eval.explain.focus import class_shares, mass_on_classes, relative_entropy


def test_entropy_is_one_for_a_uniform_map_and_none_for_a_single_token():
    maps = torch.tensor([[0.25] * 4, [0.0, 1.0, 0.0, 0.0]])
    assert relative_entropy(maps).tolist() == pytest.approx([1.0, 0.0])


def test_mass_is_split_by_what_each_cell_holds():
    label = np.zeros((4, 4), np.uint8)
    label[:2, :2] = 1  # the far left cell of 2 x 2: obstacle alone
    label[0, 2:] = 2  # the far right one: half target slot
    shares = class_shares(label, 2)
    assert shares.tolist() == [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    mass = mass_on_classes(torch.tensor([[0.6, 0.4, 0.0, 0.0]]), shares[None])
    assert mass[0].tolist() == pytest.approx([0.2, 0.6, 0.2])


def test_a_label_without_whole_blocks_is_refused():
    with pytest.raises(ValueError, match="200 x 200 cells has no whole blocks"):
        class_shares(np.zeros((200, 200), np.uint8), 7)
