"""The text of doubles in replies, which clients and Redis's own tests compare."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.node.reply import RESP2, RESP3, format_double


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, b"3"),
        (-17.0, b"-17"),
        (0.0, b"0"),
        (-0.0, b"-0"),
        (0.1, b"0.1"),
        (-2.25, b"-2.25"),
        (1e15, b"1000000000000000"),
        (4e18, b"4000000000000000000"),
        (4.7e18, b"4.7e+18"),
        (1.2345678901234567e19, b"12345678901234567000"),
        (1e20, b"1e+20"),
        (-1.5e300, b"-1.5e+300"),
        (1e-6, b"0.000001"),
        (1e-7, b"1e-7"),
        (0.00012345678, b"1.2345678e-4"),
        (1700000000.123, b"1700000000.123"),
        (12345.123456789, b"1.2345123456789e+4"),
        (1234.123456789, b"1234.123456789"),
        (inf, b"inf"),
        (-inf, b"-inf"),
        (nan, b"nan"),
    ],
)
def test_doubles_are_laid_out_as_redis_does(value: float, text: bytes) -> None:
    assert format_double(value) == text


@given(st.floats(allow_nan=False))
def test_a_double_reads_back_as_itself(value: float) -> None:
    assert float(format_double(value)) == value


def test_a_double_is_a_bulk_in_resp2_and_a_type_of_its_own_in_resp3() -> None:
    assert RESP2.double(1.5) == b"$3\r\n1.5\r\n"
    assert RESP3.double(-inf) == b",-inf\r\n"
