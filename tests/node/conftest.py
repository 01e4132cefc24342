"""An in-process node for command tests: real keyspace, dispatcher, journal and parking; no sockets.

Law: the clock stands still unless a test advances it, and randomness comes from one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import hiredis
import pytest
from pyredis_cluster.node.blocking import Blocking
from pyredis_cluster.node.client import Client
from pyredis_cluster.node.clock import Clock
from pyredis_cluster.node.command import CommandTable, discover
from pyredis_cluster.node.dispatch import Dispatcher
from pyredis_cluster.node.journal import Journal
from pyredis_cluster.node.keyspace import Keyspace

START_MS = 1_700_000_000_000
SEED = 20240611
TABLE = discover()

DEFAULTS: dict[str, Any] = {
    "hash_max_listpack_entries": 128,
    "hash_max_listpack_value": 64,
    "set_max_intset_entries": 512,
    "set_max_listpack_entries": 128,
    "set_max_listpack_value": 64,
    "zset_max_listpack_entries": 128,
    "zset_max_listpack_value": 64,
    "list_max_listpack_size": -2,
    "list_compress_depth": 0,
    "proto_max_bulk_len": 512 << 20,
    "lazyfree_lazy_expire": False,
    "lazyfree_lazy_server_del": False,
    "lazyfree_lazy_user_del": False,
    "lazyfree_lazy_user_flush": False,
    "maxmemory_policy": "noeviction",
    "cluster_enabled": False,
    "databases": 16,
    "active_expire_effort": 1,
    "hz": 10,
}


class Recorder:
    """A journal subscriber that keeps the commands, without SELECT."""

    def __init__(self) -> None:
        self.commands: list[list[bytes]] = []

    def journal_entry(self, data: bytes, offset: int, database: int, args: list[bytes]) -> None:
        if args[0] != b"SELECT":
            self.commands.append(list(args))


class InProcessServer:
    """What command functions use of a `Server`."""

    def __init__(self, table: CommandTable = TABLE) -> None:
        self.clock = Clock()
        self.clock.now_ms = START_MS
        self.keyspace = Keyspace(16, self.clock, Random(SEED))
        self.config = SimpleNamespace(**DEFAULTS)
        self.journal = Journal()
        self.dispatcher = Dispatcher(self, table)  # type: ignore[arg-type]
        self.blocking = Blocking(self)  # type: ignore[arg-type]
        self.recorder = Recorder()
        self.journal.subscribe(self.recorder)
        self.keyspace.on_expired = lambda database, key: self.journal.append(database.index, [b"DEL", key])
        self._clients = 0

    def resume(self, client: Client, commands: list[list[bytes]] | None = None) -> None:
        """A parked client goes on; here it only runs the commands that were held back."""
        if commands:
            self.dispatcher.run(client, commands)

    def connect(self) -> Client:
        """connect() -> a new client of this node."""
        self._clients += 1
        return Client(self, self._clients)  # type: ignore[arg-type]


class Node:
    """One client's view of the node: `run` and `ask` a command, `advance` the clock, read the journal."""

    def __init__(self) -> None:
        self.server: Any = InProcessServer()
        self.client: Client = self.server.connect()

    def run(self, *args: bytes, client: Client | None = None) -> bytes:
        """run(b"SET", b"k", b"v") -> b"+OK\\r\\n": the encoded reply; b"" when the client was parked."""
        client = client or self.client
        client.out.clear()
        self.server.dispatcher.run(client, [list(args)])
        reply = bytes(client.out)
        client.out.clear()
        return reply

    def ask(self, *args: bytes | int | str, client: Client | None = None) -> Any:
        """ask("GET", "k") -> the decoded reply; an error reply is a `hiredis.ReplyError` value."""
        encoded = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
        reader = hiredis.Reader()
        reader.feed(self.run(*encoded, client=client))
        return reader.gets()

    def error(self, *args: bytes | int | str) -> str:
        """error("GET", "list") -> the text of the error reply; the command must fail."""
        reply = self.ask(*args)
        assert isinstance(reply, hiredis.ReplyError), reply
        return str(reply)

    def advance(self, milliseconds: int) -> None:
        """advance(50): the clock moves on."""
        self.server.clock.now_ms += milliseconds

    def propagated(self) -> list[list[bytes]]:
        """propagated() -> the commands journalled since the last call, without SELECT, MULTI and EXEC."""
        commands, self.server.recorder.commands = self.server.recorder.commands, []
        return [args for args in commands if args not in ([b"MULTI"], [b"EXEC"])]


@pytest.fixture
def node() -> Iterator[Node]:
    """A fresh in-process node with one client; at the end of the test its databases keep their laws."""
    made = Node()
    yield made
    for database in made.server.keyspace.databases:
        database._check()


@pytest.fixture
def run(node: Node) -> Callable[..., bytes]:
    """run(b"SET", b"k", b"v") -> the encoded reply of a fresh node."""
    return node.run
