"""Replication with Debian's redis-server, both ways, under a write load of all data types."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.errors import ClientError

from ..conftest import wait_until

Processes = Any

LOAD_ROUNDS = 300


def write_everything(link: Connection, round_number: int) -> None:
    """A round of writes, with every kind of propagation: verbatim, rewritten, several, transactions, expiry."""
    n = round_number
    link.pipeline(
        [
            ("SET", f"s{n % 50}", "x" * (n % 100)),
            ("SET", f"e{n % 50}", n, "EX", 1000),
            ("INCRBYFLOAT", "f", "0.5"),
            ("APPEND", f"a{n % 7}", "tail"),
            ("SETRANGE", f"a{n % 7}", n % 30, "mid"),
            ("LPUSH", f"l{n % 5}", n, n + 1, n + 2),
            ("RPOP", f"l{n % 5}"),
            ("SADD", f"t{n % 5}", n, f"m{n}"),
            ("SPOP", f"t{n % 5}"),
            ("HSET", f"h{n % 5}", f"f{n}", n),
            ("HINCRBYFLOAT", f"h{n % 5}", "sum", "0.25"),
            ("ZADD", f"z{n % 5}", n / 4, f"m{n}"),
            ("ZPOPMIN", f"z{(n + 1) % 5}"),
            ("GETEX", f"s{n % 50}", "PX", 500_000),
            ("COPY", f"s{n % 50}", f"c{n % 50}", "REPLACE"),
            ("RENAME", f"c{n % 50}", f"r{n % 50}"),
            ("PEXPIRE", f"r{n % 50}", 600_000 if n % 3 else 1),
            ("MULTI",),
            ("INCR", "n"),
            ("LPUSH", "log", n),
            ("LTRIM", "log", 0, 20),
            ("EXEC",),
            ("GETDEL", f"s{(n + 7) % 50}"),
        ],
    )


def in_sync(primary: Any, replica: Any) -> bool:
    """Whether the replica has everything, by offset and by digest."""
    there, here = primary.info("replication"), replica.info("replication")
    if here.get("master_link_status") != "up" or there["master_repl_offset"] != here["master_repl_offset"]:
        return False
    return bool(primary.call("DEBUG", "DIGEST") == replica.call("DEBUG", "DIGEST"))


def load_while(primary: Any, act: Any) -> None:
    """Run `act` in the middle of a write load."""
    failed: list[BaseException] = []

    def load() -> None:
        try:
            with Connection("127.0.0.1", primary.port) as link:
                for number in range(LOAD_ROUNDS):
                    write_everything(link, number)
        except ClientError as error:
            failed.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    act()
    thread.join()
    assert not failed


DEBUG = {"enable_debug_command": "yes", "repl_diskless_sync_delay": "0"}


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_redis_server_as_our_replica(processes: Processes, diskless: str) -> None:
    primary = processes.node(**DEBUG, repl_diskless_sync=diskless)
    replica = processes.redis(**DEBUG)
    load_while(primary, lambda: replica.call("REPLICAOF", "127.0.0.1", primary.port))
    wait_until(lambda: in_sync(primary, replica), "redis-server is in sync")
    assert int(replica.info("keyspace")["db0"].split("=")[1].split(",")[0]) > 100


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_we_as_the_replica_of_redis_server(processes: Processes, diskless: str) -> None:
    primary = processes.redis(**DEBUG, repl_diskless_sync=diskless)
    replica = processes.node(**DEBUG)
    load_while(primary, lambda: replica.call("REPLICAOF", "127.0.0.1", primary.port))
    wait_until(lambda: in_sync(primary, replica), "the node is in sync")


def test_a_frozen_replica_goes_on_with_a_partial_sync(processes: Processes) -> None:
    primary = processes.redis(**DEBUG, repl_backlog_size="10mb")
    replica = processes.node(**DEBUG)
    replica.call("REPLICAOF", "127.0.0.1", primary.port)
    wait_until(lambda: in_sync(primary, replica), "the node is in sync")

    def cut() -> None:
        replica.kill(signal.SIGSTOP)
        primary.call("CLIENT", "KILL", "TYPE", "replica")
        replica.kill(signal.SIGCONT)

    load_while(primary, cut)
    wait_until(lambda: in_sync(primary, replica), "the node is in sync again")
    stats = primary.info("stats")
    assert (stats["sync_full"], stats["sync_partial_ok"]) == ("1", "1")


def test_redis_server_goes_on_with_a_partial_sync_after_a_promotion(processes: Processes) -> None:
    primary = processes.node(**DEBUG)
    heir = processes.node(**DEBUG)
    other = processes.redis(**DEBUG)
    for replica in (heir, other):
        replica.call("REPLICAOF", "127.0.0.1", primary.port)
    load_while(primary, lambda: None)
    for replica in (heir, other):
        wait_until(lambda replica=replica: in_sync(primary, replica), "the replica is in sync")
    primary.kill()
    heir.call("REPLICAOF", "NO", "ONE")
    other.call("REPLICAOF", "127.0.0.1", heir.port)
    load_while(heir, lambda: None)
    wait_until(lambda: in_sync(heir, other), "redis-server follows the promoted node")
    assert heir.info("stats")["sync_partial_ok"] == "1"


def test_wait_counts_acknowledgements(processes: Processes) -> None:
    primary = processes.node(**DEBUG)
    replicas = [processes.node(**DEBUG), processes.redis(**DEBUG)]
    for replica in replicas:
        replica.call("REPLICAOF", "127.0.0.1", primary.port)
    for replica in replicas:
        wait_until(lambda replica=replica: in_sync(primary, replica), "the replica is in sync")
    with Connection("127.0.0.1", primary.port) as link:
        assert link.pipeline([("SET", "k", "v"), ("WAIT", 2, 5000)]) == [b"OK", 2]
        replicas[1].kill(signal.SIGSTOP)
        assert link.pipeline([("SET", "k", "w"), ("WAIT", 2, 200)]) == [b"OK", 1]


def test_a_chain_of_replicas(processes: Processes) -> None:
    primary, middle, last = processes.redis(**DEBUG), processes.node(**DEBUG), processes.redis(**DEBUG)
    middle.call("REPLICAOF", "127.0.0.1", primary.port)
    wait_until(lambda: in_sync(primary, middle), "the node is in sync")
    last.call("REPLICAOF", "127.0.0.1", middle.port)
    load_while(primary, lambda: None)
    wait_until(lambda: in_sync(primary, last), "the last one is in sync")
