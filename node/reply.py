"""The one encoder of replies: explicit constructors for each RESP type, returning encoded bytes.

A command function returns what these build. Types that RESP2 and RESP3 spell differently are methods of
`Resp2`/`Resp3`, reached as `client.resp`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import copysign

from .data_plane import native

OK = b"+OK\r\n"
PONG = b"+PONG\r\n"
QUEUED = b"+QUEUED\r\n"
ZERO = b":0\r\n"
ONE = b":1\r\n"
MINUS_ONE = b":-1\r\n"
MINUS_TWO = b":-2\r\n"
EMPTY_BULK = b"$0\r\n\r\n"
EMPTY_ARRAY = b"*0\r\n"
NO_REPLY = b""
"""Nothing is sent now: the client was parked, or the command answers in another way."""

INTEGRAL_DOUBLE_MAX = float((1 << 63) // 2)
"""Integral doubles up to this are written as integers (Redis: double2ll)."""

FRACTION_DIGITS_PLAIN = 7
"""A number with fewer digits after its point is never written with an exponent."""

UNIFORM_MIN_BULKS = 8
"""From so many bulks on it pays to see whether all have one length: a single join then formats them."""


def integer(value: int) -> bytes:
    """integer(7) -> b":7\\r\\n"."""
    return b":%d\r\n" % value


def bulk(value: bytes | bytearray) -> bytes:
    """bulk(b"ab") -> b"$2\\r\\nab\\r\\n"."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def simple(text: bytes) -> bytes:
    """simple(b"OK") -> b"+OK\\r\\n". `text` has no line break."""
    return b"+%b\r\n" % text


def array(items: Sequence[bytes]) -> bytes:
    """array([encoded, ...]) -> the array of already encoded replies."""
    return b"*%d\r\n%b" % (len(items), b"".join(items))


def bulk_array(values: Sequence[bytes | bytearray]) -> bytes:
    """bulk_array([b"a", b"b"]) -> an array of bulk strings; no nulls in it (see `Resp2.bulks`)."""
    count = len(values)
    if count >= UNIFORM_MIN_BULKS and len(lengths := {*map(len, values)}) == 1:
        (length,) = lengths
        return b"*%d\r\n$%d\r\n%b\r\n" % (count, length, (b"\r\n$%d\r\n" % length).join(values))
    return b"*%d\r\n%b" % (len(values), b"".join([b"$%d\r\n%b\r\n" % (len(v), v) for v in values]))


def format_integral(value: float) -> bytes | None:
    """format_integral(2.0) -> b"2"; None for a number with a fraction, or out of the range of integers."""
    if value.is_integer() and -INTEGRAL_DOUBLE_MAX <= value <= INTEGRAL_DOUBLE_MAX:
        return b"%d" % value if value else (b"0" if copysign(1.0, value) > 0 else b"-0")
    return None


def scored_integral(member: bytes, score: float) -> bytes | None:
    """scored_integral(b"a", 2.0) -> an array of both as bulks; None where `format_integral` is."""
    text = format_integral(score)
    return None if text is None else bulk_array([member, text])


if native is not None:
    integer, bulk, bulk_array, format_integral, scored_integral = (
        native.integer,
        native.bulk,
        native.bulk_array,
        native.format_integral,
        native.scored_integral,
    )


def format_double(value: float) -> bytes:
    """format_double(0.1) -> b"0.1": the shortest text that reads back as `value`, laid out as Redis does.

    Redis: d2string for the integral values, fpconv_dtoa's emit_digits for the others.
    """
    text = format_integral(value)
    return format_shortest(value) if text is None else text


def format_shortest(value: float) -> bytes:
    """format_shortest(1e8) -> b"1e+8": a finite double's shortest digits in fpconv_dtoa's notation."""
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    if not exponent and len(fraction) < FRACTION_DIGITS_PLAIN and fraction != "0":
        return text.encode()
    sign = "-" if text.startswith("-") else ""
    digits = (whole.removeprefix("-") + fraction).lstrip("0")
    shift = int(exponent or 0) - len(fraction) + len(digits)
    digits = digits.rstrip("0")
    shift -= len(digits)
    if not digits:
        return (sign + "0").encode()
    exponent_10 = shift + len(digits) - 1
    if shift >= 0 and abs(exponent_10) < len(digits) + 7:
        body = digits + "0" * shift
    elif shift < 0 and (shift > -FRACTION_DIGITS_PLAIN or abs(exponent_10) < 4):
        padded = digits.zfill(1 - shift)
        body = f"{padded[:shift]}.{padded[shift:]}"
    else:
        body = f"{digits[0]}{'.' if len(digits) > 1 else ''}{digits[1:]}e{exponent_10:+d}"
    return (sign + body).encode()


