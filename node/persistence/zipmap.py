"""The zipmap, the small encoding of hashes before Redis 2.6: read only.

u8 count (254: unknown), then for each pair length, field, length, u8 free bytes, value, free bytes; at the
end 0xff (Redis: zipmap.c). A length is one byte below 254, or 254 and a u32.
Law: `decode` checks every length.
"""

from __future__ import annotations

import struct
from typing import Final

from .errors import RdbFormatError

COUNT_UNKNOWN: Final = 254
_LONG: Final = 254
_END: Final = 255
_U32 = struct.Struct("<I")


def decode(blob: bytes) -> list[bytes]:
    """decode(blob) -> [field, value, ...]; RdbFormatError if it is no valid zipmap. O(n)."""
    if len(blob) < 2 or blob[-1] != _END:
        raise RdbFormatError("zipmap without header or end")
    items: list[bytes] = []
    position = 1
    last = len(blob) - 1
    while position < last:
        length, position = _length(blob, position, last)
        items.append(blob[position : position + length])
        length, position = _length(blob, position + length, last)
        free = blob[position]
        position += 1
        if position + length + free > last:
            raise RdbFormatError("zipmap value is cut short", position)
        items.append(blob[position : position + length])
        position += length + free
    if blob[0] < COUNT_UNKNOWN and blob[0] != len(items) // 2:
        raise RdbFormatError("zipmap with a wrong count")
    return items


def _length(blob: bytes, position: int, last: int) -> tuple[int, int]:
    """The length at `position` -> (length, where the text begins)."""
    length = blob[position]
    position += 1
    if length == _LONG:
        if position + 4 > last:
            raise RdbFormatError("zipmap length is cut short", position)
        length = _U32.unpack_from(blob, position)[0]
        position += 4
    elif length == _END:
        raise RdbFormatError("zipmap ends within a pair", position)
    if position + length >= last:
        raise RdbFormatError("zipmap text is cut short", position)
    return length, position
