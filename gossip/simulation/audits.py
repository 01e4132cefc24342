"""What is checked across all hosts of a simulation, with the knowledge that no single one has: elections and marks.

Each check counts for itself what the cores should have counted (votes as they were delivered, reports as they were
sent), so that a core that counts wrong can't pass. Two faults are exempt from what they break by definition: a TAKEOVER
needs no votes, and two of them may take one epoch; a disk that loses fsynced writes ("forgotten_writes") may let the
epoch of its host fall when that starts. The ledger of acknowledged writes is kept in `ledger`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..messages import Evidence
from ..nodes import NOFAILOVER, Node
from .network import TAIL_MAX_MS

if TYPE_CHECKING:
    from .cluster import Simulation
    from .hosts import SimNode

LATE_MAX_MS = 1000.0
"""A report may be so much older than its arrival, besides the time for which its reader was stopped, and the network
takes for it when it is told to.
"""
ACKS_MAX = 64
"""Epochs for which a candidate's votes are kept."""
SUBJECTS_MAX = 4096
"""Versions of members whose reports are kept; the oldest go first."""


class Audits:
    """Audits(simulation): told what hosts send and become; AssertionError where that must not be."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._winners: dict[int, str] = {}
        self._reports: dict[tuple[str, int], dict[str, float]] = {}
        self._marked: dict[tuple[str, int], None] = {}

    # FAIL

    def reported(self, source: SimNode, body: tuple[Any, ...]) -> None:
        """`source` sends a REPORT."""
        raw, version, evidence = body
        if evidence != Evidence.CLEAR:
            reports = self._reports.setdefault((raw.hex(), version), {})
            reports[source.id] = self._simulation.now_ms
            while len(self._reports) > SUBJECTS_MAX:
                del self._reports[next(iter(self._reports))]

    def restored(self, host: SimNode) -> None:
        """`host` starts with the marks that its disk holds."""
        assert host.core is not None
        for subject in host.core.failed.values():
            self._marked[subject.id, subject.record.version] = None

    def marked(self, host: SimNode) -> None:
        """`host` has marked somebody: the first mark of a member's version takes a majority of fresh reports."""
        assert host.core is not None
        for subject in host.core.failed.values():
            key = (subject.id, subject.record.version)
            if key not in self._marked:
                self._marked[key] = None
                while len(self._marked) > SUBJECTS_MAX:
                    del self._marked[next(iter(self._marked))]
                self._check_mark(host, subject)

    def _check_mark(self, host: SimNode, subject: Node) -> None:
        core, now_ms = host.core, self._simulation.now_ms
        assert core is not None
        window_ms = core.config.report_window_ms
        late_ms = TAIL_MAX_MS if self._simulation.faults.delay else LATE_MAX_MS
        since_ms = now_ms - window_ms - late_ms
        if now_ms - host.resumed_at_ms <= window_ms:
            since_ms = host.stopped_at_ms - window_ms - late_ms
        reports = self._reports.get((subject.id, subject.record.version), {})
        voters = core.voter_ids()
        observers = {reporter for reporter, at_ms in reports.items() if reporter in voters and at_ms >= since_ms}
        if host.id in voters:
            observers.add(host.id)
        assert len(observers) >= core.majority(), (
            f"seed {self._simulation.seed}: {host.index} marked {subject.id} as FAIL on {len(observers)} fresh reports"
        )

    # Elections

    def voted_for(self, host: SimNode, voter: str, epoch: int) -> None:
        """An AUTH_ACK is delivered to `host`."""
        host.acks.setdefault(epoch, set()).add(voter)
        while len(host.acks) > ACKS_MAX:
            del host.acks[min(host.acks)]

    def promoted(self, host: SimNode, replaces: str, *, takeover: bool) -> None:
        """`host` takes over from `replaces`."""
        simulation, core = self._simulation, host.core
        assert core is not None
        if takeover:
            return
        epoch = core.myself.config_epoch
        winner = self._winners.setdefault(epoch, host.id)
        assert winner == host.id, f"seed {simulation.seed}: two winners of epoch {epoch}"
        voters = set(core.voter_ids())
        if core.config.voters_primaries_only:
            voters.discard(host.id)
            voters.add(replaces)  # which was the one with slots until now
        votes = sum(voter in voters for voter in host.acks.get(epoch, ()))
        votes += host.votes.get(epoch) == host.address and host.id in voters
        assert votes > len(voters) // 2, f"seed {simulation.seed}: {votes} votes won epoch {epoch}"

    def better_than(self, host: SimNode, replaces: str) -> int:
        """better_than(host, replaces) -> how many siblings in reach of a failed primary's successor have more data."""
        core, network = host.core, self._simulation.network
        assert core is not None
        if replaces not in core.failed:
            return 0
        return sum(
            other.running
            and other.written > host.written
            and other.data.continues(host.data, self._simulation.now_ms)
            and other.core is not None
            and other.core.myself.primary_id == replaces
            and other.id in core.nodes
            and other.id not in core.failed
            and not other.core.config.replica_no_failover
            and not other.core.myself.record.flags & NOFAILOVER
            and bool(other.core.myself.record.priority)
            and network.reachable(host, other)
            and network.reachable(other, host)
            for other in self._simulation.nodes
            if other is not host
        )
