"""The report."""

from typing import Any


def write_report(settings: Any, summary: Any, records: Any) -> None:
    """To come."""
