"""Arguments that do not arrive as a whole: wherever the stream is cut, both data planes take them alike."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyredis_cluster.bench_inprocess import InProcessNode, in_process_node
from pyredis_cluster.client.resp import encode_command, encode_commands
from pyredis_cluster.node.data_plane import native
from pyredis_cluster.node.digest import dataset_digest

from .planes import python_plane

pytestmark = pytest.mark.skipif(native is None, reason="the compiled module isn't there")

SENT_AT_ONCE_BYTES = 64 * 1024
SIZES = [10, 8191, 8192, 20_000, 262_144, 300_000, 524_288, 524_289]
ROUNDS_MAX = 50


def command_of(kind: str, size: int) -> list[bytes]:
    value = Random(size).randbytes(size)
    return {
        "set": [b"SET", b"{k}1", value],
        "options": [b"SET", b"{k}2", value, b"EX", b"100"],
        "two": [b"MSET", b"{k}3", value, b"{k}4", value[::-1]],
        "key": [b"SET", value, b"v"],
        "refused": [b"SET", b"{k}1", value, b"nonsense"],
        "unknown": [b"nonsense", value],
        "length": [b"STRLEN", b"{k}3"],
    }[kind]


KINDS = ["set", "options", "two", "key", "refused", "unknown", "length"]
commands = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(SIZES)), min_size=1, max_size=4)


def settle(node: InProcessNode) -> bytes:
    """settle(node) -> the replies, once it has read all there is."""
    replies = b""
    for _ in range(ROUNDS_MAX):
        before = node.server.stats.net_input_bytes
        node.round()
        with suppress(BlockingIOError):
            replies += node.socket.recv(1 << 20)
        if node.server.stats.net_input_bytes == before:
            break
    return replies


def sent_in_pieces(data: bytes, cuts: list[float]) -> tuple[bytes, Any]:
    """sent_in_pieces(data, cuts) -> the replies, and what the node has and holds then."""
    places = sorted({0, len(data), *range(0, len(data), SENT_AT_ONCE_BYTES), *(int(cut * len(data)) for cut in cuts)})
    replies = b""
    with in_process_node() as node:
        node.server.stats.reset()
        node.socket.setblocking(False)
        for start, stop in pairwise(places):
            node.socket.sendall(data[start:stop])
            replies += settle(node)
        parser = node.connection.parser
        held = [parser.pending_bytes, parser._remaining, parser._bulk_bytes, len(parser._args)]
        state = [dataset_digest(node.server.keyspace), node.server.stats.net_input_bytes, node.connection.closed, held]
    return replies, state


@settings(max_examples=25, deadline=None)
@given(commands, st.lists(st.floats(0, 1), max_size=3), st.sampled_from([b"", b"PING\r\n", b"*1\r\n$-7\r\n"]))
def test_large_arguments_are_received_alike(asked: list[tuple[str, int]], cuts: list[float], end: bytes) -> None:
    data = encode_commands([command_of(kind, size) for kind, size in asked]) + end
    compiled = sent_in_pieces(data, cuts)
    with python_plane():
        assert sent_in_pieces(data, cuts) == compiled
    assert compiled[0].count(b"\r\n") >= len(asked)


def test_what_is_held_of_a_large_argument_counts_as_pending() -> None:
    data = encode_command([b"SET", b"key", b"x" * 100_000])
    with in_process_node() as node:
        node.socket.setblocking(False)
        node.socket.sendall(data[:20_000])
        node.round()
        node.round()
        assert node.connection.parser._large is not None
        held = node.connection.parser.pending_bytes
        assert 19_000 < held < 20_000
        node.socket.sendall(data[20_000:70_000])
        node.round()
        assert node.connection.parser.pending_bytes == held + 50_000
        node.socket.sendall(data[70_000:])
        settle(node)
        assert node.connection.parser.pending_bytes == 0


@pytest.mark.parametrize("compiled", [True, False])
def test_a_large_argument_behind_a_parked_command_waits_for_it(compiled: bool) -> None:
    value = b"y" * 60_000
    data = encode_commands([[b"BLPOP", b"{k}list", b"0"], [b"SET", b"{k}1", value], [b"GET", b"{k}1"]])
    with nullcontext() if compiled else python_plane(), in_process_node() as node:
        node.socket.setblocking(False)
        for start in range(0, len(data), 20_000):
            node.socket.sendall(data[start : start + 20_000])
            assert settle(node) == b""
        assert node.server.blocking.unblock(node.connection.client, with_error=False)
        replies = b"".join(settle(node) for _ in range(5))
    assert replies == b"*-1\r\n+OK\r\n$60000\r\n" + value + b"\r\n"
