"""`helmsight compare A B`: two evaluations over the same episodes, in pairs."""

from __future__ import annotations

from pathlib import Path

USAGE = """usage: helmsight compare A B [out=DIR]

A and B are folders that `helmsight eval` wrote, over the same episodes. The difference of their
success rates comes with its interval (paired) and McNemar's exact test."""


def run(words: list[str]) -> int:
    """Compare; returns the exit code."""
    if not words or any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return 0 if words else 2
    folders = [word for word in words if "=" not in word]
    options = dict(word.split("=", 1) for word in words if "=" in word)
    unknown = sorted(options.keys() - {"out"})
    if len(folders) != 2 or unknown:
        problem = f"unknown option {unknown[0]!r}" if unknown else f"got {len(folders)} folders"
        raise ValueError(f"expected two folders and optionally out=DIR; {problem}")
    from helmsight.eval.compare import compare

    out = Path(options["out"]) if "out" in options else None
    print(compare(Path(folders[0]), Path(folders[1]), out).table())
    return 0
