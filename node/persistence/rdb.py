"""The RDB format's constants, and how lengths and strings are written and read (Redis: rdb.h, rdb.c).

Law: the readers here take a buffer and a position, and give the value and the position after it; where the
buffer ends too early they raise `Short` and nothing was consumed.
"""

from __future__ import annotations

import struct
from typing import Final

from ..parsing import integer_or_none
from .errors import RdbFormatError
from .lzf import decompress

MAGIC: Final = b"REDIS"
VERSION_MAX: Final = 11
"""The newest version that is read: Redis 7.2's."""
VERSION_WRITTEN: Final = 10
"""The oldest version that holds all that we write: Redis 7.0's, with listpacks and quicklists of them."""
VERSION_WITH_CHECKSUM: Final = 5

TYPE_STRING: Final = 0
TYPE_LIST: Final = 1
TYPE_SET: Final = 2
TYPE_ZSET: Final = 3
TYPE_HASH: Final = 4
TYPE_ZSET_2: Final = 5
TYPE_MODULE_PRE_GA: Final = 6
TYPE_MODULE_2: Final = 7
TYPE_HASH_ZIPMAP: Final = 9
TYPE_LIST_ZIPLIST: Final = 10
TYPE_SET_INTSET: Final = 11
TYPE_ZSET_ZIPLIST: Final = 12
TYPE_HASH_ZIPLIST: Final = 13
TYPE_LIST_QUICKLIST: Final = 14
TYPE_STREAM_LISTPACKS: Final = 15
TYPE_HASH_LISTPACK: Final = 16
TYPE_ZSET_LISTPACK: Final = 17
TYPE_LIST_QUICKLIST_2: Final = 18
TYPE_STREAM_LISTPACKS_2: Final = 19
TYPE_SET_LISTPACK: Final = 20
TYPE_STREAM_LISTPACKS_3: Final = 21

OPCODE_FUNCTION2: Final = 245
OPCODE_FUNCTION_PRE_GA: Final = 246
OPCODE_MODULE_AUX: Final = 247
OPCODE_IDLE: Final = 248
OPCODE_FREQ: Final = 249
OPCODE_AUX: Final = 250
OPCODE_RESIZEDB: Final = 251
OPCODE_EXPIRETIME_MS: Final = 252
OPCODE_EXPIRETIME: Final = 253
OPCODE_SELECTDB: Final = 254
OPCODE_EOF: Final = 255

QUICKLIST_NODE_PLAIN: Final = 1
QUICKLIST_NODE_PACKED: Final = 2

MODULE_OPCODE_EOF: Final = 0
MODULE_OPCODE_SINT: Final = 1
MODULE_OPCODE_UINT: Final = 2
MODULE_OPCODE_FLOAT: Final = 3
MODULE_OPCODE_DOUBLE: Final = 4
MODULE_OPCODE_STRING: Final = 5

_ENCODING_INT8: Final = 0xC0
_ENCODING_INT16: Final = 0xC1
_ENCODING_INT32: Final = 0xC2
_ENCODING_LZF: Final = 0xC3
_LENGTH_32: Final = 0x80
_LENGTH_64: Final = 0x81
_INTEGER_TEXT_MAX_BYTES: Final = 11
"""The longest text of a 32-bit integer."""
_INTEGER_STARTS: Final = b"-0123456789"

_pack_int8 = struct.Struct("<Bb").pack
_pack_int16 = struct.Struct("<Bh").pack
_pack_int32 = struct.Struct("<Bi").pack
INT64 = struct.Struct("<q")
DOUBLE = struct.Struct("<d")


class Short(Exception):
    """Not an error: the buffer must reach at least to position `needed` before reading on makes sense."""

    def __init__(self, needed: int) -> None:
        self.needed = needed
        super().__init__(needed)


