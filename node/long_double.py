"""Redis's long double arithmetic (INCRBYFLOAT, HINCRBYFLOAT): x86's 64-bit mantissa, exact rounding.

Law: a value is `mantissa * 2**exponent` with |mantissa| < 2**64; results are rounded half to even, once. So
sums print as redis-server prints them, which doubles would not.
"""

from __future__ import annotations

import re
from math import isinf

from .errors import NotFloatError
from .parsing import DOUBLE_MAX_CHARS, float_or_none

MANTISSA_BITS = 64
DECIMAL_EXPONENT_MAX = 4290
"""Larger numbers are refused. x86 goes to 4932, but Python converts no integer of over 4300 digits."""

DECIMAL_EXPONENT_MIN = -4951
"""Smaller numbers are an underflow, as C's strtold says."""

DIGITS_MAX = 4300
EXPONENT_MAX_CHARS = 8
BITS_MAX = 14_251
"""A sum of more bits is beyond ten to the DECIMAL_EXPONENT_MAX and counts as infinite."""

FRACTION_DIGITS = 17
"""Printed with %.17Lf, then without trailing zeros (Redis: LD_STR_HUMAN)."""

_SCALE = 10**FRACTION_DIGITS
_DECIMAL = re.compile(rb"([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?")

LongDouble = tuple[int, int]
"""(mantissa, exponent): the number is mantissa * 2**exponent."""


def parse_long_double(text: bytes | bytearray, message: str | None = None) -> LongDouble | None:
    """parse_long_double(b"3.0e3") -> (mantissa, exponent), or None for an infinity.

    NotFloatError (with `message` if given) where Redis's string2ld refuses.
    """
    found = _DECIMAL.fullmatch(text)
    if found is None or len(text) >= DOUBLE_MAX_CHARS:
        value = float_or_none(text)
        if value is None:
            raise NotFloatError(message)
        return None if isinf(value) else _from_float(value)
    sign, whole, fraction, exponent_text = found.groups()
    digits = (whole + fraction).lstrip(b"0")
    if not digits:
        if not whole and not fraction:
            raise NotFloatError(message)
        return 0, 0
    exponent_text = exponent_text or b"0"
    if len(digits) > DIGITS_MAX or len(exponent_text) > EXPONENT_MAX_CHARS:
        raise NotFloatError(message)
    number = int(digits)
    exponent = int(exponent_text) - len(fraction)
    if not DECIMAL_EXPONENT_MIN <= exponent + len(digits) - 1 <= DECIMAL_EXPONENT_MAX:
        raise NotFloatError(message)
    if sign == b"-":
        number = -number
    if exponent >= 0:
        return _rounded(number * 10**exponent, 1)
    return _rounded(number, 10**-exponent)


def add(first: LongDouble, second: LongDouble) -> LongDouble:
    """add(a, b) -> the sum, rounded as x86's extended precision does."""
    exponent = min(first[1], second[1])
    total = (first[0] << (first[1] - exponent)) + (second[0] << (second[1] - exponent))
    mantissa, shift = _rounded(total, 1)
    return mantissa, shift + exponent


def overflows(value: LongDouble) -> bool:
    """overflows(value) -> whether it is beyond the range and counts as an infinity."""
    return value[0].bit_length() + value[1] > BITS_MAX


def format_long_double(value: LongDouble) -> bytes:
    """format_long_double(value) -> b"3000.5": 17 decimals, rounded half to even, trailing zeros dropped."""
    mantissa, exponent = value
    if exponent >= 0:
        return b"%d" % (mantissa << exponent)
    scaled = _divided(abs(mantissa) * _SCALE, 1 << -exponent)
    whole, fraction = divmod(scaled, _SCALE)
    if not scaled:
        return b"0"
    sign = b"-" if mantissa < 0 else b""
    decimals = b"%0*d" % (FRACTION_DIGITS, fraction)
    return b"%b%d.%b" % (sign, whole, decimals.rstrip(b"0")) if fraction else b"%b%d" % (sign, whole)


def _from_float(value: float) -> LongDouble:
    numerator, denominator = value.as_integer_ratio()
    return _rounded(numerator, denominator)


def _divided(numerator: int, denominator: int) -> int:
    """Non-negative numerator / denominator, rounded half to even."""
    quotient, rest = divmod(numerator, denominator)
    if rest * 2 > denominator or (rest * 2 == denominator and quotient & 1):
        quotient += 1
    return quotient


def _rounded(numerator: int, denominator: int) -> LongDouble:
    """numerator / denominator as a value of MANTISSA_BITS."""
    size = abs(numerator)
    if denominator == 1 and size.bit_length() <= MANTISSA_BITS:
        return numerator, 0
    exponent = size.bit_length() - denominator.bit_length() - MANTISSA_BITS
    if exponent >= 0:
        denominator <<= exponent
    else:
        size <<= -exponent
    if size >= denominator << MANTISSA_BITS:
        exponent += 1
        denominator <<= 1
    mantissa = _divided(size, denominator)
    return (-mantissa if numerator < 0 else mantissa), exponent
