"""An in-process node for command tests: real keyspace, dispatcher, journal and parking; no sockets.

Law: the clock stands still unless a test advances it, and randomness comes from one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import hiredis
import pytest
from pyredis_cluster.node.client import Client
from pyredis_cluster.node.config import Config
from pyredis_cluster.node.server import Server

START_MS = 1_700_000_000_000
SEED = 20240611


class Recorder:
    """A journal subscriber that keeps the commands, without SELECT."""

    def __init__(self) -> None:
        self.commands: list[list[bytes]] = []

    def journal_entry(self, data: bytes, offset: int, database: int, args: list[bytes]) -> None:
        if args[0] != b"SELECT":
            self.commands.append(list(args))


class Node:
    """One client's view of the node: `run` and `ask` a command, `advance` the clock, read the journal."""

    def __init__(self) -> None:
        self.server = Server(Config())
        self.server.clock.now_ms = START_MS
        self.server.keyspace.rng = Random(SEED)
        self.recorder = Recorder()
        self.server.journal.subscribe(self.recorder)
        self.client = self.connect()

    def connect(self) -> Client:
        """connect() -> another client of this node."""
        return Client(self.server, next(self.server.client_ids))

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
        commands, self.recorder.commands = self.recorder.commands, []
        return [args for args in commands if args not in ([b"MULTI"], [b"EXEC"])]


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node writes its files where it runs: not into the checkout."""
    monkeypatch.chdir(tmp_path)


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


@pytest.fixture(scope="session")
def make_node() -> type[Node]:
    """make_node() -> a fresh in-process node, for tests that need one for each Hypothesis example."""
    return Node
