"""Receiving a full sync: the payload's framing, and loading it beside the data that is still served.

Law: nothing of the old data set changes before the whole snapshot was read and its checksum was right.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..keyspace import Keyspace
from ..persistence.errors import RdbFormatError
from ..persistence.reader import SnapshotReader
from ..values.packed import packed
from .identity import ID_LENGTH

if TYPE_CHECKING:
    from ..server import Server

log = logging.getLogger("pyredis")

HEADER_MAX_BYTES = 1024
DATABASE_DIGITS_MAX = 9


class TransferError(Exception):
    """The payload is broken; the text says how."""


class Transfer:
    """feed(bytes) until it gives the rest after the payload: the beginning of the stream."""

    def __init__(self, server: Server, replid: str, offset: int) -> None:
        self.replid = replid
        self.offset = offset
        self.total_bytes = -1
        """The payload's size; -1 while it isn't known (EOF-marked)."""
        self.read_bytes = 0
        self.started = False
        """Whether the payload has begun."""
        self.started_ms = server.clock.now_ms
        self.keys_loaded = 0
        self._database_count = len(server.keyspace.databases)
        self.staging = Keyspace(self._database_count, server.clock, server.rng)
        self.staging.free_later = server.keyspace.free_later
        self._reader = SnapshotReader(server.config, self._database_count)
        self._header = b""
        self._marker = b""
        self._trailer = b""

    @property
    def stream_database(self) -> int:
        """The database that the primary's stream has selected at the snapshot's offset (AUX repl-stream-db)."""
        text = self._reader.aux.get(b"repl-stream-db", b"0")
        index = int(text) if text.isdigit() and len(text) <= DATABASE_DIGITS_MAX else 0
        return index if index < self._database_count else 0

    def feed(self, data: bytes) -> bytes | None:
        """feed(data) -> None while the payload goes on, else the bytes after it. Raises TransferError."""
        if not self.started:
            body = self._read_header(data)
            if body is None:
                return None
            data = body
        if self._marker:
            return self._feed_marked(data)
        rest = b""
        if self.read_bytes + len(data) > self.total_bytes:
            cut = self.total_bytes - self.read_bytes
            data, rest = data[:cut], data[cut:]
        self._load(data)
        if self.read_bytes < self.total_bytes:
            return None
        self._close()
        return rest

    def _read_header(self, data: bytes) -> bytes | None:
        self._header = (self._header + data).lstrip(b"\n")
        line, newline, body = self._header.partition(b"\n")
        if len(line) > HEADER_MAX_BYTES:
            raise TransferError("no payload header")
        if not newline:
            return None
        line = line.rstrip(b"\r")
        if line.startswith(b"$EOF:") and len(line) == 5 + ID_LENGTH:
            self._marker = line[5:]
        elif line.startswith(b"$") and line[1:].isdigit():
            self.total_bytes = int(line[1:])
        elif line.startswith(b"-"):
            raise TransferError(f"MASTER aborted replication with an error: {line[1:].decode(errors='replace')}")
        else:
            raise TransferError(f"bad payload header {line!r}")
        self.started = True
        kind = "with EOF" if self._marker else f"of {self.total_bytes} bytes"
        log.info("MASTER <-> REPLICA sync: receiving RDB %s from master, into a data set beside the old one", kind)
        log.info("MASTER <-> REPLICA sync: Loading DB in memory")
        return body

    def _feed_marked(self, data: bytes) -> bytes | None:
        if not self._reader.finished:
            self._load(data)
            if not self._reader.finished:
                return None
            data = self._reader.leftover
        self._trailer += data
        if len(self._trailer) < ID_LENGTH:
            return None
        if self._trailer[:ID_LENGTH] != self._marker:
            raise TransferError("the end mark is missing")
        return self._trailer[ID_LENGTH:]

    def _load(self, data: bytes) -> None:
        self.read_bytes += len(data)
        databases = self.staging.databases
        try:
            entries = self._reader.feed(data)
            self.keys_loaded += len(entries)
            for index, key, value, expiry_ms in entries:
                databases[index].put(key, packed(value))
                if expiry_ms is not None:
                    databases[index].set_expiry(key, expiry_ms)
        except RdbFormatError as error:
            raise TransferError(str(error)) from error

    def _close(self) -> None:
        try:
            self._reader.close()
        except RdbFormatError as error:
            raise TransferError(str(error)) from error

    def drop(self) -> None:
        """drop(): what stands in `staging`, half a snapshot or the data that one replaced, is freed in small steps."""
        self.staging.flush(lazily=True)
        self.staging.databases.clear()  # they refer to their keyspace
