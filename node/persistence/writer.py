"""Writes a snapshot of a keyspace, or of some of its slots, in the RDB format: a generator of byte chunks.

Law: one snapshot for every use (RDB file, full sync, DUMP through `encode`, slot migration); chunks are
bounded, so that a caller can stream them anywhere. The keyspace must not change while the generator runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ..keyspace import Database, Keyspace, Value
from ..values.table import Mapping
from ..version import REDIS_VERSION
from . import rdb
from .crc64 import crc64
from .encode import ENCODERS

CHUNK_BYTES: Final = 1 << 16
_SHORT_BYTES: Final = 64


class Progress:
    """How far a snapshot is: `keys_done`, true at each chunk boundary to within one slot."""

    __slots__ = ("after_key", "keys_done")

    def __init__(self, after_key: Callable[[], None] | None = None) -> None:
        self.keys_done = 0
        self.after_key = after_key
        """Called after each key, to slow the snapshot down (rdb-key-save-delay)."""


def aux_fields(
    *, now_ms: int, used_memory_bytes: int, repl_id: str = "", repl_offset: int = 0, stream_database: int = -1
) -> dict[bytes, bytes]:
    """aux_fields(now_ms=..., used_memory_bytes=...) -> the AUX fields that redis-server writes, in order."""
    fields = {
        b"redis-ver": REDIS_VERSION.encode(),
        b"redis-bits": b"64",
        b"ctime": b"%d" % (now_ms // 1000),
        b"used-mem": b"%d" % used_memory_bytes,
    }
    if repl_id:
        fields[b"repl-stream-db"] = b"%d" % stream_database
        fields[b"repl-id"] = repl_id.encode()
        fields[b"repl-offset"] = b"%d" % repl_offset
    fields[b"aof-base"] = b"0"
    return fields


def write_snapshot(
    keyspace: Keyspace,
    *,
    slots: Iterable[int] | None = None,
    aux: dict[bytes, bytes] | None = None,
    checksum: bool = True,
    progress: Progress | None = None,
) -> Iterator[bytes]:
    """write_snapshot(keyspace, slots=None, aux={}) -> chunks of at most CHUNK_BYTES and some.

    `slots` None means all. O(bytes); one chunk is in memory at a time.
    """
    crc = 0
    chosen = None if slots is None else sorted(set(slots))
    for piece in _body(keyspace, chosen, aux or {}, progress or Progress()):
        for start in range(0, len(piece), CHUNK_BYTES):
            chunk = piece if len(piece) <= CHUNK_BYTES else piece[start : start + CHUNK_BYTES]
            if checksum:
                crc = crc64(chunk, crc)
            yield chunk
    yield crc.to_bytes(8, "little")


def _body(
    keyspace: Keyspace, slots: list[int] | None, aux: dict[bytes, bytes], progress: Progress
) -> Iterator[bytes]:
    head = [b"%b%04d" % (rdb.MAGIC, rdb.VERSION_WRITTEN)]
    for name, value in aux.items():
        head.append(b"%c%b%b" % (rdb.OPCODE_AUX, rdb.encode_string(name), rdb.encode_string(value)))
    yield b"".join(head)
    for database in keyspace.databases:
        if slots is None:
            mappings = [keys for keys in database.slots if keys]
        else:
            mappings = [keys for slot in slots if (keys := database.keys_in_slot(slot))]
        if mappings:
            yield _database_header(database, mappings, whole=slots is None)
            yield from _entries(database, mappings, progress)
    yield bytes((rdb.OPCODE_EOF,))


def _database_header(database: Database, mappings: list[Mapping[Value]], *, whole: bool) -> bytes:
    size = sum(map(len, mappings))
    # A hint only: of some slots, at most so many keys have a time to live.
    expires = len(database.expires) if whole else min(len(database.expires), size)
    return b"%c%b%c%b%b" % (
        rdb.OPCODE_SELECTDB,
        rdb.encode_length(database.index),
        rdb.OPCODE_RESIZEDB,
        rdb.encode_length(size),
        rdb.encode_length(expires),
    )


def _entries(database: Database, mappings: list[Mapping[Value]], progress: Progress) -> Iterator[bytes]:
    out = bytearray()
    expiry_of = database.expires.get if len(database.expires) else None
    encode_string = rdb.encode_string
    pack_time = rdb.INT64.pack
    after_key = progress.after_key
    chunk_bytes = 0 if after_key else CHUNK_BYTES
    for keys in mappings:
        for key, value in keys.items():
            if expiry_of is not None and (when_ms := expiry_of(key)) is not None:
                out += b"%c%b" % (rdb.OPCODE_EXPIRETIME_MS, pack_time(when_ms))
            if type(value) is bytes and len(value) < CHUNK_BYTES:
                out += b"\x00%b%b" % (encode_string(key), encode_string(value))
            else:
                value_type, pieces = ENCODERS[type(value)](value)
                out += b"%c%b" % (value_type, encode_string(key))
                for piece in pieces:
                    if len(out) + len(piece) > CHUNK_BYTES:
                        yield bytes(out)
                        out.clear()
                    if len(piece) > CHUNK_BYTES:
                        yield piece
                    else:
                        out += piece
            if len(out) >= chunk_bytes:
                yield bytes(out)
                out.clear()
                if after_key is not None:
                    after_key()
        progress.keys_done += len(keys)
    if out:
        yield bytes(out)
