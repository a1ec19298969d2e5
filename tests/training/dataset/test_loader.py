"""The order of batches is a pure function of seed and step."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_dataset import record, vector_features

from helmsight.training.dataset.loader import BatchLoader, split_episodes
from helmsight.training.dataset.reader import LeRobotDataset
from helmsight.training.dataset.windows import Windows


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loader")
    roots = [
        record(folder / name, count, vector_features()) for name, count in (("a", 5), ("b", 3))
    ]
    datasets = [LeRobotDataset(root) for root in roots]
    return [Windows(d, {}, ["action", "index"], range(d.num_episodes)) for d in datasets]


def actions(loader, start, count):
    with_thread = loader.iterate(start)
    batches = [batch["action"].numpy() for batch in islice(with_thread, count)]
    with_thread.close()
    return np.stack(batches)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_loader_started_late_gives_the_batches_of_one_started_early(windows, threads):
    whole = actions(BatchLoader(windows, 7, seed=3, threads=1), 0, 14)
    resumed = actions(BatchLoader(windows, 7, seed=3, threads=threads), 5, 9)
    assert np.array_equal(whole[5:], resumed)


def test_an_epoch_visits_every_window_of_all_data_sets_once(windows):
    loader = BatchLoader(windows, 3, seed=0)
    assert len(loader) == 39
    seen = actions(loader, 0, loader.batches_per_epoch).reshape(-1, 2)
    everything = np.concatenate([part.dataset.columns("action") for part in windows])
    assert np.array_equal(np.sort(seen, axis=0), np.sort(everything, axis=0))
    assert not np.array_equal(seen, actions(loader, 13, 13).reshape(-1, 2))


def test_another_seed_gives_another_order(windows):
    first, second = (actions(BatchLoader(windows, 8, seed=seed), 0, 2) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_a_batch_larger_than_the_data_is_refused(windows):
    with pytest.raises(ValueError, match="only 39 training windows"):
        BatchLoader(windows, 40, seed=0)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 300), st.floats(0.01, 0.9), st.integers(0, 5))
def test_every_episode_is_either_trained_on_or_held_out(episodes, fraction, seed):
    training, held_out = split_episodes(episodes, fraction, seed)
    assert sorted(training + held_out) == list(range(episodes))
    assert training
    assert held_out
    assert (training, held_out) == split_episodes(episodes, fraction, seed)
