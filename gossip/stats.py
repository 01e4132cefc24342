"""What a node has counted and timed on its bus, as CLUSTER INFO and INFO show it.

Law: recording is a few additions in plain Python, and what is kept is bounded, however long the node runs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .messages import Kind

if TYPE_CHECKING:
    from .nodes import Node

_SUB_BITS: Final = 3
"""A bucket is an eighth of a power of two wide: quantiles are exact within 12.5%."""


class RoundTrips:
    """Round trips of probes in a histogram of microseconds with buckets that grow with the time."""

    __slots__ = ("buckets", "count", "max_ms", "min_ms", "sum_ms")

    def __init__(self) -> None:
        self.buckets: Counter[int] = Counter()
        self.count = 0
        self.sum_ms = self.max_ms = self.min_ms = 0.0

    def add(self, trip_ms: float) -> None:
        self.sum_ms += trip_ms
        if trip_ms > self.max_ms:
            self.max_ms = trip_ms
        if trip_ms < self.min_ms or not self.count:
            self.min_ms = trip_ms
        self.count += 1
        microseconds = int(trip_ms * 1000)
        shift = max(0, microseconds.bit_length() - 1 - _SUB_BITS)
        self.buckets[(shift << _SUB_BITS) + (microseconds >> shift)] += 1

    @property
    def mean_ms(self) -> float:
        return self.sum_ms / self.count if self.count else 0.0

    def quantile_ms(self, share: float) -> float:
        """quantile_ms(0.99) -> what that share of the round trips did not exceed; 0 where there was none."""
        wanted = self.count * share
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                shift = max(0, (bucket >> _SUB_BITS) - 1)
                upper = ((bucket - (shift << _SUB_BITS)) + 1 << shift) / 1000
                return min(upper, self.max_ms)
        return 0.0


@dataclass(slots=True)
class ElectionRecord:
    """An election that this node stood in. `outcome` is running, won, refused, expired or abandoned."""

    epoch: int
    started_ms: float
    outcome: str = "running"
    votes: int = 0
    ended_ms: float | None = None


@dataclass(slots=True)
class Failover:
    """How this node came to be a primary. `kind` is automatic, manual, forced or takeover.

    `stages` are times in the order of what happened: requested, paused, caught_up of a manual failover,
    suspected and failed of another, then election, elected, and, of the data plane, promoted and first_write.
    """

    kind: str
    primary_id: str
    epoch: int
    votes: int
    stages: dict[str, float] = field(default_factory=dict)


def _by_kind() -> list[int]:
    return [0] * len(Kind)


@dataclass(slots=True)
class BusStats:
    """Messages by kind and what came of them, since the node started. The driver counts the bytes."""

    sent: list[int] = field(default_factory=_by_kind)
    received: list[int] = field(default_factory=_by_kind)
    sent_bytes: list[int] = field(default_factory=_by_kind)
    received_bytes: list[int] = field(default_factory=_by_kind)
    dropped: Counter[str] = field(default_factory=Counter)
    round_trips: RoundTrips = field(default_factory=RoundTrips)
    probes_unanswered: int = 0
    suspicions: int = 0
    suspicions_refuted: int = 0
    failures: int = 0
    elections: int = 0
    election_outcomes: Counter[str] = field(default_factory=Counter)
    last_election: ElectionRecord | None = None
    promotions: int = 0
    last_failover: Failover | None = None
    syncs: int = 0
    sync_sent_bytes: int = 0
    sync_received_bytes: int = 0

    def reset_round_trips(self) -> None:
        self.round_trips = RoundTrips()
        self.probes_unanswered = 0

    def answered(self, node: Node, trip_ms: float) -> None:
        """answered(node, trip_ms): it has answered a probe directly."""
        self.round_trips.add(trip_ms)
        node.rtt_ms = node.rtt_ms * 0.875 + trip_ms * 0.125 if node.rtt_ms else trip_ms
        if trip_ms > node.rtt_max_ms:
            node.rtt_max_ms = trip_ms
        if trip_ms < node.rtt_min_ms or not node.rtt_min_ms:
            node.rtt_min_ms = trip_ms

    def election_began(self, epoch: int, now_ms: float) -> None:
        self.elections += 1
        self.last_election = ElectionRecord(epoch, now_ms)

    def election_ended(self, outcome: str, votes: int, now_ms: float) -> None:
        """election_ended(outcome, votes, now_ms): the one that runs, if there is one."""
        election = self.last_election
        if election is not None and election.ended_ms is None:
            election.outcome, election.votes, election.ended_ms = outcome, votes, now_ms
            self.election_outcomes[outcome] += 1
