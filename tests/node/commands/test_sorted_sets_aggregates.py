"""ZUNION, ZINTER, ZDIFF, their STORE forms and ZINTERCARD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.node.conftest import Node


@pytest.fixture
def filled(node: Node) -> Node:
    """A node with the sorted sets `a` and `b` and the set `s`."""
    node.ask("ZADD", "a", 1, "x", 2, "y", 3, "z")
    node.ask("ZADD", "b", 10, "y", 20, "z", 30, "w")
    node.ask("SADD", "s", "z", "v")
    return node


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("ZUNION", 2, "a", "b"), "x 1 y 12 z 23 w 30"),
        (("ZUNION", 2, "a", "b", "AGGREGATE", "MIN"), "x 1 y 2 z 3 w 30"),
        (("ZUNION", 2, "a", "b", "AGGREGATE", "max", "WEIGHTS", 10, 1), "x 10 y 20 w 30 z 30"),
        (("ZUNION", 3, "a", "s", "none"), "v 1 x 1 y 2 z 4"),
        (("ZUNION", 2, "a", "a"), "x 2 y 4 z 6"),
        (("ZINTER", 2, "a", "b"), "y 12 z 23"),
        (("ZINTER", 3, "a", "b", "s", "WEIGHTS", 1, 2, 100), "z 143"),
        (("ZINTER", 2, "a", "b", "WEIGHTS", -1, 0, "AGGREGATE", "MIN"), "z -3 y -2"),
        (("ZINTER", 2, "a", "none"), ""),
        (("ZDIFF", 2, "a", "b"), "x 1"),
        (("ZDIFF", 3, "b", "s", "none"), "y 10 w 30"),
        (("ZDIFF", 2, "a", "a"), ""),
        (("ZDIFF", 2, "none", "a"), ""),
    ],
)
def test_aggregates(filled: Node, args: tuple[str | int, ...], expected: str) -> None:
    assert b" ".join(filled.ask(*args, "WITHSCORES")).decode() == expected
    assert b" ".join(filled.ask(*args)).decode() == " ".join(expected.split()[::2])
    name, *rest = args
    assert filled.ask(f"{name}STORE", "d", *rest) == len(expected.split()) // 2
    assert b" ".join(filled.ask("ZRANGE", "d", 0, -1, "WITHSCORES")).decode() == expected


def test_a_result_that_is_not_a_number_counts_as_zero(node: Node) -> None:
    node.ask("ZADD", "a", "inf", "m")
    node.ask("ZADD", "b", "-inf", "m")
    assert node.ask("ZUNION", 2, "a", "b", "WITHSCORES") == [b"m", b"0"]
    assert node.ask("ZINTER", 2, "a", "b", "WITHSCORES") == [b"m", b"0"]
    assert node.ask("ZUNION", 1, "a", "WEIGHTS", 0, "WITHSCORES") == [b"m", b"0"]


def test_resp3_nests_members_and_scores(filled: Node) -> None:
    filled.run(b"HELLO", b"3")
    assert filled.run(b"ZINTER", b"2", b"a", b"s", b"WITHSCORES") == b"*1\r\n*2\r\n$1\r\nz\r\n,4\r\n"


def test_a_destination_may_be_an_input_and_loses_its_time_to_live(filled: Node) -> None:
    filled.ask("PEXPIRE", "a", 10_000)
    assert filled.ask("ZUNIONSTORE", "a", 2, "a", "b") == 4
    assert filled.ask("PTTL", "a") == -1
    assert filled.ask("ZDIFFSTORE", "s", 1, "a") == 4
    assert filled.ask("TYPE", "s") == b"zset"


def test_an_empty_result_deletes_the_destination_and_only_that_is_propagated(filled: Node) -> None:
    filled.propagated()
    assert filled.ask("ZINTERSTORE", "b", 2, "a", "none") == 0
    assert filled.ask("EXISTS", "b") == 0
    assert filled.ask("ZINTERSTORE", "b", 2, "a", "none") == 0
    assert filled.propagated() == [[b"ZINTERSTORE", b"b", b"2", b"a", b"none"]]


def test_a_stored_result_is_a_listpack_if_it_is_small(filled: Node) -> None:
    filled.ask("ZADD", "big", *(part for number in range(500) for part in (number, f"m{number}")))
    filled.ask("ZUNIONSTORE", "large", 2, "big", "a")
    filled.ask("ZINTERSTORE", "small", 2, "large", "a")
    assert filled.ask("OBJECT", "ENCODING", "large") == b"skiplist"
    assert filled.ask("OBJECT", "ENCODING", "small") == b"listpack"


def test_zintercard_counts_up_to_its_limit(filled: Node) -> None:
    assert filled.ask("ZINTERCARD", 2, "a", "b") == 2
    assert filled.ask("ZINTERCARD", 2, "a", "b", "LIMIT", 1) == 1
    assert filled.ask("ZINTERCARD", 2, "a", "b", "LIMIT", 0) == 2
    assert filled.ask("ZINTERCARD", 1, "none") == 0


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("ZUNION", 0, "a"), "ERR at least 1 input key is needed for 'zunion' command"),
        (("ZINTERSTORE", "d", -1, "a"), "ERR at least 1 input key is needed for 'zinterstore' command"),
        (("ZUNION", "x", "a"), "ERR value is not an integer or out of range"),
        (("ZUNION", 3, "a", "b"), "ERR syntax error"),
        (("ZUNION", 2, "a", "b", "WEIGHTS", 1), "ERR syntax error"),
        (("ZUNION", 2, "a", "b", "WEIGHTS", 1, "x"), "ERR weight value is not a float"),
        (("ZUNION", 1, "a", "AGGREGATE", "AVG"), "ERR syntax error"),
        (("ZUNION", 1, "a", "AGGREGATE"), "ERR syntax error"),
        (("ZUNIONSTORE", "d", 1, "a", "WITHSCORES"), "ERR syntax error"),
        (("ZDIFF", 1, "a", "WEIGHTS", 1), "ERR syntax error"),
        (("ZDIFFSTORE", "d", 1, "a", "WITHSCORES"), "ERR syntax error"),
        (("ZINTERCARD", 1, "a", "LIMIT", -1), "ERR LIMIT can't be negative"),
        (("ZINTERCARD", 1, "a", "LIMIT"), "ERR syntax error"),
        (("ZINTERCARD", 1, "a", "WITHSCORES"), "ERR syntax error"),
    ],
)
def test_refused(filled: Node, args: tuple[str | int, ...], error: str) -> None:
    assert filled.error(*args) == error


def test_a_wrong_type_is_found_before_a_wrong_option(filled: Node) -> None:
    filled.ask("SET", "text", "value")
    assert filled.error("ZUNION", 2, "a", "text", "NONSENSE").startswith("WRONGTYPE")


def test_keys_are_found_for_routing(filled: Node) -> None:
    assert filled.ask("COMMAND", "GETKEYS", "ZUNIONSTORE", "d", 2, "a", "b") == [b"d", b"a", b"b"]
    assert filled.ask("COMMAND", "GETKEYS", "ZDIFF", 2, "a", "b", "WITHSCORES") == [b"a", b"b"]
