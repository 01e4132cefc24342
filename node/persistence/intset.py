"""The intset encoding of a set of integers: u32 width (2, 4 or 8), u32 count, then the integers, ascending.

All little-endian (Redis: intset.c). Law: what `decode` accepts has no duplicates.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise

from .errors import RdbFormatError

_HEADER = struct.Struct("<II")
_FORMATS = {2: "h", 4: "i", 8: "q"}


def encode(members: Iterable[int]) -> bytes:
    """encode([3, 1, 2]) -> the intset blob of 64-bit integers, members in any order. O(n log n)."""
    ordered = sorted(members)
    low, high = (ordered[0], ordered[-1]) if ordered else (0, 0)
    if low >= -(1 << 15) and high < 1 << 15:
        width = 2
    elif low >= -(1 << 31) and high < 1 << 31:
        width = 4
    else:
        width = 8
    return _HEADER.pack(width, len(ordered)) + struct.pack(f"<{len(ordered)}{_FORMATS[width]}", *ordered)


def decode(blob: bytes) -> list[int]:
    """decode(blob) -> its integers, ascending; RdbFormatError if it is no valid intset. O(n)."""
    if len(blob) < _HEADER.size:
        raise RdbFormatError("intset without a header")
    width, count = _HEADER.unpack_from(blob)
    if width not in _FORMATS or count == 0 or len(blob) != _HEADER.size + width * count:
        raise RdbFormatError("intset of a wrong size")
    members = struct.unpack_from(f"<{count}{_FORMATS[width]}", blob, _HEADER.size)
    if any(left >= right for left, right in pairwise(members)):
        raise RdbFormatError("intset out of order")
    return list(members)
