"""The folder of a training run.

```
RUN/
├── config.yaml        the resolved configuration; a run is only ever continued with the same one
├── versions.json      packages, Python, machine, git revision and seed it was started with
├── metrics.jsonl      one line a log step, and one a validation
├── metrics/           the same for TensorBoard
├── checkpoints/       see checkpoint.py
├── policy/            the final policy, averaged weights, for load_policy
├── summary.json       steps, samples a second, minutes, final losses, validation
└── .lock              locked while a process trains here
```
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import yaml

from helmsight.policies.plain_config import flatten, mapping_differences
from helmsight.training.checkpoint import CheckpointStore, write_file_atomically
from helmsight.training.file_lock import lock_file

PACKAGES = (
    "helmsight",
    "torch",
    "accelerate",
    "safetensors",
    "numpy",
    "opencv-python-headless",
    "pyarrow",
    "av",
    "gymnasium",
    "mujoco",
)
# Where a run lies does not change what it computes, so a moved folder can be continued.
_LOCATION_KEYS = ("out",)


class RunFolder:
    """Writes what a run leaves behind; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = CheckpointStore(path / "checkpoints")
        self._lines: Any = None
        self._board: Any = None
        self._lock: IO[str] | None = None

    @classmethod
    def open(cls, path: Path, config: Mapping[str, Any], seed: int) -> RunFolder:
        """Start the run `config` in `path`, or continue it if it was started there before.

        The folder is locked until the context ends (or what is returned is dropped).

        Raises ValueError if another process trains there, and naming the keys if another
        configuration was started there; one that failed before it had logged a step is forgotten.
        """
        plain = plain_data(config)
        folder = cls(path)
        path.mkdir(parents=True, exist_ok=True)
        folder._lock = _acquire_lock(path)
        try:
            folder._begin_or_continue(plain, seed)
        except BaseException:
            folder._free()  # not when the traceback, which holds the folder, is dropped
            raise
        return folder

    def _begin_or_continue(self, config: Mapping[str, Any], seed: int) -> None:
        stored_file = self.path / "config.yaml"
        if not stored_file.is_file():
            self._begin(config, seed)
            return
        stored = yaml.safe_load(stored_file.read_text(encoding="utf-8"))
        differing = config_differences(stored, config)
        if differing and self._has_steps():
            raise ValueError(
                f"{self.path} holds a run with another configuration: {'; '.join(differing)}. "
                "Give the same configuration to continue it, or another out= to start anew"
            )
        if differing:
            self._begin(config, seed)

    def _begin(self, config: Mapping[str, Any], seed: int) -> None:
        versions = json.dumps(collect_versions(seed), indent=1)
        write_file_atomically(self.path / "versions.json", versions)
        # Last, because its presence says that the folder is a run.
        text = yaml.safe_dump(config, sort_keys=False)
        write_file_atomically(self.path / "config.yaml", text)

    def _has_steps(self) -> bool:
        metrics = self.path / "metrics.jsonl"
        logged = metrics.is_file() and metrics.stat().st_size > 0
        return logged or self.checkpoints.last() is not None

    def start_logging(self, step: int) -> None:
        """Open the metric files to go on after `step`; later lines, of a killed run, are cut."""
        path = self.path / "metrics.jsonl"
        kept = []
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:  # the line that the kill cut short
                    break
                if record["step"] <= step:
                    kept.append(line + "\n")
        write_file_atomically(path, "".join(kept))
        from torch.utils.tensorboard import SummaryWriter

        self._lines = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self.path / "metrics"), purge_step=step + 1)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Append one line and the same scalars for TensorBoard; `values` may be nested."""
        self._lines.write(json.dumps({"step": step, **values}) + "\n")
        self._lines.flush()
        for name, value in flatten(values).items():
            self._board.add_scalar(name.replace(".", "/"), value, step)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        write_file_atomically(self.path / "summary.json", json.dumps(summary, indent=1) + "\n")

    def read_summary(self) -> dict[str, Any] | None:
        """The summary that an earlier call left, None if there is none."""
        path = self.path / "summary.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lines is not None:
            self._lines.close()
            self._board.close()
        self._free()

    def _free(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _acquire_lock(path: Path) -> IO[str] | None:
    """Lock a run's folder against a second run.

    The processes of one run (`accelerate launch`) share the folder: the first of them holds it.
    """
    if os.environ.get("RANK", "0") != "0":
        return None
    lock = lock_file(path / ".lock")
    if lock is None:
        raise ValueError(f"another process is training in {path}")
    return lock


def plain_data(value: Any) -> Any:
    """`value` with only what YAML and JSON know: paths become strings, tuples lists."""
    if isinstance(value, Mapping):
        return {str(key): plain_data(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a configuration cannot hold {value!r} of type {type(value).__name__}")


def config_differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """One line a key that differs, without the keys that only say where the run lies."""
    found = mapping_differences(stored, given)
    return [text for key, text in found.items() if key not in _LOCATION_KEYS]


def collect_versions(seed: int) -> dict[str, Any]:
    """What a repetition of the run would need to know besides the configuration."""
    return {
        "seed": seed,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "git_revision": git_revision(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def git_revision() -> str | None:
    """Revision of the source tree, with `-dirty` if it has changes; None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(
            [*command, "--abbrev=40", "--exclude=*"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
