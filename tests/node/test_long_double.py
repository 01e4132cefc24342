"""Long doubles print as x86's do; the expected texts were printed by C's strtold and %.17Lf."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.node.errors import CommandError
from pyredis_cluster.node.long_double import add, format_long_double, overflows, parse_long_double


def total(first: bytes, second: bytes) -> bytes:
    left, right = parse_long_double(first), parse_long_double(second)
    assert left is not None and right is not None
    return format_long_double(add(left, right))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (b"3", b"1.1", b"4.1"),
        (b"3.0e3", b"200", b"3200"),
        (b"0.1", b"0.2", b"0.3"),
        (b"17179869184", b"1.5", b"17179869185.5"),
        (b"1", b"-1.1", b"-0.1"),
        (b"-1.1", b"1.1", b"0"),
        (b"1e-5", b"1e-18", b"0.00001"),
        (b"0", b"-0.0000000000000000001", b"0"),
        (b"18446744073709551615", b"1", b"18446744073709551616"),
        (b"18446744073709551615", b"2", b"18446744073709551616"),
        (b"-0x1.8p1", b".5", b"-2.5"),
    ],
)
def test_sums(first: bytes, second: bytes, expected: bytes) -> None:
    assert total(first, second) == expected


@given(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))
def test_64_bit_integers_are_exact(first: int, second: int) -> None:
    assert total(b"%d" % first, b"%d" % second) == b"%d" % (first + second)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_survive_unchanged(value: float) -> None:
    parsed = parse_long_double(repr(value).encode())
    assert parsed is not None
    assert abs(float(format_long_double(parsed)) - value) <= max(abs(value) * 2**-52, 1e-17)


@pytest.mark.parametrize(
    "text", [b"", b".", b"nan", b"1 ", b" 1", b"1e5000", b"1e-5000", b"1e99999999999", b"9" * 4400]
)
def test_what_is_no_number_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError, match=r"^ERR value is not a valid float$"):
        parse_long_double(text)


def test_infinities_and_overflows_are_told() -> None:
    assert parse_long_double(b"-inf") is None
    large = parse_long_double(b"4e4289")
    assert large is not None and not overflows(large)
    assert overflows(add(large, parse_long_double(b"9e4289") or (0, 0)))
