from __future__ import annotations

import os
import subprocess
import sys

import pytest
from libero_worlds import NEEDS_PACKAGE, NEEDS_SCENES

from helmsight.envs.libero import package


@pytest.fixture
def no_download(monkeypatch, tmp_path):
    """A home without assets, and no way to get them."""
    monkeypatch.setattr(package, "_downloaded_assets", lambda: tmp_path / "none")
    monkeypatch.setattr(package, "_download_assets", lambda: "no network")
    monkeypatch.delenv(package.ASSETS_VARIABLE, raising=False)


def test_missing_assets_are_one_sentence_that_says_where_to_get_them(no_download, monkeypatch):
    monkeypatch.setattr(package, "package_folder", lambda: None)
    with pytest.raises(FileNotFoundError) as refused:
        package.require_assets()
    assert "lerobot/libero-assets" in str(refused.value)
    assert package.ASSETS_VARIABLE in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_named_folder_without_assets_is_not_passed_over(no_download, monkeypatch, tmp_path):
    monkeypatch.setenv(package.ASSETS_VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{package.ASSETS_VARIABLE}={tmp_path}"):
        package.require_assets()


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(package, "package_folder", lambda: None)
    with pytest.raises(package.LiberoMissing, match="pip install"):
        package.import_libero()


@NEEDS_PACKAGE
def test_nothing_is_asked_and_nothing_written_into_the_package(tmp_path):
    folder = package.require_package()
    before = {path for path in folder.rglob("*") if path.suffix != ".pyc"}
    program = (
        "from helmsight.envs.libero.package import import_quietly, require_package\n"
        "import_quietly(require_package())\n"
        "import libero.libero\n"
        "print(libero.libero.get_libero_path('bddl_files'))\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("LIBERO_CONFIG_PATH", None)
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == [str(folder / "bddl_files")]
    after = {path for path in folder.rglob("*") if path.suffix != ".pyc"}
    assert {path for path in after - before if path.name != "__pycache__"} == set()
    assert (tmp_path / "cache" / "helmsight" / "libero" / "config.yaml").is_file()
    assert not (tmp_path / ".libero").exists()


@NEEDS_SCENES
def test_the_users_own_configuration_variable_is_left_alone(monkeypatch):
    monkeypatch.setenv("LIBERO_CONFIG_PATH", "/nowhere")
    package.import_libero()
    assert os.environ["LIBERO_CONFIG_PATH"] == "/nowhere"


def test_global_random_numbers_go_on_as_before():
    import numpy as np

    before = np.random.get_state()[1].copy()  # noqa: NPY002
    with package.GlobalRandomNumbers(3):
        first = np.random.random()  # noqa: NPY002
    with package.GlobalRandomNumbers(3):
        assert np.random.random() == first  # noqa: NPY002
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
