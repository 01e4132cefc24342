"""The source's side of a slot migration: the connection to the target, and the handover at the end.

Laws: a slot is given up only when the target has claimed it, under the epoch that this node reserved for that;
from the question until then no write to it is run. If the target doesn't answer, this node takes a higher epoch
before it serves the slot again, so that a claim which comes too late loses.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections import deque
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING

import hiredis
from pyredis_cluster.client.resp import encode_command
from pyredis_cluster.gossip.slots import slot_ranges

from ..reactor import READABLE, WRITABLE
from .imports import STALE_EPOCH
from .job import Job, JobState
from .stream import SlotStream

if TYPE_CHECKING:
    from ..server import Server
    from .migrations import Migrations

log = logging.getLogger("pyredis")

READ_BYTES = 64 * 1024
WINDOW_BYTES = 4 << 20
"""So much of the stream may be unanswered; the snapshot waits beyond it."""

TURN_NS = 2_000_000
"""How long one turn of the snapshot may keep other clients waiting."""

TURN_OUTPUT_BYTES = 256 * 1024
HANDOVER_BACKLOG_BYTES = 64 * 1024
"""Writes are held back for the handover once less than this is unanswered."""

TAIL_MAX_BYTES = 256 << 20
"""A target that falls further behind the writes than this makes the job fail."""

SILENCE_TIMEOUT_MS = 10_000
HANDOVER_TIMEOUT_MS = 3_000
"""How long writes stay held back for a target that does not answer."""


class SlotExport:
    """One outgoing job. Handler of the reactor and subscriber of the journal; `on_end(self)` is called once."""

    def __init__(
        self,
        server: Server,
        migrations: Migrations,
        job: Job,
        address: tuple[str, int],
        on_end: Callable[[SlotExport], None],
    ) -> None:
        self.job = job
        self._server = server
        self._migrations = migrations
        self._address = address
        self._on_end = on_end
        self._sock: socket.socket | None = None
        self._reader = hiredis.Reader()
        self._out = bytearray()
        self._unanswered: deque[int] = deque()
        """The sizes of the commands that the target has not answered, oldest first."""
        self._unanswered_bytes = 0
        table = server.dispatcher.table
        self._stream = SlotStream(server.keyspace.databases[0], job.slots, table, self._put, self._flushed)
        self._held_since_ms = 0
        self._watching = READABLE | WRITABLE
        self._last_heard_ms = server.clock.now_ms

    # -- the connection

    def start(self) -> None:
        """start(): connect to the target and introduce the job."""
        self.job.turn(JobState.CONNECTING, self._server.clock.now_ms)
        try:
            info = socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM)[0]
            sock = socket.socket(*info[:3])
        except OSError as error:
            self.fail(f"can't connect to the target: {error}")
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(info[4])
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            self.fail(f"can't connect to the target: {errno.errorcode.get(code, code)}")
            return
        self._sock = sock
        self._last_heard_ms = self._server.clock.now_ms
        self._server.reactor.add(sock.fileno(), self, self._watching)
        config = self._server.config
        if config.masterauth:
            user = [config.masteruser.encode()] if config.masteruser else []
            self._ask(b"AUTH", *user, config.masterauth.encode())
        bounds = [b"%d" % bound for pair in slot_ranges(self.job.slots) for bound in pair]
        source, name = self.job.source_id.encode(), self.job.name.encode()
        self._ask(b"CLUSTER", b"SYNCSLOTS", b"ESTABLISH", source, name, b"SLOTSRANGE", *bounds)

    def _ask(self, *args: bytes) -> None:
        self._put(encode_command(args))

    def _put(self, data: bytes) -> None:
        self._out += data
        self._unanswered.append(len(data))
        self._unanswered_bytes += len(data)

    def on_writable(self) -> None:
        if self._sock is None:
            return
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._lost(errno.errorcode.get(code, str(code)))
            return
        if self.job.state is JobState.SNAPSHOT:
            self._continue_snapshot()
        self.flush()

    def on_readable(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error.strerror or "read error")
            return
        if not data:
            self._lost("closed")
            return
        self._last_heard_ms = self._server.clock.now_ms
        try:
            self._reader.feed(data)
            while self._sock is not None and (reply := self._reader.gets()) is not False:
                self._answered(reply)
        except hiredis.ProtocolError:
            self._lost("no RESP")
        if self._sock is not None:
            self._advance()
            self.flush()

    def _answered(self, reply: object) -> None:
        if not self._unanswered:
            self.fail("the target answered what it was not asked")
            return
        self._unanswered_bytes -= self._unanswered.popleft()
        if isinstance(reply, hiredis.ReplyError):
            if self.job.state is JobState.HANDOVER and str(reply).startswith(STALE_EPOCH):
                self._server.cluster.heard_epoch(int(str(reply).split()[1]))
                self._ask_to_claim()
            else:
                # A refusal is a clear answer: the target has not claimed the slots and won't.
                self._end(JobState.FAILED, f"the target refused: {reply}")
        elif self.job.state is JobState.HANDOVER:
            claim = reply if isinstance(reply, bytes) else b""
            if self._server.cluster.hear_claim(claim, self.job.slots, self.job.target_id):
                self._handed_over()
            else:
                self.fail("the target answered what is no claim")

    def on_fault(self) -> None:
        self.fail("internal error, see the log")

    def flush(self) -> None:
        """flush(): send what the socket takes; WRITABLE is asked for while there is more to come."""
        if self._sock is None:
            return
        try:
            while self._out:
                sent = self._sock.send(self._out)
                del self._out[:sent]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._lost(error.strerror or "write error")
            return
        wants = READABLE | (WRITABLE if self._out or self._snapshot_may_go_on() else 0)
        if wants != self._watching:
            self._watching = wants
            self._server.reactor.modify(self._sock.fileno(), wants)

    # -- snapshot and tail

    def _advance(self) -> None:
        """What the last answers allow: the snapshot begins or ends, writes are held, the target may claim."""
        job, now_ms = self.job, self._server.clock.now_ms
        if job.state is JobState.CONNECTING and not self._unanswered:
            job.turn(JobState.SNAPSHOT, now_ms)
            self._server.journal.subscribe(self)
        if job.state is JobState.SNAPSHOT:
            self._continue_snapshot()
        may_hold = self._unanswered_bytes < HANDOVER_BACKLOG_BYTES and self._server.cluster.may_hand_over()
        if job.state is JobState.STREAMING and may_hold:
            job.turn(JobState.PAUSED, now_ms)
            self._held_since_ms = now_ms
            self._migrations.hold_writes(job)
        if job.state is JobState.PAUSED and not self._unanswered:
            if not self._server.cluster.serves_all(job.slots):
                self.fail("this node does not own the slots any more")
                return
            job.turn(JobState.HANDOVER, now_ms)
            # From here on the keys may be the target's, and what the journal says of them (our own removal of
            # them, if the bus tells of the claim before the answer comes) is no business of the target's.
            self._server.journal.unsubscribe(self)
            self._ask_to_claim()

    def _snapshot_may_go_on(self) -> bool:
        return self.job.state is JobState.SNAPSHOT and self._unanswered_bytes < WINDOW_BYTES

    def _continue_snapshot(self) -> None:
        stream = self._stream
        ends_ns = perf_counter_ns() + TURN_NS
        while self._snapshot_may_go_on() and len(self._out) < TURN_OUTPUT_BYTES and perf_counter_ns() < ends_ns:
            more = stream.step()
            self.job.keys_moved = stream.keys_sent
            if not more:
                self.job.turn(JobState.STREAMING, self._server.clock.now_ms)
                self._advance()

    def journal_entry(self, data: bytes, offset: int, database: int, args: list[bytes]) -> None:
        """The journal's subscriber: what concerns the job's slots goes to the target."""
        if not args:
            return
        before = self._unanswered_bytes
        self._stream.entry(data, args)
        if self._unanswered_bytes > TAIL_MAX_BYTES:
            self.fail("the target does not keep up with the writes")
        elif self._unanswered_bytes > before:
            self._server.reactor.schedule(self)

    def _flushed(self) -> None:
        self.fail("the database was flushed")

    # -- the handover

    def _ask_to_claim(self) -> None:
        epoch = self._server.cluster.reserve_epoch()
        self._ask(b"CLUSTER", b"SYNCSLOTS", b"FINISH", self.job.name.encode(), b"%d" % epoch)

    def _handed_over(self) -> None:
        if self.job.state is not JobState.HANDOVER:
            return  # with its last slot this node became a replica, which has ended the job already
        self._release_writes()
        self._close()
        self.job.turn(JobState.CLEANUP, self._server.clock.now_ms)
        self._on_end(self)

    def _release_writes(self) -> None:
        if self._held_since_ms:
            self.job.paused_ms = self._server.clock.update() - self._held_since_ms
            self._held_since_ms = 0
            self._migrations.release_writes(self.job)

    def cron(self) -> None:
        """cron(): a target that is silent for too long, or a handover whose answer does not come."""
        server, job = self._server, self.job
        now_ms = server.clock.now_ms
        if job.state is JobState.HANDOVER and server.cluster.owned_by(job.slots, job.target_id):
            self._handed_over()
        elif self._held_since_ms and now_ms - self._held_since_ms >= HANDOVER_TIMEOUT_MS:
            self.fail("the target did not answer in time")
        elif not server.cluster.serves_all(job.slots):
            self.fail("this node does not own the slots any more")
        elif self._unanswered and now_ms - self._last_heard_ms > SILENCE_TIMEOUT_MS:
            self.fail("the target is silent")
        elif job.state is JobState.STREAMING:
            self._advance()
            self.flush()

    # -- the end

    def _lost(self, reason: str) -> None:
        """The connection is gone. In the handover the target may have claimed the slots and serve them already:
        the bus will tell, or the time-out decides.
        """
        if self.job.state is JobState.HANDOVER:
            log.warning("Slot migration %s: connection lost in the handover: %s", self.job.name, reason)
            self._close()
        else:
            self.fail(f"the target's connection: {reason}")

    def cancel(self) -> None:
        """cancel(): CLUSTER CANCELSLOTMIGRATIONS; a handover under way can't be called back."""
        if self.job.state is not JobState.HANDOVER:
            self._end(JobState.CANCELLED, "cancelled by the operator")

    def fail(self, reason: str) -> None:
        """fail(reason): the slots stay here, whatever the target has of them; unless it is known to own them."""
        if self.job.state is JobState.HANDOVER and self._server.cluster.owned_by(self.job.slots, self.job.target_id):
            self._handed_over()
            return
        outbid = self.job.state is JobState.HANDOVER and not self._server.is_replica
        if outbid:
            self._server.cluster.reclaim_slots()
        self._end(JobState.FAILED, reason)
        if outbid:
            self._migrations.outbid()

    def outbid(self) -> None:
        """outbid(): a new epoch of this node takes back whatever the target claims now."""
        if self.job.state is JobState.HANDOVER:
            self._end(JobState.FAILED, "another migration's slots were taken back, and with them these")

    def _end(self, state: JobState, reason: str) -> None:
        if self.job.state.ended or self.job.state is JobState.CLEANUP:
            return
        self.job.turn(state, self._server.clock.now_ms, reason)
        self._close()
        self._release_writes()
        log.warning("Slot migration %s to %s %s: %s", self.job.name, self.job.target_id, state.value, reason)
        self._on_end(self)

    def _close(self) -> None:
        self._server.journal.unsubscribe(self)
        self._server.reactor.unschedule(self)
        if self._sock is not None:
            self._server.reactor.remove(self._sock.fileno())
            self._sock.close()
            self._sock = None
