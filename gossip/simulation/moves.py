"""Slots that move between two primaries, as the data plane's migration does it: stream, hold, claim, cede.

The source holds writes back, reserves an epoch and asks the target to claim; without an answer it outbids that epoch
before it serves the slots again. What is asked and answered travels on the simulated network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import operations
from ..errors import ClusterError

if TYPE_CHECKING:
    from ..nodes import NodeRecord
    from .cluster import Simulation
    from .hosts import SimNode

POLL_MS = 100.0
HANDOVER_TIMEOUT_MS = 3000.0
"""How long writes stay held back for a target that does not answer."""
STREAM_TIMEOUT_MS = 10_000.0
CLAIM_WAIT_MS = (0.1, 20.0)
"""How long the target waits for its replicas before it claims."""


class SlotMove:
    """SlotMove(simulation, source, target, slots): one job of the source; ends by itself."""

    def __init__(self, simulation: Simulation, source: SimNode, target: SimNode, slots: int) -> None:
        self._simulation = simulation
        self.source = source
        self.target = target
        self.slots = slots
        self._source_core = source.core
        self._target_core = target.core
        self.handing_over = False
        self._deadline_ms = 0.0

    def start(self, stream_ms: float) -> bool:
        """start(stream_ms) -> whether both agree; the snapshot takes `stream_ms`."""
        if not self._alive() or not self._connected() or not self._serves_all():
            return False
        if any(move.slots & self.slots for move in self._simulation.moves):
            return False
        self._simulation.moves.append(self)
        self._deadline_ms = self._simulation.now_ms + stream_ms + STREAM_TIMEOUT_MS
        self._simulation.at(self._simulation.now_ms + stream_ms, self._hold)
        return True

    def _alive(self) -> bool:
        """Whether the source's process is the one that began this, and runs."""
        return self.source.running and self.source.core is self._source_core

    def _connected(self) -> bool:
        network = self._simulation.network
        target = self.target
        there = target.running and target.core is self._target_core
        both = network.reachable(self.source, target) and network.reachable(target, self.source)
        return there and both and not network.refused(self.source, target)

    def _serves_all(self) -> bool:
        core = self._source_core
        return core is not None and core.myself.is_primary and core.myself.owned & self.slots == self.slots

    def _after(self, bounds_ms: tuple[float, float]) -> float:
        return self._simulation.now_ms + self._simulation.rng.uniform(*bounds_ms)

    def _hold(self) -> None:
        """Streaming is over: hold writes back as soon as that is allowed, and ask for the claim."""
        core, now_ms = self._source_core, self._simulation.now_ms
        if self.source.core is not core or core is None:
            self._end()
        elif not self.source.running:
            self._simulation.at(now_ms + POLL_MS, self._hold)
        elif not self._serves_all() or not self._connected() or now_ms > self._deadline_ms:
            self._end()
        elif not core.health.ok or self.source.failover_paused():
            self._simulation.at(now_ms + POLL_MS, self._hold)
        else:
            self.handing_over = True
            self._deadline_ms = now_ms + HANDOVER_TIMEOUT_MS
            self.source.hold(self.slots)
            self._ask_to_claim()
            self._simulation.at(now_ms + POLL_MS, self._watch)

    def _ask_to_claim(self) -> None:
        core = self._source_core
        assert core is not None
        epoch = operations.reserve_epoch(core, self.source.clock())
        self.source.apply()
        self._simulation.at(self._after(CLAIM_WAIT_MS), self._claim, epoch)

    def _claim(self, epoch: int) -> None:
        """At the target."""
        target, core = self.target, self._target_core
        if core is None or target.core is not core or not self._simulation.network.reachable(self.source, target):
            return
        if target.stopped:
            self._simulation.at(target.paused_until_ms + POLL_MS / 100, self._claim, epoch)
            return
        core.advance(target.clock())
        target.apply()
        refusal, higher = self._refusal(epoch)
        if not refusal:
            try:
                operations.claim_slots(core, self.slots, epoch, target.clock())
            except ClusterError:
                refusal = True
        if not refusal:
            self._simulation.note(target, "claims", f"{self.slots.bit_count()} slots of {self.source.index} in {epoch}")
            self._simulation.ledger.on_claim(self.source, target, self.slots)
        target.apply()
        self._simulation.at(self._after(CLAIM_WAIT_MS), self._answered, None if refusal else core.myself.record, higher)

    def _refusal(self, epoch: int) -> tuple[bool, int]:
        """Whether the target refuses, and the epoch that the source has to exceed, if that is why."""
        core = self._target_core
        assert core is not None
        source = core.nodes.get(self.source.id)
        if not core.myself.is_primary or not core.health.ok or self.target.failover_paused():
            return True, 0
        if source is None or source.owned & self.slots != self.slots:
            return True, 0
        used = max(core.last_vote_epoch, *(node.config_epoch for node in core.nodes.values()))
        highest = max(used, core.current_epoch) if core.current_epoch > epoch else used
        return (True, highest) if highest >= epoch else (False, 0)

    def _answered(self, claim: NodeRecord | None, higher: int) -> None:
        """At the source, if the answer gets there."""
        core = self._source_core
        network = self._simulation.network
        if not self.handing_over or core is None or self.source.core is not core:
            return
        if not network.reachable(self.target, self.source):
            return
        if self.source.stopped:
            self._simulation.at(self.source.paused_until_ms + POLL_MS / 100, self._answered, claim, higher)
        elif claim is not None:
            self._cede(claim)
        elif higher:
            core.current_epoch = max(core.current_epoch, higher)
            self._ask_to_claim()
        else:
            self._end()

    def _watch(self) -> None:
        """The source's cron."""
        core = self._source_core
        if not self.handing_over or core is None:
            return
        if self.source.core is not core:
            self._end()
            return
        if self.source.running:
            owner = core.nodes.get(self.target.id)
            if owner is not None and owner.owned & self.slots == self.slots:
                self._end()
                return
            if self._simulation.now_ms >= self._deadline_ms or not self._serves_all():
                self.fail()
                return
        self._simulation.at(self._simulation.now_ms + POLL_MS, self._watch)

    def _cede(self, claim: NodeRecord) -> None:
        core = self._source_core
        assert core is not None
        operations.hear_claim(core, claim, self.source.clock())
        self._end()
        self.source.apply()

    def stand_aside(self) -> None:
        """stand_aside(): a role changes, or is about to."""
        core = self._source_core
        if self.source.core is core and core is not None and (not self.handing_over or not core.myself.is_primary):
            self.fail()

    def fail(self) -> None:
        """fail(): the slots stay with the source, whatever the target has of them."""
        core = self._source_core
        outbid = self.handing_over and core is not None and core.myself.is_primary and self.source.core is core
        if outbid and core is not None:
            operations.outbid(core, self.source.clock())
            for other in list(self._simulation.moves):
                if other.source is self.source and other.handing_over:
                    other._end()  # what its target claims now has been outbid, too
        self._end()
        if outbid:
            self.source.apply()

    def _end(self) -> None:
        self.handing_over = False
        if self in self._simulation.moves:
            self._simulation.moves.remove(self)
            self.source.release(self.slots)
