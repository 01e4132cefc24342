"""LMOVE, RPOPLPUSH and LMPOP: replies, errors in Redis's words, and what is propagated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.node.conftest import Node


@pytest.mark.parametrize(
    ("sides", "moved", "source", "destination"),
    [
        ("LEFT LEFT", b"a", b"bc", b"axy"),
        ("left right", b"a", b"bc", b"xya"),
        ("RIGHT LEFT", b"c", b"ab", b"cxy"),
        ("RIGHT RIGHT", b"c", b"ab", b"xyc"),
    ],
)
def test_move_takes_from_one_side_and_adds_at_the_other(
    node: Node, sides: str, moved: bytes, source: bytes, destination: bytes
) -> None:
    node.ask("RPUSH", "s", *"abc")
    node.ask("RPUSH", "d", *"xy")
    node.propagated()
    assert node.ask("LMOVE", "s", "d", *sides.split()) == moved
    assert b"".join(node.ask("LRANGE", "s", 0, -1)) == source
    assert b"".join(node.ask("LRANGE", "d", 0, -1)) == destination
    assert node.propagated() == [[b"LMOVE", b"s", b"d", *sides.encode().split()]]


def test_move_within_one_list_rotates_it(node: Node) -> None:
    node.ask("RPUSH", "l", *"abc")
    assert node.ask("RPOPLPUSH", "l", "l") == b"c"
    assert b"".join(node.ask("LRANGE", "l", 0, -1)) == b"cab"
    node.ask("RPUSH", "one", "a")
    assert node.ask("LMOVE", "one", "one", "LEFT", "RIGHT") == b"a"
    assert node.ask("LRANGE", "one", 0, -1) == [b"a"]


def test_move_of_the_last_element_deletes_the_source_and_creates_the_destination(node: Node) -> None:
    node.ask("RPUSH", "s", "a")
    assert node.ask("RPOPLPUSH", "s", "d") == b"a"
    assert node.client.db.find(b"s") is None
    assert node.ask("LRANGE", "d", 0, -1) == [b"a"]


def test_move_without_source_answers_null_and_with_another_type_fails_unchanged(node: Node) -> None:
    assert node.ask("LMOVE", "s", "d", "LEFT", "LEFT") is None
    node.ask("RPUSH", "s", "a")
    node.client.db.set(b"d", b"text")
    assert node.error("RPOPLPUSH", "s", "d").startswith("WRONGTYPE")
    assert node.ask("LRANGE", "s", 0, -1) == [b"a"]
    assert node.error("LMOVE", "s", "d", "LEFT", "UP") == "ERR syntax error"


def test_multi_pop_takes_from_the_first_list_that_exists(node: Node) -> None:
    node.ask("RPUSH", "b", *"xyz")
    node.ask("RPUSH", "c", *"123")
    node.propagated()
    assert node.ask("LMPOP", 3, "a", "b", "c", "RIGHT", "COUNT", 2) == [b"b", [b"z", b"y"]]
    assert node.ask("LMPOP", 3, "a", "b", "c", "left", "count", 10) == [b"b", [b"x"]]
    assert node.ask("LMPOP", 2, "a", "c", "left") == [b"c", [b"1"]]
    assert node.propagated() == [[b"RPOP", b"b", b"2"], [b"LPOP", b"b", b"1"], [b"LPOP", b"c", b"1"]]
    assert node.run(b"LMPOP", b"1", b"a", b"LEFT") == b"*-1\r\n"


@pytest.mark.parametrize(
    ("request_line", "error"),
    [
        ("LMPOP 0 a LEFT", "ERR numkeys should be greater than 0"),
        ("LMPOP x a LEFT", "ERR numkeys should be greater than 0"),
        ("LMPOP 9223372036854775807 a LEFT", "ERR syntax error"),
        ("LMPOP 2 a LEFT", "ERR syntax error"),
        ("LMPOP 1 a UP", "ERR syntax error"),
        ("LMPOP 1 a LEFT COUNT", "ERR syntax error"),
        ("LMPOP 1 a LEFT COUNT 0", "ERR count should be greater than 0"),
        ("LMPOP 1 a LEFT COUNT x", "ERR count should be greater than 0"),
        ("LMPOP 1 a LEFT COUNT 1 COUNT 2", "ERR syntax error"),
        ("LMPOP 1 a LEFT FOO 2", "ERR syntax error"),
        ("BLMPOP 0 0 a LEFT", "ERR numkeys should be greater than 0"),
        ("BLMPOP -1 1 a LEFT", "ERR timeout is negative"),
    ],
)
def test_multi_pop_refuses_what_redis_refuses(node: Node, request_line: str, error: str) -> None:
    assert node.error(*request_line.split()) == error
