"""Parked clients in virtual time: order, deadlines, unblocking, pauses; the clock is set by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyredis_cluster.node.blocking import DEADLINES_SPARE, SERVE_ROUNDS_MAX
from pyredis_cluster.node.client import GUARD_PARKED, Client
from pyredis_cluster.node.errors import CommandError
from pyredis_cluster.node.keyspace import ExpiryPolicy

if TYPE_CHECKING:
    from .conftest import Node

NIL = b"*-1\r\n"


def park(node: Node, *args: bytes) -> Client:
    """A new client, parked with this command."""
    client = node.connect()
    assert node.run(*args, client=client) == b""
    assert client.guard & GUARD_PARKED
    return client


def expire(node: Node) -> None:
    node.server.blocking.expire(node.server.clock.now_ms)


def popped(key: bytes, value: bytes) -> bytes:
    return b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value)


def test_clients_are_served_in_the_order_in_which_they_came(node: Node) -> None:
    first, second, third = (park(node, b"BLPOP", b"q", b"0") for _ in range(3))
    node.run(b"RPUSH", b"q", b"a", b"b")
    assert (first.out, second.out, third.out) == (popped(b"q", b"a"), popped(b"q", b"b"), b"")
    assert third.parked is not None


def test_a_client_is_answered_at_its_deadline_and_not_before(node: Node) -> None:
    client = park(node, b"BLPOP", b"q", b"0.1")
    assert node.server.blocking.next_deadline_ms() == node.server.clock.now_ms + 100
    node.advance(99)
    expire(node)
    assert client.parked is not None
    node.advance(1)
    expire(node)
    assert client.out == NIL
    assert node.server.blocking.next_deadline_ms() is None


def test_deadlines_end_in_their_own_order(node: Node) -> None:
    late = park(node, b"BLPOP", b"q", b"2")
    soon = park(node, b"BLPOP", b"q", b"1")
    node.advance(1000)
    expire(node)
    assert (soon.out, late.out) == (NIL, b"")


def test_a_timeout_of_zero_waits_for_ever(node: Node) -> None:
    client = park(node, b"BLPOP", b"q", b"0")
    node.advance(1_000_000_000)
    expire(node)
    assert client.parked is not None


def test_only_an_earlier_deadline_moves_the_timer(node: Node) -> None:
    moves: list[int] = []
    node.server.blocking.on_deadline = lambda: moves.append(1)
    park(node, b"BLPOP", b"q", b"10")
    park(node, b"BLPOP", b"q", b"20")
    assert len(moves) == 1
    park(node, b"BLPOP", b"q", b"5")
    assert len(moves) == 2


def test_deadlines_of_served_clients_do_not_pile_up(node: Node) -> None:
    for _ in range(10 * DEADLINES_SPARE):
        park(node, b"BLPOP", b"q", b"3600")
        node.run(b"RPUSH", b"q", b"x")
    assert len(node.server.blocking._deadlines) <= DEADLINES_SPARE + 2


def test_a_key_of_another_type_serves_nobody(node: Node) -> None:
    client = park(node, b"BLPOP", b"q", b"0")
    node.run(b"SADD", b"q", b"x")
    assert client.parked is not None
    node.run(b"DEL", b"q")
    node.run(b"RPUSH", b"q", b"x")
    assert client.out == popped(b"q", b"x")


def test_a_transaction_serves_after_all_of_it(node: Node) -> None:
    client = park(node, b"BLPOP", b"q", b"0")
    for command in ([b"MULTI"], [b"RPUSH", b"q", b"x"], [b"DEL", b"q"], [b"EXEC"]):
        node.run(*command)
    assert client.parked is not None


def test_a_chain_of_moves_runs_to_its_end(node: Node) -> None:
    last = park(node, b"BLPOP", b"c", b"0")
    park(node, b"BLMOVE", b"b", b"c", b"LEFT", b"RIGHT", b"0")
    park(node, b"BLMOVE", b"a", b"b", b"LEFT", b"RIGHT", b"0")
    node.run(b"RPUSH", b"a", b"x")
    assert last.out == popped(b"c", b"x")
    assert not [*node.server.blocking]


def test_what_a_round_does_not_serve_is_served_in_the_next(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[object] = []
    monkeypatch.setattr(type(node.server.reactor), "continue_later", lambda _, handler: later.append(handler))
    keys = [b"k%d" % number for number in range(2 * SERVE_ROUNDS_MAX + 1)]  # EXEC serves twice
    park(node, b"BLPOP", *keys[:-1], b"0")
    last = park(node, b"BLPOP", keys[-1], b"0")
    node.run(b"MULTI")
    for key in keys:
        node.run(b"RPUSH", key, b"x")
    node.run(b"EXEC")
    assert last.parked is not None
    assert set(later) == {node.server.blocking}
    node.server.blocking.on_turn()
    assert last.out == popped(keys[-1], b"x")


def test_unblock_answers_as_a_timeout_or_with_an_error(node: Node) -> None:
    blocking = node.server.blocking
    client = park(node, b"BLPOP", b"q", b"0")
    assert blocking.unblock(client, with_error=False)
    assert client.out == NIL
    assert not blocking.unblock(client, with_error=False)
    client = park(node, b"BLPOP", b"q", b"0")
    assert blocking.unblock(client, with_error=True)
    assert client.out == b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"


def test_a_released_client_leaves_nothing_behind(node: Node) -> None:
    client = park(node, b"BLPOP", b"q", b"r", b"10")
    node.server.blocking.release(client)
    assert not client.db.blocked
    assert not [*node.server.blocking]
    assert node.server.blocking.next_deadline_ms() is None
    assert client.out == b""


def test_all_are_aborted_but_those_to_keep(node: Node) -> None:
    kept = park(node, b"BLPOP", b"q", b"0")
    other = park(node, b"BLPOP", b"q", b"0")
    node.server.blocking.abort_all(CommandError("gone", "UNBLOCKED"), keep=lambda client: client is kept)
    assert kept.parked is not None
    assert other.out == b"-UNBLOCKED gone\r\n"


def test_reply_skip_skips_the_reply_of_a_parked_command(node: Node) -> None:
    client = node.connect()
    node.run(b"CLIENT", b"REPLY", b"SKIP", client=client)
    assert node.run(b"BLPOP", b"q", b"0", client=client) == b""
    node.run(b"RPUSH", b"q", b"x")
    assert client.out == b""
    assert node.run(b"PING", client=client) == b"+PONG\r\n"


# -- CLIENT PAUSE


def test_a_pause_of_writes_holds_back_writes_alone(node: Node) -> None:
    node.run(b"CLIENT", b"PAUSE", b"1000", b"WRITE")
    assert node.run(b"GET", b"k") == b"$-1\r\n"
    assert park(node, b"SET", b"k", b"v").parked is not None


def test_a_pause_of_all_lets_unpause_through(node: Node) -> None:
    node.run(b"CLIENT", b"PAUSE", b"1000", b"ALL")
    client = park(node, b"PING")
    assert node.run(b"CLIENT", b"UNPAUSE") == b"+OK\r\n"
    assert client.parked is None


def test_a_pause_ends_by_itself(node: Node) -> None:
    node.run(b"CLIENT", b"PAUSE", b"1000", b"ALL")
    client = park(node, b"PING")
    assert node.server.blocking.next_deadline_ms() == node.server.clock.now_ms + 1000
    node.advance(999)
    expire(node)
    assert client.parked is not None
    node.advance(1)
    expire(node)
    assert client.parked is None
    assert node.run(b"PING") == b"+PONG\r\n"


def test_a_pause_does_not_delay_the_deadlines_of_parked_clients(node: Node) -> None:
    client = park(node, b"BLPOP", b"q", b"0.5")
    node.run(b"CLIENT", b"PAUSE", b"1000", b"ALL")
    node.advance(500)
    expire(node)
    assert client.out == NIL


def test_queueing_a_write_waits_for_the_end_of_the_pause_as_redis_does(node: Node) -> None:
    client = node.connect()
    assert node.run(b"MULTI", client=client) == b"+OK\r\n"
    node.run(b"CLIENT", b"PAUSE", b"1000", b"WRITE")
    assert node.run(b"GET", b"k", client=client) == b"+QUEUED\r\n"
    assert node.run(b"SET", b"k", b"v", client=client) == b""
    assert client.parked is not None


def test_a_transaction_with_writes_is_held_back_as_a_whole(node: Node) -> None:
    client = node.connect()
    node.run(b"MULTI", client=client)
    node.run(b"SET", b"k", b"v", client=client)
    node.run(b"CLIENT", b"PAUSE", b"1000", b"WRITE")
    assert node.run(b"EXEC", client=client) == b""
    assert client.parked is not None
    assert node.run(b"GET", b"k") == b"$-1\r\n"


def test_unblock_does_not_end_a_pause(node: Node) -> None:
    node.run(b"CLIENT", b"PAUSE", b"1000", b"WRITE")
    client = park(node, b"SET", b"k", b"v")
    assert not node.server.blocking.unblock(client, with_error=True)
    assert client.parked is not None


def test_no_key_expires_during_a_pause(node: Node) -> None:
    node.run(b"CLIENT", b"PAUSE", b"1000", b"WRITE")
    assert node.server.keyspace.expiry_policy is ExpiryPolicy.HIDE
    node.run(b"CLIENT", b"UNPAUSE")
    assert node.server.keyspace.expiry_policy is ExpiryPolicy.DELETE
