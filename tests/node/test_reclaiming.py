"""Active expiry and lazy freeing in slices: bounded by time, fair, propagated, and a primary's business alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trio.testing
from pyredis_cluster.node.keyspace import ExpiryPolicy
from pyredis_cluster.node.reclaiming import KEYS_PER_CHECK, SLICE_NS, Reclaimer

if TYPE_CHECKING:
    from tests.node.conftest import Node


def ticking(step_ns: int) -> Callable[[], int]:
    """A counter that advances by so much at each look."""
    now_ns = 0

    def look() -> int:
        nonlocal now_ns
        now_ns += step_ns
        return now_ns

    return look


def expiring(node: Node, count: int, in_ms: int = 100) -> None:
    """So many keys that die at the same moment."""
    db = node.client.db
    for number in range(count):
        db.set(b"k%d" % number, b"v")
        db.set_expiry(b"k%d" % number, node.server.clock.now_ms + in_ms)


def test_due_keys_are_deleted_propagated_and_counted(node: Node) -> None:
    expiring(node, 3)
    node.ask("SET", "stays", "v", "EX", 100)
    node.propagated()
    node.advance(1000)
    assert not node.server.reclaimer.slice()
    assert node.ask("DBSIZE") == 1
    assert sorted(node.propagated()) == [[b"DEL", b"k0"], [b"DEL", b"k1"], [b"DEL", b"k2"]]
    assert node.server.keyspace.expired_keys == 3


def test_a_slice_ends_in_time_and_says_that_work_remains(node: Node) -> None:
    reclaimer = Reclaimer(node.server, ticking(SLICE_NS // 10))
    expiring(node, 100 * KEYS_PER_CHECK)
    node.advance(1000)
    assert reclaimer.slice()
    assert len(node.client.db) == 90 * KEYS_PER_CHECK
    slices = 1
    while reclaimer.slice():
        slices += 1
    assert slices == 10
    assert len(node.client.db) == 0


def test_databases_get_their_turn(node: Node) -> None:
    reclaimer = Reclaimer(node.server, ticking(SLICE_NS))
    for database in node.server.keyspace.databases[:3]:
        database.set(b"k", b"v")
        database.set_expiry(b"k", 1)
    slices = 0
    while reclaimer.slice():
        slices += 1
    assert [len(database) for database in node.server.keyspace.databases[:3]] == [0, 0, 0]
    assert slices == 3


@pytest.mark.parametrize("policy", [ExpiryPolicy.HIDE, ExpiryPolicy.IGNORE])
def test_a_replica_expires_nothing(node: Node, policy: ExpiryPolicy) -> None:
    expiring(node, 3)
    node.advance(1000)
    node.server.keyspace.expiry_policy = policy
    assert not node.server.reclaimer.slice()
    assert len(node.client.db) == 3


def test_nothing_expires_while_it_is_switched_off_or_paused(node: Node) -> None:
    expiring(node, 3)
    node.advance(1000)
    node.server.reclaimer.active_expiry = False
    node.server.reclaimer.slice()
    node.server.reclaimer.active_expiry = True
    node.ask("CLIENT", "PAUSE", 1000, "WRITE")
    node.server.reclaimer.slice()
    assert len(node.client.db) == 3
    node.ask("CLIENT", "UNPAUSE")
    node.server.reclaimer.slice()
    assert len(node.client.db) == 0


async def test_slices_follow_at_once_while_work_remains(node: Node, autojump_clock: trio.testing.MockClock) -> None:
    reclaimer = Reclaimer(node.server, ticking(SLICE_NS // 2))
    expiring(node, 200 * KEYS_PER_CHECK, in_ms=-10_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reclaimer.run)
        started = trio.current_time()
        while len(node.client.db):
            await trio.sleep(0.001)
        took = trio.current_time() - started
        nursery.cancel_scope.cancel()
    assert took < 100 * 5 * SLICE_NS / 1e9
