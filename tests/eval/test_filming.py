"""Which episodes are filmed."""

from helmsight.eval.episode_kinds import MANIPULATION, PARKING
from helmsight.eval.filming import FilmChoice
from helmsight.eval.records import EpisodeRecord


def attempt(episode, success, task=None, steps=220):
    return EpisodeRecord(
        episode=episode,
        success=success,
        steps=steps,
        outcome="SR" if success else "TR",
        metrics={} if task is None else {"task_index": task},
    )


def test_failures_of_every_task_are_filmed_before_a_second_one_of_any():
    records = [attempt(10 * task + n, False, task) for task in range(3) for n in range(3)]
    chosen = FilmChoice(4, 0, MANIPULATION).pick(records)
    assert [record.episode for record in chosen] == [0, 1, 10, 20]


def test_successes_are_spread_from_the_longest_to_the_shortest():
    records = [attempt(n, True, 0, steps=100 - n) for n in range(9)]
    chosen = FilmChoice(4, 3, MANIPULATION).pick(records)
    assert [record.episode for record in chosen] == [0, 4, 8]


def test_where_tasks_are_not_told_apart_the_worst_are_filmed():
    records = [attempt(n, False) for n in range(6)]
    chosen = FilmChoice(2, 0, PARKING).pick(records)
    assert chosen == PARKING.worst_first(records)[:2]
