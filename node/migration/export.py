"""The source's side of a slot migration: the slots' keys, then the tail of the journal, to the target.

Laws: a slot is in one of three states. Not begun: its writes are not sent. Under way: every write sends the
present state of its keys, whole. Done: every write is sent as it stands in the journal. So the target has, at
the end of the stream, exactly what this node has. The handover happens with writes held back, and this node
gives the slots up only when the target has said that they are its own.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import TYPE_CHECKING

import hiredis
from pyredis_cluster.client.resp import encode_command
from pyredis_cluster.gossip.slots import SLOT_COUNT, key_slot, slot_ranges

from ..pausing import PausePurpose
from ..persistence.encode import dump_value
from ..reactor import READABLE, WRITABLE
from ..values.table import scan_step
from .job import Job, JobState

if TYPE_CHECKING:
    from ..server import Server

log = logging.getLogger("pyredis")

READ_BYTES = 64 * 1024
WINDOW_BYTES = 4 << 20
"""So much of the stream may be unanswered; the snapshot waits beyond it."""

TURN_NS = 2_000_000
"""How long one turn of the snapshot may keep other clients waiting."""

TURN_OUTPUT_BYTES = 256 * 1024
HANDOVER_BACKLOG_BYTES = 64 * 1024
"""Writes are paused for the handover once less than this is unanswered."""

TAIL_MAX_BYTES = 256 << 20
"""A target that falls further behind the writes than this makes the job fail."""

SCAN_COUNT = 64
SILENCE_TIMEOUT_MS = 10_000
HANDOVER_TIMEOUT_MS = 3_000
"""How long writes stay held back for a target that does not answer."""

_CONTROL = frozenset({b"SELECT", b"MULTI", b"EXEC", b"PING", b"REPLCONF"})


class SlotExport:
    """One outgoing job. Handler of the reactor and subscriber of the journal; `on_end(self)` once."""

    def __init__(
        self, server: Server, job: Job, address: tuple[str, int], on_end: Callable[[SlotExport], None]
    ) -> None:
        self.job = job
        self._server = server
        self._address = address
        self._on_end = on_end
        self._sock: socket.socket | None = None
        self._reader = hiredis.Reader()
        self._out = bytearray()
        self._unanswered: deque[int] = deque()
        self._unanswered_bytes = 0
        self._done = bytearray(SLOT_COUNT)
        self._under_way = -1
        self._snapshot = self._walk()
        self._paused_since_ms = 0
        self._watching = READABLE | WRITABLE
        self._last_heard_ms = server.clock.now_ms

    # -- the connection

    def start(self) -> None:
        """start(): connect to the target and introduce the job."""
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
        self._server.reactor.add(sock.fileno(), self, self._watching)
        config = self._server.config
        if config.masterauth:
            user = [config.masteruser.encode()] if config.masteruser else []
            self._send([b"AUTH", *user, config.masterauth.encode()])
        bounds = [b"%d" % bound for pair in slot_ranges(self.job.slots) for bound in pair]
        source = self.job.source_id.encode()
        name = self.job.name.encode()
        self._send([b"CLUSTER", b"SYNCSLOTS", b"ESTABLISH", source, name, b"SLOTSRANGE", *bounds])

    def _send(self, args: list[bytes]) -> None:
        data = encode_command(args)
        self._out += data
        self._unanswered.append(len(data))
        self._unanswered_bytes += len(data)

    def on_writable(self) -> None:
        if self._sock is None:
            return
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.fail(f"the target's connection: {errno.errorcode.get(code, code)}")
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
            self.fail(f"the target's connection: {error.strerror}")
            return
        if not data:
            self.fail("the target closed the connection")
            return
        self._last_heard_ms = self._server.clock.now_ms
        self._reader.feed(data)
        while self._sock is not None and (reply := self._reader.gets()) is not False:
            self._answered(reply)
        if self._sock is not None:
            self._advance()
            self.flush()

    def _answered(self, reply: object) -> None:
        if not self._unanswered:
            self.fail("the target answered what it was not asked")
            return
        self._unanswered_bytes -= self._unanswered.popleft()
        if isinstance(reply, hiredis.ReplyError):
            self.fail(f"the target refused: {reply}")
        elif self.job.state is JobState.HANDOVER and not self._unanswered:
            self._handed_over()

    def on_fault(self) -> None:
        self.fail("internal error, see the source's log")

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
            self.fail(f"the target's connection: {error.strerror}")
            return
        wants = READABLE | (WRITABLE if self._out or self._snapshot_may_go_on() else 0)
        if wants != self._watching:
            self._watching = wants
            self._server.reactor.modify(self._sock.fileno(), wants)

    # -- snapshot and tail

    def _advance(self) -> None:
        """What the last answers allow: the snapshot begins, ends, or the handover does."""
        job, now_ms = self.job, self._server.clock.now_ms
        if job.state is JobState.CONNECTING and not self._unanswered:
            job.turn(JobState.SNAPSHOT, now_ms)
            self._server.journal.subscribe(self)
        if job.state is JobState.SNAPSHOT:
            self._continue_snapshot()
        if job.state is JobState.STREAMING and self._unanswered_bytes < HANDOVER_BACKLOG_BYTES:
            self._hold_writes(now_ms)
        if job.state is JobState.PAUSED and not self._unanswered:
            job.turn(JobState.HANDOVER, now_ms)
            # From here on the keys may be the target's, and what the journal says of them (our own removal of
            # them, if the bus tells of the claim before the answer comes) is no business of the target's.
            self._server.journal.unsubscribe(self)
            self._send([b"CLUSTER", b"SYNCSLOTS", b"FINISH", job.name.encode()])

    def _snapshot_may_go_on(self) -> bool:
        return self.job.state is JobState.SNAPSHOT and self._unanswered_bytes < WINDOW_BYTES

    def _continue_snapshot(self) -> None:
        ends_ns = perf_counter_ns() + TURN_NS
        while self._snapshot_may_go_on() and len(self._out) < TURN_OUTPUT_BYTES and perf_counter_ns() < ends_ns:
            if next(self._snapshot, None) is None:
                self.job.turn(JobState.STREAMING, self._server.clock.now_ms)
                self._advance()
                return

    def _walk(self) -> Iterator[bool]:
        """Send every key of every slot; yields after each bounded step."""
        database = self._server.keyspace.databases[0]
        for slot in self.job.slots:
            self._under_way = slot
            cursor = 0
            while True:
                cursor, items = scan_step(database.keys_in_slot(slot), cursor, SCAN_COUNT)
                for position, (key, _) in enumerate(items):
                    self._send_state(key)
                    self.job.keys_moved += 1
                    if position % SCAN_COUNT == SCAN_COUNT - 1:
                        yield True
                if cursor == 0:
                    break
                yield True
            self._done[slot] = 1
            self._under_way = -1
            yield True

    def _send_state(self, key: bytes) -> None:
        """The key's present value, or its absence."""
        database = self._server.keyspace.databases[0]
        value = database.peek(key)
        if value is None:
            self._send([b"DEL", key])
            return
        expiry_ms = database.expiry_ms(key) or 0
        self._send([b"RESTORE", key, b"%d" % expiry_ms, dump_value(value), b"REPLACE", b"ABSTTL"])

    def journal_entry(self, data: bytes, offset: int, database: int, args: list[bytes]) -> None:
        """The journal's subscriber: what concerns the job's slots goes to the target."""
        if not args or args[0].upper() in _CONTROL:
            return
        command = self._server.dispatcher.table.get(args[0])
        positions = command.key_positions(args) if command is not None else []
        if not positions:
            if args[0].upper() in (b"FLUSHALL", b"FLUSHDB"):
                self.fail("the database was flushed")
            return
        slot = key_slot(args[positions[0]])
        if self._done[slot]:
            self._out += data
            self._unanswered.append(len(data))
            self._unanswered_bytes += len(data)
        elif slot == self._under_way:
            for position in positions:
                self._send_state(args[position])
        else:
            return
        if self._unanswered_bytes > TAIL_MAX_BYTES:
            self.fail("the target does not keep up with the writes")
        else:
            self._server.reactor.schedule(self)

    # -- the handover

    def _hold_writes(self, now_ms: int) -> None:
        self.job.turn(JobState.PAUSED, now_ms)
        self._paused_since_ms = now_ms
        self._server.blocking.pause(PausePurpose.SLOT_MIGRATION, now_ms + HANDOVER_TIMEOUT_MS, writes_only=True)

    def _handed_over(self) -> None:
        self._server.cluster.cede_slots(self.job.slots, self.job.target_id)
        self._release_writes()
        self._close()
        self.job.turn(JobState.CLEANUP, self._server.clock.now_ms)
        self._on_end(self)

    def _target_owns(self) -> bool:
        """Whether the target's claim has reached us over the bus, which may be before its answer does."""
        owner_id = self._server.cluster.owner_id
        return all(owner_id(slot) == self.job.target_id for slot in self.job.slots)

    def _release_writes(self) -> None:
        if self._paused_since_ms:
            self.job.paused_ms = self._server.clock.update() - self._paused_since_ms
            self._paused_since_ms = 0
            self._server.blocking.unpause(PausePurpose.SLOT_MIGRATION)

    def cron(self) -> None:
        """cron(): a target that is silent for too long, or a handover whose answer does not come."""
        now_ms = self._server.clock.now_ms
        if self.job.state.ended or self.job.state is JobState.CLEANUP:
            return
        if self.job.state is JobState.HANDOVER and self._target_owns():
            self._handed_over()
        elif not self._server.cluster.serves_all(self.job.slots):
            self.fail("this node does not own the slots any more")
        elif self._paused_since_ms and now_ms - self._paused_since_ms >= HANDOVER_TIMEOUT_MS:
            self.fail("the target did not answer in time")
        elif self._unanswered and now_ms - self._last_heard_ms > SILENCE_TIMEOUT_MS:
            self.fail("the target is silent")

    # -- the end

    def cancel(self) -> None:
        """cancel(): CLUSTER CANCELSLOTMIGRATIONS; a handover under way can't be called back."""
        if self.job.state is not JobState.HANDOVER and not self.job.state.ended:
            self._end(JobState.CANCELLED, "cancelled by the operator")

    def fail(self, reason: str) -> None:
        """fail(reason): the slots stay here, whatever the target has of them."""
        if self.job.state.ended or self.job.state is JobState.CLEANUP:
            return
        if self.job.state is JobState.HANDOVER and self._target_owns():
            self._handed_over()
            return
        if self.job.state is JobState.HANDOVER:
            # The target may have claimed the slots without our hearing of it: only a higher epoch makes the
            # slots ours beyond doubt before writes go on.
            self._server.cluster.reclaim_slots()
        self._end(JobState.FAILED, reason)

    def _end(self, state: JobState, reason: str) -> None:
        self._close()
        self._release_writes()
        self.job.turn(state, self._server.clock.now_ms, reason)
        log.warning("Slot migration %s to %s %s: %s", self.job.name, self.job.target_id, state.value, reason)
        self._on_end(self)

    def _close(self) -> None:
        self._server.journal.unsubscribe(self)
        self._server.reactor.unschedule(self)
        if self._sock is not None:
            self._server.reactor.remove(self._sock.fileno())
            self._sock.close()
            self._sock = None
