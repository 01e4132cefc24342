"""LZF, the compression of long strings in RDB files (`rdbcompression yes` in Redis).

Law: only decompression. Finding matches byte by byte in Python would cost more than the disk space is worth,
so our own snapshots store strings as they are, which every reader takes.
"""

from __future__ import annotations

from .errors import RdbFormatError

EXPANSION_MAX = 88
"""Three bytes of input give at most 264 of output; a larger claim is a lie, found before memory is used."""


def decompress(data: bytes, size: int) -> bytes:
    """decompress(data, size) -> the `size` bytes that `data` stands for; RdbFormatError if it doesn't.

    A control byte below 32 starts a literal run of that many bytes and one. Any other is a copy from the
    output: its upper three bits are the length less two (7: the next byte adds to it), the lower five and the
    byte after are the distance less one. O(size).
    """
    if size > len(data) * EXPANSION_MAX:
        raise RdbFormatError("LZF string claims an impossible length")
    out = bytearray()
    position = 0
    end = len(data)
    try:
        while position < end:
            control = data[position]
            position += 1
            if control < 32:
                stop = position + control + 1
                if stop > end:
                    raise RdbFormatError("LZF literal run is cut short", position)
                out += data[position:stop]
                position = stop
                continue
            length = control >> 5
            if length == 7:
                length += data[position]
                position += 1
            length += 2
            distance = ((control & 31) << 8 | data[position]) + 1
            position += 1
            start = len(out) - distance
            if start < 0:
                raise RdbFormatError("LZF copy reaches before the start", position)
            if distance >= length:
                out += out[start : start + length]
            else:
                pattern = bytes(out[start:])
                out += (pattern * (length // distance + 1))[:length]
    except IndexError:
        raise RdbFormatError("LZF copy is cut short", position) from None
    if len(out) != size:
        raise RdbFormatError("LZF string has another length than it claims", position)
    return bytes(out)
