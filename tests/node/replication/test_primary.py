"""The primary's side, without sockets: who may go on from the backlog, what a slow replica gets, who is dropped."""

from __future__ import annotations

from typing import Any

import pytest
from pyredis_cluster.client.resp import encode_command
from pyredis_cluster.node.client import Client
from pyredis_cluster.node.replication.replica_link import STREAM_OUTPUT_HIGH_BYTES, ReplicaLink, SyncState

SET = encode_command([b"SET", b"k", b"v"])
SELECT = encode_command([b"SELECT", b"0"])


class Wire:
    """A connection whose socket takes nothing until the test says so."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.reactor = self
        self.closed = ""
        self.kind = "normal"
        self.over_soft_since_ms = 0
        self.writing = False
        self.fd = -1
        self.client = Client(server, next(server.client_ids), self)  # type: ignore[arg-type]
        self.client.peer = b"127.0.0.1:5"
        server.clients[self.client.id] = self.client

    def schedule(self, handler: object) -> None:
        pass

    def send_later(self) -> None:
        pass

    def send_at_once(self, data: bytes) -> None:
        self.client.out += data

    def send(self, data: bytes) -> None:
        self.client.out += data

    def close(self, reason: str) -> None:
        self.closed = self.closed or reason
        self.server.forget(self.client)

    def finish(self, reason: str) -> None:
        self.close(reason)

    def take(self) -> bytes:
        """take() -> what was sent: the socket drains the output, again and again."""
        taken = bytearray()
        while self.client.out:
            taken += self.client.out
            self.client.out.clear()
            self.server.replication.drained(self.client)
        return bytes(taken)


@pytest.fixture
def primary(node: Any) -> Any:
    """A node whose backlog holds some writes."""
    node.server.journal.unsubscribe(node.recorder)
    node.server.journal.database = -1
    node.server.replication.cron()
    node.server.replication.primary.open_backlog()
    for _ in range(3):
        node.ask("SET", "k", "v")
    return node


def follow(node: Any, offset: int, replid: str | None = None) -> tuple[Wire, ReplicaLink]:
    """A replica asks to go on from `offset`."""
    wire = Wire(node.server)
    side = node.server.replication.primary
    side.link_of(wire.client).accepts_psync2 = True
    side.psync(wire.client, replid or node.server.replication.identity.replid, offset)
    return wire, side.links[wire.client]


def test_the_stream_goes_on_from_the_offset_asked_for(primary: Any) -> None:
    wire, link = follow(primary, len(SELECT) + len(SET) + 1)
    primary.ask("SET", "k", "v")
    answer = b"+CONTINUE %b\r\n" % primary.server.replication.identity.replid.encode()
    assert wire.take() == answer + SET + SET + SET
    assert link.state is SyncState.ONLINE
    assert primary.server.replication.primary.partial_syncs == 1


@pytest.mark.parametrize("distance", [-1000, 1, 1000])
def test_an_offset_that_the_backlog_does_not_hold_is_a_full_sync(primary: Any, distance: int) -> None:
    end = primary.server.journal.offset + 1
    offset = end + distance if distance > 0 else 0
    wire, link = follow(primary, offset)
    assert link.state is SyncState.WAIT_SNAPSHOT
    assert (primary.server.replication.primary.full_syncs, primary.server.replication.primary.partial_refused) == (1, 1)
    assert not wire.client.out


def test_a_promoted_node_goes_on_for_the_old_history_only_up_to_where_they_part(primary: Any) -> None:
    replication = primary.server.replication
    old, offset = replication.identity.replid, primary.server.journal.offset
    replication.follow("127.0.0.1", 1, connect=False)
    replication.promote()
    primary.ask("SET", "k", "v")
    wire, link = follow(primary, offset + 1, old)
    assert link.state is SyncState.ONLINE
    assert wire.take().endswith(SELECT + SET)
    _, other = follow(primary, offset + 2, old)
    assert other.state is SyncState.WAIT_SNAPSHOT


def test_a_slow_replica_gets_the_stream_without_a_gap_and_without_copies(primary: Any) -> None:
    wire, _ = follow(primary, 1)
    value = b"x" * 50_000
    for _ in range(100):
        primary.run(b"SET", b"k", value)
    assert len(wire.client.out) < STREAM_OUTPUT_HIGH_BYTES * 2
    backlog = primary.server.replication.primary.backlog
    assert len(backlog) > 4_000_000
    stream = wire.take().partition(b"\r\n")[2]
    assert stream == SELECT + SET * 3 + encode_command([b"SET", b"k", value]) * 100
    primary.run(b"SET", b"k", value * 3)
    backlog.trim()
    assert len(backlog) < 2_000_000


def test_a_replica_over_its_output_limit_is_dropped_and_its_part_of_the_backlog_goes(primary: Any) -> None:
    primary.ask("CONFIG", "SET", "client-output-buffer-limit", "replica 2mb 0 0")
    wire, _ = follow(primary, 1)
    for _ in range(100):
        primary.run(b"SET", b"k", b"x" * 50_000)
    assert wire.closed == "output buffer limit"
    assert len(primary.server.replication.primary.backlog) < 2_000_000
    assert not primary.server.replication.primary.links


def test_an_output_limit_below_the_backlog_counts_as_the_backlogs_size(primary: Any) -> None:
    primary.ask("CONFIG", "SET", "client-output-buffer-limit", "replica 64kb 0 0")
    wire, _ = follow(primary, 1)
    for _ in range(15):
        primary.run(b"SET", b"k", b"x" * 50_000)
    assert not wire.closed


def test_a_silent_replica_is_dropped(primary: Any) -> None:
    wire, _ = follow(primary, 1)
    primary.advance(59_000)
    primary.server.replication.cron()
    assert not wire.closed
    primary.advance(2_000)
    primary.server.replication.cron()
    assert wire.closed == "replica timed out"


def test_pings_and_acknowledgement_requests_select_no_database(primary: Any) -> None:
    wire, _ = follow(primary, primary.server.journal.offset + 1)
    wire.take()
    primary.ask("SELECT", 3)
    primary.ask("SET", "k", "v")
    primary.advance(10_000)
    primary.server.replication.cron()
    primary.server.replication.primary.ask_for_acks()
    primary.ask("SET", "k", "v")
    ping, getack = encode_command([b"PING"]), encode_command([b"REPLCONF", b"GETACK", b"*"])
    assert wire.take() == encode_command([b"SELECT", b"3"]) + SET + ping + getack + SET


def test_a_transaction_selects_its_database_inside(primary: Any) -> None:
    wire, _ = follow(primary, primary.server.journal.offset + 1)
    wire.take()
    primary.ask("SELECT", 3)
    for command in ("MULTI", "SET k v", "SET k v", "EXEC"):
        primary.ask(*command.split())
    multi, execute = encode_command([b"MULTI"]), encode_command([b"EXEC"])
    assert wire.take() == multi + encode_command([b"SELECT", b"3"]) + SET + SET + execute


def test_a_replica_that_asks_for_something_is_disconnected(primary: Any) -> None:
    wire, _ = follow(primary, 1)
    wire.take()
    primary.server.dispatcher.run(wire.client, [[b"GET", b"k"]])
    assert wire.closed
    assert not wire.client.out


def test_the_backlog_is_freed_after_its_time_to_live_and_takes_its_history_with_it(primary: Any) -> None:
    primary.ask("CONFIG", "SET", "repl-backlog-ttl", 5)
    replid = primary.server.replication.identity.replid
    wire, _ = follow(primary, 1)
    wire.close("gone")
    primary.advance(4_000)
    primary.server.replication.cron()
    assert primary.server.replication.primary.backlog is not None
    primary.advance(2_000)
    primary.server.replication.cron()
    assert primary.server.replication.primary.backlog is None
    assert primary.server.replication.identity.replid != replid


def test_writes_are_refused_without_enough_good_replicas(primary: Any) -> None:
    primary.ask("CONFIG", "SET", "min-replicas-to-write", 1)
    assert primary.error("SET", "k", "v") == "NOREPLICAS Not enough good replicas to write."
    assert primary.ask("GET", "k") == b"v"
    wire, _ = follow(primary, 1)
    assert primary.ask("SET", "k", "v") == b"OK"
    primary.advance(11_000)
    primary.server.replication.cron()
    assert primary.error("SET", "k", "v").startswith("NOREPLICAS")
    primary.server.replication.primary.acknowledge(wire.client, primary.server.journal.offset)
    primary.server.replication.cron()
    assert primary.ask("SET", "k", "v") == b"OK"
