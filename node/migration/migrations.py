"""All slot migrations of this node, both ways: starting, ending, remembering, and cleaning up after them.

Laws: a slot is in one active job at most; the last JOBS_KEPT_MAX ended jobs are remembered; keys of slots
that were handed over, or whose import failed, are removed from this node.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..client import Client
from ..errors import CommandError
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


class Migrations:
    """The registry. `jobs()` lists active and ended ones, newest first."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._exports: dict[str, SlotExport] = {}
        self._waiting: deque[SlotExport] = deque()
        self._imports: dict[Client, SlotImport] = {}
        self._ended: deque[Job] = deque(maxlen=JOBS_KEPT_MAX)
        self._cleaning: list[Job] = []
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
        busy = {slot for job in self.active() for slot in job.slots}
        if busy & set(slots):
            raise CommandError("There is already an active migration of these slots")
        if len(self._waiting) >= EXPORTS_WAITING_MAX:
            raise CommandError("Too many slot migrations are waiting")
        now_ms = server.clock.now_ms
        name = secrets.token_hex(20)
        job = Job(name, True, tuple(sorted(slots)), cluster.my_id, target_id, now_ms, now_ms)
        self._waiting.append(SlotExport(server, job, address, self._export_ended))
        self._start_waiting()
        return job

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

    def active(self) -> list[Job]:
        """active() -> the jobs that have not ended, those that wait or clean up included."""
        running = [export.job for export in [*self._exports.values(), *self._waiting]]
        return running + [item.job for item in self._imports.values()] + self._cleaning

    def jobs(self) -> list[Job]:
        """jobs() -> active and remembered jobs, the newest first."""
        return sorted([*self.active(), *self._ended], key=lambda job: job.created_ms, reverse=True)

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

    def purged(self) -> None:
        """purged(): jobs whose keys are all gone have succeeded."""
        for job in [*self._cleaning]:
            if not self.purge.pending(job.slots):
                self._cleaning.remove(job)
                job.turn(JobState.SUCCESS, self._server.clock.now_ms)
                self._ended.append(job)

    # -- the target's side

    def establish(self, client: Client, source_id: str, name: str, slots: Sequence[int]) -> None:
        """establish(client, source_id, name, slots): the source begins; CommandError if it may not."""
        server = self._server
        if server.is_replica:
            raise CommandError("Only a master can import slots")
        if client.connection is None or client in self._imports:
            raise CommandError("This connection can't import slots")
        if not all(server.cluster.owner_id(slot) == source_id for slot in slots):
            raise CommandError("The source does not own the slots")
        if {slot for job in self.active() for slot in job.slots} & set(slots):
            raise CommandError("There is already an active migration of these slots")
        self.purge.discard(slots)
        database = server.keyspace.databases[0]
        for slot in slots:
            for key in [*database.keys_in_slot(slot)]:
                database.remove(key)
                server.journal.append(0, [b"DEL", key])
        now_ms = server.clock.now_ms
        job = Job(name, False, tuple(sorted(slots)), source_id, server.cluster.my_id, now_ms, now_ms)
        self._imports[client] = SlotImport(server, client, job)

    def finish(self, client: Client, name: str) -> None:
        """finish(client, name): the source has sent everything; the slots are claimed."""
        found = self._imports.get(client)
        if found is None or found.job.name != name:
            raise CommandError("No such slot migration")
        found.finish()
        del self._imports[client]
        self._ended.append(found.job)

    def forget(self, client: Client) -> None:
        """forget(client): its connection is closed; an import that was not finished is undone."""
        found = self._imports.pop(client, None)
        if found is not None:
            found.abort("the source's connection was closed")
            self._ended.append(found.job)
            self.purge.add(found.job.slots)

    def importing(self, slot: int) -> bool:
        """importing(slot) -> whether an import of it is under way. O(imports)."""
        return any(slot in found.slots for found in self._imports.values())

    def cron(self) -> None:
        """cron(): time-outs of outgoing jobs."""
        for export in [*self._exports.values()]:
            export.cron()