class Resp2:
    """RESP2: maps and sets are arrays, doubles and booleans are bulks and integers."""

    version = 2
    null = b"$-1\r\n"
    null_array = b"*-1\r\n"
    true = ONE
    false = ZERO

    def bulk_or_null(self, value: bytes | bytearray | None) -> bytes:
        """bulk_or_null(None) -> the null bulk."""
        return self.null if value is None else b"$%d\r\n%b\r\n" % (len(value), value)

    def bulks(self, values: Sequence[bytes | bytearray | None]) -> bytes:
        """bulks([b"a", None]) -> an array of bulks and nulls, as MGET answers."""
        null = self.null
        parts = [null if v is None else b"$%d\r\n%b\r\n" % (len(v), v) for v in values]
        return b"*%d\r\n%b" % (len(parts), b"".join(parts))

    def map(self, items: Sequence[bytes]) -> bytes:
        """map([k1, v1, k2, v2]) -> a map of encoded keys and values (a flat array in RESP2)."""
        return array(items)

    def bulk_map(self, items: Sequence[bytes | bytearray]) -> bytes:
        """bulk_map([k1, v1, ...]) -> a map whose keys and values are bulks."""
        return bulk_array(items)

    def set(self, items: Sequence[bytes]) -> bytes:
        """set([encoded, ...]) -> a set (an array in RESP2)."""
        return array(items)

    def bulk_set(self, values: Sequence[bytes | bytearray]) -> bytes:
        """bulk_set([b"a", ...]) -> a set of bulks."""
        return bulk_array(values)

    def push(self, items: Sequence[bytes]) -> bytes:
        """push([encoded, ...]) -> an out-of-band message (an array in RESP2)."""
        return array(items)

    def double(self, value: float) -> bytes:
        """double(1.5) -> a score or float (a bulk in RESP2)."""
        return bulk(format_double(value))

    def scored(self, member: bytes, score: float) -> bytes:
        """scored(b"a", 1.5) -> a member and its score as an array."""
        return scored_integral(member, score) or bulk_array([member, format_shortest(score)])

    def boolean(self, value: bool) -> bytes:
        """boolean(True) -> `:1` in RESP2, `#t` in RESP3."""
        return self.true if value else self.false

    def big_number(self, digits: bytes) -> bytes:
        """big_number(b"123") -> an integer of any size (a bulk in RESP2)."""
        return bulk(digits)

    def verbatim(self, text: bytes, kind: bytes = b"txt") -> bytes:
        """verbatim(b"...") -> text for people (a bulk in RESP2); `kind` is txt or mkd."""
        return bulk(text)


class Resp3(Resp2):
    """RESP3: each type has its own marker."""

    version = 3
    null = b"_\r\n"
    null_array = b"_\r\n"
    true = b"#t\r\n"
    false = b"#f\r\n"

    def map(self, items: Sequence[bytes]) -> bytes:
        return b"%%%d\r\n%b" % (len(items) // 2, b"".join(items))

    def bulk_map(self, items: Sequence[bytes | bytearray]) -> bytes:
        return self.map([bulk(item) for item in items])

    def set(self, items: Sequence[bytes]) -> bytes:
        return b"~%d\r\n%b" % (len(items), b"".join(items))

    def bulk_set(self, values: Sequence[bytes | bytearray]) -> bytes:
        return self.set([bulk(value) for value in values])

    def push(self, items: Sequence[bytes]) -> bytes:
        return b">%d\r\n%b" % (len(items), b"".join(items))

    def double(self, value: float) -> bytes:
        return b",%b\r\n" % format_double(value)

    def scored(self, member: bytes, score: float) -> bytes:
        return b"*2\r\n" + bulk(member) + self.double(score)

    def big_number(self, digits: bytes) -> bytes:
        return b"(%b\r\n" % digits

    def verbatim(self, text: bytes, kind: bytes = b"txt") -> bytes:
        return b"=%d\r\n%b:%b\r\n" % (len(text) + 4, kind, text)


RESP2 = Resp2()
RESP3 = Resp3()


def help_lines(lines: Iterable[str]) -> bytes:
    """help_lines([...]) -> the reply of a container's HELP: an array of simple strings."""
    return array([simple(line.encode()) for line in lines])
