"""Parsing of command arguments: integers, floats, cursors, timeouts; each accepts exactly what Redis does.

Law: a parser returns a value or raises the `CommandError` with Redis's text; it never changes anything.
"""

from __future__ import annotations

import re
from math import inf, isinf

from .data_plane import native
from .errors import CommandError, NotFloatError, NotIntegerError

INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1
UINT64_MAX = (1 << 64) - 1

INT64_MAX_CHARS = 20
INT64_SURE_DIGITS = 18
"""Any number of so many digits fits."""

DOUBLE_MAX_CHARS = 5 * 1024
"""Redis: MAX_LONG_DOUBLE_CHARS; no longer text is taken for a number."""

PLAIN_DECIMAL_MAX_CHARS = 300
"""Digits with a point somewhere, no longer than this, neither overflow nor underflow a double."""

EXACT_DIGITS_MAX = 15
"""A double holds any integer of so many digits."""

_DECIMAL = re.compile(rb"([+-]?)(\d*)\.?(\d*)(?:[eE][+-]?\d+)?")
_HEXADECIMAL = re.compile(rb"[+-]?0[xX](?=\.?[0-9a-fA-F])[0-9a-fA-F]*\.?[0-9a-fA-F]*(?:[pP][+-]?\d+)?")
_INFINITY = re.compile(rb"([+-]?)inf(?:inity)?", re.IGNORECASE)
_CURSOR = re.compile(rb"(?:[+-]?\d+)?")


def integer_or_none(text: bytes | bytearray) -> int | None:
    """integer_or_none(b"-7") -> -7, or None if `text` is no canonical 64-bit integer (Redis: string2ll).

    Canonical: no sign but `-`, no leading zeros, no spaces, no `-0`.
    """
    if text.isdigit() and len(text) <= INT64_SURE_DIGITS and (text[0] != 48 or len(text) == 1):
        return int(text)
    if len(text) <= INT64_MAX_CHARS:
        try:
            value = int(text)
        except ValueError:
            return None
        if b"%d" % value == text and INT64_MIN <= value <= INT64_MAX:
            return value
    return None


def plain_float(text: bytes) -> float | None:
    """plain_float(b"007") -> 7.0 for digits that a double holds exactly, else None: then ask `float_or_none`."""
    return float(text) if text.isdigit() and len(text) <= EXACT_DIGITS_MAX else None


if native is not None:
    integer_or_none = native.int64
    plain_float = native.plain_float


def parse_integer(text: bytes | bytearray, message: str | None = None) -> int:
    """parse_integer(b"-7") -> -7; NotIntegerError (with `message` if given) unless canonical and 64-bit."""
    value = integer_or_none(text)
    if value is None:
        raise NotIntegerError(message)
    return value


def parse_integer_between(text: bytes, low: int, high: int, message: str | None = None) -> int:
    """parse_integer_between(b"3", 0, 9) -> 3; the error names the range unless `message` is given.

    Redis: getRangeLongFromObjectOrReply.
    """
    value = parse_integer(text, message)
    if not low <= value <= high:
        raise CommandError(message or f"value is out of range, value must between {low} and {high}")
    return value


def parse_non_negative(text: bytes, message: str | None = None) -> int:
    """parse_non_negative(b"3") -> 3; "value is out of range, must be positive" if negative.

    Redis: getPositiveLongFromObjectOrReply, which takes 0 for positive.
    """
    return parse_integer_between(text, 0, INT64_MAX, message or "value is out of range, must be positive")


def float_or_none(text: bytes | bytearray) -> float | None:
    """float_or_none(b"1.5e3") -> 1500.0, or None where Redis's string2d refuses.

    Takes what C's strtod takes whole: decimals, hexadecimal floats, inf and infinity. Refused: spaces, nan,
    an overflow, an underflow to zero.
    """
    whole_number = integer_or_none(text)
    if whole_number is not None and whole_number:
        return float(whole_number)
    if len(text) <= PLAIN_DECIMAL_MAX_CHARS and text.replace(b".", b"", 1).isdigit():
        return float(text)
    if not text or len(text) >= DOUBLE_MAX_CHARS:
        return None
    matched = _DECIMAL.fullmatch(text)
    if matched is not None:
        whole, fraction = matched.group(2), matched.group(3)
        if not whole and not fraction:
            return None
        value = float(text)
        if isinf(value) or (value == 0 and (whole.strip(b"0") or fraction.strip(b"0"))):
            return None
        return value
    infinite = _INFINITY.fullmatch(text)
    if infinite is not None:
        return -inf if infinite.group(1) == b"-" else inf
    if _HEXADECIMAL.fullmatch(text) is None:
        return None
    try:
        value = float.fromhex(text.decode("ascii"))
    except OverflowError:
        return None
    digits = re.split(rb"[pP]", text[2:])[0]
    return None if value == 0 and digits.strip(b"xX0.") else value


def parse_float(text: bytes | bytearray, message: str | None = None) -> float:
    """parse_float(b"1.5") -> 1.5; NotFloatError (with `message` if given) where `float_or_none` refuses."""
    value = float_or_none(text)
    if value is None:
        raise NotFloatError(message)
    return value


def parse_timeout_ms(text: bytes, now_ms: int) -> int:
    """parse_timeout_ms(b"0.5", now_ms) -> 500: a blocking command's timeout, rounded up; 0 is forever.

    Redis: getTimeoutFromObjectOrReply with UNIT_SECONDS.
    """
    seconds = parse_float(text, "timeout is not a float or out of range")
    if seconds * 1000 > INT64_MAX - now_ms:
        raise CommandError("timeout is out of range")
    if seconds < 0:
        raise CommandError("timeout is negative")
    return -int(-seconds * 1000 // 1)


def parse_cursor(text: bytes) -> int:
    """parse_cursor(b"42") -> 42: an unsigned 64-bit cursor as C's strtoul takes it; else "invalid cursor"."""
    if _CURSOR.fullmatch(text) is None or len(text) > DOUBLE_MAX_CHARS:
        raise CommandError("invalid cursor")
    value = int(text or b"0") if len(text) < 4000 else UINT64_MAX + 1
    if abs(value) > UINT64_MAX:
        raise CommandError("invalid cursor")
    return value & UINT64_MAX
