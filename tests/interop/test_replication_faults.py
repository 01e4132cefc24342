"""Replication under faults: processes killed and frozen in the middle of a sync, torn and garbled streams."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.resp import encode_command

from ..conftest import wait_until

Processes = Any

FAST = {"enable_debug_command": "yes", "repl_diskless_sync_delay": "0"}
SLOW_SNAPSHOT_US = "20000"
KEYS = 300
VALUE = "v" * 1000


def in_sync(primary: Any, replica: Any) -> bool:
    there, here = primary.info("replication"), replica.info("replication")
    if here.get("master_link_status") != "up" or there["master_repl_offset"] != here["master_repl_offset"]:
        return False
    return bool(primary.call("DEBUG", "DIGEST") == replica.call("DEBUG", "DIGEST"))


def follow(replica: Any, primary: Any) -> None:
    replica.call("REPLICAOF", "127.0.0.1", primary.port)


def fill(server: Any, keys: int = KEYS, value: str = VALUE, prefix: str = "key") -> None:
    with Connection("127.0.0.1", server.port) as link:
        link.pipeline([("SET", f"{prefix}:{number}", value) for number in range(keys)])


def receiving(replica: Any) -> bool:
    return int(replica.info("replication").get("master_sync_read_bytes", "0")) > 0


class Relay:
    """A TCP relay to a server that can cut, garble or hold what the server sends."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut_after: int | None = None
        self.garble_at: int | None = None
        self.passed = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                self.passed = 0
                threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, True), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, from_server: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if from_server:
                    data = self._spoil(data)
                sink.sendall(data)
                if from_server and self.cut_after is not None and self.passed >= self.cut_after:
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _spoil(self, data: bytes) -> bytes:
        start, self.passed = self.passed, self.passed + len(data)
        if self.garble_at is not None and start <= self.garble_at < self.passed:
            position = self.garble_at - start
            data = data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]
        if self.cut_after is not None:
            data = data[: max(0, self.cut_after - start)]
        return data

    def close(self) -> None:
        for end in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def relays() -> Iterator[list[Relay]]:
    made: list[Relay] = []
    yield made
    for relay in made:
        relay.close()


def relayed(relays: list[Relay], primary: Any) -> Relay:
    relays.append(Relay(primary.port))
    return relays[-1]


@pytest.mark.parametrize("kind", ["node", "redis"])
def test_a_primary_killed_in_a_full_sync_leaves_the_replica_its_old_data(processes: Processes, kind: str) -> None:
    primary = getattr(processes, kind)(**FAST, rdb_key_save_delay=SLOW_SNAPSHOT_US, rdbcompression="no")
    replica = processes.node(**FAST)
    fill(primary, 2000)
    replica.call("SET", "mine", "old")
    follow(replica, primary)
    wait_until(lambda: receiving(replica), "the snapshot comes in")
    primary.kill()
    wait_until(lambda: replica.info("replication")["master_sync_in_progress"] == "0", "the transfer ended")
    assert replica.call("GET", "mine") == b"old"
    assert replica.call("DBSIZE") == 1
    primary.start()
    primary.call("CONFIG", "SET", "rdb-key-save-delay", 0)
    primary.call("CLIENT", "KILL", "TYPE", "replica")
    primary.call("SET", "new", "1")
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync")
    assert replica.call("GET", "mine") is None


def test_a_snapshot_torn_or_garbled_on_the_way_is_tried_again(processes: Processes, relays: list[Relay]) -> None:
    primary = processes.node(**FAST, repl_backlog_size="16kb")
    fill(primary)
    for diskless in ("yes", "no"):
        primary.call("CONFIG", "SET", "repl-diskless-sync", diskless)
        for spoil in ({"cut_after": 40_000}, {"garble_at": 40_000}):
            replica = processes.node(**FAST)
            replica.call("SET", "mine", "old")
            relay = relayed(relays, primary)
            for name, value in spoil.items():
                setattr(relay, name, value)
            syncs = int(primary.info("stats")["sync_full"])
            follow(replica, relay)
            wait_until(lambda n=syncs: int(primary.info("stats")["sync_full"]) > n + 1, "it was tried again")
            assert replica.call("DBSIZE") == 1
            assert replica.call("GET", "mine") == b"old"
            relay.cut_after = relay.garble_at = None
            wait_until(lambda replica=replica: in_sync(primary, replica), "the replica is in sync")
            replica.kill()


