"""What is known of one slot migration on either side: CLUSTER GETSLOTMIGRATIONS answers from it.

Law: a job ends once, in SUCCESS, FAILED or CANCELLED, and keeps its message.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from pyredis_cluster.gossip.slots import slot_ranges


class JobState(enum.Enum):
    """The states of a job, with Valkey's words for them."""

    WAITING = "waiting-to-start"
    CONNECTING = "connecting"
    SNAPSHOT = "snapshotting"
    STREAMING = "streaming-buffer"
    PAUSED = "paused"
    HANDOVER = "failover-granted"
    CLEANUP = "cleaning-up"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in (JobState.SUCCESS, JobState.FAILED, JobState.CANCELLED)


@dataclass(slots=True, eq=False)
class Job:
    """One migration of `slots` (ascending) from `source_id` to `target_id`."""

    name: str
    exporting: bool
    slots: tuple[int, ...]
    source_id: str
    target_id: str
    created_ms: int
    updated_ms: int
    state: JobState = JobState.WAITING
    message: str = ""
    keys_moved: int = 0
    paused_ms: int = 0
    """How long writes were held back for the handover."""

    def turn(self, state: JobState, now_ms: int, message: str = "") -> None:
        """turn(state, now_ms): the job's next state."""
        assert not self.state.ended, f"{self.name} has ended"
        self.state = state
        self.updated_ms = now_ms
        self.message = message or self.message

    @property
    def slot_ranges(self) -> str:
        """`0-99 200`: as CLUSTER NODES writes slots."""
        return " ".join(f"{first}-{last}" if first != last else f"{first}" for first, last in slot_ranges(self.slots))
