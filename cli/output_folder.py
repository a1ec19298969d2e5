"""The folder that a command writes into: never one with another command's work in it."""

from __future__ import annotations

from pathlib import Path

EVALUATION, TRAINING_RUN, DATA_SET = "an evaluation", "a training run", "a data set"
DRIFT, SWEEP, COMPARISON = "a measurement of drift", "a sweep", "a comparison"
EXPLANATION = "an explanation"
# A file or folder that each leaves, by which it is known.
MARKERS = {
    EVALUATION: "evaluation.json",
    TRAINING_RUN: "config.yaml",
    DATA_SET: "meta/info.json",
    DRIFT: "streams",
    SWEEP: "table.md",
    COMPARISON: "compare.html",
    EXPLANATION: "explain.html",
}


def output_folder(path: str | Path, holds: str) -> Path:
    """A folder for what a command makes, one of `MARKERS`; it may hold some of that already.

    Raises ValueError where it holds something else: files of equal names would be overwritten.
    """
    folder = Path(path)
    for what, marker in MARKERS.items():
        if what != holds and (folder / marker).exists():
            raise ValueError(f"out={path} holds {what} already; give another folder")
    return folder
