"""Reads a snapshot in the RDB format from bytes that come in any portions: sans-IO, files and sockets alike.

Laws: `feed` keeps no more than the element that is incomplete, and reserves nothing on a length's word; wrong
bytes raise `RdbFormatError` with their offset in the snapshot, after which the reader is done for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..keyspace import Value
from . import rdb
from .crc64 import crc64
from .errors import RdbFormatError
from .values import CollectionReader, Limits, read_value

HEADER_BYTES: Final = 9
CHECKSUM_BYTES: Final = 8
FUNCTION_LIBRARIES_MAX: Final = 1024
AUX_FIELDS_MAX: Final = 1024
EMPTY_KEYS_MAX: Final = 10

Entry = tuple[int, bytes, Value, int | None]
"""(database index, key, value, Unix time in milliseconds when it dies or None)."""


class SnapshotReader:
    """feed(bytes) -> the entries that became complete; `finished` once the end and its checksum were read.

    `aux` holds the AUX fields so far, `functions` the code of function libraries, `module_aux_skipped` and
    `empty_keys_skipped` count what was left out. Bytes after the end stay in `leftover`.
    """

    def __init__(self, limits: Limits, database_count: int, *, verify_checksum: bool = True) -> None:
        self.aux: dict[bytes, bytes] = {}
        self.functions: list[bytes] = []
        self.module_aux_skipped = 0
        self.empty_keys_skipped = 0
        self.empty_keys: list[bytes] = []
        """The first of those that were skipped, for the log."""
        self.finished = False
        self.version = 0
        self._limits = limits
        self._database_count = database_count
        self._verify_checksum = verify_checksum
        self._state: Callable[[SnapshotReader, list[Entry]], None] = SnapshotReader._read_header
        self._buffer = b""
        self._position = 0
        self._base = 0
        """The offset in the snapshot of the buffer's first byte."""
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._needed = 1
        """How long the buffer must be before reading on makes sense."""
        self._checked = 0
        """Up to which position of the buffer `_crc` covers it."""
        self._crc = 0
        self._database = 0
        self._expiry_ms: int | None = None
        self._key = b""
        self._collection: CollectionReader | None = None

    @property
    def offset(self) -> int:
        """How many bytes of the snapshot were consumed."""
        return self._base + self._position

    @property
    def leftover(self) -> bytes:
        """What was fed beyond the end of a finished snapshot."""
        return self._buffer[self._position :]

    def feed(self, data: bytes) -> list[Entry]:
        """feed(data) -> entries in the snapshot's order. Raises RdbFormatError. O(bytes), amortized."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        entries: list[Entry] = []
        kept = len(self._buffer) - self._position
        if self._needed > kept + self._waiting_bytes and not self.finished:
            return entries
        self._join()
        try:
            while not self.finished:
                self._state(self, entries)
        except rdb.Short as short:
            self._needed = max(short.needed - self._position, 1)
            self._check_sum_to(self._position)
        except RdbFormatError as error:
            raise RdbFormatError(error.reason, self._base + error.offset) from None
        return entries

    def close(self) -> None:
        """close(): no more bytes come. Raises RdbFormatError if the snapshot isn't complete."""
        if not self.finished:
            raise RdbFormatError("unexpected end of the snapshot", self.offset + self._waiting_bytes)

    def _join(self) -> None:
        self._base += self._position
        self._checked -= self._position
        self._buffer = b"".join((self._buffer[self._position :], *self._waiting))
        self._position = 0
        self._waiting.clear()
        self._waiting_bytes = 0

    def _check_sum_to(self, position: int) -> None:
        if self._verify_checksum:
            self._crc = crc64(memoryview(self._buffer)[self._checked : position], self._crc)
        self._checked = position

    # -- states: each reads on from `_position`, and raises Short where the bytes end

    def _read_header(self, entries: list[Entry]) -> None:
        if len(self._buffer) < HEADER_BYTES:
            if not rdb.MAGIC.startswith(self._buffer[: len(rdb.MAGIC)]):
                raise RdbFormatError("wrong signature")
            raise rdb.Short(HEADER_BYTES)
        version = self._buffer[len(rdb.MAGIC) : HEADER_BYTES]
        if not self._buffer.startswith(rdb.MAGIC):
            raise RdbFormatError("wrong signature")
        if not version.isdigit() or not 1 <= int(version) <= rdb.VERSION_MAX:
            raise RdbFormatError(f"can't handle RDB format version {version.decode('ascii', 'replace')}")
        self.version = int(version)
        self._position = HEADER_BYTES
        self._state = SnapshotReader._read_entries

    def _read_entries(self, entries: list[Entry]) -> None:
        """Keys with their values, and opcodes between them, up to the end or the next large collection."""
        buffer = self._buffer
        end = len(buffer)
        position = self._position
        database = self._database
        expiry_ms = self._expiry_ms
        append = entries.append
        while True:
            self._position = position
            if position >= end:
                raise rdb.Short(position + 1)
            value_type = buffer[position]
            if value_type >= rdb.OPCODE_FUNCTION2:
                self._read_opcode(value_type, position + 1)
                if self._state is not SnapshotReader._read_entries:
                    return
                position = self._position
                database = self._database
                expiry_ms = self._expiry_ms
                continue
            position += 1
            # The lines below do what read_string does, for strings of up to 63 bytes.
            length = buffer[position] if position < end else 0xFF
            stop = position + 1 + length
            if length < 0x40 and stop <= end:
                key = buffer[position + 1 : stop]
                position = stop
            else:
                key, position = rdb.read_string(buffer, position)
            length = buffer[position] if position < end else 0xFF
            stop = position + 1 + length
            if value_type == 0 and length < 0x40 and stop <= end:
                append((database, key, buffer[position + 1 : stop], expiry_ms))
                position = stop
            else:
                value, position = read_value(value_type, buffer, position, self._limits)
                if isinstance(value, CollectionReader):
                    self._position = position
                    self._key = key
                    self._collection = value
                    self._state = SnapshotReader._read_collection
                    return
                self._add(entries, key, value)
            if expiry_ms is not None:
                self._expiry_ms = expiry_ms = None

    def _add(self, entries: list[Entry], key: bytes, value: Value | None) -> None:
        if value is None:
            self.empty_keys_skipped += 1
            if len(self.empty_keys) < EMPTY_KEYS_MAX:
                self.empty_keys.append(key)
        else:
            entries.append((self._database, key, value, self._expiry_ms))
        self._expiry_ms = None

    def _read_collection(self, entries: list[Entry]) -> None:
        collection = self._collection
        assert collection is not None
        while collection.remaining:
            self._position = collection.read(self._buffer, self._position)
        try:
            value = collection.build(self._limits)
        except RdbFormatError as error:
            raise RdbFormatError(error.reason, self._position) from None
        self._add(entries, self._key, value)
        self._collection = None
        self._state = SnapshotReader._read_entries

    def _read_opcode(self, opcode: int, position: int) -> None:
        """One opcode whose operands begin at `position`; `_position` moves once it is whole."""
        buffer = self._buffer
        if opcode == rdb.OPCODE_EXPIRETIME_MS:
            self._expiry_ms, position = self._read_integer(position, 8)
        elif opcode == rdb.OPCODE_EXPIRETIME:
            seconds, position = self._read_integer(position, 4)
            self._expiry_ms = seconds * 1000
        elif opcode == rdb.OPCODE_FREQ:
            _, position = self._read_integer(position, 1)
        elif opcode == rdb.OPCODE_IDLE:
            _, position = rdb.read_length(buffer, position)
        elif opcode == rdb.OPCODE_SELECTDB:
            database, position = rdb.read_length(buffer, position)
            if database >= self._database_count:
                raise RdbFormatError(f"more databases than the {self._database_count} of this node", position)
            self._database = database
        elif opcode == rdb.OPCODE_RESIZEDB:
            _, position = rdb.read_length(buffer, position)
            _, position = rdb.read_length(buffer, position)
        elif opcode == rdb.OPCODE_EOF:
            has_checksum = self.version >= rdb.VERSION_WITH_CHECKSUM
            self._state = SnapshotReader._read_checksum if has_checksum else SnapshotReader._finish
        else:
            position = self._read_metadata(opcode, position)
        self._position = position

    def _read_integer(self, position: int, width: int) -> tuple[int, int]:
        stop = position + width
        if stop > len(self._buffer):
            raise rdb.Short(stop)
        return int.from_bytes(self._buffer[position:stop], "little", signed=True), stop

    def _read_metadata(self, opcode: int, position: int) -> int:
        buffer = self._buffer
        if opcode == rdb.OPCODE_AUX:
            name, position = rdb.read_string(buffer, position)
            value, position = rdb.read_string(buffer, position)
            if len(self.aux) < AUX_FIELDS_MAX:
                self.aux[name] = value
        elif opcode == rdb.OPCODE_FUNCTION2:
            code, position = rdb.read_string(buffer, position)
            if len(self.functions) == FUNCTION_LIBRARIES_MAX:
                raise RdbFormatError("too many function libraries", position)
            self.functions.append(code)
        elif opcode == rdb.OPCODE_MODULE_AUX:
            position = skip_module_aux(buffer, position)
            self.module_aux_skipped += 1
        else:
            raise RdbFormatError("functions in a pre-release format can't be read", position)
        return position

    def _read_checksum(self, entries: list[Entry]) -> None:
        start = self._position
        stop = start + CHECKSUM_BYTES
        if stop > len(self._buffer):
            raise rdb.Short(stop)
        self._check_sum_to(start)
        expected = int.from_bytes(self._buffer[start:stop], "little")
        # 0 says that the writer computed none (rdbchecksum no).
        if self._verify_checksum and expected not in (0, self._crc):
            raise RdbFormatError(f"RDB CRC error: {expected:016x} but computed {self._crc:016x}", start)
        self._position = stop
        self._finish(entries)

    def _finish(self, entries: list[Entry]) -> None:
        self.finished = True


def skip_module_aux(buffer: bytes, position: int) -> int:
    """skip_module_aux(buffer, position) -> the position after a module's data. Raises as read_length."""
    _, position = rdb.read_length(buffer, position)
    while True:
        opcode, position = rdb.read_length(buffer, position)
        if opcode == rdb.MODULE_OPCODE_EOF:
            return position
        if opcode in (rdb.MODULE_OPCODE_SINT, rdb.MODULE_OPCODE_UINT):
            _, position = rdb.read_length(buffer, position)
        elif opcode == rdb.MODULE_OPCODE_STRING:
            _, position = rdb.read_string(buffer, position)
        elif opcode in (rdb.MODULE_OPCODE_FLOAT, rdb.MODULE_OPCODE_DOUBLE):
            position += 4 if opcode == rdb.MODULE_OPCODE_FLOAT else 8
        else:
            raise RdbFormatError("unknown part of a module's data", position)
