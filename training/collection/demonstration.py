"""What a collection is made of, whatever it records: attempts, and who carries them out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray


class Attempt(Protocol):
    """One attempt at a demonstration, before anything is simulated; picklable.

    number: counts the attempts of a round. group: which of the settings' quotas a demonstration
    counts towards.
    """

    @property
    def number(self) -> int: ...

    @property
    def group(self) -> str: ...

    def log(self) -> dict[str, Any]:
        """The attempt's line in the data set's log, without its result.

        It has `attempt`, its number; `mode`, "clean" where nothing disturbs the expert; and
        `group`, unless that is empty.
        """


@dataclass(frozen=True)
class Demonstration:
    """A successful attempt: its columns [T, ...], the task in words, what the log shall add."""

    columns: dict[str, NDArray[Any]]
    task: str
    log: dict[str, Any] = field(default_factory=dict)


class FailedAttempt(Exception):
    """An attempt that gives no demonstration; the message is `<phase>: <reason>`."""


class Demonstrator(Protocol):
    """Carries out attempts, one after the other, in a simulator of its own."""

    def run(self, attempt: Any) -> Demonstration:
        """Carry out one attempt. Raises FailedAttempt where it gives no demonstration."""

    def close(self) -> None:
        """Let go of the simulator."""
