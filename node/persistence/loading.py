"""Loading: the entries of a snapshot into a keyspace, and a snapshot file in bounded steps."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from ..keyspace import Keyspace
from ..values.packed import packed
from .errors import RdbFormatError
from .reader import Entry, SnapshotReader
from .values import Limits

log = logging.getLogger("pyredis")

READ_BYTES: Final = 1 << 18
"""What one step of a load reads and stores."""


def load_entries(
    keyspace: Keyspace, entries: Iterable[Entry], *, expired_before_ms: int | None = None, may_replace: bool = False
) -> list[tuple[int, bytes]]:
    """load_entries(keyspace, entries) -> (database, key) of those that were left out as expired. O(entries).

    With `expired_before_ms` (a primary's clock) such keys are left out. A key that is there already is
    replaced if `may_replace`; else it raises RdbFormatError, for a snapshot holds each key once.
    """
    databases = keyspace.databases
    expired: list[tuple[int, bytes]] = []
    for index, key, value, expiry_ms in entries:
        if expiry_ms is not None and expired_before_ms is not None and expiry_ms < expired_before_ms:
            expired.append((index, key))
            continue
        database = databases[index]
        size = database.size
        if may_replace:
            database.store(key, packed(value))
        else:
            database.put(key, packed(value))
            if database.size == size:
                raise RdbFormatError(f"duplicated key {key[:128]!r} in database {index}")
        if expiry_ms is not None:
            database.set_expiry(key, expiry_ms)
    return expired


class FileLoad:
    """Loads a snapshot file in steps: `for _ in load.steps(): ...`; counts what it did."""

    def __init__(
        self,
        path: Path,
        keyspace: Keyspace,
        limits: Limits,
        *,
        expired_before_ms: int | None,
        may_replace: bool = False,
        verify_checksum: bool = True,
    ) -> None:
        self.reader = SnapshotReader(limits, len(keyspace.databases), verify_checksum=verify_checksum)
        self.keys_loaded = 0
        self.expired: list[tuple[int, bytes]] = []
        """(database, key) of what was left out because its time had come."""
        self.bytes_total = 0
        self.bytes_loaded = 0
        self.started_ms = keyspace.clock.now_ms
        self._path = path
        self._keyspace = keyspace
        self._expired_before_ms = expired_before_ms
        self._may_replace = may_replace

    def steps(self) -> Iterator[int]:
        """steps() -> after each bounded part of the load, how many keys it had. Raises OSError, RdbFormatError."""
        with open(self._path, "rb", buffering=0) as file:
            self.bytes_total = self._path.stat().st_size
            while not self.reader.finished:
                data = file.read(READ_BYTES)
                if not data:
                    self.reader.close()
                self.bytes_loaded += len(data)
                entries = self.reader.feed(data)
                expired = load_entries(
                    self._keyspace,
                    entries,
                    expired_before_ms=self._expired_before_ms,
                    may_replace=self._may_replace,
                )
                self.keys_loaded += len(entries) - len(expired)
                self.expired += expired
                yield len(entries)

    def run(self) -> None:
        """run() does all steps at once."""
        for _ in self.steps():
            pass


def log_metadata(reader: SnapshotReader, now_ms: int) -> None:
    """log_metadata(reader, now_ms): what redis-server logs of a snapshot, and what we leave out of it."""
    aux = reader.aux
    if b"redis-ver" in aux:
        log.info("Loading RDB produced by version %s", aux[b"redis-ver"].decode("utf-8", "replace"))
    if aux.get(b"ctime", b"").isdigit():
        log.info("RDB age %d seconds", max(0, now_ms // 1000 - int(aux[b"ctime"])))
    if aux.get(b"used-mem", b"").isdigit():
        log.info("RDB memory usage when created %.2f Mb", int(aux[b"used-mem"]) / (1 << 20))
    if reader.functions:
        log.warning("%d function libraries of the RDB were skipped", len(reader.functions))
    if reader.module_aux_skipped:
        log.warning("%d modules' auxiliary data in the RDB were skipped", reader.module_aux_skipped)
    for key in reader.empty_keys:
        log.info("Loading the RDB: skipping empty key: %s", key.decode("utf-8", "backslashreplace"))