def _length(value: int) -> bytes:
    if value < 1 << 6:
        return bytes((value,))
    if value < 1 << 14:
        return (0x4000 | value).to_bytes(2, "big")
    if value < 1 << 32:
        return b"\x80" + value.to_bytes(4, "big")
    return b"\x81" + value.to_bytes(8, "big")


_SHORT_LENGTHS: Final = [_length(value) for value in range(1024)]


def encode_length(value: int) -> bytes:
    """encode_length(700) -> b"\\x42\\xbc": 1, 2, 5 or 9 bytes."""
    return _SHORT_LENGTHS[value] if value < 1024 else _length(value)


def encode_string(text: bytes | bytearray) -> bytes:
    """encode_string(b"ab") -> b"\\x02ab"; the text of a 32-bit integer is written as that integer. O(n)."""
    size = len(text)
    if 0 < size <= _INTEGER_TEXT_MAX_BYTES and text[0] in _INTEGER_STARTS:
        value = integer_or_none(text)
        if value is not None:
            if -128 <= value < 128:
                return _pack_int8(_ENCODING_INT8, value)
            if -32768 <= value < 32768:
                return _pack_int16(_ENCODING_INT16, value)
            if -2147483648 <= value < 2147483648:
                return _pack_int32(_ENCODING_INT32, value)
    return (_SHORT_LENGTHS[size] if size < 1024 else _length(size)) + text


def read_length(buffer: bytes, position: int) -> tuple[int, int]:
    """read_length(buffer, position) -> (length, position after it). Raises Short, RdbFormatError."""
    end = len(buffer)
    if position >= end:
        raise Short(position + 1)
    first = buffer[position]
    if first < 0x40:
        return first, position + 1
    if first < 0x80:
        width = 2
    elif first == _LENGTH_32:
        width = 5
    elif first == _LENGTH_64:
        width = 9
    else:
        raise RdbFormatError("unknown encoding of a length", position)
    if position + width > end:
        raise Short(position + width)
    if width == 2:
        return (first & 63) << 8 | buffer[position + 1], position + 2
    return int.from_bytes(buffer[position + 1 : position + width], "big"), position + width


def read_string(buffer: bytes, position: int) -> tuple[bytes, int]:
    """read_string(buffer, position) -> (text, position after it). Raises Short, RdbFormatError. O(n)."""
    end = len(buffer)
    if position >= end:
        raise Short(position + 1)
    first = buffer[position]
    if first < 0x40:
        stop = position + 1 + first
        if stop > end:
            raise Short(stop)
        return buffer[position + 1 : stop], stop
    if first < 0xC0:
        size, start = read_length(buffer, position)
        stop = start + size
        if stop > end:
            raise Short(stop)
        return buffer[start:stop], stop
    if first == _ENCODING_LZF:
        size, start = read_length(buffer, position + 1)
        original_size, start = read_length(buffer, start)
        stop = start + size
        if stop > end:
            raise Short(stop)
        return decompress(buffer[start:stop], original_size), stop
    if first > _ENCODING_LZF:
        raise RdbFormatError("unknown encoding of a string", position)
    stop = position + 1 + (1 << (first & 3))
    if stop > end:
        raise Short(stop)
    return b"%d" % int.from_bytes(buffer[position + 1 : stop], "little", signed=True), stop


def read_strings(buffer: bytes, position: int, count: int, found: list[bytes]) -> int:
    """read_strings(buffer, position, count, found) -> the position after up to `count` strings.

    They are appended to `found`; fewer than `count` if the buffer ends first. Raises Short if none is
    whole, RdbFormatError. O(bytes read).
    """
    append = found.append
    end = len(buffer)
    first_one = len(found)
    try:
        for _ in range(count):
            start = position + 1
            size = buffer[position] if position < end else 0x40
            if size < 0x40 and start + size <= end:
                position = start + size
                append(buffer[start:position])
            else:
                text, position = read_string(buffer, position)
                append(text)
    except Short:
        if len(found) == first_one:
            raise
    return position
