"""Arguments of config lines and inline commands: splitting and quoting back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.node.quoting import quote, split_args


@given(st.lists(st.binary()))
def test_quoted_values_are_read_back(values: list[bytes]) -> None:
    assert split_args(b" ".join(map(quote, values))) == values


@pytest.mark.parametrize(
    ("line", "args"),
    [
        (b"set k v", [b"set", b"k", b"v"]),
        (b"  set\tk  v  ", [b"set", b"k", b"v"]),
        (rb'set k "a\x00\n\"b"', [b"set", b"k", b'a\0\n"b']),
        (rb"set k 'a\n\'b'", [b"set", b"k", rb"a\n'b"]),
        (b"save ''", [b"save", b""]),
        (b"", []),
        (b'""', [b""]),
    ],
)
def test_a_line_is_split_as_redis_does(line: bytes, args: list[bytes]) -> None:
    assert split_args(line) == args


@pytest.mark.parametrize("line", [b'set "k', b"set 'k", b'set "a"b', b"set 'a'b", b'"'])
def test_unbalanced_quotes_are_refused(line: bytes) -> None:
    assert split_args(line) is None


@given(st.binary())
def test_any_line_is_split_or_refused(line: bytes) -> None:
    args = split_args(line)
    assert args is None or all(isinstance(arg, bytes) for arg in args)
