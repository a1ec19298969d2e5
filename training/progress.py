"""The progress bar of a training run."""

from __future__ import annotations

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn


class TrainingDisplay:
    """Shows step, loss, samples a second and the time left; silent when not enabled."""

    def __init__(self, enabled: bool) -> None:
        self._progress = Progress(
            TextColumn("step {task.fields[step]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn(
                "loss {task.fields[loss]:.4g}  {task.fields[speed]:.0f} samples/s  "
                "{task.fields[left]} left"
            ),
            disable=not enabled,
        )
        self._task = self._progress.add_task(
            "train", total=1.0, step=0, loss=float("nan"), speed=0.0, left="-"
        )

    def update(self, step: int, spent: float, loss: float, speed: float, elapsed: float) -> None:
        """`spent` is the share of the budget used so far, `elapsed` the seconds it took."""
        seconds = elapsed * (1.0 - spent) / max(spent, 1e-9)
        left = f"{int(seconds // 3600)}:{int(seconds // 60) % 60:02d}:{int(seconds) % 60:02d}"
        self._progress.update(
            self._task, completed=spent, step=step, loss=loss, speed=speed, left=left
        )

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if not self._progress.disable:
            self._progress.console.print(text, highlight=False)

    def __enter__(self) -> TrainingDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
