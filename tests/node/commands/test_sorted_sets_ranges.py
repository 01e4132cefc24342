"""Sorted sets by range: rank, score and lex; forwards, backwards, limited, counted, stored, removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.node.conftest import Node

NOT_A_FLOAT = "ERR min or max is not a float"
NOT_LEX = "ERR min or max not valid string range item"


@pytest.fixture
def scored(node: Node) -> Node:
    """A node whose key `z` has a to f with the scores 1 to 6."""
    node.ask("ZADD", "z", *(part for score, member in enumerate("abcdef", 1) for part in (score, member)))
    return node


def letters(members: list[bytes]) -> str:
    return b"".join(members).decode()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((0, -1), "abcdef"),
        ((1, 2), "bc"),
        ((-2, -1), "ef"),
        ((-100, 1), "ab"),
        ((4, 100), "ef"),
        ((3, 2), ""),
        ((6, 7), ""),
        ((0, 1, "REV"), "fe"),
        ((-2, -1, "REV"), "ba"),
        ((2, 4, "BYSCORE"), "bcd"),
        (("(2", "(4", "BYSCORE"), "c"),
        (("-inf", "+inf", "BYSCORE", "LIMIT", 1, 2), "bc"),
        (("-inf", "+inf", "BYSCORE", "LIMIT", 4, -1), "ef"),
        (("-inf", "+inf", "BYSCORE", "LIMIT", -1, 2), ""),
        (("-inf", "+inf", "BYSCORE", "LIMIT", 9, 2), ""),
        ((4, 2, "BYSCORE", "REV"), "dcb"),
        (("+inf", "-inf", "BYSCORE", "REV", "LIMIT", 1, 2), "ed"),
        ((9, 3, "BYSCORE"), ""),
        (("[b", "(e", "BYLEX"), "bcd"),
        (("-", "+", "BYLEX", "LIMIT", 2, 2), "cd"),
        (("[e", "(b", "BYLEX", "REV"), "edc"),
        (("+", "-", "BYLEX"), ""),
        ((0, 1, "LIMIT", 3, -1), "ab"),
    ],
)
def test_zrange(scored: Node, args: tuple[str | int, ...], expected: str) -> None:
    assert letters(scored.ask("ZRANGE", "z", *args)) == expected


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ("ZREVRANGE", (0, 2), "fed"),
        ("ZRANGEBYSCORE", ("(1", 3), "bc"),
        ("ZREVRANGEBYSCORE", (3, "(1"), "cb"),
        ("ZRANGEBYLEX", ("(a", "[c"), "bc"),
        ("ZREVRANGEBYLEX", ("[c", "(a"), "cb"),
    ],
)
def test_the_older_commands(scored: Node, command: str, args: tuple[str | int, ...], expected: str) -> None:
    assert letters(scored.ask(command, "z", *args)) == expected
    assert scored.ask(command, "none", *args) == []


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((0, "x"), "ERR value is not an integer or out of range"),
        (("x", 1, "BYSCORE"), NOT_A_FLOAT),
        (("nan", 1, "BYSCORE"), NOT_A_FLOAT),
        (("1_0", 1, "BYSCORE"), NOT_A_FLOAT),
        (("1 ", 2, "BYSCORE"), NOT_A_FLOAT),
        (("a", "[b", "BYLEX"), NOT_LEX),
        (("[a", "+b", "BYLEX"), NOT_LEX),
        (
            (0, 1, "LIMIT", 0, 1),
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ),
        (("-", "+", "BYLEX", "WITHSCORES"), "ERR syntax error, WITHSCORES not supported in combination with BYLEX"),
        ((0, 1, "BYSCORE", "LIMIT", 1), "ERR syntax error"),
        ((0, 1, "BYSCORE", "BYLEX"), "ERR syntax error"),
        ((0, 1, "FORWARD"), "ERR syntax error"),
    ],
)
def test_zrange_refuses(scored: Node, args: tuple[str | int, ...], error: str) -> None:
    assert scored.error("ZRANGE", "z", *args) == error


def test_the_older_commands_take_no_newer_options(scored: Node) -> None:
    assert scored.error("ZREVRANGE", "z", 0, 1, "REV") == "ERR syntax error"
    assert scored.error("ZRANGEBYSCORE", "z", 0, 1, "BYLEX") == "ERR syntax error"


def test_score_bounds_may_overflow_or_be_empty_as_in_c(scored: Node) -> None:
    assert scored.ask("ZCOUNT", "z", "-1e999", "1e999") == 6
    assert scored.ask("ZCOUNT", "z", "", " 3") == 3


def test_counting(scored: Node) -> None:
    assert scored.ask("ZCOUNT", "z", "(1", 3) == 2
    assert scored.ask("ZCOUNT", "z", 3, 1) == 0
    assert scored.ask("ZLEXCOUNT", "z", "[b", "+") == 5
    assert scored.ask("ZLEXCOUNT", "z", "+", "-") == 0
    assert scored.ask("ZCOUNT", "none", 0, 1) == 0
    assert scored.error("ZCOUNT", "none", "x", 1) == NOT_A_FLOAT
    assert scored.error("ZLEXCOUNT", "none", "x", "+") == NOT_LEX


def test_storing_a_range_replaces_the_destination_and_its_time_to_live(scored: Node) -> None:
    scored.ask("SET", "d", "text", "PX", 10_000)
    assert scored.ask("ZRANGESTORE", "d", "z", 2, 3, "BYSCORE") == 2
    assert scored.ask("ZRANGE", "d", 0, -1, "WITHSCORES") == [b"b", b"2", b"c", b"3"]
    assert scored.ask("PTTL", "d") == -1
    assert scored.ask("ZRANGESTORE", "d", "z", 8, 9) == 0
    assert scored.ask("EXISTS", "d") == 0
    assert scored.error("ZRANGESTORE", "d", "z", 0, 1, "WITHSCORES") == "ERR syntax error"


def test_storing_a_range_of_nothing_over_nothing_is_no_change(scored: Node) -> None:
    scored.propagated()
    assert scored.ask("ZRANGESTORE", "d", "none", 0, -1) == 0
    assert scored.propagated() == []


@pytest.mark.parametrize(
    ("command", "args", "left"),
    [
        ("ZREMRANGEBYRANK", (1, -2), "af"),
        ("ZREMRANGEBYSCORE", ("(2", "(5"), "abef"),
        ("ZREMRANGEBYLEX", ("[b", "[d"), "aef"),
        ("ZREMRANGEBYSCORE", ("-inf", "inf"), ""),
        ("ZREMRANGEBYRANK", (8, 9), "abcdef"),
    ],
)
def test_removing_a_range(scored: Node, command: str, args: tuple[str | int, ...], left: str) -> None:
    assert scored.ask(command, "z", *args) == 6 - len(left)
    assert letters(scored.ask("ZRANGE", "z", 0, -1)) == left
    assert scored.ask("EXISTS", "z") == bool(left)
    assert scored.ask(command, "none", *args) == 0


def test_ranges_of_a_large_set_are_exact_at_both_ends(node: Node) -> None:
    for number in range(5000):
        node.ask("ZADD", "z", number % 100, f"{number:04}")
    expected = sorted((number % 100, b"%04d" % number) for number in range(5000))
    chosen = [member for score, member in expected if 10 < score <= 90]
    assert node.ask("ZRANGEBYSCORE", "z", "(10", 90) == chosen
    assert node.ask("ZREVRANGEBYSCORE", "z", 90, "(10", "LIMIT", 5, 700) == chosen[::-1][5:705]
    assert node.ask("ZCOUNT", "z", "(10", 90) == len(chosen)
    assert node.ask("ZRANGE", "z", 1234, 3456) == [member for _, member in expected][1234:3457]
    assert node.ask("ZREVRANK", "z", "0000") == 4999
    assert node.ask("ZREMRANGEBYSCORE", "z", "(10", 90) == len(chosen)
    assert node.ask("ZCARD", "z") == 5000 - len(chosen)
    node.client.db.find(b"z")._check()
