"""The ziplist, the small encoding before Redis 7: read only.

u32 total bytes, u32 offset of the last entry, u16 count (65535: unknown), the entries, 0xff (Redis:
ziplist.c). An entry is the length of the one before, its encoding, its data.
Law: `decode` checks every length.
"""

from __future__ import annotations

import struct
from typing import Final

from .errors import RdbFormatError

HEADER_BYTES: Final = 10
COUNT_UNKNOWN: Final = 65535
_END: Final = 0xFF
_HEADER = struct.Struct("<IIH")
_U32 = struct.Struct("<I")
_INTEGER_BYTES: Final = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}


def decode(blob: bytes) -> list[bytes]:
    """decode(blob) -> its entries, integers as their text; RdbFormatError if it is no valid ziplist. O(n)."""
    size = len(blob)
    if size < HEADER_BYTES + 1 or blob[-1] != _END:
        raise RdbFormatError("ziplist without header or end")
    total, tail, count = _HEADER.unpack_from(blob)
    if total != size:
        raise RdbFormatError("ziplist of a wrong size")
    items: list[bytes] = []
    position = HEADER_BYTES
    last = size - 1
    before = 0
    start = position
    while position < last:
        start = position
        if blob[position] < 254:
            previous = blob[position]
            position += 1
        elif position + 5 <= last:
            previous = _U32.unpack_from(blob, position + 1)[0]
            position += 5
        else:
            raise RdbFormatError("ziplist entry is cut short", start)
        if previous != before:
            raise RdbFormatError("ziplist entry with a wrong previous length", start)
        item, position = _entry(blob, position, last)
        items.append(item)
        before = position - start
    if tail != start or count not in (len(items), COUNT_UNKNOWN):
        raise RdbFormatError("ziplist with a wrong tail or count")
    return items


def _entry(blob: bytes, position: int, last: int) -> tuple[bytes, int]:
    """The entry whose encoding is at `position` -> (its text, where the next one begins)."""
    if position >= last:
        raise RdbFormatError("ziplist entry is cut short", position)
    first = blob[position]
    if first < 0xC0:
        if first < 0x40:
            length = first
            begin = position + 1
        elif first < 0x80:
            length = (first & 63) << 8 | blob[position + 1]
            begin = position + 2
        else:
            length = int.from_bytes(blob[position + 1 : position + 5], "big")
            begin = position + 5
        if begin + length > last:
            raise RdbFormatError("ziplist entry is cut short", position)
        return blob[begin : begin + length], begin + length
    if 0xF1 <= first <= 0xFD:
        return b"%d" % ((first & 15) - 1), position + 1
    width = _INTEGER_BYTES.get(first)
    if width is None or position + 1 + width > last:
        raise RdbFormatError("ziplist entry of an unknown encoding", position)
    position += 1
    value = int.from_bytes(blob[position : position + width], "little", signed=True)
    return b"%d" % value, position + width
