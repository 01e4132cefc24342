"""SET and GETEX with their options: conditions, times, replies, and the absolute form that is propagated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.node.conftest import Node

SYNTAX_ERROR = "ERR syntax error"


@pytest.mark.parametrize(
    "options",
    [
        ("NX", "XX"),
        ("EX", "10", "PX", "10"),
        ("EX",),
        ("KEEPTTL", "EX", "10"),
        ("PXAT", "1", "KEEPTTL"),
        ("EXAT", "1", "PXAT", "1"),
        ("FOO",),
        ("PERSIST",),
    ],
)
def test_set_refuses_what_does_not_go_together(node: Node, options: tuple[str, ...]) -> None:
    assert node.error("SET", "k", "v", *options) == SYNTAX_ERROR
    assert node.ask("EXISTS", "k") == 0


@pytest.mark.parametrize(
    "options",
    [("EX", "10", "PERSIST"), ("PERSIST", "EX", "10"), ("KEEPTTL",), ("NX",), ("EX",), ("EX", "1", "PX", "1")],
)
def test_getex_refuses_what_does_not_go_together(node: Node, options: tuple[str, ...]) -> None:
    node.ask("SET", "k", "v")
    assert node.error("GETEX", "k", *options) == SYNTAX_ERROR


def test_conditions(node: Node) -> None:
    assert node.ask("SET", "k", "1", "XX") is None
    assert node.ask("SET", "k", "1", "NX") == b"OK"
    assert node.ask("SET", "k", "2", "nx") is None
    assert node.ask("SET", "k", "2", "xx") == b"OK"
    assert node.ask("GET", "k") == b"2"
    assert node.propagated() == [[b"SET", b"k", b"1", b"NX"], [b"SET", b"k", b"2", b"xx"]]


def test_get_answers_the_old_value_even_when_nothing_is_set(node: Node) -> None:
    assert node.ask("SET", "k", "1", "GET") is None
    assert node.ask("SET", "k", "2", "GET") == b"1"
    assert node.ask("SET", "k", "3", "NX", "GET") == b"2"
    assert node.ask("SET", "none", "3", "XX", "GET") is None
    assert node.ask("GET", "k") == b"2"
    assert node.propagated() == [[b"SET", b"k", b"1"], [b"SET", b"k", b"2"]]


def test_times_are_propagated_as_absolute(node: Node) -> None:
    now_ms = node.server.clock.now_ms
    node.ask("SET", "k", "v", "EX", 10)
    node.ask("SET", "k", "v", "px", 10, "GET")
    node.ask("SET", "k", "v", "XX", "EXAT", now_ms // 1000 + 10)
    node.ask("SET", "k", "v", "PXAT", now_ms + 10)
    assert node.propagated() == [
        [b"SET", b"k", b"v", b"PXAT", b"%d" % (now_ms + 10_000)],
        [b"SET", b"k", b"v", b"PXAT", b"%d" % (now_ms + 10)],
        [b"SET", b"k", b"v", b"PXAT", b"%d" % (now_ms + 10_000)],
        [b"SET", b"k", b"v", b"PXAT", b"%d" % (now_ms + 10)],
    ]
    assert node.ask("PTTL", "k") == 10


def test_keepttl_keeps_the_time(node: Node) -> None:
    node.ask("SET", "k", "1", "EX", 100)
    node.ask("SET", "k", "2", "KEEPTTL")
    assert node.ask("TTL", "k") == 100
    node.ask("SET", "k", "3")
    assert node.ask("TTL", "k") == -1


def test_keepttl_of_an_expired_key_starts_anew(node: Node) -> None:
    node.ask("SET", "k", "1", "PX", 10)
    node.advance(20)
    node.ask("SET", "k", "2", "KEEPTTL")
    assert node.ask("TTL", "k") == -1


@pytest.mark.parametrize("time", ["0", "-1", "9223372036854775807", "9223372036854775"])
def test_impossible_times_are_refused(node: Node, time: str) -> None:
    assert node.error("SET", "k", "v", "EX", time) == "ERR invalid expire time in 'set' command"
    node.ask("SET", "k", "v")
    assert node.error("GETEX", "k", "EX", time) == "ERR invalid expire time in 'getex' command"


def test_a_time_in_the_past_stores_a_key_that_nobody_sees(node: Node) -> None:
    assert node.ask("SET", "k", "v", "PXAT", 1) == b"OK"
    assert node.ask("GET", "k") is None


def test_getex_sets_or_drops_the_time_and_propagates_that_alone(node: Node) -> None:
    now_ms = node.server.clock.now_ms
    node.ask("SET", "k", "v")
    node.propagated()
    assert node.ask("GETEX", "k") == b"v"
    assert node.propagated() == []
    assert node.ask("GETEX", "k", "EX", 10) == b"v"
    assert node.ask("TTL", "k") == 10
    assert node.ask("GETEX", "k", "PERSIST") == b"v"
    assert node.ask("GETEX", "k", "PERSIST") == b"v"
    assert node.ask("TTL", "k") == -1
    assert node.ask("GETEX", "k", "PXAT", now_ms - 1) == b"v"
    assert node.ask("EXISTS", "k") == 0
    assert node.propagated() == [
        [b"PEXPIREAT", b"k", b"%d" % (now_ms + 10_000)],
        [b"PERSIST", b"k"],
        [b"DEL", b"k"],
    ]
    assert node.ask("GETEX", "k", "EX", "nonsense") is None
