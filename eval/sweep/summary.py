"""A whole sweep: `summary.json`, `table.md` and `figure.svg`.

```
OUT/
  summary.json    every number, by evaluation and variant
  table.md        outcomes; and the measures of the maps, where they were measured
  figure.svg      differences in success to the baseline
```
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from helmsight.eval.folder_log import write_atomically
from helmsight.eval.sweep.figure import figure
from helmsight.eval.sweep.maps import SweepMaps
from helmsight.eval.sweep.outcomes import SweepOutcomes


@dataclass(frozen=True)
class SweepSummary:
    """Outcomes of all variants, and the measures of their maps; None where none were taken."""

    outcomes: SweepOutcomes
    maps: SweepMaps | None

    def tables(self) -> str:
        """All tables in Markdown."""
        tables = [self.outcomes.table()]
        if self.maps is not None:
            tables.append(self.maps.table())
        return "\n\n".join(tables)

    def write(self, out: Path) -> None:
        """Write the three files."""
        summary = {
            "baseline": self.outcomes.baseline,
            "results": self.outcomes.to_dict(),
            "maps": None if self.maps is None else self.maps.to_dict(),
        }
        write_atomically(out / "summary.json", json.dumps(summary, indent=2) + "\n")
        write_atomically(out / "table.md", self.tables() + "\n")
        write_atomically(out / "figure.svg", figure(self.outcomes))
