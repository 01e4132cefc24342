"""A node inside this process, for the profile and for the budget test: the real reactor path without a client's cost.

Law: a request passes through everything that it passes in a running node (socket, epoll, parser, dispatcher,
command, reply, send), in this thread and at once; only Trio and the timers don't run.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyredis_cluster.client.resp import encode_command, encode_commands
from pyredis_cluster.node.config import Config
from pyredis_cluster.node.connection import Connection
from pyredis_cluster.node.reply import bulk, integer
from pyredis_cluster.node.server import Server

from .bench_servers import free_port

RECEIVE_BYTES = 1 << 20
STORED_ELEMENTS = 300
"""How many keys, or elements of a collection, are there before the first request: too many to be packed, and too few
for tables that split when the hashes of their keys say so, which differ from process to process."""

FILL_BATCH = 20
VALUE = b"xxx"
LIKELY_LENGTH = 345


@dataclass(frozen=True, slots=True)
class Request:
    """A command to profile: `words(n)` is its nth request, `fill(n)` the nth command that makes what it finds there.

    `encode()` encodes such a reply as it gets, where that is no constant.
    """

    words: Callable[[int], list[bytes]]
    fill: Callable[[int], list[bytes]] | None = None
    encode: Callable[[], bytes] | None = None

    def encoded(self, first: int, count: int) -> bytes:
        """encoded(first, count) -> so many requests, from the given one on, as a pipeline."""
        return encode_commands(map(self.words, range(first, first + count)))


def _element(number: int) -> bytes:
    return b"element:%012d" % number


def _new(number: int) -> bytes:
    return b"element:new:%08d" % number


def _key(number: int) -> bytes:
    return b"key:%012d" % (number % STORED_ELEMENTS)


def _integer() -> bytes:
    return integer(LIKELY_LENGTH)


def _bulk() -> bytes:
    return bulk(VALUE)


REQUESTS: dict[str, Request] = {
    "PING": Request(lambda n: [b"PING"]),
    "GET": Request(lambda n: [b"GET", _key(n)], lambda n: [b"SET", _key(n), VALUE], _bulk),
    "SET": Request(lambda n: [b"SET", _key(n), VALUE], lambda n: [b"SET", _key(n), VALUE]),
    "INCR": Request(lambda n: [b"INCR", _key(n)], lambda n: [b"SET", _key(n), b"1"], _integer),
    "LPUSH": Request(lambda n: [b"LPUSH", b"mylist", VALUE], lambda n: [b"RPUSH", b"mylist", VALUE], _integer),
    "RPUSH": Request(lambda n: [b"RPUSH", b"mylist", VALUE], lambda n: [b"RPUSH", b"mylist", VALUE], _integer),
    "LPOP": Request(lambda n: [b"LPOP", b"mylist"], lambda n: [b"RPUSH", b"mylist", VALUE], _bulk),
    "RPOP": Request(lambda n: [b"RPOP", b"mylist"], lambda n: [b"RPUSH", b"mylist", VALUE], _bulk),
    "SADD": Request(lambda n: [b"SADD", b"myset", _new(n)], lambda n: [b"SADD", b"myset", _element(n)], _integer),
    "SPOP": Request(lambda n: [b"SPOP", b"myset"], lambda n: [b"SADD", b"myset", _element(n)], _bulk),
    "HSET": Request(
        lambda n: [b"HSET", b"myhash", _new(n), VALUE], lambda n: [b"HSET", b"myhash", _element(n), VALUE], _integer
    ),
    "ZADD": Request(
        lambda n: [b"ZADD", b"myzset", b"%d" % n, _new(n)],
        lambda n: [b"ZADD", b"myzset", b"%d" % n, _element(n)],
        _integer,
    ),
    "ZPOPMIN": Request(
        lambda n: [b"ZPOPMIN", b"myzset"], lambda n: [b"ZADD", b"myzset", b"%d" % n, _element(n)], _bulk
    ),
}
"""What redis-benchmark sends, with keys and elements that are the same in each run."""


class InProcessNode:
    """A node that serves one connection; `exchange(data)` is one round of its reactor."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._near, self.socket = socket.socketpair()
        self._near.setblocking(False)
        self.connection = Connection(server, self._near, next(server.client_ids))
        server.accept(self.connection, b"in-process:0")

    def exchange(self, data: bytes) -> bytes:
        """exchange(requests) -> the replies to them; `data` is no more than a node reads at once."""
        self.socket.sendall(data)
        self.round()
        return self.socket.recv(RECEIVE_BYTES)

    def round(self) -> None:
        """round(): the reactor does what the sockets ask for. Nothing waits."""
        reactor = self.server.reactor
        reactor._drain(reactor._epoll.poll(0))

    def fill(self, request: Request) -> None:
        """fill(request): the data that it finds there."""
        if request.fill is not None:
            for first in range(0, STORED_ELEMENTS, FILL_BATCH):
                self.exchange(encode_commands(map(request.fill, range(first, first + FILL_BATCH))))

    def close(self) -> None:
        """close(): the connection, and what the reactor holds."""
        self.connection.close("the end")
        self.socket.close()
        self.server.reactor._epoll.close()


@contextmanager
def in_process_node(**directives: str) -> Iterator[InProcessNode]:
    """in_process_node(save="") -> an InProcessNode in cluster mode that owns all slots, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="pyredis-profile-") as home:
        values = {"cluster_enabled": "yes", "port": str(free_port()), "save": "", "cluster_secret": "in-process"}
        values["cluster_config_file"] = os.path.join(home, "nodes.conf")
        server = Server(Config(**values | directives))
        node = InProcessNode(server)
        try:
            node.exchange(encode_command([b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383"]))
            yield node
        finally:
            node.close()
            server.cluster.bus.close()
