"""Writing files so that a name never stands for half of one: temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

INCREMENTAL_FSYNC_BYTES: Final = 4 << 20
"""With rdb-save-incremental-fsync, so much is written between two fsyncs (Redis: REDIS_AUTOSYNC_BYTES)."""


def temporary_path(pid: int) -> Path:
    """temporary_path(42) -> temp-42.rdb in the working directory, as redis-server calls it."""
    return Path(f"temp-{pid}.rdb")


def write_file(path: Path, chunks: Iterable[bytes], *, incremental_fsync: bool) -> None:
    """write_file(path, chunks, incremental_fsync=True) puts a complete file at `path`, or raises OSError.

    After an error, what was at `path` before is still there, and no temporary file is left.
    """
    temporary = temporary_path(os.getpid())
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _write_all(fd, chunks, INCREMENTAL_FSYNC_BYTES if incremental_fsync else 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(path)


def write_pipe(fd: int, chunks: Iterable[bytes]) -> None:
    """write_pipe(fd, chunks) writes all to a blocking descriptor. Raises OSError."""
    _write_all(fd, chunks, 0)


def _write_all(fd: int, chunks: Iterable[bytes], fsync_bytes: int) -> None:
    unsynced = 0
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            view = view[os.write(fd, view) :]
        unsynced += len(chunk)
        if fsync_bytes and unsynced >= fsync_bytes:
            os.fdatasync(fd)
            unsynced = 0


def sync_directory(path: Path) -> None:
    """sync_directory(path) makes the rename of `path` durable. Raises OSError."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
