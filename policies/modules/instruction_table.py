"""The instructions that a policy knows, as embeddings that need no language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

Embed = Callable[[Sequence[str]], Tensor]
# Instructions beyond those of the training data whose embeddings are kept once they were made.
REMEMBERED = 256


class InstructionTable(nn.Module):
    """Instructions [strings] -> embeddings [B, T].

    known: embedding of each instruction that came with the data or the checkpoint; their order is
    that of the data's task indices. embed: makes the embedding of any other one, a language model
    that is loaded when the first unknown instruction comes.
    """

    vectors: Tensor

    def __init__(self, known: Mapping[str, Sequence[float]], width: int, embed: Embed) -> None:
        super().__init__()
        self.width, self._embed = width, embed
        self._asked: dict[str, Tensor] = {}
        self.register_buffer("vectors", torch.zeros(0, width), persistent=False)
        self.learn(known)

    def learn(self, known: Mapping[str, Sequence[float]]) -> None:
        """Know these instructions from now on. ValueError for an embedding of another width."""
        for instruction, embedding in known.items():
            if len(embedding) != self.width:
                raise ValueError(
                    f"the embedding of {instruction!r} has {len(embedding)} entries, "
                    f"the policy takes {self.width}"
                )
        self.row_of = {instruction: row for row, instruction in enumerate(known)}
        vectors = torch.tensor(list(known.values()), dtype=torch.float32).view(-1, self.width)
        self.vectors = vectors.to(self.vectors.device)

    def rows(self, indices: Tensor) -> Tensor:
        """Embeddings [B, T] of known instructions by index [B]."""
        return self.vectors[indices]

    def forward(self, instructions: Sequence[str]) -> Tensor:
        """Embeddings [B, T]. Raises what `embed` raises for an instruction that is not known."""
        return torch.stack([self._one(instruction) for instruction in instructions])

    def _one(self, instruction: str) -> Tensor:
        row = self.row_of.get(instruction)
        if row is not None:
            return self.vectors[row]
        if instruction not in self._asked:
            if len(self._asked) >= REMEMBERED:
                self._asked.pop(next(iter(self._asked)))
            # What is kept must serve gradients too, whatever it was first asked for.
            with torch.inference_mode(False):
                self._asked[instruction] = self._embed([instruction])[0]
        return self._asked[instruction].to(self.vectors.device)
