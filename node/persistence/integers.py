"""Which strings are integers in Redis's small encodings: those that read back as the very same text."""

from __future__ import annotations

from typing import Final

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
TEXT_MAX_BYTES: Final = 20
"""The longest text of a 64-bit integer: a sign and 19 digits."""


def canonical_integer(text: bytes | bytearray) -> int | None:
    """canonical_integer(b"-12") -> -12; None for b"012", b"+1", b"-0", b"" and all but 64-bit integers.

    Redis: string2ll. O(1).
    """
    if not 0 < len(text) <= TEXT_MAX_BYTES:
        return None
    first = text[0]
    if first == 48:
        return 0 if len(text) == 1 else None
    digits = text[1:] if first == 45 else text
    if not digits.isdigit() or digits[0] == 48:
        return None
    value = int(text)
    return value if INT64_MIN <= value <= INT64_MAX else None
