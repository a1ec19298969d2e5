"""Where a result comes from: versions, revision, machine, the checkpoint's hash, the command."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

PACKAGES = ("helmsight", "torch", "numpy", "gymnasium", "mujoco", "opencv-python-headless")
# Named where they are installed: LIBERO's.
OPTIONAL_PACKAGES = ("hf-libero", "robosuite")


def provenance() -> dict[str, Any]:
    """Versions, git revision, machine and time of this process, JSON-compatible."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **_package_versions()},
        "git_revision": git_revision(Path(__file__).resolve().parent),
        "machine": {
            "cpu_count": os.cpu_count(),
            "cpu": _cpu_name(),
            "system": platform.platform(),
        },
    }


def sha256_of_files(files: list[Path]) -> str:
    """One hash over the names and contents of `files`, independent of their order."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def git_revision(folder: Path) -> str | None:
    """Commit of the checkout that holds `folder`, "+changes" when it was edited; None outside."""
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{head}+changes" if changed else head


def command_line() -> str:
    """The command that this process was started with, as a shell would take it again."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _package_versions() -> dict[str, str]:
    versions = {}
    for package in (*PACKAGES, *OPTIONAL_PACKAGES):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            if package in PACKAGES:
                versions[package] = "not installed"
    return versions


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()
