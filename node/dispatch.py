"""Dispatch: from a client's parsed commands to replies, the journal and parked clients.

Laws: an ordinary command costs one dict lookup and a handful of precomputed tests; whatever a server state
or a client state demands beyond that is decided on the slow path, `_admit`. What a command changed is in
the journal before its reply leaves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Protocol

from pyredis_cluster.gossip.slots import key_slot

from .client import (
    GUARD_AUTH,
    GUARD_CLOSING,
    GUARD_MULTI,
    GUARD_PARKED,
    GUARD_REPLICA,
    GUARD_REPLY,
    GUARD_TRUSTED,
    Client,
    Transaction,
)
from .command import GATE_KEYS, Command, CommandTable
from .errors import CommandError
from .reply import NO_REPLY, QUEUED

if TYPE_CHECKING:
    from .server import Server

log = logging.getLogger("pyredis")

GateCheck = Callable[[Client, Command], CommandError | None]


class Router(Protocol):
    """The cluster's view as dispatch needs it (the bus provides it; None in standalone mode)."""

    served: bytearray
    """16,384 flags: 1 where a command on a single key of that slot may run here without another thought."""

    def redirect(self, client: Client, command: Command, args: list[bytes]) -> CommandError | None:
        """redirect(client, command, args) -> MOVED, ASK, TRYAGAIN, CROSSSLOT, CLUSTERDOWN, or None: run it."""

    def redirect_transaction(self, client: Client, transaction: Transaction) -> CommandError | None:
        """redirect_transaction(client, transaction) -> the same for EXEC, over the keys of all its commands."""


_KEYSPACE_FLAGS = frozenset({"readonly", "may_replicate"})
NO_MULTI = frozenset({"exec", "discard", "multi", "watch", "quit", "reset"})
"""Commands that run at once inside MULTI instead of being queued."""


