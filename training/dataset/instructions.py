"""Embeddings of a data set's instructions, kept beside them: `meta/instructions.safetensors`.

A language model is needed once, for the instructions that the file does not hold yet.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from helmsight.training.dataset.files import replace_file
from helmsight.training.dataset.format import DatasetError

INSTRUCTIONS_PATH = "meta/instructions.safetensors"
Encode = Callable[[Sequence[str]], Tensor]


def instruction_embeddings(
    root: Path, instructions: Sequence[str], encode: Encode
) -> dict[str, list[float]]:
    """The embedding of each instruction, in their order; new ones are made and written to the file.

    A data set that cannot be written to is read all the same. Raises what `encode` raises for an
    instruction that it cannot read, DatasetError for a damaged file.
    """
    known = read_embeddings(root)
    new = [instruction for instruction in instructions if instruction not in known]
    if new:
        for instruction, embedding in zip(new, encode(new), strict=True):
            known[instruction] = [round(float(value), 6) for value in embedding]
        try:
            _write(root, known)
        except OSError as error:
            # The next reader makes them again.
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
    return {instruction: known[instruction] for instruction in instructions}


def read_embeddings(root: Path) -> dict[str, list[float]]:
    """What the file holds; nothing where there is none. Raises DatasetError for a damaged one."""
    path = root / INSTRUCTIONS_PATH
    if not path.is_file():
        return {}
    try:
        with safetensors.safe_open(path, "pt") as file:
            names = json.loads(file.metadata()["instructions"])
            values = file.get_tensor("embeddings").tolist()
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path}: not a table of instructions ({error}); delete it, it is made again"
        ) from error
    return {
        name: [round(value, 6) for value in row] for name, row in zip(names, values, strict=True)
    }


def _write(root: Path, known: dict[str, list[float]]) -> None:
    import torch

    table = {"embeddings": torch.tensor(list(known.values()), dtype=torch.float32)}
    names = {"instructions": json.dumps(list(known))}
    replace_file(root / INSTRUCTIONS_PATH, safetensors.torch.save(table, metadata=names))
