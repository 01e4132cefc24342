"""Sorted sets as queues: popping, popping from the first of several keys, waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hiredis
import pytest

if TYPE_CHECKING:
    from pyredis_cluster.node.client import Client

    from tests.node.conftest import Node

NULL_ARRAY = b"*-1\r\n"


@pytest.fixture
def filled(node: Node) -> Node:
    """A node whose key `z` has a, b and c with the scores 1, 2 and 3."""
    node.ask("ZADD", "z", 1, "a", 2, "b", 3, "c")
    node.propagated()
    return node


def wait(node: Node, *args: str) -> Client:
    """Another client, parked on that command."""
    client = node.connect()
    assert node.run(*(arg.encode() for arg in args), client=client) == b""
    assert client.parked is not None
    return client


def served(client: Client) -> object:
    """The reply that the client got, None if there is none yet."""
    reader = hiredis.Reader()
    reader.feed(bytes(client.out))
    client.out.clear()
    reply = reader.gets()
    return None if reply is False else reply


def test_pops_come_from_their_end_in_its_order(filled: Node) -> None:
    assert filled.ask("ZPOPMIN", "z") == [b"a", b"1"]
    assert filled.ask("ZPOPMAX", "z", 5) == [b"c", b"3", b"b", b"2"]
    assert filled.ask("EXISTS", "z") == 0
    assert filled.ask("ZPOPMIN", "z") == []
    assert filled.propagated() == [[b"ZPOPMIN", b"z"], [b"ZPOPMAX", b"z", b"5"]]


def test_pop_counts_are_checked_first(filled: Node) -> None:
    assert filled.ask("ZPOPMIN", "z", 0) == []
    assert filled.error("ZPOPMIN", "none", -1) == "ERR value is out of range, must be positive"
    assert filled.error("ZPOPMIN", "none", "x") == "ERR value is out of range, must be positive"
    assert filled.error("ZPOPMAX", "z", 1, 2) == "ERR syntax error"
    assert filled.propagated() == []


def test_resp3_nests_the_pairs_of_a_pop_with_a_count(filled: Node) -> None:
    filled.run(b"HELLO", b"3")
    assert filled.run(b"ZPOPMIN", b"z") == b"*2\r\n$1\r\na\r\n,1\r\n"
    assert filled.run(b"ZPOPMIN", b"z", b"1") == b"*1\r\n*2\r\n$1\r\nb\r\n,2\r\n"
    assert filled.run(b"BZPOPMIN", b"z", b"0") == b"*3\r\n$1\r\nz\r\n$1\r\nc\r\n,3\r\n"


def test_zmpop_takes_from_the_first_key_that_exists_and_is_propagated_as_a_pop(filled: Node) -> None:
    assert filled.ask("ZMPOP", 2, "none", "z", "MAX", "COUNT", 2) == [b"z", [[b"c", b"3"], [b"b", b"2"]]]
    assert filled.ask("ZMPOP", 1, "z", "min") == [b"z", [[b"a", b"1"]]]
    assert filled.run(b"ZMPOP", b"1", b"z", b"MIN") == NULL_ARRAY
    assert filled.propagated() == [[b"ZPOPMAX", b"z", b"2"], [b"ZPOPMIN", b"z", b"1"]]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((0, "z", "MIN"), "ERR numkeys should be greater than 0"),
        (("x", "z", "MIN"), "ERR numkeys should be greater than 0"),
        ((1, "z", "MIDDLE"), "ERR syntax error"),
        ((2, "z", "MIN"), "ERR syntax error"),
        ((1, "z", "MIN", "COUNT"), "ERR syntax error"),
        ((1, "z", "MIN", "COUNT", 0), "ERR count should be greater than 0"),
        ((1, "z", "MIN", "COUNT", 1, "COUNT", 1), "ERR syntax error"),
    ],
)
def test_zmpop_and_bzmpop_refuse(filled: Node, args: tuple[str | int, ...], error: str) -> None:
    assert filled.error("ZMPOP", *args) == error
    assert filled.error("BZMPOP", 0, *args) == error


def test_blocking_pops_take_what_is_there_at_once(filled: Node) -> None:
    assert filled.ask("BZPOPMIN", "none", "z", 0) == [b"z", b"a", b"1"]
    assert filled.ask("BZPOPMAX", "none", "z", 0) == [b"z", b"c", b"3"]
    assert filled.ask("BZMPOP", 0, 2, "none", "z", "MIN", "COUNT", 9) == [b"z", [[b"b", b"2"]]]
    assert filled.propagated() == [[b"ZPOPMIN", b"z"], [b"ZPOPMAX", b"z"], [b"ZPOPMIN", b"z", b"1"]]


def test_zadd_serves_the_waiting_clients_in_the_order_in_which_they_came(node: Node) -> None:
    clients = [wait(node, "BZPOPMIN", "z", "0"), wait(node, "BZMPOP", "0", "1", "z", "MAX")]
    assert node.ask("ZADD", "z", 1, "a", 2, "b", 3, "c") == 3
    assert [served(client) for client in clients] == [[b"z", b"a", b"1"], [b"z", [[b"c", b"3"]]]]
    assert node.ask("ZRANGE", "z", 0, -1) == [b"b"]
    assert node.propagated() == [
        [b"ZADD", b"z", b"1", b"a", b"2", b"b", b"3", b"c"],
        [b"ZPOPMIN", b"z"],
        [b"ZPOPMAX", b"z", b"1"],
    ]


@pytest.mark.parametrize(
    "command",
    [
        ("ZINCRBY", "z", 1, "a"),
        ("ZUNIONSTORE", "z", 1, "other"),
        ("ZRANGESTORE", "z", "other", 0, -1),
        ("RENAME", "other", "z"),
        ("COPY", "other", "z"),
    ],
)
def test_whatever_creates_the_key_wakes(node: Node, command: tuple[str | int, ...]) -> None:
    node.ask("ZADD", "other", 1, "a")
    client = wait(node, "BZPOPMAX", "z", "0")
    node.ask(*command)
    assert served(client) == [b"z", b"a", b"1"]


def test_a_value_of_another_type_does_not_wake(node: Node) -> None:
    client = wait(node, "BZPOPMIN", "z", "0")
    node.ask("RPUSH", "z", "element")
    assert client.parked is not None
    node.ask("DEL", "z")
    node.ask("ZADD", "z", 1, "a")
    assert served(client) == [b"z", b"a", b"1"]


def test_a_transaction_serves_only_at_its_end(node: Node) -> None:
    client = wait(node, "BZPOPMIN", "z", "0")
    for command in (("MULTI",), ("ZADD", "z", 2, "b"), ("ZADD", "z", 1, "a"), ("EXEC",)):
        assert served(client) is None
        node.ask(*command)
    assert served(client) == [b"z", b"a", b"1"]


def test_nothing_waits_inside_a_transaction(node: Node) -> None:
    node.ask("MULTI")
    node.ask("BZPOPMIN", "z", 0)
    node.ask("BZMPOP", 0, 1, "z", "MIN")
    assert node.ask("EXEC") == [None, None]


def test_a_deadline_that_passes_gives_the_null_array(node: Node) -> None:
    client = wait(node, "BZPOPMIN", "z", "0.05")
    node.advance(49)
    node.server.blocking.expire(node.server.clock.now_ms)
    assert client.parked is not None
    node.advance(1)
    node.server.blocking.expire(node.server.clock.now_ms)
    assert bytes(client.out) == NULL_ARRAY


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        ("x", "ERR timeout is not a float or out of range"),
        ("-1", "ERR timeout is negative"),
        ("1e300", "ERR timeout is out of range"),
    ],
)
def test_a_bad_timeout_is_refused(filled: Node, timeout: str, error: str) -> None:
    assert filled.error("BZPOPMIN", "z", timeout) == error
    assert filled.error("BZMPOP", timeout, 1, "z", "MIN") == error
