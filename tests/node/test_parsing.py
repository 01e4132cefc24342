"""Numbers in arguments: exactly what Redis's string2ll, string2d and strtoul take, and its error texts."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.node.errors import CommandError
from pyredis_cluster.node.parsing import (
    INT64_MAX,
    INT64_MIN,
    float_or_none,
    integer_or_none,
    parse_cursor,
    parse_float,
    parse_integer,
    parse_integer_between,
    parse_non_negative,
    parse_timeout_ms,
)


@given(st.integers(INT64_MIN, INT64_MAX))
def test_every_64_bit_integer_is_parsed(number: int) -> None:
    assert parse_integer(b"%d" % number) == number
    assert parse_integer(bytearray(b"%d" % number)) == number


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-",
        b"+1",
        b" 1",
        b"1 ",
        b"01",
        b"-0",
        b"-01",
        b"1_0",
        b"1.0",
        b"0x1",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"1" * 30,
        b"1\x00",
        b"\xd9\xa1",
        b"00",
    ],
)
def test_what_is_no_canonical_integer_is_refused(text: bytes) -> None:
    assert integer_or_none(text) is None
    with pytest.raises(CommandError, match=r"^ERR value is not an integer or out of range$"):
        parse_integer(text)


def test_a_range_is_named_in_the_error() -> None:
    assert parse_integer_between(b"9", 0, 9) == 9
    with pytest.raises(CommandError, match=r"^ERR value is out of range, value must between 0 and 9$"):
        parse_integer_between(b"10", 0, 9)
    with pytest.raises(CommandError, match=r"^ERR value is out of range, must be positive$"):
        parse_non_negative(b"-1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1", 1.0),
        (b"-1.5e3", -1500.0),
        (b"+.5", 0.5),
        (b"5.", 5.0),
        (b"inf", inf),
        (b"-INFinity", -inf),
        (b"0x1p4", 16.0),
        (b"-0X.8", -0.5),
        (b"0e999", 0.0),
        (b"4.9e-324", 5e-324),
        (b"1e308", 1e308),
    ],
)
def test_floats_as_strtod_takes_them(text: bytes, value: float) -> None:
    assert parse_float(text) == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b".",
        b"-",
        b"nan",
        b" 1",
        b"1 ",
        b"1_0",
        b"1e",
        b"1e400",
        b"-1e400",
        b"1e-400",
        b"0x",
        b"0x1p99999",
        b"infin",
        b"1\x00",
        b"1" * 6000,
        b"e5",
        b"0x.p1",
    ],
)
def test_what_is_no_float_is_refused(text: bytes) -> None:
    assert float_or_none(text) is None
    with pytest.raises(CommandError, match=r"^ERR value is not a valid float$"):
        parse_float(text)


@given(st.binary(max_size=12))
def test_any_bytes_are_a_number_or_refused(text: bytes) -> None:
    number = integer_or_none(text)
    assert number is None or b"%d" % number == text
    float_or_none(text)


@given(st.floats(allow_nan=False))
def test_every_float_is_read_back(value: float) -> None:
    assert parse_float(repr(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "cursor"), [(b"0", 0), (b"", 0), (b"+7", 7), (b"-1", 2**64 - 1), (b"18446744073709551615", 2**64 - 1)]
)
def test_cursors_as_strtoul_takes_them(text: bytes, cursor: int) -> None:
    assert parse_cursor(text) == cursor


@pytest.mark.parametrize("text", [b"x", b" 1", b"1x", b"18446744073709551616", b"-", b"9" * 5000, b"0x1"])
def test_a_bad_cursor_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError, match=r"^ERR invalid cursor$"):
        parse_cursor(text)


def test_timeouts_are_seconds_rounded_up_to_milliseconds() -> None:
    assert parse_timeout_ms(b"0", 10) == 0
    assert parse_timeout_ms(b"0.0001", 10) == 1
    assert parse_timeout_ms(b"1.5", 10) == 1500
    for text, message in (
        (b"-1", "timeout is negative"),
        (b"x", "timeout is not a float or out of range"),
        (b"inf", "timeout is out of range"),
        (b"9223372036854775807", "timeout is out of range"),
    ):
        with pytest.raises(CommandError, match=rf"^ERR {message}$"):
            parse_timeout_ms(text, 10)