def test_a_stream_cut_in_a_transaction_goes_on_with_the_whole_of_it(processes: Processes, relays: list[Relay]) -> None:
    primary = processes.node(**FAST)
    replica = processes.node(**FAST)
    relay = relayed(relays, primary)
    follow(replica, relay)
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync")
    relay.cut_after = relay.passed + 2000
    transaction = [("MULTI",), *[("INCR", f"n{number}") for number in range(200)], ("EXEC",)]
    with Connection("127.0.0.1", primary.port) as link:
        link.pipeline(transaction)
    wait_until(lambda: replica.info("replication")["master_link_status"] == "down", "the link is cut")
    assert replica.call("DBSIZE") == 0
    relay.cut_after = None
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync again")
    assert replica.call("MGET", "n0", "n199") == [b"1", b"1"]
    assert primary.info("stats")["sync_full"] == "1"


def test_a_replica_that_does_not_read_is_dropped_and_comes_back(processes: Processes) -> None:
    primary = processes.node(**FAST, client_output_buffer_limit="replica 4mb 0 0", repl_backlog_size="64kb")
    replica = processes.node(**FAST)
    follow(replica, primary)
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync")
    replica.kill(signal.SIGSTOP)
    for number in range(20):
        fill(primary, 100, "x" * 10_000, f"round{number}")
    wait_until(lambda: primary.info("replication")["connected_slaves"] == "0", "the replica was dropped")
    assert int(primary.info("memory")["mem_total_replication_buffers"]) < 1 << 20
    replica.kill(signal.SIGCONT)
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync again")
    assert primary.info("stats")["sync_full"] == "2"


def test_a_frozen_replica_goes_on_from_the_backlog(processes: Processes) -> None:
    primary = processes.node(**FAST, repl_timeout="2", repl_ping_replica_period="1", repl_backlog_size="10mb")
    replica = processes.node(**FAST)
    follow(replica, primary)
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync")
    replica.kill(signal.SIGSTOP)
    fill(primary)
    wait_until(lambda: primary.info("replication")["connected_slaves"] == "0", "it timed out")
    replica.kill(signal.SIGCONT)
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync again")
    assert primary.info("stats")["sync_partial_ok"] == "1"


def test_a_frozen_primary_times_out_and_its_replica_goes_on_when_it_thaws(processes: Processes) -> None:
    primary = processes.node(**FAST, repl_ping_replica_period="1")
    replica = processes.node(**FAST, repl_timeout="2")
    fill(primary)
    follow(replica, primary)
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync")
    primary.kill(signal.SIGSTOP)
    wait_until(lambda: replica.info("replication")["master_link_status"] == "down", "the replica notices")
    assert replica.call("GET", "key:1") == VALUE.encode()
    primary.kill(signal.SIGCONT)
    fill(primary, prefix="later")
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync again")
    assert primary.info("stats")["sync_full"] == "1"


def test_more_writes_than_the_backlog_holds_lead_to_a_full_sync(processes: Processes, relays: list[Relay]) -> None:
    primary = processes.node(**FAST, repl_backlog_size="64kb")
    replica = processes.node(**FAST)
    relay = relayed(relays, primary)
    follow(replica, relay)
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync")
    relay.cut_after = 0
    primary.call("CLIENT", "KILL", "TYPE", "replica")
    fill(primary)
    relay.cut_after = None
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync again")
    stats = primary.info("stats")
    assert int(stats["sync_partial_err"]) >= 1
    assert int(stats["sync_full"]) >= 2


