"""Blocking list commands: who is served, in which order, with what, and what the journal gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hiredis
import pytest

if TYPE_CHECKING:
    from pyredis_cluster.node.client import Client

    from tests.node.conftest import Node

NULL_ARRAY = b"*-1\r\n"


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


def test_an_element_that_is_there_is_popped_at_once(node: Node) -> None:
    node.ask("RPUSH", "b", *"123")
    node.propagated()
    assert node.ask("BLPOP", "a", "b", 0) == [b"b", b"1"]
    assert node.ask("BRPOP", "a", "b", 0) == [b"b", b"3"]
    assert node.ask("BLMPOP", 0, 2, "a", "b", "LEFT") == [b"b", [b"2"]]
    assert node.propagated() == [[b"LPOP", b"b"], [b"RPOP", b"b"], [b"LPOP", b"b", b"1"]]


def test_a_push_serves_the_waiting_client_and_is_propagated_before_the_pop(node: Node) -> None:
    client = wait(node, "BLPOP", "l", "0")
    assert node.ask("RPUSH", "l", "a", "b") == 2
    assert served(client) == [b"l", b"a"]
    assert node.propagated() == [[b"RPUSH", b"l", b"a", b"b"], [b"LPOP", b"l"]]
    assert node.ask("LRANGE", "l", 0, -1) == [b"b"]


def test_clients_are_served_in_the_order_in_which_they_came(node: Node) -> None:
    clients = [wait(node, "BRPOP", "l", "0") for _ in range(3)]
    node.ask("RPUSH", "l", "1", "2")
    assert [served(client) for client in clients] == [[b"l", b"2"], [b"l", b"1"], None]
    node.ask("RPUSH", "l", "3")
    assert served(clients[2]) == [b"l", b"3"]


def test_the_first_of_several_keys_in_the_command_wins_after_a_transaction(node: Node) -> None:
    client = wait(node, "BLPOP", "a", "b", "0")
    for command in (("MULTI",), ("RPUSH", "b", "1"), ("RPUSH", "a", "2"), ("EXEC",)):
        assert served(client) is None
        node.ask(*command)
    assert served(client) == [b"a", b"2"]


def test_a_list_that_the_transaction_deletes_again_serves_nobody(node: Node) -> None:
    client = wait(node, "BLPOP", "l", "0")
    for command in (("MULTI",), ("RPUSH", "l", "1"), ("LPOP", "l"), ("EXEC",)):
        node.ask(*command)
    assert served(client) is None
    assert client.parked is not None


def test_a_value_of_another_type_does_not_wake(node: Node) -> None:
    client = wait(node, "BLPOP", "l", "0")
    node.ask("SADD", "l", "member")
    assert client.parked is not None
    node.client.db.remove(b"l")
    node.ask("RPUSH", "l", "a")
    assert served(client) == [b"l", b"a"]


def test_a_destination_of_another_type_is_an_error_when_an_element_comes(node: Node) -> None:
    client = wait(node, "BRPOPLPUSH", "s", "d", "0")
    node.client.db.set(b"d", b"text")
    node.ask("RPUSH", "s", "a")
    assert str(served(client)).startswith("WRONGTYPE")
    assert node.ask("LRANGE", "s", 0, -1) == [b"a"]


def test_moves_chain_through_waiting_clients(node: Node) -> None:
    first = wait(node, "BLMOVE", "a", "b", "LEFT", "RIGHT", "0")
    second = wait(node, "BRPOPLPUSH", "b", "c", "0")
    node.ask("RPUSH", "a", "x")
    assert [served(first), served(second)] == [b"x", b"x"]
    assert node.ask("LRANGE", "c", 0, -1) == [b"x"]
    assert node.propagated()[1:] == [[b"LMOVE", b"a", b"b", b"LEFT", b"RIGHT"], [b"RPOPLPUSH", b"b", b"c"]]


def test_a_client_that_rotates_its_own_list_is_served_once(node: Node) -> None:
    client = wait(node, "BLMOVE", "l", "l", "LEFT", "RIGHT", "0")
    node.ask("RPUSH", "l", "a", "b")
    assert served(client) == b"a"
    assert node.ask("LRANGE", "l", 0, -1) == [b"b", b"a"]


def test_multi_pop_takes_up_to_its_count(node: Node) -> None:
    client = wait(node, "BLMPOP", "0", "2", "a", "b", "RIGHT", "COUNT", "10")
    node.ask("RPUSH", "b", "1", "2", "3")
    assert served(client) == [b"b", [b"3", b"2", b"1"]]
    assert node.propagated()[1:] == [[b"RPOP", b"b", b"3"]]


@pytest.mark.parametrize(
    "command",
    ["BLPOP l 0.05", "BRPOP l m 0.05", "BLMPOP 0.05 1 l LEFT", "BLMOVE l m LEFT LEFT 0.05", "BRPOPLPUSH l m 0.05"],
)
def test_the_timeout_ends_the_wait_with_a_null_array(node: Node, command: str) -> None:
    client = wait(node, *command.split())
    node.advance(49)
    node.server.blocking.expire(node.server.clock.now_ms)
    assert client.parked is not None
    node.advance(1)
    node.server.blocking.expire(node.server.clock.now_ms)
    assert client.parked is None
    assert bytes(client.out) == NULL_ARRAY
    node.ask("RPUSH", "l", "a")
    assert node.ask("LRANGE", "l", 0, -1) == [b"a"]


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("BLPOP l 0", NULL_ARRAY),
        ("BRPOP l 0", NULL_ARRAY),
        ("BLMPOP 0 1 l LEFT", NULL_ARRAY),
        ("BLMOVE l m LEFT LEFT 0", b"$-1\r\n"),
        ("BRPOPLPUSH l m 0", b"$-1\r\n"),
    ],
)
def test_inside_a_transaction_nothing_waits(node: Node, command: str, reply: bytes) -> None:
    node.ask("MULTI")
    node.ask(*command.split())
    assert node.run(b"EXEC") == b"*1\r\n" + reply


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        ("x", "ERR timeout is not a float or out of range"),
        ("-1", "ERR timeout is negative"),
        ("1e400", "ERR timeout is not a float or out of range"),
        ("9223372036854775807", "ERR timeout is out of range"),
        ("0x7FFFFFFFFFFFFF", "ERR timeout is out of range"),
    ],
)
def test_bad_timeouts_are_refused_in_redis_words(node: Node, timeout: str, error: str) -> None:
    assert node.error("BLPOP", "l", timeout) == error
    assert node.error("BRPOPLPUSH", "l", "m", timeout) == error
    assert node.error("BLMPOP", timeout, 1, "l", "LEFT") == error


def test_unblock_ends_the_wait_as_a_timeout_or_with_an_error(node: Node) -> None:
    first, second = wait(node, "BLPOP", "l", "0"), wait(node, "BLPOP", "l", "0")
    assert node.server.blocking.unblock(first, with_error=False)
    assert node.server.blocking.unblock(second, with_error=True)
    assert bytes(first.out) == NULL_ARRAY
    assert bytes(second.out) == b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
    assert not node.server.blocking.unblock(first, with_error=False)
    assert node.client.db.blocked == {}


def test_a_key_named_twice_is_waited_for_once(node: Node) -> None:
    client = wait(node, "BLPOP", "l", "l", "0")
    node.ask("RPUSH", "l", "a", "b")
    assert served(client) == [b"l", b"a"]
    assert node.client.db.blocked == {}
    assert node.ask("LRANGE", "l", 0, -1) == [b"b"]


def test_a_wait_counts_as_one_call_when_it_ends(node: Node) -> None:
    command = node.server.dispatcher.table.by_name[b"blpop"]
    before = command.calls
    clients = [wait(node, "BLPOP", "l", "0") for _ in range(2)]
    assert command.calls == before
    node.ask("RPUSH", "l", "a")
    assert command.calls == before + 1
    node.server.blocking.unblock(clients[1], with_error=False)
    assert command.calls == before + 2


def test_a_push_and_the_move_that_it_serves_count_as_two_changes(node: Node) -> None:
    wait(node, "BLMOVE", "a", "b", "LEFT", "LEFT", "0")
    before = node.server.keyspace.dirty
    node.ask("RPUSH", "a", "x")
    assert node.server.keyspace.dirty == before + 2


def test_a_transaction_is_journalled_once_and_before_what_it_serves(node: Node) -> None:
    wait(node, "BLPOP", "l", "0")
    for command in (("MULTI",), ("RPUSH", "l", "a", "b"), ("RPUSH", "m", "c"), ("EXEC",)):
        node.ask(*command)
    words = [b" ".join(entry) for entry in node.recorder.commands]
    assert words == [b"MULTI", b"RPUSH l a b", b"RPUSH m c", b"EXEC", b"LPOP l"]
