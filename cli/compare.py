"""`helmsight compare A B`: two evaluations over the same episodes, in pairs."""

from __future__ import annotations

from pathlib import Path

from helmsight.cli.output_folder import COMPARISON, output_folder

USAGE = """usage: helmsight compare A B [out=DIR]

A and B are folders that `helmsight eval` wrote, over the same episodes. The difference of their
success rates comes with its interval (paired) and McNemar's exact test."""


def run(words: list[str]) -> int:
    """Compare; returns the exit code."""
    if not words or any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return 0 if words else 2
    folders = [word for word in words if not word.startswith("out=")]
    if len(folders) != 2 or len(words) > 3:
        raise ValueError(f"expected two folders and optionally out=DIR, got {' '.join(words)}")
    from helmsight.eval.compare import compare

    given = [word.removeprefix("out=") for word in words if word.startswith("out=")]
    out = output_folder(given[0], COMPARISON) if given else None
    print(compare(Path(folders[0]), Path(folders[1]), out).table())
    return 0
