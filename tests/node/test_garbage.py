"""The node runs without the cyclic garbage collector: whatever it does over and over leaves no cycles behind.

Law: counted, not timed. A node does everything there is for some rounds; then one collection may find no more than
what is made once.
"""

from __future__ import annotations

import contextlib
import socket

import pytest
from pyredis_cluster.client.resp import encode_command

from tests.conftest import START_TIMEOUT_S, Processes, ServerProcess, wait_until

ROUNDS_WARM_UP = 2
ROUNDS = 20
GARBAGE_MAX = 20
"""Fewer than one object for each round: what is left once by chance is no leak."""

RECONNECTS = 10

WRITES: list[list[bytes]] = [
    [b"SET", b"s", b"1", b"PX", b"100000"],
    [b"INCR", b"s"],
    [b"APPEND", b"s", b"x"],
    [b"HSET", b"h", *(b"%d" % number for number in range(40))],
    [b"HSET", b"big", *(b"%d" % number for number in range(1400))],
    [b"SADD", b"set", b"a", b"b", b"1"],
    [b"SADD", b"bigset", *(b"m%d" % number for number in range(700))],
    [b"ZADD", b"z", b"1", b"a", b"2", b"b"],
    [b"ZADD", b"bigz", *(part for number in range(1500) for part in (b"%d" % number, b"m%d" % number))],
    [b"RPUSH", b"l", *(b"%d" % number for number in range(3000))],
    [b"LPOP", b"l", b"700"],
    [b"SUNIONSTORE", b"set2", b"set", b"bigset"],
    [b"ZUNIONSTORE", b"z2", b"2", b"z", b"bigz"],
    [b"COPY", b"h", b"h2", b"REPLACE"],
    [b"RENAME", b"h2", b"h3"],
    [b"EXPIRE", b"h3", b"100"],
    [b"LMOVE", b"l", b"l2", b"LEFT", b"RIGHT"],
    [b"SPOP", b"bigset", b"5"],
]
READS: list[list[bytes]] = [
    [b"GET", b"s"],
    [b"HGETALL", b"big"],
    [b"ZRANGE", b"bigz", b"0", b"-1", b"WITHSCORES"],
    [b"ZRANGEBYSCORE", b"bigz", b"10", b"500", b"LIMIT", b"0", b"10"],
    [b"LRANGE", b"l", b"0", b"-1"],
    [b"SCAN", b"0", b"COUNT", b"100", b"TYPE", b"hash"],
    [b"SSCAN", b"bigset", b"0"],
    [b"SRANDMEMBER", b"bigset", b"3"],
    [b"DUMP", b"big"],
    [b"OBJECT", b"ENCODING", b"z"],
    [b"MEMORY", b"USAGE", b"big"],
    [b"INFO", b"everything"],
    [b"COMMAND", b"DOCS", b"get"],
    [b"CONFIG", b"GET", b"*"],
    [b"CLIENT", b"LIST"],
    [b"DEBUG", b"DIGEST"],
]
ERRORS: list[list[bytes]] = [
    [b"GET", b"h"],
    [b"LPUSH", b"s", b"1"],
    [b"INCR", b"h"],
    [b"NOTHING"],
    [b"GET"],
    [b"SET", b"s", b"1", b"EX", b"nonsense"],
    [b"RESTORE", b"new", b"0", b"nonsense"],
    [b"ZADD", b"z", b"nan", b"a"],
    [b"RENAME", b"none", b"other"],
    [b"EXEC"],
]
TRANSACTION: list[list[bytes]] = [[b"WATCH", b"s"], [b"MULTI"], [b"SET", b"s", b"2"], [b"GET", b"h"], [b"EXEC"]]
REFUSED_TRANSACTION: list[list[bytes]] = [[b"MULTI"], [b"NOTHING"], [b"EXEC"]]
LEFT_OPEN: list[list[bytes]] = [[b"WATCH", b"s"], [b"MULTI"], [b"SET", b"s", b"3"]]
END = b"the end of it"
CLEARING: list[list[bytes]] = [[b"DEL", b"bigset"], [b"UNLINK", b"big", b"bigz"], [b"FLUSHALL", b"ASYNC"]]


