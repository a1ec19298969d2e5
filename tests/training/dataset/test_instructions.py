import pytest
import torch

from helmsight.training.dataset.format import DatasetError
from helmsight.training.dataset.instructions import (
    INSTRUCTIONS_PATH,
    instruction_embeddings,
    read_embeddings,
)

SENTENCES = ["pick up the milk", "pick up the butter"]


def counting(asked):
    def embed(instructions):
        asked.extend(instructions)
        return torch.tensor([[len(sentence) / 7.0, 1.0] for sentence in instructions])

    return embed


@pytest.fixture
def root(tmp_path):
    (tmp_path / "meta").mkdir()
    return tmp_path


def test_the_language_model_is_asked_for_what_the_file_does_not_hold(root):
    asked = []
    first = instruction_embeddings(root, SENTENCES[:1], counting(asked))
    both = instruction_embeddings(root, SENTENCES, counting(asked))
    assert asked == SENTENCES
    assert both[SENTENCES[0]] == first[SENTENCES[0]]
    assert list(both) == SENTENCES


def test_made_and_read_embeddings_are_the_same_to_the_bit(root):
    made = instruction_embeddings(root, SENTENCES, counting([]))
    assert read_embeddings(root) == made


def test_a_damaged_file_is_named(root):
    (root / INSTRUCTIONS_PATH).write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"instructions\.safetensors: not a table"):
        read_embeddings(root)
