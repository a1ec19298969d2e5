"""What an evaluation leaves on disk: one JSON line an episode, safe against a crash at any moment.

```
OUT/
  evaluation.json   what is evaluated: policy hash, environment, its options, seed
  episodes.jsonl    one `EpisodeRecord` a line, appended and flushed as episodes finish
  calls.jsonl       one line a call that ran episodes: revision, versions, machine, command
  summary.json      metrics with intervals, provenance
  report.html       the report, one file
```
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from helmsight.eval.folder_log import (
    FolderLog,
    whole_lines,
)

OUTCOMES = ("TSR", "TFR", "NTSR", "NTFR", "CR", "OR", "TR")
_SHOWN_AT_MOST = 8


@dataclass(frozen=True)
class EpisodeRecord:
    """One episode as it ran. Poses are [x, y, yaw] of the rear axle in the lot frame (m, m, rad).

    `family`, `split` and `approach` say which scenarios it is of: of LIBERO the suite, the protocol
    and what the arm was told. Without a car there is no path.

    `decision_ms` holds the policy's time for each decision in milliseconds; it is the only field
    that differs between two runs of the same evaluation. `path` has one pose each control period,
    the start included. A record with an `error` has no outcome: the simulator failed, not the
    policy.
    """

    episode: int
    task: str = ""
    family: str = ""
    split: str = ""
    approach: str = ""
    seed: int = 0
    initial_state: list[float] = field(default_factory=list)
    success: bool = False
    outcome: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    decision_ms: list[float] = field(default_factory=list)
    path: list[list[float]] = field(default_factory=list)
    error: str | None = None

    def to_line(self) -> str:
        """One line of JSON without its line end; `from_line` is the inverse."""
        return json.dumps(asdict(self), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_line(cls, line: str) -> EpisodeRecord:
        """Inverse of `to_line`. Raises ValueError naming missing or unknown fields."""
        data = json.loads(line)
        known = {entry.name for entry in fields(cls)}
        if not isinstance(data, dict) or data.keys() != known:
            found = set(data) if isinstance(data, dict) else set()
            raise ValueError(
                f"not an episode record: missing {sorted(known - found)}, "
                f"unknown {sorted(found - known)}"
            )
        return cls(**data)


class EpisodeLog(FolderLog):
    """The append-only `episodes.jsonl` of one evaluation folder."""

    file_name = "episodes.jsonl"
    identity_name = "evaluation.json"
    held = "another evaluation"

    def read(self) -> dict[int, EpisodeRecord]:
        """The latest record of every episode on disk, by episode index."""
        return read_records(self.path) if self.path.exists() else {}

    def append(self, record: EpisodeRecord) -> None:
        """Add one record; once this returns, a crash of the program can't lose it."""
        self.append_line(record.to_line())


def read_records(path: Path) -> dict[int, EpisodeRecord]:
    """Records of an `episodes.jsonl` by episode; of a repeated episode the last line counts.

    A torn last line is ignored. Raises ValueError naming the line for damage anywhere else.
    """
    records: dict[int, EpisodeRecord] = {}
    for number, line in enumerate(whole_lines(Path(path)), start=1):
        try:
            record = EpisodeRecord.from_line(line.decode())
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        records[record.episode] = record
    return dict(sorted(records.items()))


def read_evaluation(folder: Path) -> dict[int, EpisodeRecord]:
    """The records of an evaluation's folder, none of them an error.

    Raises FileNotFoundError for a folder that holds no evaluation, and ValueError where no episode
    has finished or some ended in an error.
    """
    path = folder / "episodes.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no evaluation: {path.name} is missing")
    records = read_records(path)
    errors = [record.episode for record in records.values() if record.error is not None]
    if errors:
        raise ValueError(
            f"{folder}: episodes {listed(errors)} ended in an error; run its evaluation again "
            "before comparing"
        )
    if not records:
        raise ValueError(f"{folder} holds no finished episode yet")
    return records


def listed(episodes: list[int]) -> str:
    """Some episodes' numbers in words."""
    shown = ", ".join(str(episode) for episode in episodes[:_SHOWN_AT_MOST])
    more = len(episodes) - _SHOWN_AT_MOST
    return (shown + (f" and {more} more" if more > 0 else "")) or "none"
