"""Roles and positions: what a node asks its primary for, and what it remembers across restarts and promotions."""

from __future__ import annotations

import socket
from typing import Any

from pyredis_cluster.node.replication.replica import LinkState

REPLID = "a" * 40


def test_a_node_without_a_history_asks_for_a_full_sync(node: Any) -> None:
    assert node.server.replication.position() == ("?", -1)


def test_a_restored_replica_asks_for_what_follows_its_file(node: Any) -> None:
    replication = node.server.replication
    replication.follow("127.0.0.1", 1, connect=False)
    replication.restore(REPLID, 500, 3)
    assert replication.position() == (REPLID, 501)
    assert replication.link.client.db.index == 3


def test_a_restored_primary_serves_replicas_of_its_old_history(node: Any) -> None:
    replication = node.server.replication
    replication.restore(REPLID, 500, 0)
    assert replication.identity.replid != REPLID
    assert replication.offset == 500
    assert replication.identity.continues(REPLID, 501)
    assert not replication.identity.continues(REPLID, 502)
    assert replication.primary.backlog.start == 501


def test_another_primary_of_the_same_history_goes_on_in_the_selected_database(node: Any) -> None:
    replication = node.server.replication
    replication.follow("127.0.0.1", 1, connect=False)
    replication.link.client.select(7)
    replication.follow("127.0.0.1", 2, connect=False)
    assert replication.link.client.db.index == 7


def test_following_keeps_the_history_and_a_promotion_starts_one(node: Any) -> None:
    replication = node.server.replication
    replication.primary.open_backlog()
    replid = replication.identity.replid
    node.ask("SET", "k", "v")
    offset = replication.offset
    replication.follow("127.0.0.1", 1, connect=False)
    assert replication.position() == (replid, offset + 1)
    replication.promote()
    assert (replication.identity.replid2, replication.identity.second_offset) == (replid, offset + 1)
    assert replication.offset == offset


def test_a_replica_refuses_writes_and_journals_nothing(node: Any) -> None:
    replication = node.server.replication
    replication.primary.open_backlog()
    replication.follow("127.0.0.1", 1, connect=False)
    assert node.error("SET", "k", "v") == "READONLY You can't write against a read only replica."
    node.ask("CONFIG", "SET", "replica-read-only", "no")
    offset = replication.offset
    assert node.ask("SET", "k", "v") == b"OK"
    assert replication.offset == offset


def test_a_replica_without_its_primary_may_refuse_stale_reads(node: Any) -> None:
    node.server.replication.follow("127.0.0.1", 1, connect=False)
    assert node.ask("GET", "k") is None
    node.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
    assert node.error("GET", "k").startswith("MASTERDOWN")
    assert "role:slave" in node.ask("INFO", "replication").decode()
    node.server.replication.link.state = LinkState.CONNECTED
    node.server.replication.link_changed()
    assert node.ask("GET", "k") is None


def test_a_writable_replicas_own_keys_expire_and_no_others(node: Any) -> None:
    database = node.server.keyspace.databases[0]
    node.server.replication.follow("127.0.0.1", 1, connect=False)
    node.ask("CONFIG", "SET", "replica-read-only", "no")
    database.put(b"primarys", b"5")
    database.expires.set(b"primarys", node.server.clock.now_ms + 10)
    node.ask("SET", "ours", "1", "PX", 10)
    node.ask("SET", "later", "1", "PX", 1000)
    node.advance(20)
    node.server.replication.cron()
    node.server.replication.link.close()
    assert database.peek(b"ours") is None
    assert database.peek(b"later") == b"1"
    assert database.peek(b"primarys") == b"5"
    assert node.ask("EXISTS", "primarys") == 0
    assert database.peek(b"primarys") == b"5"
    assert node.ask("INCR", "primarys") == 1
    assert node.ask("TTL", "primarys") == -1


def test_clients_that_wait_are_told_of_a_demotion_and_it_counts_as_a_failed_call(node: Any) -> None:
    assert node.run(b"BLPOP", b"l", b"0") == b""
    node.server.replication.follow("127.0.0.1", 1, connect=False)
    assert bytes(node.client.out).startswith(b"-UNBLOCKED force unblock from blocking operation")
    blpop = node.server.dispatcher.table.get(b"blpop")
    assert (blpop.calls, blpop.failed) == (1, 1)


def test_the_role_is_written_to_the_configuration(node: Any) -> None:
    node.server.replication.follow("127.0.0.1", 1234, connect=False)
    assert node.ask("CONFIG", "GET", "replicaof") == [b"replicaof", b"127.0.0.1 1234"]
    node.server.replication.promote()
    assert node.ask("CONFIG", "GET", "replicaof") == [b"replicaof", b""]


def test_a_link_to_the_wrong_node_is_given_up_before_any_data_come(node: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        replication = node.server.replication
        replication.follow("127.0.0.1", server.getsockname()[1], "b" * 40, connect=False)
        link = replication.link
        link.connect()
        link.on_writable()
        peer, _ = server.accept()
        with peer:
            asked = peer.recv(4096)
            assert b"cluster-node-id" in asked and b"PSYNC" not in asked
            peer.sendall(b"+PONG\r\n-ERR I am node " + b"c" * 40 + b"\r\n")
            link.on_readable()
            assert link.state is LinkState.DOWN
            assert peer.recv(4096) == b""
