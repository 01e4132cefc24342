"""The listpack: a blob of strings and integers, the small encoding of hashes, sets, sorted sets and lists.

u32 total bytes, u16 count (65535: unknown), the entries, 0xff (Redis: listpack.c). An entry is its encoding
and data, followed by their length in a form that can be read backwards. Law: `decode` walks every entry and
checks each length, so what it accepts Redis accepts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Final

from ..parsing import integer_or_none
from .errors import RdbFormatError

HEADER_BYTES: Final = 6
COUNT_UNKNOWN: Final = 65535
_END: Final = 0xFF
_HEADER = struct.Struct("<IH")
_U32 = struct.Struct("<I")

_INTEGER_BYTES: Final = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}


def _back_length(length: int) -> bytes:
    """The length of an entry, seven bits a byte, most significant first, a mark on all but the first."""
    groups = [length & 127]
    while length := length >> 7:
        groups[-1] |= 128
        groups.append(length & 127)
    return bytes(reversed(groups))


_INTEGER_STARTS: Final = b"-123456789"
_BACK_LENGTHS: Final = [_back_length(length) for length in range(512)]


def _integer_entry(value: int) -> bytes:
    if 0 <= value <= 127:
        body = bytes((value,))
    elif -4096 <= value <= 4095:
        body = ((value & 0x1FFF) | 0xC000).to_bytes(2, "big")
    else:
        for marker, width in _INTEGER_BYTES.items():
            if -(1 << (8 * width - 1)) <= value < 1 << (8 * width - 1):
                body = bytes((marker,)) + value.to_bytes(width, "little", signed=True)
                break
    return body + _BACK_LENGTHS[len(body)]


_SHORT_STRING_BYTES: Final = 64
_SHORT_PREFIXES: Final = [bytes((0x80 | length,)) for length in range(_SHORT_STRING_BYTES)]
_SMALL_INTEGERS: Final = {b"%d" % value: _integer_entry(value) for value in range(-256, 1024)}


def _string_entry(text: bytes) -> bytes:
    length = len(text)
    if length < _SHORT_STRING_BYTES:
        return b"%b%b%b" % (_SHORT_PREFIXES[length], text, _BACK_LENGTHS[length + 1])
    if length < 4096:
        head = (0xE000 | length).to_bytes(2, "big")
    else:
        head = b"\xf0" + _U32.pack(length)
    total = length + len(head)
    return b"%b%b%b" % (head, text, _BACK_LENGTHS[total] if total < 512 else _back_length(total))


def encode(items: Iterable[bytes]) -> bytes:
    """encode([b"a", b"12"]) -> the listpack of these strings, integers stored as such. O(n)."""
    parts: list[bytes] = []
    append = parts.append
    small = _SMALL_INTEGERS
    prefixes = _SHORT_PREFIXES
    back_lengths = _BACK_LENGTHS
    for text in items:
        entry = small.get(text)
        if entry is not None:
            append(entry)
        elif text and text[0] in _INTEGER_STARTS and (value := integer_or_none(text)) is not None:
            append(_integer_entry(value))
        elif (length := len(text)) < _SHORT_STRING_BYTES:
            append(prefixes[length] + text + back_lengths[length + 1])
        else:
            append(_string_entry(text))
    body = b"".join(parts)
    return b"%b%b\xff" % (_HEADER.pack(HEADER_BYTES + len(body) + 1, min(len(parts), COUNT_UNKNOWN)), body)


def decode(blob: bytes) -> list[bytes]:
    """decode(blob) -> its entries, integers as their text; RdbFormatError if it is invalid. O(n)."""
    size = len(blob)
    if size < HEADER_BYTES + 1 or blob[-1] != _END:
        raise RdbFormatError("listpack without header or end")
    total, count = _HEADER.unpack_from(blob)
    if total != size:
        raise RdbFormatError("listpack of a wrong size")
    items: list[bytes] = []
    append = items.append
    position = HEADER_BYTES
    last = size - 1
    while position < last:
        first = blob[position]
        if first < 0x80:
            append(b"%d" % first)
            length = 1
        elif first < 0xC0:
            length = 1 + (first & 63)
            append(blob[position + 1 : position + length])
        else:
            length = _decode_long(blob, position, last, append)
        position += length
        if length < 128:
            # The commonest case of the check below: a back length of one byte.
            if position >= last or blob[position] != length:
                raise RdbFormatError("listpack entry with a wrong back length", position)
            position += 1
        else:
            back = _back_length(length)
            if position + len(back) > last or blob[position : position + len(back)] != back:
                raise RdbFormatError("listpack entry with a wrong back length", position)
            position += len(back)
    if count not in (len(items), COUNT_UNKNOWN):
        raise RdbFormatError("listpack with a wrong count")
    return items


def _decode_long(blob: bytes, position: int, last: int, append: Callable[[bytes], None]) -> int:
    """Append the entry at `position`, whose first byte is 0xc0 or more; -> its bytes without back length."""
    first = blob[position]
    if first < 0xE0:
        if position + 2 > last:
            raise RdbFormatError("listpack entry is cut short", position)
        value = (first & 31) << 8 | blob[position + 1]
        append(b"%d" % (value - 8192 if value & 4096 else value))
        return 2
    if first in _INTEGER_BYTES:
        length = 1 + _INTEGER_BYTES[first]
        if position + length > last:
            raise RdbFormatError("listpack entry is cut short", position)
        append(b"%d" % int.from_bytes(blob[position + 1 : position + length], "little", signed=True))
        return length
    if first < 0xF0:
        start = position + 2
        size = (first & 15) << 8 | blob[position + 1]
    elif first == 0xF0 and position + 5 <= last:
        start = position + 5
        size = _U32.unpack_from(blob, position + 1)[0]
    else:
        raise RdbFormatError("listpack entry of an unknown encoding", position)
    if start + size > last:
        raise RdbFormatError("listpack entry is cut short", position)
    append(blob[start : start + size])
    return start + size - position
