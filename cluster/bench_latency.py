"""What a lone client sees: one request at a time over one connection, each timed in nanoseconds.

redis-benchmark counts latencies in steps of 8 us, a third of what there is to see. Law: the client's own cost is
in both servers' figures alike; it is a Python loop around one send and one receive.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from statistics import quantiles
from time import perf_counter_ns

from pyredis_cluster.client.resp import encode_command

from .bench_inprocess import REQUESTS, STORED_ELEMENTS, VALUE, Request
from .bench_measure import Repeats, measure_pairs, sample_of
from .bench_results import Row, Sample
from .bench_servers import HOST, BenchServer
from .errors import OperatorError

TESTS = ("PING", "SET", "GET", "INCR", "LPUSH", "HSET")
WARM_UP_REQUESTS = 200
REPLY_TIMEOUT_S = 10.0
RECEIVE_BYTES = 4096


def measure_alone(server: BenchServer, request: Request, requests: int) -> Sample:
    """measure_alone(server, request, requests) -> Sample of a client that waits for each reply. OperatorError."""
    if request.fill is not None:
        server.link.call("FLUSHALL")
        server.link.pipeline(map(request.fill, range(STORED_ELEMENTS)))
    encoded = [encode_command(request.words(number)) for number in range(requests)]
    try:
        with socket.create_connection((HOST, server.port), REPLY_TIMEOUT_S) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _times_ns(sock, encoded[:WARM_UP_REQUESTS])
            return sample_of(server, requests, lambda: _figures(_times_ns(sock, encoded)))
    except OSError as error:
        raise OperatorError(f"{server.name} did not answer a lone client: {error}") from error


def _times_ns(sock: socket.socket, requests: Sequence[bytes]) -> list[int]:
    send, receive = sock.sendall, sock.recv
    times = []
    for request in requests:
        began = perf_counter_ns()
        send(request)
        reply = receive(RECEIVE_BYTES)
        times.append(perf_counter_ns() - began)
        if reply[:1] in b"-":
            raise OSError(reply.decode(errors="replace").strip() or "the connection was closed")
    return times


def _figures(times_ns: list[int]) -> tuple[float, float, float]:
    hundredths = quantiles(times_ns, n=100)
    return len(times_ns) * 1e9 / sum(times_ns), hundredths[49] / 1e6, hundredths[98] / 1e6


def measure_lone_client(
    servers: tuple[BenchServer, BenchServer], requests: int, repeats: Repeats, tell: Callable[[str], None]
) -> list[Row]:
    """measure_lone_client((ours, redis), requests, repeats, tell) -> a row for each of TESTS. OperatorError."""
    rows = [Row(name, 1, 1, len(VALUE)) for name in TESTS]
    measure_pairs(
        rows, servers, repeats, lambda number, server: measure_alone(server, REQUESTS[TESTS[number]], requests), tell
    )
    return rows
