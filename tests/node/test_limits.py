"""What a client may not do: never read, send without end, idle, die in the middle; and others are served meanwhile."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.resp import encode_command
from pyredis_cluster.node.blocking import SERVE_ROUNDS_MAX

from ..conftest import wait_until

Node = Any
TIMEOUT_S = 10.0
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def node(module_processes: Any) -> Node:
    return module_processes.node()


def connect(node: Node) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", node.port), timeout=TIMEOUT_S)
    sock.settimeout(TIMEOUT_S)
    return sock


def encode(*args: object) -> bytes:
    return encode_command([arg if isinstance(arg, bytes) else str(arg).encode() for arg in args])


def read_to_end(sock: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionError):
        while chunk := sock.recv(MEGABYTE):
            data += chunk
    return data


def receive(sock: socket.socket, expected: bytes) -> None:
    data = b""
    while len(data) < len(expected):
        chunk = sock.recv(len(expected) - len(data))
        assert chunk, data
        data += chunk
    assert data == expected


def set_config(node: Node, name: str, value: str) -> None:
    assert node.call("CONFIG", "SET", name, value) == b"OK"


def disconnections(node: Node, what: str) -> int:
    return int(node.info("stats")[f"client_{what}_limit_disconnections"])


def test_a_client_that_never_reads_is_closed_at_the_hard_limit(node: Node) -> None:
    set_config(node, "client-output-buffer-limit", "normal 1mb 0 0")
    node.call("SET", "k", b"x" * 100_000)
    before = disconnections(node, "output_buffer")
    with connect(node) as sock:
        sock.sendall(encode("GET", "k") * 1000)
        wait_until(lambda: disconnections(node, "output_buffer") > before, "the client is closed")
        assert len(read_to_end(sock)) < 1000 * 100_000
    set_config(node, "client-output-buffer-limit", "normal 0 0 0")


def test_a_client_over_the_soft_limit_is_closed_after_its_seconds(node: Node) -> None:
    set_config(node, "client-output-buffer-limit", "normal 0 256kb 1")
    node.call("SET", "k", b"x" * 100_000)
    before = disconnections(node, "output_buffer")
    with connect(node) as sock:
        started = time.monotonic()
        sock.sendall(encode("GET", "k") * 200)
        wait_until(lambda: disconnections(node, "output_buffer") > before, "the client is closed")
        assert time.monotonic() - started >= 1
    set_config(node, "client-output-buffer-limit", "normal 0 0 0")


def test_a_command_beyond_the_query_buffer_limit_closes_the_client(node: Node) -> None:
    set_config(node, "client-query-buffer-limit", "1mb")
    before = disconnections(node, "query_buffer")
    with connect(node) as sock, suppress(ConnectionError):
        sock.sendall(b"*2\r\n$3\r\nGET\r\n$100000000\r\n")
        for _ in range(20):
            sock.sendall(b"x" * 100_000)
        assert read_to_end(sock) == b""
    assert disconnections(node, "query_buffer") == before + 1
    set_config(node, "client-query-buffer-limit", "1gb")


def test_idle_clients_are_closed_and_parked_ones_are_not(node: Node) -> None:
    with connect(node) as idle, connect(node) as parked:
        parked.sendall(encode("BLPOP", "idle-queue", 0))
        set_config(node, "timeout", "1")
        assert idle.recv(1) == b""
        node.call("RPUSH", "idle-queue", "x")
        receive(parked, b"*2\r\n$10\r\nidle-queue\r\n$1\r\nx\r\n")
    set_config(node, "timeout", "0")


def test_tcp_keepalive_is_on(node: Node) -> None:
    with connect(node) as sock:
        sock.sendall(b"PING\r\n")
        receive(sock, b"+PONG\r\n")
        here = f"0100007F:{node.port:04X} 0100007F:{sock.getsockname()[1]:04X} 01"
        lines = Path("/proc/net/tcp").read_text().splitlines()
        timer = next(line.split()[5] for line in lines if here in line)
        assert timer.startswith("02:")


def test_a_half_closed_client_gets_its_whole_answer(node: Node) -> None:
    node.call("SET", "k", b"x" * 100_000)
    with connect(node) as sock:
        sock.sendall(encode("GET", "k") * 100)
        sock.shutdown(socket.SHUT_WR)
        assert len(read_to_end(sock)) == 100 * len(b"$100000\r\n" + b"x" * 100_000 + b"\r\n")


def test_a_reset_in_the_middle_of_a_pipeline_ends_that_client_only(node: Node) -> None:
    before = int(node.info("clients")["connected_clients"])
    for _ in range(20):
        sock = connect(node)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.sendall(encode("SET", "k", b"x" * 1000) * 500)
        sock.close()
    wait_until(lambda: int(node.info("clients")["connected_clients"]) <= before, "all are gone")
    assert "Internal error" not in node.log()


def test_a_client_that_dies_while_parked_takes_nothing(node: Node) -> None:
    for _ in range(5):
        with connect(node) as sock:
            sock.sendall(encode("BLPOP", "dead-queue", 0) + encode("SET", "after-death", 1))
            wait_until(lambda: node.info("clients")["blocked_clients"] == "1", "it is parked")
        wait_until(lambda: node.info("clients")["blocked_clients"] == "0", "it is gone")
    assert node.call("RPUSH", "dead-queue", "x") == 1
    assert node.call("EXISTS", "after-death") == 0


def test_a_parked_client_is_killed_and_what_it_queued_is_not_run(node: Node) -> None:
    with connect(node) as sock:
        sock.sendall(encode("CLIENT", "ID"))
        identifier = int(sock.recv(100)[1:-2])
        sock.sendall(encode("BLPOP", "kill-queue", 0) + encode("SET", "after-kill", 1))
        wait_until(lambda: node.info("clients")["blocked_clients"] == "1", "it is parked")
        assert node.call("CLIENT", "KILL", "ID", identifier) == 1
        assert sock.recv(1) == b""
    assert node.call("RPUSH", "kill-queue", "x") == 1
    assert node.call("EXISTS", "after-kill") == 0


def test_reading_stops_while_a_parked_client_sends_on(node: Node) -> None:
    command = encode("SET", "k", b"y" * 1000)
    sent = 0
    with connect(node) as sock:
        sock.sendall(encode("BLPOP", "flood-queue", 0))
        sock.settimeout(0.5)
        with suppress(TimeoutError):
            while sent < 200 * MEGABYTE:
                sent += sock.send(command * 100)
        assert sent < 60 * MEGABYTE
        sock.settimeout(TIMEOUT_S)
        node.call("RPUSH", "flood-queue", "x")
        complete = sent // len(command)
        receive(sock, b"*2\r\n$11\r\nflood-queue\r\n$1\r\nx\r\n" + b"+OK\r\n" * complete)


def test_a_long_chain_of_parked_clients_is_served(node: Node) -> None:
    length = 300
    chain = [connect(node) for _ in range(length)]
    for number, sock in enumerate(chain):
        sock.sendall(encode("BLPOP", f"chain{number}", 0) + encode("RPUSH", f"chain{number + 1}", "x"))
    wait_until(lambda: node.info("clients")["blocked_clients"] == str(length), "all are parked")
    node.call("RPUSH", "chain0", "x")
    wait_until(lambda: node.call("LLEN", f"chain{length}") == 1, "the last one ran")
    for sock in chain:
        sock.close()


def test_more_ready_keys_than_a_round_serves_are_all_served(node: Node) -> None:
    keys = [f"ready{number}" for number in range(2 * SERVE_ROUNDS_MAX + 100)]
    with connect(node) as first, connect(node) as last, connect(node) as pushing:
        first.sendall(encode("BLPOP", *keys[:-1], 0))
        last.sendall(encode("BLPOP", keys[-1], 0))
        wait_until(lambda: node.info("clients")["blocked_clients"] == "2", "both are parked")
        pushing.sendall(encode("MULTI") + b"".join(encode("RPUSH", key, "x") for key in keys) + encode("EXEC"))
        receive(first, b"*2\r\n$6\r\nready0\r\n$1\r\nx\r\n")
        receive(last, b"*2\r\n$%d\r\n%b\r\n$1\r\nx\r\n" % (len(keys[-1]), keys[-1].encode()))


def test_a_protocol_error_comes_after_the_reply_of_a_parked_command(node: Node) -> None:
    with connect(node) as sock:
        sock.sendall(encode("BLPOP", "error-queue", 0) + b"PING\r\n*1\r\n:x\r\n")
        wait_until(lambda: node.info("clients")["blocked_clients"] == "1", "it is parked")
        node.call("RPUSH", "error-queue", "x")
        expected = b"*2\r\n$11\r\nerror-queue\r\n$1\r\nx\r\n+PONG\r\n-ERR Protocol error: expected '$', got ':'\r\n"
        assert read_to_end(sock) == expected


@pytest.mark.parametrize("count", [7, 8, 9, 63, 64, 65, 200, 5000])
def test_a_command_parked_anywhere_in_a_pipeline_answers_in_its_place(node: Node, count: int) -> None:
    pings = encode("ECHO", "e") * count
    replies = b"$1\r\ne\r\n" * count
    with connect(node) as sock:
        sock.sendall(pings)
        receive(sock, replies)
        sock.sendall(pings + encode("BLPOP", "nothing-here", "0.001") + pings)
        receive(sock, replies + b"*-1\r\n" + replies)


def test_bytes_that_trickle_in_make_a_command(node: Node) -> None:
    with connect(node) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in encode("SET", "slow", b"z" * 300):
            slow.sendall(bytes([byte]))
        receive(slow, b"+OK\r\n")


def test_others_are_served_during_a_huge_pipeline(node: Node) -> None:
    count = 300_000
    with connect(node) as busy, Connection("127.0.0.1", node.port) as other:
        busy.settimeout(0.05)
        data = memoryview(encode("SET", "k", "v") * count)
        answered = waits = 0
        slowest = 0.0
        while answered < count * 5:
            if data:
                with suppress(TimeoutError):
                    data = data[busy.send(data[: 256 * 1024]) :]
            with suppress(TimeoutError):
                answered += len(busy.recv(MEGABYTE))
            started = time.monotonic()
            assert other.call("PING") == b"PONG"
            slowest = max(slowest, time.monotonic() - started)
            waits += 1
    assert waits > 10
    assert slowest < 0.5


def test_others_are_served_during_a_pipeline_of_slow_commands(node: Node) -> None:
    node.call("DEL", "long")
    node.call("RPUSH", "long", *range(5000))
    with connect(node) as busy, Connection("127.0.0.1", node.port) as other:
        busy.sendall(encode("LRANGE", "long", 0, -1) * 400)
        started = time.monotonic()
        for _ in range(5):
            assert other.call("PING") == b"PONG"
        assert time.monotonic() - started < 1
