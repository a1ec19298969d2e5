"""hf-libero, imported the quiet way: no question, nothing written into its folder.

Its first import asks on standard input where there is no configuration file, so one is written into
a folder of our own beforehand. The scene assets are no part of the package; `require_assets` says
where they are looked for.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np

from helmsight.envs.libero.compatibility import fit_robosuite_to_mujoco

ASSETS_VARIABLE = "HELMSIGHT_LIBERO_ASSETS"
ASSETS_REPOSITORY = "lerobot/libero-assets"
# Without their dependencies: what hf-libero names beside these is for training networks of its own,
# and holds MuJoCo and OpenCV back. The extra has what is needed of it.
INSTALL = (
    "pip install 'helmsight[train,libero,language]' && "
    "pip install --no-deps hf-libero==0.1.4 robosuite==1.4.0 bddl==1.0.1"
)
# What tells a folder of the benchmark's assets from any other.
_ASSET_FOLDERS = ("scenes", "stable_hope_objects", "turbosquid_objects")


class LiberoMissing(RuntimeError):
    """The package is not installed, or can not be imported."""


def package_folder() -> Path | None:
    """Where hf-libero's package `libero.libero` lies, without importing it; None without it."""
    specification = importlib.util.find_spec("libero")
    if specification is None or not specification.submodule_search_locations:
        return None
    folder = Path(next(iter(specification.submodule_search_locations))) / "libero"
    return folder if (folder / "bddl_files").is_dir() else None


def require_package() -> Path:
    """`package_folder`. Raises LiberoMissing, saying what to install."""
    folder = package_folder()
    if folder is None:
        raise LiberoMissing(f"LIBERO is not installed: {INSTALL}")
    return folder


def find_assets() -> Path | None:
    """The scene assets' folder, or None where there is none.

    That is $HELMSIGHT_LIBERO_ASSETS, where it is set; else hf-libero's own places: the folder in
    its package, and the one that its download fills.
    """
    named = os.environ.get(ASSETS_VARIABLE)
    if named:
        places = [Path(named)]
    else:
        package = package_folder()
        places = [package / "assets"] if package is not None else []
        places.append(_downloaded_assets())
    return next((place for place in places if _holds_assets(place)), None)


def assets_identity() -> str:
    """What tells the scene assets here from others: a hash over their names and sizes.

    Where a file says that some of them are stand-ins, so does this. Raises as `require_assets`.
    """
    folder = require_assets()
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
    stand_ins = " (with stand-ins)" if (folder / "STAND_INS.txt").is_file() else ""
    return digest.hexdigest()[:12] + stand_ins


def require_assets() -> Path:
    """`find_assets`, downloaded first where there are none and no other folder is named.

    Raises FileNotFoundError that says where to get them.
    """
    folder, named = find_assets(), os.environ.get(ASSETS_VARIABLE)
    if folder is not None:
        return folder
    reason = f"{ASSETS_VARIABLE}={named} does not hold them" if named else _download_assets()
    folder = find_assets()
    if folder is None:
        raise FileNotFoundError(
            f"LIBERO's scene assets are missing ({reason}): get the data set {ASSETS_REPOSITORY} "
            f"from huggingface.co and set {ASSETS_VARIABLE} to its folder"
        )
    return folder


def _download_assets() -> str:
    """Fill the folder that hf-libero's own download fills; returns what went wrong, if anything.

    hf-libero's function for it calls the hub with an argument that the hub no longer takes.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        return str(error)
    print(f"downloading LIBERO's scene assets into {_downloaded_assets()}", file=sys.stderr)
    try:
        snapshot_download(
            repo_id=ASSETS_REPOSITORY, repo_type="dataset", local_dir=_downloaded_assets()
        )
    except Exception as error:  # Connection, permission, disk: whichever, they are not there.
        return f"their download failed: {type(error).__name__}"
    return "their download is not complete"


def _downloaded_assets() -> Path:
    return Path.home() / ".cache" / "libero" / "assets"


def import_libero() -> ModuleType:
    """`libero.libero.envs`, with its assets found.

    Raises LiberoMissing or FileNotFoundError, saying how to get what is missing.
    """
    folder, assets = require_package(), require_assets()
    import_quietly(folder)
    libero = sys.modules["libero.libero"]
    libero._assets_path_cache = str(assets)  # type: ignore[attr-defined]
    return sys.modules["libero.libero.envs"]


def import_quietly(folder: Path) -> None:
    """Import hf-libero with a configuration file of our own, so that it asks nothing."""
    own = _own_folder()
    before = {name: os.environ.get(name) for name in ("LIBERO_CONFIG_PATH", "NUMBA_CACHE_DIR")}
    _write_configuration(own / "config.yaml", folder)
    os.environ["LIBERO_CONFIG_PATH"] = str(own)
    # robosuite compiles functions as it is imported, and would keep them in its own folder.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(own / "numba"))
    try:
        _import_robosuite()
        importlib.import_module("libero.libero.envs")
        fit_robosuite_to_mujoco()
    except ImportError as error:
        raise LiberoMissing(f"LIBERO can not be imported ({error}): {INSTALL}") from error
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _import_robosuite() -> None:
    """robosuite without its advice about a private macro file."""
    import logging

    logger = logging.getLogger("robosuite_logs")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import robosuite  # noqa: F401
    finally:
        logger.setLevel(level)


def _own_folder() -> Path:
    """A folder for the configuration file: in the user's cache, or a temporary one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        folder = cache / "helmsight" / "libero"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f".{os.getpid()}").touch()
        (folder / f".{os.getpid()}").unlink()
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="helmsight-libero-"))
    return folder


def _write_configuration(file: Path, package: Path) -> None:
    """The configuration that hf-libero would have written after its question was answered."""
    places = {
        "assets": package / "assets",
        "bddl_files": package / "bddl_files",
        "benchmark_root": package,
        "datasets": package.parent / "datasets",
        "init_states": package / "init_files",
    }
    text = "".join(f"{name}: {place}\n" for name, place in places.items())
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def _holds_assets(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in _ASSET_FOLDERS)


class GlobalRandomNumbers:
    """While entered, numpy's global generator draws from a seed; afterwards it goes on as before.

    hf-libero and robosuite draw from it and take no generator.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __enter__(self) -> None:
        self._before = np.random.get_state()  # noqa: NPY002
        np.random.seed(self._seed)  # noqa: NPY002

    def __exit__(self, *_: object) -> None:
        np.random.set_state(self._before)  # noqa: NPY002
