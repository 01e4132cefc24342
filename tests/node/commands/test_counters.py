"""INCR and its kin: arithmetic within 64 bits, Redis's texts at its edges, floats as x86's long doubles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.node.conftest import Node

NOT_AN_INTEGER = "ERR value is not an integer or out of range"
NOT_A_FLOAT = "ERR value is not a valid float"


def test_counting_starts_at_zero(node: Node) -> None:
    assert node.ask("INCR", "a") == 1
    assert node.ask("DECR", "b") == -1
    assert node.ask("INCRBY", "c", 17_179_869_184) == 17_179_869_184
    assert node.ask("DECRBY", "c", 17_179_869_185) == -1
    assert node.ask("MGET", "a", "b", "c") == [b"1", b"-1", b"-1"]
    assert node.propagated()[0] == [b"INCR", b"a"]


@pytest.mark.parametrize("text", ["", " 11", "11 ", "1.5", "x", "9223372036854775808", "01"])
def test_what_is_no_integer_is_refused(node: Node, text: str) -> None:
    node.ask("SET", "k", text)
    assert node.error("INCR", "k") == NOT_AN_INTEGER
    assert node.error("INCRBY", "n", text) == NOT_AN_INTEGER
    assert node.ask("GET", "k") == text.encode()


def test_overflows_are_refused(node: Node) -> None:
    node.ask("MSET", "high", 2**63 - 1, "low", -(2**63))
    overflow = "ERR increment or decrement would overflow"
    assert node.error("INCR", "high") == overflow
    assert node.error("DECR", "low") == overflow
    assert node.error("DECRBY", "low", 2**63 - 1) == overflow
    assert node.error("DECRBY", "high", -(2**63)) == "ERR decrement would overflow"
    assert node.ask("INCRBY", "low", 2**63 - 1) == -1


def test_a_value_that_was_changed_in_place_counts_on(node: Node) -> None:
    node.ask("APPEND", "k", "1")
    node.ask("APPEND", "k", "2")
    assert node.ask("INCR", "k") == 13
    assert node.ask("OBJECT", "ENCODING", "k") == b"int"


def test_small_counters_are_shared_objects(node: Node) -> None:
    node.ask("SET", "k", 9998)
    node.ask("INCR", "k")
    assert node.ask("OBJECT", "REFCOUNT", "k") == 2147483647
    node.ask("INCR", "k")
    assert node.ask("OBJECT", "REFCOUNT", "k") == 1
    assert node.ask("GET", "k") == b"10000"


def test_float_counters_are_propagated_as_their_result(node: Node) -> None:
    assert node.ask("INCRBYFLOAT", "k", "1") == b"1"
    assert node.ask("INCRBYFLOAT", "k", "0.25") == b"1.25"
    assert node.ask("INCRBYFLOAT", "k", "-1.5e0") == b"-0.25"
    assert node.ask("GET", "k") == b"-0.25"
    assert node.propagated() == [[b"SET", b"k", text, b"KEEPTTL"] for text in (b"1", b"1.25", b"-0.25")]


def test_floats_print_without_noise(node: Node) -> None:
    node.ask("SET", "k", "3.0e3")
    assert node.ask("INCRBYFLOAT", "k", "200.5") == b"3200.5"
    node.ask("SET", "tenth", "0.1")
    assert node.ask("INCRBYFLOAT", "tenth", "0.2") == b"0.3"


def test_float_errors(node: Node) -> None:
    node.ask("MSET", "text", " 11", "infinite", "inf")
    assert node.error("INCRBYFLOAT", "text", "1") == NOT_A_FLOAT
    assert node.error("INCRBYFLOAT", "none", "x") == NOT_A_FLOAT
    assert node.error("INCRBYFLOAT", "none", "nan") == NOT_A_FLOAT
    assert node.error("INCRBYFLOAT", "infinite", "1") == "ERR increment would produce NaN or Infinity"
    assert node.error("INCRBYFLOAT", "none", "+inf") == "ERR increment would produce NaN or Infinity"
    assert node.ask("EXISTS", "none") == 0