class Dispatcher:
    """Runs commands. `gates` is the union of the bits that `close_gate` closed; 0 in the normal state."""

    __slots__ = (
        "_checks",
        "_effects",
        "by_name",
        "commands_processed",
        "errors",
        "gates",
        "journal",
        "keyspace",
        "router",
        "served",
        "server",
        "table",
    )

    def __init__(self, server: Server, table: CommandTable) -> None:
        self.server = server
        self.keyspace = server.keyspace
        self.journal = server.journal
        self.table = table
        self.by_name = table.by_name
        self.gates = 0
        self.router: Router | None = None
        self.served: bytearray | None = None
        """The router's flags."""
        self.commands_processed = 0
        self.errors: dict[str, int] = {}
        """Error replies by code, for INFO errorstats."""
        self._checks: dict[str, tuple[int, int, GateCheck]] = {}
        self._effects: list[tuple[int, list[bytes]]] | None = None

    def route(self, router: Router) -> None:
        """route(router): from now on a command runs only where the router allows it."""
        self.router = router
        self.served = router.served

    # -- gates

    def close_gate(self, name: str, bits: int, rank: int, check: GateCheck) -> None:
        """close_gate("readonly", GATE_WRITE, 50, check): commands with these bits are asked `check` first.

        `check(client, command)` gives the error that refuses the command, or None. Lower ranks are asked
        first (the order of Redis's processCommand).
        """
        self._checks[name] = (rank, bits, check)
        self._sum_gates()

    def open_gate(self, name: str) -> None:
        """open_gate("readonly") undoes `close_gate`; nothing happens if it was open."""
        if self._checks.pop(name, None) is not None:
            self._sum_gates()

    def _sum_gates(self) -> None:
        self._checks = dict(sorted(self._checks.items(), key=lambda item: item[1][0]))
        self.gates = 0
        for _, bits, _ in self._checks.values():
            self.gates |= bits

    # -- the hot path

    def run(self, client: Client, commands: list[list[bytes]]) -> int:
        """run(client, commands) -> how many of them were run; fewer when the client was parked or is closing.

        Replies are appended to `client.out`. Equal commands in a row are counted and timed together: their
        statistics are up to date when another command begins.
        """
        keyspace = self.keyspace
        journal = self.journal
        table = self.by_name
        out = client.out
        served = self.served
        before = keyspace.dirty
        timed: Command | None = None
        done = counted = 0
        started_ns = perf_counter_ns()
        client.running = True
        for args in commands:
            command = table.get(args[0])
            if (
                command is None
                or client.guard
                or command.gates & self.gates
                or command.subcommands
                or not command.args_min <= len(args) <= command.args_max
                or (
                    served is not None
                    and command.gates & GATE_KEYS
                    and not (command.single_key and served[key_slot(args[command.single_key])])
                )
            ):
                if timed is not None:
                    started_ns = timed.count(done - counted, started_ns)
                counted = done
                reply = self._admit(client, args)
                timed = client.command
            else:
                if command is not timed:
                    if timed is not None:
                        started_ns = timed.count(done - counted, started_ns)
                    counted = done
                    client.command = timed = command
                try:
                    reply = command.function(client, args)
                except Exception as error:
                    reply = self._raised(client, command, args, error)
            done += 1
            if keyspace.dirty != before:
                if timed is not None and (journal.active or keyspace.ready or client.propagated is not None):
                    self._changed(client, args)
                before = keyspace.dirty
            if reply:
                out += reply
            elif client.guard & (GUARD_PARKED | GUARD_CLOSING):
                break
        if timed is not None:
            # A parked command counts when it ends.
            timed.count(done - counted - (client.parked is not None), started_ns)
        client.running = False
        client.last_command = client.command or client.last_command
        self.commands_processed += done
        return done

    def _changed(self, client: Client, args: list[bytes]) -> None:
        """After a command that raised `dirty`: journal it, and serve who waits for the keys it changed."""
        server = self.server
        journal = server.journal
        effects = self._effects
        propagated = client.propagated
        if effects is not None:
            for entry in (args,) if propagated is None else propagated:
                effects.append((client.db.index, entry))
        elif journal.active:
            if propagated is None:
                journal.append(client.db.index, args)
            else:
                journal.append_transaction([(client.db.index, entry) for entry in propagated])
            client.waiting_offset = journal.offset
        client.propagated = None
        if server.keyspace.ready and effects is None:
            server.blocking.serve_ready()

    # -- the slow path

    def _admit(self, client: Client, args: list[bytes]) -> bytes:
        """Everything that may stand between a command and its execution (Redis: processCommand)."""
        client.command = None
        guard = client.guard
        if guard & GUARD_CLOSING:
            return NO_REPLY
        try:
            command = self.table.resolve(args)
            if not command.takes(len(args)):
                raise command.arity_error()
            if guard & GUARD_AUTH and "no_auth" not in command.flags:
                raise CommandError("Authentication required.", "NOAUTH")
            if self.router is not None and command.gates & GATE_KEYS and not guard & GUARD_TRUSTED:
                error = self.router.redirect(client, command, args)
                if error is not None:
                    raise error
            if command.gates & self.gates:
                self._check_gates(client, command)
            if command.name == "exec" and self.gates:
                self._check_transaction(client)
            if guard & GUARD_REPLICA and (command.is_write or not _KEYSPACE_FLAGS.isdisjoint(command.flags)):
                raise CommandError("Replica can't interact with the keyspace")
            if self.server.blocking.pauses.active and self.server.blocking.postpone(client, command, args):
                return NO_REPLY
            if client.transaction is not None and command.name not in NO_MULTI:
                return self.filtered(client, args, self._queue(client, client.transaction, command, args))
        except CommandError as error:
            if args[0].lower() == b"exec":
                error = _discard(client, error)
            elif client.transaction is not None:
                client.transaction.aborted = True
            return self.filtered(client, args, self._rejected(args, error))
        client.command = command
        return self.filtered(client, args, self.execute(client, command, args))

    def _check_gates(self, client: Client, command: Command) -> None:
        for _, bits, check in self._checks.values():
            if command.gates & bits:
                error = check(client, command)
                if error is not None:
                    raise error

    def _check_transaction(self, client: Client) -> None:
        """EXEC is refused as a whole where one of its commands would be (Redis: execCommandAbort)."""
        transaction = client.transaction
        if transaction is None or transaction.aborted:
            return
        for command, _ in transaction.commands:
            if command.gates & self.gates:
                self._check_gates(client, command)

    def _queue(self, client: Client, transaction: Transaction, command: Command, args: list[bytes]) -> bytes:
        if "no_multi" in command.flags:
            raise CommandError("Command not allowed inside a transaction")
        if not transaction.aborted:
            transaction.commands.append((command, args))
        transaction.has_write = transaction.has_write or command.is_write
        return QUEUED

    def filtered(self, client: Client, args: list[bytes], reply: bytes) -> bytes:
        """filtered(client, args, reply) -> what of it is sent, with CLIENT REPLY OFF and SKIP in mind.

        In the stream to a replica there is no place for replies.
        """
        if client.guard & GUARD_REPLICA and reply:
            self.server.replication.primary.replied(client, args, reply)
            return NO_REPLY
        if client.guard & GUARD_REPLY and client.parked is None and client.reply_mode != b"on":
            if client.reply_mode == b"skipped":
                client.reply_mode = b"on"
                client.guard &= ~GUARD_REPLY
            elif client.reply_mode == b"skip":
                client.reply_mode = b"skipped"
            return NO_REPLY
        return reply

    def execute(self, client: Client, command: Command, args: list[bytes]) -> bytes:
        """execute(client, command, args) -> the reply of an admitted command; errors become error replies."""
        try:
            return command.function(client, args)
        except Exception as error:
            return self._raised(client, command, args, error)

    def call(self, client: Client, command: Command, args: list[bytes]) -> bytes:
        """call(client, command, args) -> the reply; with statistics and the journal, without admission.

        For commands that come from elsewhere than a client's batch: EXEC's queue, a parked command that is
        run again, the primary's stream, a script.
        """
        before = self.server.keyspace.dirty
        started_ns = perf_counter_ns()
        outer = client.command
        client.command = command
        reply = self.execute(client, command, args)
        if self.server.keyspace.dirty != before:
            self._changed(client, args)
        if reply or client.parked is None:
            command.calls += 1
        command.nanoseconds += perf_counter_ns() - started_ns
        client.command = outer
        return reply

    def transact(self, client: Client, commands: list[tuple[Command, list[bytes]]]) -> list[bytes]:
        """transact(client, [(command, args), ...]) -> their replies; the journal gets them as one transaction."""
        keyspace = self.server.keyspace
        effects: list[tuple[int, list[bytes]]] = []
        self._effects = effects
        try:
            replies = [self.call(client, command, args) for command, args in commands]
        finally:
            self._effects = None
        self.server.journal.append_transaction(effects)
        if effects:
            client.propagate_as()  # EXEC itself stands for nothing beyond them
        client.waiting_offset = self.server.journal.offset
        if keyspace.ready:
            self.server.blocking.serve_ready()
        return replies

    # -- errors

    def failed(self, command: Command, error: CommandError) -> bytes:
        """failed(command, error) -> the error reply of a command that ran and failed; counted."""
        command.failed += 1
        self.errors[error.code] = self.errors.get(error.code, 0) + 1
        return error.encode()

    def _rejected(self, args: list[bytes], error: CommandError) -> bytes:
        command = self.table.get(args[0])
        if command is not None:
            command.rejected += 1
        self.errors[error.code] = self.errors.get(error.code, 0) + 1
        return error.encode()

    def _raised(self, client: Client, command: Command, args: list[bytes], error: Exception) -> bytes:
        """The reply to what a command's function raised; a bug is logged with its traceback, and the node lives on."""
        client.propagated = None
        if not isinstance(error, CommandError):
            log.error("Command %s with %d arguments raised", command.full_name, len(args) - 1, exc_info=error)
            error = CommandError("internal error, see the server's log")
        return self.failed(command, error)


def _discard(client: Client, error: CommandError) -> CommandError:
    """An EXEC that isn't admitted ends its transaction (Redis: execCommandAbort)."""
    transaction_guard(client, None)
    client.drop_watches()
    reason = error.message if error.code == CommandError.code else str(error)
    return CommandError(f"Transaction discarded because of: {reason}", "EXECABORT")


def transaction_guard(client: Client, transaction: Transaction | None) -> None:
    """transaction_guard(client, transaction): set or clear the client's MULTI state and its guard bit."""
    client.transaction = transaction
    if transaction is None:
        client.guard &= ~GUARD_MULTI
    else:
        client.guard |= GUARD_MULTI
