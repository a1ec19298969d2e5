"""Which episodes are filmed, and the films, within the size that one report may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from helmsight.eval.episode_kinds import PARKING, EpisodeKind
from helmsight.eval.progress import ProgressReporter
from helmsight.eval.records import EpisodeRecord
from helmsight.eval.video import Film, FilmJob

# Base64 makes four bytes of three, and the whole report is to stay below 25 MB.
BYTES_AT_MOST = 16_000_000


@dataclass(frozen=True)
class FilmChoice:
    """At most so many films of failures and of successes."""

    failures: int
    successes: int
    kind: EpisodeKind = PARKING

    def pick(self, records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
        """Episodes to film, worst first: failures from the worst, successes spread evenly.

        Where tasks are told apart, the failures are of as many of them as there are films for.
        """
        finished = [record for record in self.kind.worst_first(records) if record.error is None]
        failures = [record for record in finished if not record.success]
        successes = [record for record in finished if record.success]
        shown = _of_every_task(failures, self.failures, self.kind)
        return shown + _spread(successes, self.successes)


@dataclass(frozen=True)
class FilmSet:
    """Films in the order to show them, and a sentence on what they leave out."""

    films: tuple[Film, ...] = ()
    note: str = ""


def make_films(
    records: Sequence[EpisodeRecord],
    choice: FilmChoice,
    run: Callable[[Sequence[FilmJob]], Iterable[tuple[FilmJob, Any]]],
) -> FilmSet:
    """Film the chosen episodes; `run` does jobs and yields each with its result or exception."""
    chosen = choice.pick(records)
    if not chosen:
        return FilmSet()
    done: dict[int, Film] = {}
    with ProgressReporter("Filming", len(chosen), success="as recorded") as progress:
        for job, film in run([FilmJob(record) for record in chosen]):
            if isinstance(film, Film):
                done[job.record.episode] = film
            progress.advance(film.agrees if isinstance(film, Film) else None)
    films, size = [], 0
    for record in chosen:
        film = done.get(record.episode)
        if film is not None and size + len(film.mp4) + len(film.poster) <= BYTES_AT_MOST:
            films.append(film)
            size += len(film.mp4) + len(film.poster)
    return FilmSet(tuple(films), _note(records, films, choice.kind))


def _note(records: Sequence[EpisodeRecord], films: Sequence[Film], kind: EpisodeKind) -> str:
    finished = {record.episode: record for record in records if record.error is None}
    failed = sum(not record.success for record in finished.values())
    succeeded = len(finished) - failed
    failed_films = sum(not finished[film.episode].success for film in films)
    succeeded_films = len(films) - failed_films
    return (
        f"{failed_films} of {failed} failures, worst first, then {succeeded_films} of {succeeded} "
        f"successes, {kind.film_note}"
    )


def _of_every_task(
    records: Sequence[EpisodeRecord], count: int, kind: EpisodeKind
) -> list[EpisodeRecord]:
    """`count` records in their order: the first of each task, then the second of each."""
    seen: Counter[Hashable] = Counter()
    ranks = []
    for place, record in enumerate(records):
        ranks.append((seen[kind.task(record)], place))
        seen[kind.task(record)] += 1
    chosen = sorted(place for _, place in sorted(ranks)[:count])
    return [records[place] for place in chosen]


def _spread(records: Sequence[EpisodeRecord], count: int) -> list[EpisodeRecord]:
    """`count` records evenly from the first to the last, all of them when there are fewer."""
    if count >= len(records):
        return list(records)
    if count <= 1:
        return list(records[:count])
    step = (len(records) - 1) / (count - 1)
    return [records[round(index * step)] for index in range(count)]
