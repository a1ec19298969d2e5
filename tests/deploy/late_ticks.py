"""The control loop for ten minutes, with the policy's server beside it: how many ticks are late.

    PYTHONPATH=. python tests/deploy/late_ticks.py CHECKPOINT MINUTES [KEY=VALUE ...]

serves the checkpoint (an exported file, a run or a name), drives one episode after the other with
it in real time (of parking's test split; `robot=libero` for the arm), the flight recorder on, and
counts over all of them. Further words go to `helmsight drive`. A tick is late when it begins more
than a tenth of the period after it is due, and counts as late as well when it never comes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

from serving import free_port

SECONDS_TO_START = 300.0


def drives(checkpoint: str, minutes: float, words: list[str], folder: Path) -> list[dict[str, Any]]:
    """Summaries of as many drives as fill so many minutes."""
    program = [sys.executable, "-m", "helmsight.cli.main"]
    port = free_port()
    server = subprocess.Popen([*program, "serve", f"checkpoint={checkpoint}", f"port={port}"])
    found: list[dict[str, Any]] = []
    try:
        for episode in count():
            own = [f"server=ws://127.0.0.1:{port}", f"wait_for_server={SECONDS_TO_START:g}"]
            own += [f"episodes=[{episode}]", f"out={folder}", f"record={folder / str(episode)}"]
            driven = subprocess.run(
                [*program, "drive", *own, *words], capture_output=True, text=True
            )
            log = folder / "drives.jsonl"
            lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
            if len(lines) == len(found):
                raise RuntimeError(f"episode {episode} was not driven: {driven.stderr}")
            found.append(json.loads(lines[-1]))
            so_far = sum(drive["seconds"] for drive in found) / 60.0
            share = 100.0 * sum(map(late, found)) / sum(map(ticks, found))
            print(
                f"{so_far:.1f} minutes: {found[-1]['outcome']}, {share:.3f} % late",
                flush=True,
            )
            if so_far >= minutes:
                break
    finally:
        server.terminate()
        server.wait()
    return found


def ticks(drive: dict[str, Any]) -> int:
    """Ticks that were due."""
    return int(drive["ticks"] + drive["missed_ticks"])


def late(drive: dict[str, Any]) -> int:
    """Ticks that were late or never came."""
    return round(drive["late_share"] * ticks(drive))


def main(checkpoint: str, minutes: str, *words: str) -> None:
    """Drive and print."""
    load, began = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = drives(checkpoint, float(minutes), list(words), Path(folder))
    due, slow = sum(map(ticks, found)), sum(map(late, found))
    interventions: Counter[str] = Counter()
    for drive in found:
        interventions.update(drive["interventions"])
    print(
        f"{due} ticks due in {len(found)} drives, {slow} late ({100.0 * slow / due:.3f} %), "
        f"{sum(drive['missed_ticks'] for drive in found)} of them missed; latest "
        f"{max(drive['late_ms']['max'] for drive in found):.1f} ms; decisions (median of medians) "
        f"{sorted(drive['decision_ms']['p50'] for drive in found)[len(found) // 2]:.1f} ms; "
        f"outcomes {dict(Counter(drive['outcome'] for drive in found))}; "
        f"interventions {dict(interventions)}; "
        f"load {load:.1f} at the begin on {os.cpu_count()} cores; "
        f"{(time.monotonic() - began) / 60.0:.1f} minutes by the clock"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
