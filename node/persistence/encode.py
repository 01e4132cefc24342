"""Values as bytes of the RDB format; DUMP payloads. The counterpart of `values`.

Law: a value goes out in the encoding that its `encoding` names, as long as RDB version 10 has it (a set in a
listpack goes member by member: its listpack came with version 11), and in pieces of bounded size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

from ..keyspace import Value
from ..reply import format_double
from ..values import hash as hash_values
from ..values import list as list_values
from ..values import set as set_values
from ..values import sorted_set as sorted_set_values
from ..values.packed import Packed, unpack
from . import intset, listpack, rdb
from .crc64 import crc64
from .errors import RdbFormatError
from .values import CollectionReader, Limits, flatten_scores, read_value

PIECE_MAX_STRINGS: Final = 512
"""A large collection is written so many strings at a time."""
NODE_MAX_BYTES: Final = 8192
"""A list node holds no more than this, or one element (list-max-listpack-size -2)."""
_FOOTER_BYTES: Final = 10

Encoded = tuple[int, Iterable[bytes]]
"""(value type, the pieces of the value)."""


def _strings(values: Iterable[bytes], count: int) -> Iterator[bytes]:
    yield rdb.encode_length(count)
    encode_string = rdb.encode_string
    rest = iter(values)
    while piece := b"".join(map(encode_string, islice(rest, PIECE_MAX_STRINGS))):
        yield piece


def _encode_text(value: bytes | bytearray) -> Encoded:
    return rdb.TYPE_STRING, (rdb.encode_string(value),)


def _encode_hash(value: hash_values.Hash) -> Encoded:
    strings = chain.from_iterable(value.fields.items())
    if value.encoding == hash_values.LISTPACK:
        return rdb.TYPE_HASH_LISTPACK, (rdb.encode_string(listpack.encode(strings)),)
    return rdb.TYPE_HASH, _strings(strings, len(value))


def _encode_set(value: set_values.Set) -> Encoded:
    if value.encoding == set_values.INTSET:
        return rdb.TYPE_SET_INTSET, (rdb.encode_string(intset.encode(map(int, value.entries))),)
    return rdb.TYPE_SET, _strings(value.entries, len(value))


def _encode_sorted_set(value: sorted_set_values.SortedSet) -> Encoded:
    if value.encoding == sorted_set_values.LISTPACK:
        pairs = flatten_scores(value.items(), format_double)
        return rdb.TYPE_ZSET_LISTPACK, (rdb.encode_string(listpack.encode(pairs)),)
    return rdb.TYPE_ZSET_2, _scored(value)


def _scored(value: sorted_set_values.SortedSet) -> Iterator[bytes]:
    count = len(value)
    yield rdb.encode_length(count)
    pack = rdb.DOUBLE.pack
    encode_string = rdb.encode_string
    # Highest first, as Redis does: then its skip list inserts each next one at the head.
    for stop in range(count, 0, -PIECE_MAX_STRINGS):
        items = value.items(max(0, stop - PIECE_MAX_STRINGS), stop)
        yield b"".join([encode_string(member) + pack(score) for member, score in reversed(items)])


def _encode_list(value: list_values.List) -> Encoded:
    sizes = _node_sizes(value)
    return rdb.TYPE_LIST_QUICKLIST_2, _nodes(value, sizes)


def _node_sizes(value: list_values.List) -> list[int]:
    """How many elements go to each node: as many as NODE_MAX_BYTES takes, at least one."""
    if value.encoding == list_values.LISTPACK:
        return [len(value)]
    sizes = []
    count = used = 0
    for element in value:
        size = list_values.entry_bytes(element)
        if count and used + size > NODE_MAX_BYTES:
            sizes.append(count)
            count = used = 0
        count += 1
        used += size
    sizes.append(count)
    return sizes


def _nodes(value: list_values.List, sizes: list[int]) -> Iterator[bytes]:
    yield rdb.encode_length(len(sizes))
    container = rdb.encode_length(rdb.QUICKLIST_NODE_PACKED)
    elements = iter(value)
    for size in sizes:
        yield container + rdb.encode_string(listpack.encode(islice(elements, size)))


def encoded(value: Value) -> Encoded:
    """encoded(value) -> its type in the RDB format, and its bytes in pieces."""
    return ENCODERS[type(value)](value)


ENCODERS: Final[dict[type, Callable[[Any], Encoded]]] = {
    bytes: _encode_text,
    bytearray: _encode_text,
    hash_values.Hash: _encode_hash,
    list_values.List: _encode_list,
    set_values.Set: _encode_set,
    sorted_set_values.SortedSet: _encode_sorted_set,
    Packed: lambda value: encoded(unpack(value)),
}


def dump_value(value: Value) -> bytes:
    """dump_value(value) -> a DUMP payload: type, value, u16 RDB version, u64 CRC64 of all before. O(n)."""
    value_type, pieces = encoded(value)
    return seal(b"%c%b" % (value_type, b"".join(pieces)))


def seal(body: bytes) -> bytes:
    """seal(body) -> body, u16 RDB version, u64 CRC64 of all before: a payload of DUMP or FUNCTION DUMP. O(n)."""
    sealed = b"%b%c\x00" % (body, rdb.VERSION_WRITTEN)
    return sealed + crc64(sealed).to_bytes(8, "little")


def unseal(payload: bytes, *, verify_checksum: bool = True) -> bytes:
    """unseal(payload) -> the body that was sealed; PayloadFooterError if version or checksum are wrong. O(n)."""
    body_bytes = len(payload) - _FOOTER_BYTES
    if body_bytes < 0:
        raise PayloadFooterError("payload without a footer")
    version = int.from_bytes(payload[body_bytes : body_bytes + 2], "little")
    checksum = int.from_bytes(payload[body_bytes + 2 :], "little")
    intact = not verify_checksum or checksum == crc64(memoryview(payload)[: body_bytes + 2])
    if version > rdb.VERSION_MAX or not intact:
        raise PayloadFooterError("payload of a wrong version or checksum", body_bytes)
    return payload[:body_bytes]


class PayloadFooterError(RdbFormatError):
    """A DUMP payload of a version that is too new, or whose checksum doesn't match."""


def load_value(payload: bytes, limits: Limits, *, verify_checksum: bool = True) -> Value:
    """load_value(payload, limits) -> the value of a DUMP payload. O(n).

    Raises PayloadFooterError, or RdbFormatError where the payload is intact but no valid value: every
    length, count and element in it is checked, as with Redis's `sanitize-dump-payload yes`.
    """
    body = unseal(payload, verify_checksum=verify_checksum)
    if not body:
        raise RdbFormatError("payload without a value")
    try:
        value, position = read_value(body[0], body, 1, limits)
        if isinstance(value, CollectionReader):
            while value.remaining:
                position = value.read(body, position)
            value = value.build(limits)
    except rdb.Short:
        raise RdbFormatError("value is cut short", len(body)) from None
    if value is None or position != len(body):
        raise RdbFormatError("empty value, or bytes after it", position)
    return value