def run(node: ServerProcess, *lists: list[list[bytes]]) -> None:
    """Run commands on a connection of their own and read all replies."""
    with socket.create_connection(("127.0.0.1", node.port), START_TIMEOUT_S) as sock:
        sock.sendall(commands(*lists, [[b"ECHO", END]]))
        tail = b""
        while END not in tail:
            data = sock.recv(1 << 16)
            assert data
            tail = (tail + data)[-100:]


def tell(node: ServerProcess, data: bytes) -> None:
    """Send something on a connection of its own, wait for the first answer or the end, and break it off."""
    with socket.create_connection(("127.0.0.1", node.port), START_TIMEOUT_S) as sock, contextlib.suppress(OSError):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1 << 16)


def commands(*lists: list[list[bytes]]) -> bytes:
    return b"".join(encode_command(args) for each in lists for args in each)


def one_round(node: ServerProcess) -> None:
    run(node, WRITES, READS, ERRORS, TRANSACTION, REFUSED_TRANSACTION)
    tell(node, commands(LEFT_OPEN))
    tell(node, commands(WRITES, READS))
    tell(node, b"*1\r\n$4\r\nPI")
    tell(node, b"*1\r\n+wrong\r\n")
    tell(node, b"*-5\r\n*99999999999\r\n")
    tell(node, b"PING inline\r\n")
    run(node, [[b"HELLO", b"3"], *READS])
    tell(node, commands([[b"PING"], [b"BLPOP", b"none", b"100"]]))
    node.call(b"BLPOP", b"none", b"0.01")
    with socket.create_connection(("127.0.0.1", node.port), START_TIMEOUT_S) as waiting:
        waiting.sendall(commands([[b"BLPOP", b"queue", b"0"]]))
        wait_until(lambda: b"blocked_clients:0" not in node.call(b"INFO", b"clients"), "a client that waits")
        node.call(b"LPUSH", b"queue", b"x")
        assert waiting.recv(100)
    run(node, CLEARING)


def garbage(node: ServerProcess) -> int:
    """How many objects a collection finds; those of the connection that asks are in use."""
    return int(node.call(b"DEBUG", b"COLLECT-GARBAGE"))


@pytest.mark.parametrize("cluster", ["no", "yes"])
def test_everything_a_node_does_again_and_again_leaves_no_garbage(processes: Processes, cluster: str) -> None:
    node = processes.node(enable_debug_command="yes", cluster_enabled=cluster)
    if cluster == "yes":
        node.call(b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383")
    for _ in range(ROUNDS_WARM_UP):
        one_round(node)
    garbage(node)
    for _ in range(ROUNDS):
        one_round(node)
    assert garbage(node) < GARBAGE_MAX
    text = node.call(b"INFO", b"memory")
    assert b"gc_enabled:0" in text
    assert b"gen0=0,gen1=0,gen2=2" in text


def test_replicas_that_come_and_go_and_saving_leave_no_garbage(processes: Processes) -> None:
    primary, replica = (processes.node(enable_debug_command="yes", repl_diskless_sync_delay="0") for _ in range(2))
    one_round(primary)
    for args in WRITES:
        primary.call(*args)

    def follow() -> None:
        replica.call(b"REPLICAOF", b"127.0.0.1", b"%d" % primary.port)
        wait_until(lambda: b"master_link_status:up" in replica.call(b"INFO", b"replication"), "a replica in step")

    def lose_link() -> None:
        primary.call(b"CLIENT", b"KILL", b"TYPE", b"replica")
        primary.call(b"INCR", b"n")
        count = primary.call(b"GET", b"n")
        wait_until(lambda: replica.call(b"GET", b"n") == count, "a replica that is back")

    def full_sync() -> None:
        replica.call(b"REPLICAOF", b"NO", b"ONE")
        replica.call(b"DEBUG", b"CHANGE-REPL-ID")
        replica.call(b"SET", b"own", b"1")
        follow()

    def save() -> None:
        primary.call(b"BGSAVE")
        wait_until(lambda: b"rdb_bgsave_in_progress:0" in primary.call(b"INFO", b"persistence"), "the end of a BGSAVE")
        primary.call(b"DEBUG", b"RELOAD")

    follow()
    for step in (lose_link, full_sync, save):
        step()
        for node in (primary, replica):
            garbage(node)
        for _ in range(RECONNECTS):
            step()
        found = {"primary": garbage(primary), "replica": garbage(replica)}
        assert max(found.values()) < RECONNECTS, (step.__name__, found)
