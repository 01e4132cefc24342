"""One client's state between commands: selected database, protocol, transaction, parking, output.

Law: nothing here does I/O. The reactor's connection fills `out` into the socket; replication and loading
use a `Client` that has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .keyspace import Database, Watch
from .reply import RESP2, Resp2

if TYPE_CHECKING:
    from .command import Command
    from .connection import Connection
    from .server import Server

GUARD_AUTH = 1
GUARD_MULTI = 2
GUARD_REPLY = 4
GUARD_ASKING = 8
GUARD_READONLY = 16
GUARD_PRIMARY = 32
GUARD_PARKED = 64
GUARD_CLOSING = 128
GUARD_NO_TOUCH = 256
GUARD_IMPORT = 1024
GUARD_REPLICA = 2048
GUARD_TRUSTED = GUARD_PRIMARY | GUARD_IMPORT
"""Reasons why a client's commands take the slow path; `Client.guard` is 0 for an ordinary one.

GUARD_TRUSTED: the stream of our primary, or of a slot migration's source; it is neither redirected nor paused.
GUARD_REPLICA: its connection carries the stream to a replica; it may ask for nothing that has a reply.
"""


class Transaction:
    """MULTI's queue: `commands` in order; `aborted` after a queueing error (EXECABORT)."""

    __slots__ = ("aborted", "commands", "has_write")

    def __init__(self) -> None:
        self.commands: list[tuple[Command, list[bytes]]] = []
        self.aborted = False
        self.has_write = False


class Parked:
    """A blocking command waiting for keys (or for something else): what to run again, and until when.

    `deadline_ms` is Unix time in milliseconds or None; `on_timeout` gives the reply when it passes.
    """

    __slots__ = (
        "args",
        "command",
        "database",
        "deadline_ms",
        "keys",
        "kind",
        "on_timeout",
        "since_ns",
        "value_type",
    )

    def __init__(
        self,
        kind: str,
        command: Command,
        args: list[bytes],
        database: Database,
        keys: list[bytes],
        deadline_ms: int | None,
        on_timeout: Callable[[Client], bytes],
        since_ns: int,
        value_type: type | None = None,
    ) -> None:
        self.kind = kind
        self.command = command
        self.args = args
        self.database = database
        self.keys = keys
        self.deadline_ms = deadline_ms
        self.on_timeout = on_timeout
        self.since_ns = since_ns
        self.value_type = value_type
        """The class of values it waits for; None: of any."""


class Client:
    """A session. `guard` is a bit set of GUARD_*; 0 means that commands may take the fast path."""

    __slots__ = (
        "authenticated",
        "close_reason",
        "command",
        "connection",
        "created_ns",
        "db",
        "flags",
        "guard",
        "id",
        "last_command",
        "last_interaction_ms",
        "lib_name",
        "lib_version",
        "name",
        "no_evict",
        "out",
        "parked",
        "peer",
        "propagated",
        "replica",
        "reply_mode",
        "resp",
        "running",
        "server",
        "transaction",
        "user",
        "waiting_offset",
        "watch",
    )

    def __init__(self, server: Server, identifier: int, connection: Connection | None = None) -> None:
        self.server = server
        self.id = identifier
        self.connection = connection
        self.db: Database = server.keyspace.databases[0]
        self.resp: Resp2 = RESP2
        self.out = bytearray()
        self.guard = 0
        self.flags: set[str] = set()
        """What CLIENT LIST shows beyond what other fields say: "primary", "replica", "no-touch", ..."""
        self.authenticated = True
        self.user = b"default"
        self.name = b""
        self.lib_name = b""
        self.lib_version = b""
        self.no_evict = False
        self.created_ns = 0
        self.last_interaction_ms = server.clock.now_ms
        self.command: Command | None = None
        """The command that runs now."""
        self.last_command: Command | None = None
        self.running = False
        """True while one of this client's commands is executed; closing it then waits for the end."""
        self.transaction: Transaction | None = None
        self.watch: Watch | None = None
        self.parked: Parked | None = None
        self.peer = b""
        self.propagated: list[list[bytes]] | None = None
        """None: the command is propagated as it came; else the commands that stand for it (maybe none)."""
        self.reply_mode = b"on"
        self.replica: object | None = None
        """The replication state of a replica's link, kept by replication/."""
        self.waiting_offset = 0
        """The journal offset after this client's last write, which WAIT waits for."""
        self.close_reason = ""

    @property
    def may_block(self) -> bool:
        """Whether a blocking command may park: not inside EXEC, and not in a trusted stream."""
        return self.transaction is None and not self.guard & GUARD_TRUSTED

    def propagate_as(self, *commands: list[bytes]) -> None:
        """propagate_as([b"SREM", key, member], ...): these stand in the journal for the running command.

        Without arguments, nothing is propagated although `dirty` rose.
        """
        self.propagated = list(commands)

    def select(self, index: int) -> None:
        """select(index): later commands use that database. The caller checked the range."""
        self.db = self.server.keyspace.databases[index]

    def set_watch(self, key: bytes) -> None:
        """set_watch(key): WATCH one key of the selected database."""
        if self.watch is None:
            self.watch = Watch()
        self.db.watch(key, self.watch)

    def drop_watches(self) -> None:
        """drop_watches(): UNWATCH; also after EXEC and DISCARD, and when the client goes."""
        if self.watch is not None:
            for database, key in self.watch.keys:
                database.unwatch(key, self.watch)
            self.watch = None
