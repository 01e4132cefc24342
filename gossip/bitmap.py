"""Sets of slots as Python integers (bit `n` is slot `n`), and their encodings for the bus and for text.

Unions and differences of 16,384 slots are then single operations in C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .errors import Dropped
from .slots import SLOT_COUNT

ALL_SLOTS = (1 << SLOT_COUNT) - 1
_BITMAP_BYTES = SLOT_COUNT // 8
_RANGES, _BITMAP = 0, 1


def mask_of(slots: Iterable[int]) -> int:
    """mask_of(slots) -> int: the set that holds `slots`."""
    bits = bytearray(_BITMAP_BYTES)
    for slot in slots:
        bits[slot >> 3] |= 1 << (slot & 7)
    return int.from_bytes(bits, "little")


def range_mask(first: int, last: int) -> int:
    """range_mask(first, last) -> int: the set of the slots from `first` to `last`, both inclusive."""
    return ((1 << (last - first + 1)) - 1) << first


def ranges(mask: int) -> Iterator[tuple[int, int]]:
    """ranges(mask) -> (first, last) pairs, both inclusive, ascending. O(number of ranges) integer operations."""
    base = 0
    while mask:
        zeros = (mask & -mask).bit_length() - 1
        mask >>= zeros
        base += zeros
        inverted = ~mask
        ones = (inverted & -inverted).bit_length() - 1
        yield base, base + ones - 1
        mask >>= ones
        base += ones


def slots_of(mask: int) -> Iterator[int]:
    """slots_of(mask) -> the slots in `mask`, ascending."""
    for first, last in ranges(mask):
        yield from range(first, last + 1)


def encode(mask: int) -> bytes:
    """encode(mask) -> bytes: gaps and lengths of the ranges as varints, or the bitmap where that is shorter."""
    if not mask:
        return b""
    out = bytearray([_RANGES])
    end = 0
    for first, last in ranges(mask):
        _put_varint(out, first - end)
        _put_varint(out, last - first)
        end = last + 1
        if len(out) > _BITMAP_BYTES:
            return bytes([_BITMAP]) + mask.to_bytes(_BITMAP_BYTES, "little")
    return bytes(out)


def decode(data: bytes) -> int:
    """decode(data) -> mask: the inverse of `encode`. Raises Dropped("malformed") for anything else."""
    if not data:
        return 0
    if data[0] == _BITMAP and len(data) == _BITMAP_BYTES + 1:
        return int.from_bytes(data[1:], "little")
    if data[0] != _RANGES:
        raise Dropped("malformed")
    mask, end, at = 0, 0, 1
    while at < len(data):
        gap, at = _get_varint(data, at)
        length, at = _get_varint(data, at)
        first = end + gap
        end = first + length + 1
        if end > SLOT_COUNT:
            raise Dropped("malformed")
        mask |= range_mask(first, end - 1)
    return mask


def _put_varint(out: bytearray, value: int) -> None:
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _get_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 21:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Dropped("malformed")