def test_another_primary_in_the_middle_of_a_full_sync(processes: Processes) -> None:
    slow = processes.node(**FAST, rdb_key_save_delay=SLOW_SNAPSHOT_US, rdbcompression="no")
    fast, replica = processes.node(**FAST), processes.node(**FAST)
    fill(slow, 2000)
    fill(fast, prefix="fast")
    follow(replica, slow)
    wait_until(lambda: receiving(replica), "the first snapshot comes in")
    follow(replica, fast)
    wait_until(lambda: in_sync(fast, replica), "the replica is in sync with the other one")
    wait_until(lambda: slow.info("persistence")["rdb_bgsave_in_progress"] == "0", "the first one's child is gone")
    replica.call("REPLICAOF", "NO", "ONE")
    assert replica.call("SET", "k", "v") == b"OK"


def test_the_primarys_child_killed_in_a_full_sync(processes: Processes) -> None:
    primary = processes.node(**FAST, rdb_key_save_delay=SLOW_SNAPSHOT_US, rdbcompression="no")
    replica = processes.node(**FAST)
    fill(primary, 2000)
    follow(replica, primary)
    wait_until(lambda: receiving(replica), "the snapshot comes in")
    primary.call("CONFIG", "SET", "rdb-key-save-delay", 0)
    primary.call("FLUSHALL")
    fill(primary)
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync")


def test_a_restarted_replica_and_a_restarted_primary_go_on_from_their_files(processes: Processes) -> None:
    primary = processes.node(**FAST, save="3600 1")
    replica = processes.node(**FAST, save="3600 1", replicaof=f"127.0.0.1 {primary.port}")
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync")
    fill(primary)
    for restarted, other in ((replica, primary), (primary, replica)):
        wait_until(lambda: in_sync(primary, replica), "the replica is in sync")
        other.call("CONFIG", "RESETSTAT")
        restarted.kill(signal.SIGTERM)
        restarted.start()
        fill(primary, 10, prefix="after")
        wait_until(lambda: in_sync(primary, replica), "the replica is in sync again")
        stats = primary.info("stats")
        assert (stats["sync_full"], stats["sync_partial_ok"]) == ("0", "1")


def test_a_replica_announces_the_address_it_is_told_to(processes: Processes) -> None:
    primary = processes.node(**FAST)
    replica = processes.node(**FAST, replica_announce_ip="203.0.113.9", replica_announce_port="1234")
    follow(replica, primary)
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync")
    assert primary.info("replication")["slave0"].startswith("ip=203.0.113.9,port=1234,state=online")
    assert primary.call("ROLE")[2][0][:2] == [b"203.0.113.9", b"1234"]


def test_the_links_of_both_sides_can_be_killed_by_type(processes: Processes) -> None:
    primary, replica = processes.node(**FAST), processes.node(**FAST)
    follow(replica, primary)
    wait_until(lambda: in_sync(primary, replica), "the replica is in sync")
    for count, (server, kind) in enumerate(((primary, "replica"), (replica, "master")), 1):
        assert f"addr=127.0.0.1:{primary.port}" in replica.call("CLIENT", "LIST", "TYPE", "master").decode()
        assert server.call("CLIENT", "KILL", "TYPE", kind) == 1
        primary.call("INCR", "n")
        wait_until(lambda n=count: primary.info("stats")["sync_partial_ok"] == str(n), "it went on")
        wait_until(lambda: in_sync(primary, replica), "the replica is in sync again")


def test_the_stream_does_not_take_replies(processes: Processes) -> None:
    primary = processes.node(**FAST)
    with socket.create_connection(("127.0.0.1", primary.port), timeout=10) as rogue:
        rogue.sendall(encode_command([b"PSYNC", b"?", b"-1"]))
        wait_until(lambda: primary.info("replication")["connected_slaves"] == "1", "it is a replica")
        rogue.sendall(encode_command([b"GET", b"k"]))
        while rogue.recv(65536):
            pass
    assert primary.info("replication")["connected_slaves"] == "0"
