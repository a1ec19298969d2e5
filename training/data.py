"""Training on data sets on disk: which windows, in which order, held out how."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.base import Statistics, TrainedModel
from helmsight.policies.modules.instruction_encoder import encode_instructions
from helmsight.training.augmentation import Augmentation
from helmsight.training.dataset.format import DatasetError
from helmsight.training.dataset.frame_cache import FrameCache
from helmsight.training.dataset.instructions import INSTRUCTIONS_PATH, instruction_embeddings
from helmsight.training.dataset.loader import BatchLoader, split_episodes
from helmsight.training.dataset.reader import LeRobotDataset
from helmsight.training.dataset.statistics import aggregate_all, to_jsonable
from helmsight.training.dataset.windows import Windows
from helmsight.training.mirroring import Mirroring
from helmsight.training.other_look import OtherLook
from helmsight.training.settings import TrainingSettings
from helmsight.training.trainer import TrainingSummary, train_on

MakePolicy = Callable[[EmbodimentSpec, Statistics], TrainedModel]


def train(
    settings: TrainingSettings, make_policy: MakePolicy, config: Mapping[str, Any] | None = None
) -> TrainingSummary:
    """Train on `settings.data`; see `train_on` for what a run leaves and when it stops.

    The run's configuration also holds what the data sets contained, as `data_contents`: a run does
    not go on with others.

    Raises DatasetError (a ValueError) for a data set that cannot be read, that is empty, or whose
    embodiment differs from the first one's.
    """
    data = LeRobotTrainingData(settings)
    config = {
        **(dataclasses.asdict(settings) if config is None else config),
        "data_contents": data.contents,
    }

    def make() -> nn.Module:
        policy = make_policy(data.embodiment, data.statistics)
        if policy.follows_instructions:
            policy.know_instructions(data.instruction_embeddings())
        return policy

    return train_on(data, settings, make, config)


class LeRobotTrainingData:
    """Windows of one or several data sets; a share of each one's episodes is held out."""

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings
        self.datasets = [LeRobotDataset(Path(root)) for root in settings.data]
        for dataset in self.datasets:
            if dataset.num_episodes == 0:
                raise DatasetError(f"{dataset.root} holds no episodes yet; collect some first")
        embodiment = self.datasets[0].embodiment
        if embodiment is None:
            raise ValueError(
                f"{self.datasets[0].root} does not say which robot recorded it: "
                "meta/embodiment.json is missing"
            )
        for dataset in self.datasets[1:]:
            dataset.require_embodiment(embodiment)
        self.embodiment = embodiment
        self._frames: list[FrameCache | None] = [None] * len(self.datasets)
        self._splits = [
            split_episodes(dataset.num_episodes, settings.validation_fraction, settings.seed)
            for dataset in self.datasets
        ]

    @property
    def tasks(self) -> list[str]:
        """The instructions of all data sets; a batch's columns of instructions count these."""
        every = chain.from_iterable(dataset.instructions for dataset in self.datasets)
        return list(dict.fromkeys(every))

    def instruction_embeddings(self) -> dict[str, list[float]]:
        """The embedding of each of `tasks`: from the data sets' files, or by the language model.

        Raises ValueError where a language model is needed and not installed.
        """
        known: dict[str, list[float]] = {}
        for dataset in self.datasets:
            found = instruction_embeddings(dataset.root, dataset.instructions, encode_instructions)
            known |= found
        return {task: known[task] for task in self.tasks}

    @property
    def contents(self) -> list[dict[str, Any]]:
        """What makes each data set the one it is: size, and a hash of what `meta/` says."""
        return [
            {
                "episodes": dataset.num_episodes,
                "frames": dataset.num_frames,
                "sha256": _hash_of_files(dataset.root / "meta"),
            }
            for dataset in self.datasets
        ]

    @property
    def statistics(self) -> Statistics:
        """Statistics over all data sets, of the low-dimensional columns."""
        merged = reduce(aggregate_all, (dataset.statistics for dataset in self.datasets))
        plain = to_jsonable(merged)
        return {key: plain[key] for key in ("observation.state", "action") if key in plain}

    def batches(
        self, policy: nn.Module, start_step: int, process: int
    ) -> Iterator[dict[str, Tensor]]:
        """Endless augmented batches from `start_step` on; each process draws its own order."""
        settings = self.settings
        seed = settings.seed + 1_000_003 * process
        mirroring = Mirroring(self.embodiment, settings.mirror, seed)
        augmentation = Augmentation(settings.augmentation, self.embodiment.state, seed)
        other_look: OtherLook | None = None
        if cast(TrainedModel, policy).wants_other_look:
            other_look = OtherLook(settings.augmentation, self.embodiment, seed)

        def transform(batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
            mirrored = mirroring(batch, step)
            looks = other_look(mirrored, step) if other_look else {}
            return augmentation(mirrored, step) | looks

        loader = BatchLoader(
            self._windows(policy, [training for training, _ in self._splits]),
            settings.batch_size,
            seed,
            threads=settings.loader_threads,
            transform=transform,
        )
        return loader.iterate(start_step)

    def validation_batches(self, policy: nn.Module) -> Iterator[dict[str, Tensor]]:
        """The same held-out batches at every call, spread over the held-out episodes."""
        for windows in self._windows(policy, [held_out for _, held_out in self._splits]):
            count = min(len(windows), self.settings.validation_batches * self.settings.batch_size)
            chosen = np.linspace(0, len(windows) - 1, count).round().astype(np.int64)
            for start in range(0, count, self.settings.batch_size):
                yield windows.batch(chosen[start : start + self.settings.batch_size])

    def _windows(self, policy: nn.Module, episodes: Sequence[Sequence[int]]) -> list[Windows]:
        fed = cast(TrainedModel, policy)
        for dataset in self.datasets:
            _require_features(dataset, fed)
        windows = [
            Windows(
                dataset,
                fed.window_offsets(),
                fed.input_keys(),
                chosen,
                frame_stride=self.settings.frame_stride,
                frames=frames,
                tasks=self.tasks,
            )
            for dataset, chosen, frames in zip(self.datasets, episodes, self._frames, strict=True)
        ]
        # Opened once: episodes that are recorded meanwhile are not this run's.
        self._frames = [window.frames for window in windows]
        return windows


def _require_features(dataset: LeRobotDataset, fed: TrainedModel) -> None:
    """Raises DatasetError for a feature that is missing and that training can do without."""
    for key in fed.input_keys():
        if key not in dataset.features and key in fed.optional_inputs:
            raise DatasetError(
                f"{dataset.root} has no feature {key!r}, from which this policy learns; "
                f"{fed.optional_inputs[key]} trains without it"
            )


def _hash_of_files(folder: Path) -> str:
    """SHA-256 over the names and contents of all files below a folder but what is derived."""
    digest = hashlib.sha256()
    derived = folder.parent / INSTRUCTIONS_PATH
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path != derived):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()
