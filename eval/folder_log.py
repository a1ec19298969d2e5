"""A folder that gets a line for each piece of work that is done, safe against a crash.

One process writes into it at a time, and only work of the same settings: its identity. Evaluations
(`records.EpisodeLog`) and the measures of explanations (`explain.measuring.MeasureLog`) are such.
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any, ClassVar, TextIO, TypeVar

Log = TypeVar("Log", bound="FolderLog")


class FolderLog:
    """An append-only file of lines, `file_name`, in a folder of its own beside `identity_name`.

    As a context manager it is the folder's only writer: a second one is refused. Outside it nothing
    may be appended, and nothing on disk is touched.
    """

    file_name: ClassVar[str]
    identity_name: ClassVar[str]
    held: ClassVar[str]  # what a folder with another identity holds, in words

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """The log of what `identity` describes, in a folder created if needed."""
        self.folder = Path(folder)
        self.path = self.folder / self.file_name
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self: Log) -> Log:
        """Open the folder for writing.

        Raises RuntimeError while another process writes into it, and ValueError, naming every
        difference, when it holds something else.
        """
        self._lock = _lock_folder(self.folder)
        # Only behind the lock: to a second process, what the first one writes looks torn.
        try:
            self._claim()
            drop_torn_line(self.path)
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()  # the lock goes with it, as it does with a killed process

    def _claim(self) -> None:
        """Compare the folder's identity with this one, or write it where nothing has finished."""
        file = self.folder / self.identity_name
        # A folder in which nothing ever finished is nobody's.
        begun = self.path.exists() and self.path.stat().st_size > 0
        if begun and file.exists():
            refuse_other_settings(file, self.identity, self.held)
        elif begun:
            raise ValueError(
                f"{self.path} exists but {file.name}, which says what it belongs to, does not; "
                "give another out folder"
            )
        else:
            self._begin(file, json.dumps(self.identity, indent=2) + "\n")

    def _begin(self, file: Path, identity: str) -> None:
        write_atomically(file, identity)

    def append_line(self, line: str) -> None:
        """Add a line; once this returns, a crash of the program can't lose it."""
        append_line(self.path, line)


def write_atomically(path: Path, text: str) -> None:
    """Write a whole file or none of it."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, which is made if it is not there."""
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file; what follows the last line end was never finished."""
    return path.read_bytes().split(b"\n")[:-1]


def _lock_folder(folder: Path) -> TextIO:
    """Become the only writer of a folder until the returned file is closed.

    Raises RuntimeError while another process is.
    """
    lock = (folder / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RuntimeError(
            f"another process is writing into {folder}; wait for it, or give another out folder"
        ) from None
    return lock


def drop_torn_line(path: Path) -> None:
    """Cut what a crash left of an unfinished last line, so that the next record starts clean."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        data = file.read()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            file.truncate(end)


def refuse_other_settings(
    identity_path: Path, identity: dict[str, Any], held: str = "another evaluation"
) -> None:
    """Raise ValueError, naming every difference, where the file says something else.

    held: what the folder then holds, in words.
    """
    try:
        found = json.loads(identity_path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{identity_path} is damaged: {error}") from error
    keys = sorted(found.keys() | identity.keys())
    lines = [
        f"  {key}: {found.get(key)!r} there, {identity.get(key)!r} asked for"
        for key in keys
        if found.get(key) != identity.get(key)
    ]
    if lines:
        raise ValueError(
            f"{identity_path.parent} holds {held}; give another out folder or the same "
            "settings:\n" + "\n".join(lines)
        )
