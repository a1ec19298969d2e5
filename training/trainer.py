"""The training loop: imitation by gradient descent, resumable to the bit.

Every random number of a step (dropout, probes, augmentation, the order of the data) is a function
of (seed, step, process), so a checkpoint needs no generator's state, and a run that was killed
and started again computes what the run that was not killed would have.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn

from helmsight.training.checkpoint import Progress, TrainingState, write_folder_atomically
from helmsight.training.ema import ExponentialMovingAverage
from helmsight.training.interruption import Interruption
from helmsight.training.optimizer import make_optimizer
from helmsight.training.progress import TrainingDisplay
from helmsight.training.random_streams import RandomStreams, isolated_generators
from helmsight.training.run_folder import RunFolder
from helmsight.training.settings import TrainingSettings, uses_bfloat16

Batch = dict[str, Tensor]
PHASES = ("data", "forward", "backward", "optimizer")
_VALIDATION_STREAM = 2**31  # a step number that no run reaches


class TrainingData(Protocol):
    """Where batches come from; `LeRobotTrainingData` reads them from data sets on disk."""

    def batches(self, policy: nn.Module, start_step: int, process: int) -> Iterator[Batch]:
        """Endless training batches from `start_step` on, the same ones at every call."""
        ...

    def validation_batches(self, policy: nn.Module) -> Iterator[Batch]:
        """The held-out batches, not augmented, the same ones at every call."""
        ...


@dataclasses.dataclass(frozen=True)
class TrainingSummary:
    """What came of a run; written as `summary.json`.

    `losses` are means over the last log interval. `phase_shares` are shares of the time of a step
    as this process sees it: on a GPU, work that is only queued counts where it is waited for.
    `completed` is False when the run was interrupted.
    """

    steps: int
    completed: bool
    samples_per_second: float
    wall_minutes: float
    losses: dict[str, float]
    validation: dict[str, float] | None
    phase_shares: dict[str, float]
    parameters: int
    precision: str
    policy: str | None


class NonFiniteLossError(ValueError):
    """The loss, a part of it or the gradient stopped being a finite number."""


def train_on(
    data: TrainingData,
    settings: TrainingSettings,
    make_policy: Callable[[], nn.Module],
    config: Mapping[str, Any] | None = None,
) -> TrainingSummary:
    """Train the policy that `make_policy` builds, or go on where the run in `settings.out` is.

    A run bounded by `max_steps` gives the same losses to the bit on the same CPU, killed and
    resumed or not; one bounded by `max_minutes` follows the clock and does not. `config` is what
    `config.yaml` keeps (default: the settings); a folder with another one is refused.

    Validation only reports. It never chooses a checkpoint: the final policy is the last step's
    averaged weights. Ctrl-C (and SIGTERM) finish the step, save a checkpoint and return a summary
    with `completed=False`.

    Raises ValueError for a folder of another run, NonFiniteLossError naming step and part.
    """
    started = time.monotonic()
    if settings.cpu_threads is not None:
        torch.set_num_threads(settings.cpu_threads)
    if config is None:
        config = dataclasses.asdict(settings)
    folder = RunFolder.open(Path(settings.out), config, settings.seed)
    with folder, isolated_generators():
        trainer = Trainer(data, settings, make_policy, folder, started)
        return trainer.run()


class Trainer:
    """One run; `train` and `train_on` are the ways in."""

    def __init__(
        self,
        data: TrainingData,
        settings: TrainingSettings,
        make_policy: Callable[[], nn.Module],
        folder: RunFolder,
        started: float,
    ) -> None:
        self.settings, self.data, self.folder = settings, data, folder
        # A policy may switch off a loss, and with it leave parameters without a gradient.
        self.accelerator = Accelerator(
            cpu=settings.device == "cpu",
            mixed_precision="no",  # autocast is this module's own: one place decides
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        self.bfloat16 = uses_bfloat16(settings.precision, self.accelerator.device)
        RandomStreams(settings.seed).start(step=0, process=0)
        policy = make_policy().train()
        self.streams = RandomStreams(settings.seed, policy)
        optimizer = make_optimizer(policy, settings)
        self.policy = policy.to(self.accelerator.device)
        self.parallel, self.optimizer = self.accelerator.prepare(self.policy, optimizer)
        self.average = (
            ExponentialMovingAverage(self.policy, settings.ema_decay)
            if settings.ema_decay > 0.0
            else None
        )
        self.progress = Progress()
        self.state = TrainingState(self.policy, optimizer, self.average, self.progress)
        checkpoint = folder.checkpoints.last()
        if checkpoint is not None:
            self.state.read(checkpoint)
        self.resumed_at = self.progress.step
        self._started = started - self.progress.elapsed_seconds
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.losses: dict[str, float] = {}
        self.validation: dict[str, float] | None = None

    def run(self) -> TrainingSummary:
        """Train to the end of the budget, then save the policy and the summary.

        A run that was completed before answers with the summary it left.
        """
        finished = self.folder.read_summary()
        if finished is not None and finished.get("completed") and self._spent() >= 1.0:
            return TrainingSummary(**finished)
        if self.accelerator.is_main_process:
            self.folder.start_logging(self.progress.step)
        loop_started = time.monotonic()
        interrupted = self._loop()
        loop_seconds = time.monotonic() - loop_started
        if self.progress.step > self.resumed_at or self.folder.checkpoints.last() is None:
            self._save_checkpoint()
        policy = None if interrupted else self._finish()
        steps = self.progress.step - self.resumed_at
        total = max(sum(self.seconds.values()), 1e-9)
        summary = TrainingSummary(
            steps=self.progress.step,
            completed=not interrupted,
            samples_per_second=steps * self._samples_per_step / max(loop_seconds, 1e-9),
            wall_minutes=self._elapsed() / 60.0,
            losses=self.losses,
            validation=self.validation,
            phase_shares={name: seconds / total for name, seconds in self.seconds.items()},
            parameters=sum(parameter.numel() for parameter in self.policy.parameters()),
            precision="bf16" if self.bfloat16 else "float32",
            policy=str(policy) if policy is not None else None,
        )
        if self.accelerator.is_main_process and (steps or not interrupted):
            self.folder.write_summary(dataclasses.asdict(summary))
        return summary

    def _loop(self) -> bool:
        """Take steps until the budget is spent (False) or the user interrupts (True)."""
        settings, progress = self.settings, self.progress
        process = self.accelerator.process_index
        spent = self._spent()
        if spent >= 1.0:
            return False
        batches = self.data.batches(self.policy, progress.step, process)
        display = TrainingDisplay(enabled=self.accelerator.is_main_process)
        with display, Interruption() as interruption:
            if progress.step:
                display.say(f"resumed after step {progress.step}")
            while spent < 1.0:
                values = self._step(batches, spent, interruption.requested)
                spent = settings.budget.spent(progress.step, values.pop("elapsed_seconds"))
                stop = values.pop("interrupted") > 0.0
                self._log(values, spent, display)
                if settings.validate_every and progress.step % settings.validate_every == 0:
                    self._validate(display)
                if stop and spent < 1.0:
                    display.say(
                        f"interrupted after step {progress.step}: saving a checkpoint, from which "
                        "the same command goes on"
                    )
                    return True
                if progress.step % settings.checkpoint_every == 0 and spent < 1.0:
                    self._save_checkpoint()
        return False

    def _step(self, batches: Iterator[Batch], spent: float, interrupted: bool) -> dict[str, float]:
        """One optimiser step; its values, averaged over the processes, by name."""
        settings, step = self.settings, self.progress.step
        clock = _Stopwatch(self.seconds)
        batch = self._to_device(next(batches))
        clock.lap("data")
        self.streams.start(step + 1, self.accelerator.process_index)
        with self._autocast():
            loss, parts = self.parallel(batch)
        clock.lap("forward")
        self.accelerator.backward(loss)
        clock.lap("backward")
        limit = settings.gradient_clip_norm or math.inf
        norm = self.accelerator.clip_grad_norm_(self.policy.parameters(), limit)
        values = self._gather(
            {"loss": loss, "gradient_norm": norm}
            | {f"parts.{name}": value for name, value in parts.items()},
            {"elapsed_seconds": self._elapsed(), "interrupted": float(interrupted)},
        )
        _refuse_non_finite(values, step + 1, self.folder)
        rate = settings.schedule.at(step, spent)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(step)
        self.progress.step = step + 1
        clock.lap("optimizer")
        return values

    def _log(self, values: dict[str, float], spent: float, display: TrainingDisplay) -> None:
        """Add to the running means; every `log_every` steps write them out and start anew."""
        progress, settings = self.progress, self.settings
        for name, value in values.items():
            progress.running_sums[name] = progress.running_sums.get(name, 0.0) + value
        progress.running_count += 1
        steps = progress.step - self.resumed_at
        seconds = max(sum(self.seconds.values()), 1e-9)
        speed = steps * self._samples_per_step / seconds
        display.update(progress.step, spent, values["loss"], speed, self._elapsed())
        if progress.step % settings.log_every and spent < 1.0:
            return
        means = {
            name: sum_ / progress.running_count for name, sum_ in progress.running_sums.items()
        }
        self.losses = {
            name: value for name, value in means.items() if name.split(".")[0] in ("loss", "parts")
        }
        progress.running_sums, progress.running_count = {}, 0
        if self.accelerator.is_main_process:
            record = {
                "loss": means["loss"],
                "parts": {
                    name.removeprefix("parts."): value
                    for name, value in means.items()
                    if name.startswith("parts.")
                },
                "gradient_norm": means["gradient_norm"],
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "samples_per_second": speed,
                "data_share": self.seconds["data"] / seconds,
                "elapsed_minutes": self._elapsed() / 60.0,
            }
            self.folder.log(progress.step, record)

    def _validate(self, display: TrainingDisplay | None = None) -> None:
        """Mean loss and parts over the held-out batches, with the averaged weights."""
        self.streams.start(_VALIDATION_STREAM, process=0)
        sums: dict[str, float] = {}
        samples = 0
        with self._averaged_weights(), torch.no_grad(), self._autocast():
            self.policy.eval()
            for batch in self.data.validation_batches(self.policy):
                loss, parts = self.policy(self._to_device(batch))
                size = len(next(iter(batch.values())))
                for name, value in {"loss": loss, **parts}.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * size
                samples += size
            self.policy.train()
        if samples == 0:
            return
        self.validation = {name: value / samples for name, value in sums.items()}
        if self.accelerator.is_main_process:
            self.folder.log(self.progress.step, {"validation": self.validation})
            if display is not None:
                display.say(
                    f"step {self.progress.step}: validation loss {self.validation['loss']:.4g}"
                )

    def _finish(self) -> Path:
        """Validate once more and save the policy with the averaged weights."""
        every = self.settings.validate_every
        if every and (self.validation is None or self.progress.step % every):
            self._validate()
        folder = self.folder.path / "policy"
        if self.accelerator.is_main_process:
            with self._averaged_weights():
                self.policy.eval()
                save: Callable[[Path], None] = self.policy.save  # type: ignore[assignment]
                write_folder_atomically(folder, save)
        self.accelerator.wait_for_everyone()
        return folder

    def _save_checkpoint(self) -> None:
        self.progress.elapsed_seconds = self._elapsed()
        if self.accelerator.is_main_process:
            self.folder.checkpoints.save(self.progress.step, self.state.write)
        self.accelerator.wait_for_everyone()

    def _gather(
        self, tensors: Mapping[str, Tensor], numbers: Mapping[str, float]
    ) -> dict[str, float]:
        """All values as Python numbers, means over the processes; waits for the device once."""
        stacked = torch.stack([tensor.detach().double().reshape(()) for tensor in tensors.values()])
        if self.accelerator.num_processes > 1:
            extra = torch.tensor(list(numbers.values()), dtype=torch.float64)
            stacked = torch.cat([stacked, extra.to(stacked.device)])
            stacked = self.accelerator.reduce(stacked, "mean")
            return dict(zip([*tensors, *numbers], stacked.tolist(), strict=True))
        return {**dict(zip(tensors, stacked.tolist(), strict=True)), **numbers}

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        if self.average is None:
            yield
        else:
            with self.average.applied():
                yield

    def _autocast(self) -> torch.autocast:
        device = self.accelerator.device.type
        return torch.autocast(device, dtype=torch.bfloat16, enabled=self.bfloat16)

    def _to_device(self, batch: Batch) -> Batch:
        device = self.accelerator.device
        return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}

    @property
    def _samples_per_step(self) -> int:
        return self.settings.batch_size * self.accelerator.num_processes

    def _spent(self) -> float:
        return self.settings.budget.spent(self.progress.step, self._elapsed())

    def _elapsed(self) -> float:
        """Seconds this run has taken, those before a resume included."""
        return time.monotonic() - self._started


def _refuse_non_finite(values: Mapping[str, float], step: int, folder: RunFolder) -> None:
    names = [
        name.removeprefix("parts.") for name, value in values.items() if not math.isfinite(value)
    ]
    if names:
        last = folder.checkpoints.last()
        kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        # The parts come after the loss they add up to, and are what to look at.
        raise NonFiniteLossError(
            f"step {step}: not a finite number: {', '.join(names)}; {kept}. A lower learning_rate "
            "or gradient_clip_norm may help; otherwise look at the data of that part"
        )


class _Stopwatch:
    """Adds the time since its last lap to a named phase."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self._seconds[phase] += now - self._last
        self._last = now
