"""`explain`: an episode to look at, measures over many, or both, as `OUT/explain.html`.

```
OUT/
  explain.html    the episode with a time slider, the tables of the measures
  explain.mp4     the episode as a film
  summary.json    the measures with intervals, provenance
```
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helmsight.eval.explain.film import film_explanation
from helmsight.eval.explain.frames import Recording
from helmsight.eval.explain.jobs import (
    RecordEpisode,
    episode_generator,
    explainable,
    make_map_maker,
    run_with_progress,
    usual_tokens_by_driving,
)
from helmsight.eval.explain.maps import captum_is_installed
from helmsight.eval.explain.measuring import (
    load_usual,
    measure_recordings,
    measure_split,
    usual_tokens_of,
)
from helmsight.eval.explain.page import PageContent, write_page
from helmsight.eval.explain.settings import ExplainSettings
from helmsight.eval.explain.summary import MeasureSummary
from helmsight.eval.explain.view import Explained, explain_recording
from helmsight.eval.provenance import command_line, provenance
from helmsight.eval.sources import policy_source

PAGE, FILM = "explain.html", "explain.mp4"
NO_CAPTUM = (
    "Integrated gradients are left out: Captum is not installed (pip install 'helmsight[explain]')."
)


@dataclass(frozen=True)
class RecordedData:
    """Recorded episodes, in the place of a simulator.

    read: moments of an episode by its number. reference: numbers of the episodes whose moments
    make the usual token. identity: what tells this data from other data.
    """

    read: Callable[[int], Recording]
    reference: Sequence[int]
    identity: dict[str, Any]


def explain(
    settings: ExplainSettings,
    episode: int | None,
    measured: Sequence[int],
    view_options: dict[str, Any] | None = None,
    data: RecordedData | None = None,
) -> MeasureSummary | None:
    """Write the page, the film of `episode` if one is given, and the measures of `measured`.

    view_options: options of the environment for that one episode (its split). data: recorded
    episodes instead of a simulator's. Raises ValueError when there is nothing to do.
    """
    if episode is None and not measured:
        raise ValueError("there is nothing to explain: give episode=..., metrics=true, or both")
    settings.out.mkdir(parents=True, exist_ok=True)
    origin = {
        **provenance(),
        **policy_source(settings.checkpoint).provenance(),
        **({"data": data.identity} if data else {"env": settings.env}),
        **({} if data else {"env_kwargs": dict(settings.env_kwargs)}),
        "command": command_line(),
    }
    measures = _measure(settings, measured, data)
    explained = None
    if episode is not None:
        # What was measured here is shown with the same usual token.
        usual = None if measures is None else load_usual(settings.out)
        explained = _view(settings, episode, view_options or {}, data, usual)
        film = settings.out / f"{FILM}.partial"
        film.write_bytes(film_explanation(explained))
        film.replace(settings.out / FILM)
    notes = () if captum_is_installed() else (NO_CAPTUM,)
    write_page(settings.out / PAGE, PageContent(explained, measures, origin, notes))
    return measures


def _measure(
    settings: ExplainSettings, episodes: Sequence[int], data: RecordedData | None
) -> MeasureSummary | None:
    if not episodes:
        return None
    if data is None:
        return measure_split(settings, episodes)
    return measure_recordings(settings, episodes, data.read, data.reference, data.identity)


def _view(
    settings: ExplainSettings,
    episode: int,
    options: dict[str, Any],
    data: RecordedData | None,
    usual: NDArray[np.float64] | None,
) -> Explained:
    policy: Any = policy_source(settings.checkpoint).load(settings.device)
    shown = explainable(policy)
    recording = _recording(settings, episode, options, data)
    if usual is None and data is None:
        usual = usual_tokens_by_driving(settings)
    elif usual is None:
        assert data is not None
        usual = usual_tokens_of(shown, map(data.read, data.reference), settings)
    maker = make_map_maker(settings, shown, usual)
    return explain_recording(policy, maker, recording, episode_generator(settings.seed, episode))


def _recording(
    settings: ExplainSettings, episode: int, options: dict[str, Any], data: RecordedData | None
) -> Recording:
    """The moments to show, every `frame_stride` steps."""
    if data is None:
        jobs = [RecordEpisode(episode, settings.frame_stride)]
        ((_, recording),) = run_with_progress(settings, "Driving", jobs, **options)
        assert isinstance(recording, Recording)
        return recording
    whole = data.read(episode)
    kept = [frame for frame in whole.frames if frame.step % settings.frame_stride == 0]
    return replace(whole, frames=kept)
