"""The target's side of a slot migration: a connection whose commands fill slots that are not ours yet.

Laws: an import writes to its slots only, sees their keys whatever their time to live, and is never mixed with
another one; it ends with FINISH, which claims all slots at once when the replicas have what came, or it leaves
no key behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyredis_cluster.gossip.slots import key_slot

from ..client import GUARD_IMPORT, GUARD_PARKED, Client
from ..connection import Connection
from ..errors import CommandError
from ..keyspace import ExpiryPolicy
from ..parser import RequestParser
from ..reply import NO_REPLY
from .job import Job, JobState
from .stream import FLUSHES

if TYPE_CHECKING:
    from ..server import Server

log = logging.getLogger("pyredis")

READ_BYTES = 32 * 1024
"""What one event reads, and so what other clients wait for."""

BULK_MAX_BYTES = 1 << 40
"""The source's values are as large as they are: its own limit applied to them."""

REPLICAS_TIMEOUT_MS = 1_000
"""How long FINISH waits for our replicas; the source waits longer than that (HANDOVER_TIMEOUT_MS)."""

STALE_EPOCH = "STALEEPOCH"
"""The error code of a FINISH whose epoch is not above all that we know of; the text is the highest of them."""


class SlotImport:
    """One incoming job: reads the source's connection in place of its `Connection`; `on_end(self)` once."""

    def __init__(
        self, server: Server, connection: Connection, job: Job, on_end: Callable[[SlotImport], None]
    ) -> None:
        self.job = job
        self.slots = frozenset(job.slots)
        self._server = server
        self._connection = connection
        self._on_end = on_end
        self._parser = RequestParser(BULK_MAX_BYTES)
        connection.client.guard |= GUARD_IMPORT
        self._listen(self)
        server.journal.subscribe(self)
        job.turn(JobState.SNAPSHOT, server.clock.now_ms)

    @property
    def client(self) -> Client:
        """Whom the source's commands run as."""
        return self._connection.client

    def _listen(self, handler: SlotImport | Connection) -> None:
        reactor, fd = self._server.reactor, self._connection.fd
        reactor.remove(fd)
        reactor.add(fd, handler, self._connection.watching)

    # -- the connection

    def on_readable(self) -> None:
        connection = self._connection
        try:
            data = connection.sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            connection.close(f"read error: {error.strerror}")
            return
        if not data:
            connection.close("closed by peer")
            return
        server = self._server
        connection.client.last_interaction_ms = server.clock.now_ms
        server.stats.net_input_bytes += len(data)
        server.stats.reads_processed += 1
        commands = self._parser.feed(data)
        if self._parser.error is not None:
            self.abort(f"the source's stream is broken: {self._parser.error}")
        elif commands:
            self._apply(commands)
        if connection.client.out and not connection.closed:
            server.reactor.schedule(connection)

    def on_writable(self) -> None:
        self._connection.on_writable()

    def on_fault(self) -> None:
        self.abort("internal error, see the log")

    def _apply(self, commands: list[list[bytes]]) -> None:
        stray = next((args for args in commands if not self._may_run(args)), None)
        if stray is not None or self.client.guard & GUARD_PARKED:
            self.abort(f"the source sent what does not belong here: {stray[0]!r}" if stray else "sent after FINISH")
            return
        keyspace = self._server.keyspace
        policy, keyspace.expiry_policy = keyspace.expiry_policy, ExpiryPolicy.IGNORE
        try:
            done = self._server.dispatcher.run(self.client, commands)
        finally:
            keyspace.expiry_policy = policy
        self.job.keys_moved += done

    def _may_run(self, args: list[bytes]) -> bool:
        """Whether it is a write to our slots alone, or part of the migration's own talk."""
        command = self._server.dispatcher.table.get(args[0])
        if command is None or command.subcommands:
            return args[0].upper() == b"CLUSTER"
        positions = command.key_positions(args)
        slots = self.slots
        return command.is_write and bool(positions) and all(key_slot(args[at]) in slots for at in positions)

    # -- the journal

    def journal_entry(self, data: bytes, offset: int, database: int, args: list[bytes]) -> None:
        """The journal's subscriber: a flush takes what came in, and the source would not know."""
        if args and args[0].upper() in FLUSHES:
            self.abort("the database was flushed")

    # -- the end

    def finish(self, args: list[bytes], epoch: int) -> bytes:
        """finish(args, epoch) -> the reply to FINISH, at once or when the replicas have what came."""
        self._require_claimable(epoch)
        server = self._server
        offset = server.journal.offset
        links = server.replication.primary.links.values()

        def claim_when_possible() -> bytes | None:
            behind = any(link.in_sync and link.ack_offset < offset for link in links)
            return None if behind or server.migrations.handing_over else self._claim(epoch)

        reply = claim_when_possible()
        if reply is None:
            server.blocking.park_until(
                self.client, args, REPLICAS_TIMEOUT_MS, claim_when_possible, lambda _: self._claim(epoch)
            )
            server.replication.primary.ask_for_acks()
            return NO_REPLY
        return reply

    def _require_claimable(self, epoch: int) -> None:
        # A node that was stopped meanwhile learns of that here, before it claims what it may not any more.
        self._server.reactor.update_clock()
        cluster = self._server.cluster
        if self.job.state.ended:
            raise CommandError("The slot migration has ended")
        if self._server.is_replica or not cluster.may_hand_over():
            raise CommandError("I can't take over slots now")
        if not cluster.owned_by(self.job.slots, self.job.source_id):
            raise CommandError("The source does not own the slots")
        highest = cluster.highest_epoch_beside(epoch)
        if highest >= epoch:
            raise CommandError(str(highest), STALE_EPOCH)

    def _claim(self, epoch: int) -> bytes:
        try:
            self._require_claimable(epoch)
        except CommandError as error:
            return error.encode()
        self._server.cluster.claim_slots(self.job.slots, epoch)
        self.job.turn(JobState.SUCCESS, self._server.clock.now_ms)
        self._leave()
        record = self._server.cluster.my_record()
        return b"$%d\r\n%b\r\n" % (len(record), record)

    def abort(self, reason: str) -> None:
        """abort(reason): what came goes again, and the connection is closed, which tells the source."""
        if self.job.state.ended:
            return
        self.job.turn(JobState.FAILED, self._server.clock.now_ms, reason)
        log.warning("Slot migration %s from %s failed: %s", self.job.name, self.job.source_id, reason)
        self._leave()
        self._connection.close("the slot migration failed")

    def _leave(self) -> None:
        self._server.journal.unsubscribe(self)
        self.client.guard &= ~GUARD_IMPORT
        if not self._connection.closed:
            self._listen(self._connection)
        self._on_end(self)
