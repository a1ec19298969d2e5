"""Files that are on disk whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_synced(path: Path, content: bytes | pa.Buffer) -> None:
    """Write `content` and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Wait until the disk has the content of a closed file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder` (a rename is durable only after this)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parquet_bytes(table: pa.Table) -> pa.Buffer:
    """`table` as a parquet file of one row group."""
    sink = pa.BufferOutputStream()
    # Rows are few and never searched by value: page statistics and dictionaries only cost time.
    pq.write_table(table, sink, compression="snappy", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def replace_file(path: Path, content: bytes | pa.Buffer) -> None:
    """Give `path` this content: a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        write_synced(temporary, content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def full_disk_explained(consequence: str) -> Iterator[None]:
    """Re-raise a full disk (ENOSPC, EDQUOT) as an OSError that also says `consequence`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(error.errno, f"no space left on the disk: {consequence}") from error
