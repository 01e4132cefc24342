"""The primary's half of a manual failover: it lets the replica come close, then holds writes back until it is replaced.

Nobody else takes writes meanwhile, so what the replica has when it has reached the offset at the pause is all that was
acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from .effects import PauseWrites, ResumeWrites
from .messages import Kind, Message
from .nodes import Node

if TYPE_CHECKING:
    from .core import ClusterCore

MANUAL_TIMEOUT_MS = 5000
"""Redis's CLUSTER_MF_TIMEOUT: so long the replica tries. The primary pauses for twice as long, so that it never resumes
first.
"""
MANUAL_PAUSE_MS = 2 * MANUAL_TIMEOUT_MS
CATCH_UP_MS = 2000
"""How long a primary takes writes with interruptions, before it holds them back until it is replaced: meanwhile a
replica that is behind gets the chance to come closer, for clients wait as long as it has to catch up after that.
"""
CATCH_UP_LAG_BYTES = 128 * 1024
"""So far behind a replica may be when writes are held back: a few milliseconds of what it can apply."""
INTERRUPTION_MS = 30
BETWEEN_INTERRUPTIONS_MS = 10
"""Clients don't notice the one; the other lets what has waited pass, but hardly the replica fall behind again."""


@dataclass(slots=True)
class _Paused:
    """A manual failover on the primary's side."""

    replica_id: str
    nonce: int
    until_ms: float


@dataclass(slots=True)
class _CatchUp:
    """The time before that: writes are interrupted while the replica is far behind."""

    replica_id: str
    nonce: int
    until_ms: float
    turn_ends_ms: float
    interrupted: bool = False


class FailoverPause:
    """The pausing half of a ClusterCore's manual failovers."""

    def __init__(self, core: ClusterCore) -> None:
        self._core = core
        self._paused: _Paused | None = None
        self._catch_up: _CatchUp | None = None

    @property
    def active(self) -> bool:
        """Whether writes are held back for a replica."""
        return self._paused is not None

    def deadline_ms(self) -> float:
        return self._paused.until_ms if self._paused is not None else inf

    def tick(self) -> None:
        if self._paused is not None and self._core.now_ms >= self._paused.until_ms:
            self.end()

    def on_start(self, sender: Node, message: Message) -> None:
        core = self._core
        if not core.myself.is_primary or sender.primary_id != core.myself.id:
            return
        if core.replication.handing_over():
            return  # the replica would take back slots that are being claimed; it asks again
        if self._serves_another(sender):
            return  # its pause must last until it has taken over or given up; this one asks again
        nonce = message.body[0]
        if self._paused is None or self._paused.nonce != nonce:
            lag_bytes = core.roles.offset() - message.offset
            if self._paused is None and self._lets_catch_up(sender.id, nonce, lag_bytes):
                return  # it asks again
            self._paused = _Paused(sender.id, nonce, core.now_ms + MANUAL_PAUSE_MS)
            core.log("notice", f"Manual failover requested by replica {sender.label}.")
            core.emit(PauseWrites(self._paused.until_ms))
        core.send_to(sender, Kind.MF_OFFSET, (nonce, core.roles.offset()))

    def _serves_another(self, replica: Node) -> bool:
        if self._paused is not None:
            return self._paused.replica_id != replica.id
        catch_up = self._catch_up
        return catch_up is not None and catch_up.replica_id != replica.id and self._core.now_ms < catch_up.until_ms

    def _lets_catch_up(self, replica_id: str, nonce: int, lag_bytes: int) -> bool:
        """Whether the replica is to come closer first. Writes are interrupted for it, which promises nothing."""
        now_ms = self._core.now_ms
        if self._catch_up is None or self._catch_up.nonce != nonce:
            self._catch_up = _CatchUp(replica_id, nonce, now_ms + CATCH_UP_MS, now_ms)
        catch_up = self._catch_up
        if lag_bytes <= CATCH_UP_LAG_BYTES or now_ms >= catch_up.until_ms:
            return False
        if now_ms >= catch_up.turn_ends_ms:
            catch_up.interrupted = not catch_up.interrupted
            turn_ms = INTERRUPTION_MS if catch_up.interrupted else BETWEEN_INTERRUPTIONS_MS
            catch_up.turn_ends_ms = now_ms + turn_ms  # not sooner: a starved node ends an interruption late
            if catch_up.interrupted:
                self._core.emit(PauseWrites(catch_up.turn_ends_ms))
        return True

    def on_cancel(self, sender: Node, message: Message) -> None:
        paused = self._paused
        if paused is not None and (paused.replica_id, paused.nonce) == (sender.id, message.body[0]):
            self.end()
        if self._catch_up is not None and self._catch_up.nonce == message.body[0]:
            self._catch_up = None

    def end(self) -> None:
        """end(): take writes again, if they are held back; also when this node's role changes."""
        self._catch_up = None
        if self._paused is not None:
            self._paused = None
            self._core.emit(ResumeWrites())
