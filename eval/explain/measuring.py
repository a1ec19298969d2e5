"""`measure_split` and `measure_recordings`: the measures of a policy's maps over many episodes.

```
OUT/
  explanation.json   what is measured: policy hash, environment or data set, settings
  usual.npy          the usual token of each place, [N, D]
  measures.jsonl     one `EpisodeMeasures` a line, appended as episodes finish
  summary.json       means with intervals, provenance
```
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.eval.evaluation import evaluation_identity
from helmsight.eval.explain.frames import Recording
from helmsight.eval.explain.jobs import (
    MeasureEpisode,
    episode_generator,
    explainable,
    make_measurer,
    run_with_progress,
    usual_tokens_by_driving,
)
from helmsight.eval.explain.maps import captum_is_installed
from helmsight.eval.explain.measures import EpisodeMeasures, token_sum
from helmsight.eval.explain.settings import ExplainSettings
from helmsight.eval.explain.summary import MEASURES, MeasureSummary, summarise_measures
from helmsight.eval.folder_log import (
    FolderLog,
    whole_lines,
    write_atomically,
)
from helmsight.eval.progress import ProgressReporter
from helmsight.eval.provenance import command_line, provenance
from helmsight.eval.sources import policy_source
from helmsight.policies.explainable import Explainable

USUAL = "usual.npy"
_MEASURED_WITH = (
    "seed",
    "stride",
    "deletion_steps",
    "integration_steps",
    "reference_episodes",
    "reference_stride",
)


class MeasureLog(FolderLog):
    """The measures in one folder."""

    file_name = "measures.jsonl"
    identity_name = "explanation.json"
    held = "other measures"

    def _begin(self, file: Path, identity: str) -> None:
        if not file.exists() or file.read_text(encoding="utf-8") != identity:
            (self.folder / USUAL).unlink(missing_ok=True)  # of what was never measured
        super()._begin(file, identity)

    def read(self) -> dict[int, EpisodeMeasures]:
        """Measures of every finished episode."""
        return read_measures(self.folder)

    def append(self, measures: EpisodeMeasures) -> None:
        self.append_line(json.dumps(measures.to_dict(), allow_nan=False))

    def usual(self, make: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
        """The usual token of this folder, made at the first time."""
        file = self.folder / USUAL
        if not file.exists():
            partial = file.with_name("usual.partial.npy")
            np.save(partial, make())
            partial.replace(file)
        return load_usual(self.folder)


def read_measures(folder: Path) -> dict[int, EpisodeMeasures]:
    """Measures of every finished episode; what follows the last line end is ignored."""
    file = folder / MeasureLog.file_name
    if not file.exists():
        return {}
    entries = [EpisodeMeasures(**json.loads(line)) for line in whole_lines(file)]
    return {entry.episode: entry for entry in entries}


def load_usual(folder: Path) -> NDArray[np.float64]:
    """The usual token that the measures in a folder were made with."""
    loaded: NDArray[np.float64] = np.load(folder / USUAL)
    return loaded


def measure_split(settings: ExplainSettings, episodes: Sequence[int]) -> MeasureSummary:
    """Measure episodes that the policy drives itself; writes `summary.json` into `settings.out`.

    Finished episodes stay when it is interrupted, and the same call goes on with the rest. Raises
    ValueError when the folder holds other measures or the policy has nothing to explain, and
    RuntimeError while another process writes into it.
    """
    driving = settings.driving(list(episodes))
    explainable(driving.source.load(settings.device))  # refused now, not in a worker
    identity = {**evaluation_identity(driving), **_measured_with(settings)}
    with MeasureLog(settings.out, identity) as log:
        missing = [episode for episode in driving.episode_indices if episode not in log.read()]
        if missing:
            usual = log.usual(lambda: usual_tokens_by_driving(settings))
            jobs = [MeasureEpisode(episode, usual, settings) for episode in missing]
            for _, result in run_with_progress(settings, "Measuring", jobs):
                log.append(result)
        done = log.read()
        return _finish(settings, [done[episode] for episode in driving.episode_indices], identity)


def measure_recordings(
    settings: ExplainSettings,
    episodes: Sequence[int],
    read: Callable[[int], Recording],
    reference: Iterable[int],
    source: dict[str, Any],
) -> MeasureSummary:
    """`measure_split` for recorded episodes: `read` gives one; the policy watches and never drives.

    reference: episodes whose moments make the usual token. source: what identifies the data. There
    is no second appearance of a recorded state, and so no measure of its shift.
    """
    driven = policy_source(settings.checkpoint)
    policy = explainable(driven.load(settings.device))
    origin = {key: value for key, value in driven.provenance().items() if key != "checkpoint"}
    identity = {"policy": origin, "data": source, **_measured_with(settings)}
    with MeasureLog(settings.out, identity) as log:
        missing = [episode for episode in episodes if episode not in log.read()]
        if missing:
            usual = log.usual(lambda: usual_tokens_of(policy, map(read, reference), settings))
            measurer = make_measurer(settings, policy, usual)
            with ProgressReporter("Measuring", len(missing), success="done") as progress:
                for episode in missing:
                    generator = episode_generator(settings.seed, episode)
                    log.append(measurer.measure(read(episode), episode, [], generator))
                    progress.advance(True)
        done = log.read()
        return _finish(settings, [done[episode] for episode in episodes], identity)


def usual_tokens_of(
    policy: Explainable, recordings: Iterable[Recording], settings: ExplainSettings
) -> NDArray[np.float64]:
    """The usual token [N, D] of each place: the mean over moments of recorded episodes."""
    sums, count = [], 0
    for recording in recordings:
        frames = [
            frame for frame in recording.frames if frame.step % settings.reference_stride == 0
        ]
        total, moments = token_sum(policy, frames, settings.device)
        sums.append(total.cpu().numpy())
        count += moments
    mean: NDArray[np.float64] = np.sum(sums, axis=0) / count
    return mean


def _measured_with(settings: ExplainSettings) -> dict[str, Any]:
    values = dataclasses.asdict(settings)
    return {
        **{key: values[key] for key in _MEASURED_WITH},
        "captum": captum_is_installed(),
        "measures": sorted(MEASURES),
    }


def _finish(
    settings: ExplainSettings, entries: Sequence[EpisodeMeasures], identity: dict[str, Any]
) -> MeasureSummary:
    origin = {
        **provenance(),
        **policy_source(settings.checkpoint).provenance(),
        **{key: value for key, value in identity.items() if key != "policy"},
        "command": command_line(),
    }
    summary = summarise_measures(entries, origin)
    text = json.dumps(summary.to_dict(), indent=2, allow_nan=False)
    write_atomically(settings.out / "summary.json", text + "\n")
    return summary
