"""`helmsight explain`: see what a policy looks at, and measure whether that drives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helmsight.cli.configuration import configuration
from helmsight.cli.output_folder import EXPLANATION, output_folder
from helmsight.cli.trained_options import as_trained

if TYPE_CHECKING:
    from helmsight.eval.explain.explanation import RecordedData

SETTINGS = (
    "checkpoint",
    "workers",
    "threads",
    "seed",
    "device",
    "stride",
    "deletion_steps",
    "integration_steps",
    "reference_episodes",
    "reference_stride",
    "frame_stride",
)


def run(words: list[str]) -> int:
    """Explain; returns the exit code."""
    values = configuration("explain", words)
    if values is None:
        return 0
    from helmsight.eval.explain.explanation import FILM, PAGE, explain
    from helmsight.eval.explain.settings import ExplainSettings
    from helmsight.policies.device import usable_device

    if values["checkpoint"].endswith(".onnx"):
        raise ValueError(
            f"{values['checkpoint']} is an exported policy, which has no gradients to be "
            "explained by; give the policy that it was exported from"
        )
    usable_device(values["device"])
    out = output_folder(values["out"], EXPLANATION)
    data = None if values["data"] is None else recorded_data(values)
    split, episode = parse_episode(values["episode"], recorded=data is not None)
    options = values["env_options"]
    settings = ExplainSettings(
        out=out,
        env=values["env_id"],
        # Nothing is simulated where episodes were recorded.
        env_kwargs=as_trained(values["checkpoint"], options) if data is None else options,
        **{key: values[key] for key in SETTINGS},
    )
    measured = episode_numbers(values["episodes"]) if values["metrics"] else []
    view_options = {} if split is None else {"split": split}
    try:
        measures = explain(settings, episode, measured, view_options, data)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; what was measured is in {out}, and the same command goes on"
        ) from None
    if measures is not None:
        print(measures.table())
    if episode is not None:
        print(f"film: {out / FILM}")
    print(f"page: {out / PAGE}")
    return 0


def parse_episode(given: Any, recorded: bool) -> tuple[str | None, int | None]:
    """Split and number of `split/index`, or of a bare number, which recorded episodes have.

    Raises ValueError for anything else.
    """
    if given is None:
        return None, None
    split, slash, number = str(given).rpartition("/")
    if not number.isdigit() or (recorded and slash) or (slash and not split):
        expected = "a number" if recorded else "split/index, such as val/3, or a number"
        raise ValueError(f"episode must be {expected}, got {given!r}")
    return (split or None), int(number)


def episode_numbers(given: Any) -> list[int]:
    """Episodes from a count (0 to n - 1) or a list. Raises ValueError for anything else."""
    numbers = list(range(given)) if isinstance(given, int) else given
    if not isinstance(numbers, list) or not numbers or not all(_is_index(n) for n in numbers):
        raise ValueError(f"episodes must be 1 or more, or a list of numbers, got {given!r}")
    return sorted(set(numbers))


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def recorded_data(values: dict[str, Any]) -> RecordedData:
    """The episodes of the data set `data`, read where they are asked for."""
    import numpy as np

    from helmsight.cli.recorded_episodes import read_recording
    from helmsight.eval.explain.explanation import RecordedData
    from helmsight.training.dataset.reader import LeRobotDataset

    dataset = LeRobotDataset(values["data"])
    count = min(values["reference_episodes"], dataset.num_episodes)
    reference = np.linspace(0, dataset.num_episodes - 1, count).round().astype(int).tolist()
    identity = {
        "data": str(values["data"]),
        "episodes": dataset.num_episodes,
        "frames": dataset.num_frames,
    }
    return RecordedData(lambda episode: read_recording(dataset, episode), reference, identity)
