"""The target's side of a slot migration: a connection whose commands fill slots that are not ours yet.

Laws: one import for a slot; it ends with FINISH, which claims all slots at once, or it leaves no key behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..client import GUARD_IMPORT, Client
from ..errors import CommandError
from .job import Job, JobState

if TYPE_CHECKING:
    from ..server import Server


class SlotImport:
    """One incoming job, bound to the source's connection."""

    def __init__(self, server: Server, client: Client, job: Job) -> None:
        self.job = job
        self.client = client
        self.slots = frozenset(job.slots)
        self._server = server
        client.guard |= GUARD_IMPORT
        job.turn(JobState.SNAPSHOT, server.clock.now_ms)

    def finish(self) -> None:
        """finish(): everything is here; the slots are ours from now on. CommandError if they can't be."""
        server = self._server
        if server.is_replica:
            raise CommandError("I'm not a master any more")
        server.cluster.claim_slots(self.job.slots)
        self.client.guard &= ~GUARD_IMPORT
        self.job.turn(JobState.SUCCESS, server.clock.now_ms)

    def abort(self, reason: str) -> None:
        """abort(reason): the source went away before FINISH."""
        self.job.turn(JobState.FAILED, self._server.clock.now_ms, reason)
        self.client.guard &= ~GUARD_IMPORT
