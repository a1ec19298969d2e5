from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from helmsight.training.checkpoint import (
    CheckpointStore,
    Progress,
    TrainingState,
    load_weights,
    write_folder_atomically,
)
from helmsight.training.ema import ExponentialMovingAverage


def put(text: str):
    return lambda folder: (folder / "content").write_text(text)


def break_off(folder: Path) -> None:
    (folder / "content").write_text("half")
    raise OSError("no space left on device")


def test_the_newest_checkpoints_are_kept_and_the_older_deleted(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in (5, 10, 15, 20):
        store.save(step, put(str(step)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000015", "000020", "last"]
    last = store.last()
    assert last is not None
    assert (last / "content").read_text() == "20"


def test_there_is_no_last_checkpoint_before_the_first(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "checkpoints").last() is None


def test_a_write_that_fails_leaves_the_former_checkpoint(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(5, put("5"))
    with pytest.raises(OSError, match="no space"):
        store.save(10, break_off)
    last = store.last()
    assert last is not None
    assert last.name == "000005"
    assert not (tmp_path / "000010").exists()


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no space"):
        CheckpointStore(tmp_path).save(5, break_off)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_write_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-000005").mkdir()
    CheckpointStore(tmp_path).save(10, put("10"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000010", "last"]


def test_a_full_disk_names_the_step_the_last_good_checkpoint_and_the_way_on(tmp_path: Path) -> None:
    def full_disk(folder: Path) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    store = CheckpointStore(tmp_path)
    store.save(5, put("5"))
    with pytest.raises(
        OSError, match=r"step 10 .*No space left.*000005\. Free some space"
    ) as caught:
        store.save(10, full_disk)
    assert "run the same command again" in str(caught.value)


def test_damaged_weights_are_refused_by_the_name_of_their_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"model\.safetensors is no readable safetensors file"):
        load_weights(nn.Linear(2, 2), tmp_path / "model.safetensors")


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    write_folder_atomically(folder, lambda path: (path / "old").write_text("x"))
    write_folder_atomically(folder, put("new"))
    assert [path.name for path in folder.iterdir()] == ["content"]


def test_a_pointer_to_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "last").write_text("000007\n")
    with pytest.raises(ValueError, match="000007"):
        CheckpointStore(tmp_path).last()


def make_state(seed: int) -> TrainingState:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        module[2].weight = nn.Parameter(module[2].weight.detach().t().contiguous().t())
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, betas=(0.8, 0.9))
        average = ExponentialMovingAverage(module, 0.9)
        for step in range(3):
            module(torch.randn(5, 3)).square().sum().backward()
            optimizer.step()
            average.update(step)
    return TrainingState(module, optimizer, average, Progress(3, 1.25, {"loss": 0.1}, 2))


def test_a_training_state_comes_back_to_the_bit(tmp_path: Path) -> None:
    saved, other = make_state(0), make_state(1)
    saved.write(tmp_path)
    other.progress.step = 99
    other.read(tmp_path)
    for mine, theirs in zip(
        other.module.state_dict().values(), saved.module.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert other.average is not None
    assert saved.average is not None
    for name, tensor in saved.average.state_dict().items():
        assert torch.equal(other.average.state_dict()[name], tensor)
    moments = zip(other.optimizer.state.values(), saved.optimizer.state.values(), strict=True)
    for mine, theirs in moments:
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert other.optimizer.param_groups[0]["lr"] == 0.1
    assert other.progress == saved.progress


def test_weights_that_do_not_fit_are_named_each(tmp_path: Path) -> None:
    make_state(0).write(tmp_path)
    network = nn.Sequential(nn.Linear(3, 4), nn.Identity(), nn.Linear(5, 2), nn.Linear(2, 2))
    with pytest.raises(ValueError) as caught:
        load_weights(network, tmp_path / "model.safetensors")
    message = str(caught.value)
    assert "3.bias is missing" in message
    assert "1.running_mean is unknown" in message
    assert "2.weight has shape [2, 4], expected [2, 5]" in message


def test_a_checkpoint_without_its_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"incomplete.*model\.safetensors"):
        load_weights(nn.Linear(2, 2), tmp_path / "model.safetensors")
