"""Applying the primary's stream to the keyspace.

Laws: a transaction is applied whole or not at all; expiry is the primary's business, so keys are seen as
they are; a command that fails here is logged as a divergence and the stream goes on, as in Redis.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pyredis_cluster.client.resp import encode_command

from ..errors import CommandError
from ..keyspace import ExpiryPolicy

if TYPE_CHECKING:
    from ..client import Client
    from ..command import Command
    from ..server import Server

log = logging.getLogger("pyredis")

TRANSACTION_MAX_BYTES = 1 << 32
"""A transaction of more is refused: it is held until its EXEC comes."""

_UNUSUAL = (b"MULTI", b"PING", b"REPLCONF")
"""What is about the stream itself."""

_PANICS = ("panic", "panic-on-replicas")


class StreamError(Exception):
    """The stream can't be followed any further; the text says why."""


class Stream:
    """apply(commands) in order. `ack_wanted` is set when the primary asked for an acknowledgement."""

    __slots__ = ("_client", "_dispatcher", "_open", "_server", "_unusual", "ack_wanted", "held_bytes")

    def __init__(self, server: Server, client: Client) -> None:
        self._server = server
        self._dispatcher = server.dispatcher
        self._client = client
        self._open: list[list[bytes]] | None = None
        """The commands since MULTI."""
        self.held_bytes = 0
        """The size of the transaction that is open, MULTI included: read, but not applied."""
        self.ack_wanted = False
        table = server.dispatcher.table
        self._unusual = frozenset(map(table.get, _UNUSUAL))

    def forget_open_transaction(self) -> None:
        """forget_open_transaction(): the link was lost in the middle of one; it comes again from its MULTI on."""
        self._open = None
        self.held_bytes = 0

    def apply(self, commands: list[list[bytes]]) -> None:
        """apply([[name, argument, ...], ...]). O(commands), besides what they do. Raises StreamError."""
        keyspace = self._server.keyspace
        policy = keyspace.expiry_policy
        keyspace.expiry_policy = ExpiryPolicy.IGNORE
        try:
            done, count = 0, len(commands)
            while (done := self._run_ordinary(commands, done)) < count:
                self._apply_unusual(commands[done])
                done += 1
        finally:
            keyspace.expiry_policy = policy
        if keyspace.ready:
            self._server.blocking.serve_ready()

    def _run_ordinary(self, commands: list[list[bytes]], done: int) -> int:
        """Run the commands from that place on -> the place of the first one that is not ordinary, or their number."""
        by_name = self._dispatcher.by_name
        unusual = self._unusual
        while self._open is None and done < len(commands):
            args = commands[done]
            command = by_name.get(args[0])
            if (
                command is None
                or command in unusual
                or command.subcommands
                or not command.args_min <= len(args) <= command.args_max
            ):
                break
            self._run(command, args)
            done += 1
        return done

    def _apply_unusual(self, args: list[bytes]) -> None:
        """What is part of a transaction, is about the stream, or has to be looked at."""
        if self._open is not None:
            self._hold(self._open, args)
        elif len(args) == 1 and args[0].upper() == b"MULTI":
            self._open = []
            self.held_bytes = len(encode_command(args))
        else:
            self._apply_one(args)

    def _hold(self, transaction: list[list[bytes]], args: list[bytes]) -> None:
        """One command of an open transaction; with EXEC all of them are applied."""
        if len(args) == 1 and args[0].upper() == b"EXEC":
            self.forget_open_transaction()
            for queued in transaction:
                self._apply_one(queued)
            return
        transaction.append(args)
        self.held_bytes += len(encode_command(args))
        if self.held_bytes > TRANSACTION_MAX_BYTES:
            raise StreamError("the primary's transaction is too large")

    def _apply_one(self, args: list[bytes]) -> None:
        server = self._server
        if args[0] == b"REPLCONF" or args[0] == b"PING":
            self.ack_wanted = self.ack_wanted or (len(args) > 1 and args[1].upper() == b"GETACK")
            return
        try:
            command = server.dispatcher.table.resolve(args)
            if not command.takes(len(args)):
                raise command.arity_error()
        except CommandError as error:
            self._diverged(error.encode(), "<unknown>")
            return
        self._run(command, args)

    def _run(self, command: Command, args: list[bytes]) -> None:
        client = self._client
        client.command = command
        reply = self._dispatcher.execute(client, command, args)
        client.propagated = None
        command.calls += 1
        if reply.startswith(b"-"):
            self._diverged(reply, command.full_name)

    def _diverged(self, reply: bytes, name: str) -> None:
        """The primary could do what we can't: our data differ from its (Redis: afterErrorReply)."""
        log.critical(
            "== CRITICAL == This replica is sending an error to its master: '%s' after processing the command '%s'",
            reply[1:-2].decode(errors="replace"), name,
        )  # fmt: skip
        config = self._server.config
        if config.propagation_error_behavior in _PANICS and config.replica_read_only:
            log.critical("This replica panicked sending an error to its master after processing the command '%s'", name)
            self._server.stop(1)
