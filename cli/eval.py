"""`helmsight eval`: drive a policy in closed loop and report."""

from __future__ import annotations

from pathlib import Path

from helmsight.cli.configuration import configuration


def run(words: list[str]) -> int:
    """Evaluate; returns the exit code: 1 when episodes ended in an error."""
    values = configuration("eval", words)
    if values is None:
        return 0
    from helmsight.eval.evaluation import EpisodesFailed, EvaluationSettings, evaluate

    out = Path(values["out"])
    settings = EvaluationSettings(
        checkpoint=values["checkpoint"],
        out=out,
        env=values["env_id"],
        env_kwargs=values["env_options"],
        **{
            key: values[key]
            for key in (
                "episodes",
                "workers",
                "threads",
                "seed",
                "device",
                "success_videos",
                "failure_videos",
            )
        },
    )
    try:
        summary = evaluate(settings)
    except EpisodesFailed as failure:
        print(failure.summary.table())
        print(f"helmsight eval: {failure}")
        return 1
    print(summary.table())
    print(f"report: {out / 'report.html'}")
    return 0
