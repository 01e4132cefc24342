"""The reactor on real sockets: pipelines, fragments, garbage, limits, parked clients, many clients."""

from __future__ import annotations

import socket
from contextlib import suppress
from time import perf_counter_ns
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.resp import encode_command
from pyredis_cluster.node.reactor import DRAIN_TARGET_NS, EVENTS_PER_POLL_MIN, Reactor

Processes = Any

TIMEOUT_S = 5.0


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    sock.settimeout(TIMEOUT_S)
    return sock


def receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            break
        data += chunk
    return data


def test_a_pipeline_larger_than_a_batch_is_answered_in_order(processes: Processes) -> None:
    node = processes.node()
    count = 5000
    with Connection("127.0.0.1", node.port) as link:
        replies = link.pipeline([("SET", f"k{i}", i) for i in range(count)] + [("GET", f"k{i}") for i in range(count)])
    assert replies == [b"OK"] * count + [b"%d" % i for i in range(count)]


def test_every_command_of_a_pipeline_runs_once_while_the_slices_grow(processes: Processes) -> None:
    node = processes.node(enable_debug_command="yes")
    with Connection("127.0.0.1", node.port) as link:
        # A slow command in a pipeline makes the connection's slices small; they double from there.
        link.pipeline([("DEBUG", "SLEEP", "0.02"), ("PING",)])
        for count in (2, 3, 7, 50, 51, 64, 100):
            before = int(link.call("GET", "n") or 0)
            assert link.pipeline([("INCR", "n")] * count) == [*range(before + 1, before + count + 1)]


def test_a_value_of_many_megabytes_comes_back_whole(processes: Processes) -> None:
    node = processes.node()
    value = bytes(range(256)) * 40_000
    with Connection("127.0.0.1", node.port) as link:
        assert link.call("SET", "k", value) == b"OK"
        assert link.call("GET", "k") == value


def test_commands_behind_a_parked_one_run_after_it(processes: Processes) -> None:
    node = processes.node()
    with connect(node.port) as sock:
        sock.sendall(encode_command([b"BLPOP", b"q", b"0"]) + encode_command([b"SET", b"after", b"1"]))
        assert node.call("GET", "after") is None
        assert node.call("RPUSH", "q", "x") == 1
        expected = b"*2\r\n$1\r\nq\r\n$1\r\nx\r\n+OK\r\n"
        assert receive(sock, len(expected)) == expected
    assert node.call("GET", "after") == b"1"


def test_a_protocol_error_answers_what_came_before_and_closes(processes: Processes) -> None:
    node = processes.node()
    with connect(node.port) as sock:
        sock.sendall(b"PING\r\n*1\r\n:5\r\n")
        assert receive(sock, 1000) == b"+PONG\r\n-ERR Protocol error: expected '$', got ':'\r\n"


@pytest.fixture(scope="module")
def fuzzed(module_processes: Processes) -> Any:
    return module_processes.node()


fragments = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=60),
        st.lists(st.binary(max_size=12), min_size=1, max_size=4).map(encode_command),
        st.sampled_from([b"*3\r\n", b"$5\r\n", b"*-1\r\n", b"$-1\r\n", b"*99999999\r\n", b"\r\n", b"GET ", b'"']),
        st.lists(
            st.sampled_from([b"SET", b"GET", b"LPUSH", b"ZADD", b"HSET", b"a", b"1", b"-1", b"inf", b"MULTI", b"EXEC"]),
            min_size=1, max_size=5,
        ).map(encode_command),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=fragments)
def test_any_bytes_give_replies_or_a_close_and_no_traceback(fuzzed: Any, parts: list[bytes]) -> None:
    with connect(fuzzed.port) as sock:
        with suppress(OSError):
            for part in parts:
                sock.sendall(part)
            sock.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while sock.recv(65536):
                pass
    assert fuzzed.call("PING") == b"PONG"
    assert "Traceback" not in fuzzed.log()


class Spinning:
    """A handler that always has input and takes its time over it; `trace` gets a mark for each call."""

    def __init__(self, trace: list[str]) -> None:
        self.trace = trace

    def on_readable(self) -> None:
        ends_ns = perf_counter_ns() + DRAIN_TARGET_NS // 4
        while perf_counter_ns() < ends_ns:
            pass
        self.trace.append("work")

    def on_writable(self) -> None:
        raise AssertionError

    def on_fault(self) -> None:
        raise AssertionError


async def test_what_is_urgent_gets_its_turn_between_a_few_busy_connections() -> None:
    """However many are ready: rounds shrink until one takes no longer than it should."""
    trace: list[str] = []
    reactor = Reactor(lambda: 0)
    pairs = [socket.socketpair() for _ in range(64)]
    for ours, theirs in pairs:
        ours.setblocking(False)
        theirs.send(b"x")
        reactor.add(ours.fileno(), Spinning(trace))
    enough = trio.Event()

    def urgent() -> None:
        trace.append("urgent")
        if trace.count("work") > 1000:
            enough.set()

    reactor.urgent = urgent
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        await enough.wait()
        nursery.cancel_scope.cancel()
    for pair in pairs:
        for sock in pair:
            sock.close()
    runs = "".join(mark[0] for mark in trace[-200:]).split("u")
    assert max(map(len, runs)) <= 4 * EVENTS_PER_POLL_MIN
