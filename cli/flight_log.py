"""What flight recorders kept, on disk: a LeRobotDataset v3.0 with one episode a drive.

It stands here because it joins the recorder of `deploy` with the data sets of `training`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.deploy.decider import TROUBLES
from helmsight.deploy.recorder import FlightRecorder
from helmsight.deploy.safety import REASONS
from helmsight.envs.spec import EmbodimentSpec
from helmsight.training.dataset.format import INFO_PATH, Features, embodiment_features
from helmsight.training.dataset.staging import stage_episode
from helmsight.training.dataset.writer import DatasetWriter

logger = logging.getLogger(__name__)


class FlightLog:
    """A new data set, made when the first drive is written.

    seconds: how much of a drive's end its recorder keeps. Raises ValueError for a folder that
    holds a data set already: its columns may be those of another robot.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        if (folder / INFO_PATH).exists():
            raise ValueError(f"record={folder} holds a data set already; name another folder")
        self._folder, self._seconds = folder, seconds
        self._chunk_length: int | None = None

    def recorder(self, embodiment: EmbodimentSpec) -> FlightRecorder:
        """A recorder for one drive."""
        return FlightRecorder(embodiment, self._seconds)

    def write(self, recorder: FlightRecorder, name: str, summary: dict[str, Any]) -> None:
        """Add a drive's end; `summary` goes to `meta/collection.jsonl`.

        What hinders the writing is logged, not raised: it must not hide how the drive ended.
        """
        if not len(recorder):
            return
        try:
            episode = self._write(recorder, name, summary)
        except (OSError, ValueError) as error:
            logger.error("the flight record of %s is lost: %s", name, error)
            return
        seconds = len(recorder) / recorder.embodiment.rate_hz
        logger.info("flight record: %s, episode %d, %.0f s", self._folder, episode, seconds)

    def _write(self, recorder: FlightRecorder, name: str, summary: dict[str, Any]) -> int:
        embodiment = recorder.embodiment
        # All episodes have the columns of the first.
        columns = recorder.columns(self._chunk_length)
        features = flight_features(embodiment, columns)
        self._chunk_length = columns["controller.chunk"].shape[1] // embodiment.action.size
        if (self._folder / INFO_PATH).exists():
            writer = DatasetWriter.open(self._folder)
        else:
            writer = DatasetWriter.create(self._folder, features, embodiment.rate_hz, embodiment)
        with writer:
            staged = stage_episode(
                writer.staging_folder / "flight",
                features,
                writer.fps,
                columns,
                task=recorder.order or name,
            )
            return writer.commit(staged, {"robot": name, **summary})


def flight_features(embodiment: EmbodimentSpec, columns: dict[str, NDArray[Any]]) -> Features:
    """The features of a recorder's columns."""
    known = embodiment_features(embodiment)
    actions = list(embodiment.action.names)
    names = {
        "controller.proposed": actions,
        "controller.interventions": list(REASONS),
        "controller.troubles": list(TROUBLES),
        "controller.chunk": [
            f"{step}.{action}"
            for step in range(columns["controller.chunk"].shape[1] // len(actions))
            for action in actions
        ],
    }
    return {
        key: known.get(key)
        or {
            "dtype": np.dtype(values.dtype).name,
            "shape": list(values.shape[1:]) or [1],
            "names": names.get(key),
        }
        for key, values in columns.items()
    }
