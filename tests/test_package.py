"""The built package against the tree, and what it costs to import."""

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
DATA_SUFFIXES = {".py", ".yaml", ".html", ".css", ".js", ".json", ".xml"}
# Each takes tenths of a second or more to import.
HEAVY = ("torch", "mujoco", "cv2", "av", "pyarrow", "hydra", "stable_baselines3", "tensorboard")
CI_SECONDS = 1.5


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory):
    """Names of all files in a wheel that is built from a copy of what git would check out."""
    source = tmp_path_factory.mktemp("source")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_module_and_data_file_of_the_tree_is_in_the_wheel(wheel_files):
    wanted = {
        f"helmsight/{path.relative_to(ROOT)}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in DATA_SUFFIXES
    }
    assert len(wanted) > 50
    assert sorted(wanted - wheel_files) == [], "list its sub-package in pyproject.toml"


def test_nothing_else_is_in_the_wheel(wheel_files):
    strangers = [
        name
        for name in wheel_files
        if ".dist-info/" not in name
        and not name.startswith(tuple(f"helmsight/{p}/" for p in PACKAGES))
    ]
    assert not strangers


def test_the_wheel_carries_the_licence(wheel_files):
    assert any(name.endswith("/LICENSE") for name in wheel_files)


def modules_after(program):
    """The top-level modules that a fresh interpreter holds after running `program`."""
    shown = f"{program}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    output = subprocess.run(
        [sys.executable, "-c", shown], capture_output=True, text=True, check=True
    ).stdout
    return set(output.splitlines()[-1].split())


@pytest.mark.parametrize("module", ["helmsight.envs", "helmsight.cli.main", "helmsight.configs"])
def test_an_import_pulls_in_nothing_heavy(module):
    assert not modules_after(f"import {module}") & set(HEAVY)


def test_help_pulls_in_nothing_heavy():
    program = "from helmsight.cli.main import main; main(['--help'])"
    assert not modules_after(program) & {*HEAVY, "numpy", "gymnasium", "rich"}


def test_help_answers_at_once():
    command = [sys.executable, "-m", "helmsight.cli.main", "--help"]
    # Time of the processor, not of the clock: other tests run beside this one.
    before = os.times()
    started = time.monotonic()
    subprocess.run(command, capture_output=True, check=True)
    elapsed = time.monotonic() - started
    after = os.times()
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    assert min(spent, elapsed) < CI_SECONDS
