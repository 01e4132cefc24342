"""The target's side of a slot migration against a scripted source, and the removal of keys without a home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import hiredis
import pytest
from pyredis_cluster.gossip.slots import key_slot
from pyredis_cluster.node.migration.imports import REPLICAS_TIMEOUT_MS
from pyredis_cluster.node.migration.migrations import CLEANING_TIMEOUT_MS

from .fakes import ME, OTHER, THIRD, FakeCluster, ScriptedSource, with_cluster

Node = Any

SLOT = key_slot(b"{a}")
OTHER_SLOT = key_slot(b"{b}")


@pytest.fixture
def cluster(node: Node) -> FakeCluster:
    made = with_cluster(node)
    made.give([SLOT], OTHER)
    made.give([OTHER_SLOT], ME)
    return made


@pytest.fixture
def connect(node: Node, cluster: FakeCluster) -> Iterator[Callable[[], ScriptedSource]]:
    """connect() -> a source that has not introduced itself."""
    made: list[ScriptedSource] = []

    def start() -> ScriptedSource:
        made.append(ScriptedSource(node.server))
        return made[-1]

    yield start
    for source in made:
        source.close()


@pytest.fixture
def source(connect: Callable[[], ScriptedSource]) -> ScriptedSource:
    """A source whose import has begun."""
    made = connect()
    assert made.establish([SLOT]) == [b"OK"]
    return made


def last_message(node: Node) -> str:
    return str(node.server.migrations.jobs()[0].message)


def purge(node: Node) -> None:
    while node.server.migrations.purge.turn():
        pass
    node.server.migrations.purged()


def test_what_the_source_sends_is_run_and_propagated(node: Node, source: ScriptedSource) -> None:
    node.propagated()
    source.send([b"MSET", b"{a}k", b"1"], [b"HSET", b"{a}h", b"f", b"v"])
    assert node.ask("GET", "{a}k") == b"1"
    assert node.propagated() == [[b"MSET", b"{a}k", b"1"], [b"HSET", b"{a}h", b"f", b"v"]]


def test_finish_claims_the_slots_under_the_epoch_that_was_reserved(
    cluster: FakeCluster, source: ScriptedSource
) -> None:
    source.send([b"SET", b"{a}k", b"1"])
    source.finish(11)
    assert cluster.done == ["claim under 11"]


def test_the_connection_is_an_ordinary_one_after_the_claim(node: Node, source: ScriptedSource) -> None:
    source.finish(11)
    assert not node.server.migrations.is_importing
    assert source.connection.client.guard == 0
    source.send([b"PING"])
    assert not source.connection.closed


@pytest.mark.parametrize(
    ("reason", "hinder"),
    [
        ("STALEEPOCH 30", lambda cluster: cluster.heard_epoch(30)),
        ("The source does not own the slots", lambda cluster: cluster.give([SLOT], THIRD)),
        ("I can't take over slots now", lambda cluster: setattr(cluster, "up", False)),
    ],
)
def test_a_claim_is_refused(
    cluster: FakeCluster, source: ScriptedSource, reason: str, hinder: Callable[[FakeCluster], None]
) -> None:
    hinder(cluster)
    replies = source.finish(11) or source.replies()
    assert isinstance(replies[-1], hiredis.ReplyError)
    assert reason in str(replies[-1])
    assert cluster.done == []


def test_the_claim_waits_for_replicas(node: Node, cluster: FakeCluster, source: ScriptedSource) -> None:
    link = SimpleNamespace(in_sync=True, ack_offset=0, feed=lambda data: None)
    primary = node.server.replication.primary
    primary.links[node.connect()] = link
    source.send([b"SET", b"{a}k", b"1"])
    source.finish(11)
    assert cluster.done == []
    link.ack_offset = node.server.journal.offset
    node.server.blocking.check_conditions()
    assert cluster.done == ["claim under 11"]
    primary.links.clear()


def test_a_replica_that_does_not_answer_is_not_waited_for(
    node: Node, cluster: FakeCluster, source: ScriptedSource
) -> None:
    primary = node.server.replication.primary
    primary.links[node.connect()] = SimpleNamespace(in_sync=True, ack_offset=0, feed=lambda data: None)
    source.send([b"SET", b"{a}k", b"1"])
    source.finish(11)
    node.advance(REPLICAS_TIMEOUT_MS)
    node.server.blocking.expire(node.server.clock.now_ms)
    assert cluster.done == ["claim under 11"]
    primary.links.clear()


@pytest.mark.parametrize(
    "stray",
    [[b"SET", b"{b}k", b"1"], [b"MSET", b"{a}k", b"1", b"{b}k", b"2"], [b"GET", b"{a}k"], [b"FLUSHALL"], [b"X"]],
)
def test_the_source_may_write_to_its_slots_only(node: Node, source: ScriptedSource, stray: list[bytes]) -> None:
    source.send([b"SET", b"{a}k", b"1"], stray)
    assert source.connection.closed
    assert "does not belong here" in last_message(node)
    assert node.ask("EXISTS", "{b}k") == 0


def test_bytes_that_are_no_commands_end_the_import(node: Node, source: ScriptedSource) -> None:
    source.sock.sendall(b"*1\r\n$-5\r\n")
    node.server.reactor._handlers[source.connection.fd].on_readable()
    assert source.connection.closed
    assert not node.server.migrations.is_importing


def test_a_lost_connection_removes_what_came(node: Node, source: ScriptedSource) -> None:
    source.send([b"SET", b"{a}k", b"1"])
    source.connection.close("lost")
    purge(node)
    assert node.ask("EXISTS", "{a}k") == 0
    assert last_message(node) == "the source's connection was closed"


def test_a_flush_ends_the_import(node: Node, source: ScriptedSource) -> None:
    source.send([b"SET", b"{a}k", b"1"])
    node.run(b"FLUSHALL")
    assert source.connection.closed
    assert last_message(node) == "the database was flushed"


def test_an_import_ends_when_the_source_loses_the_slots(
    node: Node, cluster: FakeCluster, source: ScriptedSource
) -> None:
    cluster.give([SLOT], THIRD)
    node.server.migrations.cron()
    assert source.connection.closed


@pytest.mark.parametrize("reason", ["a manual failover begins", "this node is a replica now"])
def test_jobs_end_when_the_role_changes(node: Node, source: ScriptedSource, reason: str) -> None:
    node.server.migrations.stand_aside(reason)
    assert source.connection.closed
    assert last_message(node) == reason


def test_keys_that_come_do_not_expire_before_they_are_ours(node: Node, source: ScriptedSource) -> None:
    when = b"%d" % (node.server.clock.now_ms + 10)
    source.send([b"SET", b"{a}k", b"1", b"PXAT", when])
    node.advance(1000)
    assert node.server.reclaimer.slice() is False
    source.send([b"INCR", b"{a}k"], [b"PERSIST", b"{a}k"])
    assert node.ask("GET", "{a}k") == b"2"


def test_an_import_begins_when_the_slots_are_empty(
    node: Node, cluster: FakeCluster, connect: Callable[[], ScriptedSource]
) -> None:
    node.run(b"SET", b"{a}old", b"1")
    source = connect()
    assert source.establish([SLOT]) == []
    assert not node.server.migrations.is_importing
    purge(node)
    assert node.server.migrations.is_importing
    assert node.ask("EXISTS", "{a}old") == 0


def test_an_import_takes_the_place_of_one_that_a_restart_left(
    node: Node, cluster: FakeCluster, connect: Callable[[], ScriptedSource]
) -> None:
    cluster.importing = {SLOT}
    node.run(b"SET", b"{a}old", b"1")
    connect().establish([SLOT])
    purge(node)
    assert node.server.migrations.is_importing
    assert node.ask("EXISTS", "{a}old") == 0
    assert cluster.importing == set()


def test_an_import_does_not_wait_for_ever_for_empty_slots(
    node: Node, cluster: FakeCluster, connect: Callable[[], ScriptedSource]
) -> None:
    cluster.unconfirmed = {SLOT}
    node.run(b"SET", b"{a}old", b"1")
    source = connect()
    source.establish([SLOT])
    purge(node)
    node.advance(CLEANING_TIMEOUT_MS)
    node.server.blocking.expire(node.server.clock.now_ms)
    source.connection.flush()
    assert "Keys of the slots are still being removed" in str(source.replies()[0])
    assert node.ask("GET", "{a}old") == b"1"


@pytest.mark.parametrize(
    ("reason", "slots", "hinder"),
    [
        ("The source does not own the slots", [OTHER_SLOT], lambda node, cluster: None),
        ("I can't take over slots now", [SLOT], lambda node, cluster: setattr(cluster, "up", False)),
        ("Only a master can import", [SLOT], lambda node, cluster: node.server.replication.follow("127.0.0.1", 1)),
    ],
)
def test_an_import_is_refused(
    node: Node,
    cluster: FakeCluster,
    connect: Callable[[], ScriptedSource],
    reason: str,
    slots: list[int],
    hinder: Callable[[Node, FakeCluster], None],
) -> None:
    hinder(node, cluster)
    source = connect()
    replies = source.establish(slots)
    source.connection.flush()
    assert reason in str((replies or source.replies())[0])


def test_a_slot_is_imported_once_at_a_time(
    node: Node, source: ScriptedSource, connect: Callable[[], ScriptedSource]
) -> None:
    second = connect()
    replies = second.establish([SLOT])
    assert "already an active migration" in str((replies or second.replies())[0])


# -- removing keys


def test_keys_of_foreign_slots_are_removed_and_propagated(node: Node, cluster: FakeCluster) -> None:
    for number in range(100):
        node.run(b"SET", b"{a}%d" % number, b"1")
    node.run(b"SET", b"{b}k", b"1")
    node.propagated()
    node.server.migrations.purge.add([SLOT, OTHER_SLOT])
    purge(node)
    assert node.ask("DBSIZE") == 1
    assert [args[0] for args in node.propagated()] == [b"DEL", b"DEL"]


def test_keys_stay_until_the_new_owner_has_spoken(node: Node, cluster: FakeCluster) -> None:
    node.run(b"SET", b"{a}k", b"1")
    cluster.unconfirmed = {SLOT}
    node.server.migrations.purge.add([SLOT])
    purge(node)
    assert node.ask("EXISTS", "{a}k") == 1
    assert node.server.migrations.purge.pending([SLOT])
    cluster.unconfirmed = set()
    purge(node)
    assert node.ask("EXISTS", "{a}k") == 0
    assert not node.server.migrations.purge.pending([SLOT])


def test_a_slot_that_came_back_keeps_its_keys(node: Node, cluster: FakeCluster) -> None:
    node.run(b"SET", b"{a}k", b"1")
    node.server.migrations.purge.add([SLOT])
    cluster.give([SLOT], ME)
    purge(node)
    assert node.ask("EXISTS", "{a}k") == 1
    assert not node.server.migrations.purge.pending([SLOT])


def test_a_promoted_replica_removes_foreign_keys_once_the_others_agree(node: Node, cluster: FakeCluster) -> None:
    node.run(b"SET", b"{a}k", b"1")
    node.run(b"SET", b"{b}k", b"1")
    migrations = node.server.migrations
    migrations.promoted()
    migrations.cron()
    purge(node)
    assert node.ask("DBSIZE") == 2
    cluster.agreed = True
    migrations.cron()
    purge(node)
    assert node.ask("DBSIZE") == 1
    assert node.ask("EXISTS", "{b}k") == 1
