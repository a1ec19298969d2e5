"""What a task asks for: the BDDL goal's predicates in the order in which to bring them about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_PREDICATES = {"open": 1, "close": 1, "turnon": 1, "turnoff": 1, "on": 2, "in": 2}


@dataclass(frozen=True)
class Predicate:
    """name: one of open, close, turnon, turnoff, on, in. subject: object or region. place: where
    `subject` shall be, for on and in."""

    name: str
    subject: str
    place: str | None = None

    def words(self) -> list[str]:
        """As the BDDL parser gives it."""
        return [self.name, self.subject, *([self.place] if self.place else [])]


def parse_goal(states: Sequence[Sequence[str]], regions_of_tables: set[str]) -> list[Predicate]:
    """The goal's predicates, in order: what opens or turns on, On a table, On, In, what closes.

    states: as in LIBERO's parsed problem, `["in", "milk_1", "basket_1_contain_region"]`.
    Raises ValueError for a predicate that the expert does not know.
    """
    return sorted(
        (_predicate(state) for state in states), key=lambda p: _rank(p, regions_of_tables)
    )


def _predicate(state: Sequence[str]) -> Predicate:
    name, *arguments = state
    if _PREDICATES.get(name.lower()) != len(arguments):
        known = ", ".join(f"{key}/{count}" for key, count in _PREDICATES.items())
        raise ValueError(f"unknown goal {' '.join(state)!r}; the expert knows {known}")
    return Predicate(name.lower(), *arguments)


def _rank(predicate: Predicate, regions_of_tables: set[str]) -> int:
    if predicate.name in ("open", "turnon", "turnoff"):
        return 0
    if predicate.name == "on":
        return 1 if predicate.place in regions_of_tables else 2
    return 3 if predicate.name == "in" else 4
