"""Applying the primary's stream to the keyspace.

Laws: a transaction is applied whole or not at all; expiry is the primary's business, so keys are seen as
they are; a command that fails here is logged as a divergence and the stream goes on, as in Redis.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import CommandError
from ..keyspace import ExpiryPolicy

if TYPE_CHECKING:
    from ..server import Server
    from .replica import PrimaryLink

log = logging.getLogger("pyredis")

TRANSACTION_MAX_COMMANDS = 1 << 24


class Stream:
    """apply(commands) in order. `ack_wanted` is set when the primary asked for an acknowledgement."""

    def __init__(self, server: Server, link: PrimaryLink) -> None:
        self._server = server
        self._link = link
        self._open: list[list[bytes]] | None = None
        """The commands since MULTI."""
        self.ack_wanted = False

    def forget_open_transaction(self) -> None:
        """forget_open_transaction(): the link was lost in the middle of one."""
        self._open = None

    def apply(self, commands: list[list[bytes]]) -> None:
        """apply([[name, argument, ...], ...]). O(commands), besides what they do."""
        keyspace = self._server.keyspace
        keyspace.expiry_policy = ExpiryPolicy.IGNORE
        try:
            for args in commands:
                name = args[0].upper()
                if name == b"MULTI":
                    self._open = []
                elif name == b"EXEC":
                    for queued in self._open or ():
                        self._apply_one(queued)
                    self._open = None
                elif self._open is not None and len(self._open) < TRANSACTION_MAX_COMMANDS:
                    self._open.append(args)
                else:
                    self._apply_one(args)
        finally:
            keyspace.expiry_policy = ExpiryPolicy.HIDE
        if keyspace.ready:
            self._server.blocking.serve_ready()

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
            log.critical("== CRITICAL == This replica is sending an error to its master: '%s'", error)
            return
        client = self._link.client
        client.command = command
        reply = server.dispatcher.execute(client, command, args)
        client.propagated = None
        command.calls += 1
        if reply[:1] == b"-":
            log.critical(
                "== CRITICAL == This replica is sending an error to its master: '%s' after processing the command '%s'",
                reply[1:-2].decode(errors="replace"), command.full_name,
            )  # fmt: skip
