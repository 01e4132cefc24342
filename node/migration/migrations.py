"""All slot migrations of this node, both ways: starting, ending, remembering, and cleaning up after them.

Laws: a slot is in one active job at most; the last JOBS_KEPT_MAX ended jobs are remembered; keys of slots
that were handed over, or whose import failed, are removed from this node; a change of role ends every job.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pyredis_cluster.gossip.slots import SLOT_COUNT

from ..client import Client
from ..errors import CommandError
from ..pausing import PausePurpose
from ..reply import NO_REPLY, OK
from .export import SlotExport
from .imports import SlotImport
from .job import Job, JobState
from .purge import SlotPurge

if TYPE_CHECKING:
    from ..server import Server

JOBS_KEPT_MAX = 128
EXPORTS_ACTIVE_MAX = 4
"""So many outgoing jobs run at a time; the others wait their turn."""

EXPORTS_WAITING_MAX = 1024
CLEANING_TIMEOUT_MS = 5_000
"""How long a source waits for its slots to be empty here; keys of an earlier migration may still be there."""

HOLD_MAX_MS = 60_000
"""Writes are released when the job ends; should that fail, they are after this time."""


class Migrations:
    """The registry. `jobs()` lists active and ended ones, newest first."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._exports: dict[str, SlotExport] = {}
        self._waiting: deque[SlotExport] = deque()
        self._imports: dict[Client, SlotImport] = {}
        self._ended: deque[Job] = deque(maxlen=JOBS_KEPT_MAX)
        self._cleaning: list[Job] = []
        self._holding: dict[Job, None] = {}
        """Jobs for which writes are held back."""
        self._promoted_at_ms: float | None = None
        self.purge = SlotPurge(server)
        server.tasks.append(self.purge.run)
        server.cron.append(self.cron)

    # -- what the operator asks

    def start(self, slots: Sequence[int], target_id: str) -> Job:
        """start(slots, target_id) -> the new job (CLUSTER MIGRATESLOTS). CommandError if it can't be."""
        server = self._server
        cluster = server.cluster
        address = cluster.primary_address(target_id)
        if target_id == cluster.my_id:
            raise CommandError("Slots are already served by the target node")
        if not cluster.serves_all(slots):
            raise CommandError("Slots are not served by this node")
        self._refuse_busy(slots)
        if cluster.moved_by_hand(slots):
            raise CommandError("Slots are being moved with CLUSTER SETSLOT")
        if len(self._waiting) >= EXPORTS_WAITING_MAX:
            raise CommandError("Too many slot migrations are waiting")
        now_ms = server.clock.now_ms
        name = secrets.token_hex(20)
        job = Job(name, True, tuple(sorted(slots)), cluster.my_id, target_id, now_ms, now_ms)
        self._waiting.append(SlotExport(server, self, job, address, self._export_ended))
        self._start_waiting()
        return job

    def _refuse_busy(self, slots: Iterable[int]) -> None:
        wanted = set(slots)
        if not wanted.isdisjoint(slot for job in self._moving() for slot in job.slots):
            raise CommandError("There is already an active migration of these slots")

    def _start_waiting(self) -> None:
        while self._waiting and len(self._exports) < EXPORTS_ACTIVE_MAX:
            export = self._waiting.popleft()
            self._exports[export.job.name] = export
            export.start()

    def cancel_all(self) -> None:
        """cancel_all(): CLUSTER CANCELSLOTMIGRATIONS; ends every outgoing job that isn't handing over."""
        waiting, self._waiting = self._waiting, deque()
        for export in [*waiting, *self._exports.values()]:
            export.cancel()

    def _moving(self) -> list[Job]:
        """Jobs whose keys are under way, or will be."""
        exports = [export.job for export in [*self._exports.values(), *self._waiting]]
        return exports + [item.job for item in self._imports.values()]

    def jobs(self) -> list[Job]:
        """jobs() -> active and remembered jobs, the newest first."""
        every = [*self._moving(), *self._cleaning, *self._ended]
        return sorted(every, key=lambda job: job.created_ms, reverse=True)

    # -- the source's side

    def _export_ended(self, export: SlotExport) -> None:
        self._exports.pop(export.job.name, None)
        if export.job.state is JobState.CLEANUP:
            self._cleaning.append(export.job)
            self.purge.add(export.job.slots)
            self.purged()
        else:
            self._ended.append(export.job)
        self._start_waiting()

    def hold_writes(self, job: Job) -> None:
        """hold_writes(job): no client's write runs until `release_writes` of every job that asked for it."""
        self._holding[job] = None
        until_ms = self._server.clock.now_ms + HOLD_MAX_MS
        self._server.blocking.pause(PausePurpose.SLOT_MIGRATION, until_ms, writes_only=True)

    def release_writes(self, job: Job) -> None:
        """release_writes(job) undoes `hold_writes`; what was held back runs now, or is sent on."""
        self._holding.pop(job, None)
        if not self._holding:
            self._server.blocking.unpause(PausePurpose.SLOT_MIGRATION)

    @property
    def handing_over(self) -> bool:
        """Whether a target may be claiming slots of ours this moment: no time for a manual failover."""
        return any(job.state is JobState.HANDOVER for job in self._holding)

    def outbid(self) -> None:
        """outbid(): this node has raised its epoch above those that other handovers were promised: they fail."""
        for export in [*self._exports.values()]:
            export.outbid()

    def purged(self) -> None:
        """purged(): jobs whose keys are all gone have succeeded; who waits for clean slots is served."""
        for job in [*self._cleaning]:
            if not self.purge.pending(job.slots):
                self._cleaning.remove(job)
                job.turn(JobState.SUCCESS, self._server.clock.now_ms)
                self._ended.append(job)
        self._server.blocking.check_conditions()

    # -- the target's side

    def establish(self, client: Client, args: list[bytes], job: Job) -> bytes:
        """establish(client, args, job) -> OK once the slots are empty here; CommandError if it may not be."""
        self._refuse_import(client, job)
        # A node that was stopped in the middle of an import takes it up as one by hand when it is back. The
        # source, who owns the slots, knows of no such thing.
        self._server.cluster.stop_importing(job.slots)
        database = self._server.keyspace.databases[0]

        def begin_when_clean() -> bytes | None:
            if any(len(database.keys_in_slot(slot)) for slot in job.slots):
                return None
            try:
                self._refuse_import(client, job)
            except CommandError as error:
                return error.encode()
            assert client.connection is not None
            self._imports[client] = SlotImport(self._server, client.connection, job, self._import_ended)
            return OK

        reply = begin_when_clean()
        if reply is None:
            self.purge.add(job.slots)
            late = CommandError("Keys of the slots are still being removed")
            self._server.blocking.park_until(
                client, args, CLEANING_TIMEOUT_MS, begin_when_clean, lambda _: late.encode()
            )
            return NO_REPLY
        return reply

    def _refuse_import(self, client: Client, job: Job) -> None:
        server = self._server
        if server.is_replica:
            raise CommandError("Only a master can import slots")
        if client.connection is None or client in self._imports or not client.may_block:
            raise CommandError("This connection can't import slots")
        if not server.cluster.owned_by(job.slots, job.source_id):
            raise CommandError("The source does not own the slots")
        if not server.cluster.may_hand_over():
            raise CommandError("I can't take over slots now")
        self._refuse_busy(job.slots)

    def finish(self, client: Client, args: list[bytes], name: str, epoch: int) -> bytes:
        """finish(client, args, name, epoch) -> OK: everything is here, the slots are claimed under `epoch`."""
        found = self._imports.get(client)
        if found is None or found.job.name != name:
            raise CommandError("No such slot migration")
        return found.finish(args, epoch)

    def _import_ended(self, ended: SlotImport) -> None:
        del self._imports[ended.client]
        self._ended.append(ended.job)
        if ended.job.state is not JobState.SUCCESS:
            self.purge.add(ended.job.slots)

    def forget(self, client: Client) -> None:
        """forget(client): its connection is closed; an import that was not finished is undone."""
        found = self._imports.get(client)
        if found is not None:
            found.abort("the source's connection was closed")

    @property
    def is_importing(self) -> bool:
        """Whether any import is under way."""
        return bool(self._imports)

    def importing(self, slot: int) -> bool:
        """importing(slot) -> whether an import of it is under way. O(imports)."""
        return any(slot in found.slots for found in self._imports.values())

    # -- roles and time

    def promoted(self) -> None:
        """promoted(): the old primary may have left keys here of slots that it gave away, or was being given."""
        self._promoted_at_ms = self._server.cluster.bus.now_ms()

    def stand_aside(self, reason: str) -> None:
        """stand_aside(reason): this node's role changes, or is about to; every job that still can ends."""
        for export in [*self._waiting, *self._exports.values()]:
            if export.job.state is not JobState.HANDOVER or self._server.is_replica:
                export.fail(reason)
        for found in [*self._imports.values()]:
            found.abort(reason)
        if self._server.is_replica:
            self.purge.clear()
            self.purged()

    def cron(self) -> None:
        """cron(): time-outs of outgoing jobs, sources that lost their slots, keys left over by the old primary."""
        for export in [*self._exports.values()]:
            export.cron()
        for found in [*self._imports.values()]:
            if not self._server.cluster.owned_by(found.job.slots, found.job.source_id):
                found.abort("the source does not own the slots any more")
        if self._promoted_at_ms is not None and self._server.cluster.agreed_since(self._promoted_at_ms):
            self._promoted_at_ms = None
            self.purge.add(range(SLOT_COUNT))
