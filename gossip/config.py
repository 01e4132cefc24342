"""What an operator can set about the cluster, with Redis's directive names and this project's defaults.

Times are in milliseconds. The derived periods shrink with `node_timeout_ms`, so that a short timeout still
leaves room for several probes before it passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

PROBE_PERIOD_MAX_MS = 200
PROBE_PERIOD_MIN_MS = 10
REJOIN_DELAY_MIN_MS = 500
REJOIN_DELAY_MAX_MS = 5000


@dataclass(slots=True)
class ClusterConfig:
    """The directives that the core reads; the driver keeps them up to date on CONFIG SET."""

    node_timeout_ms: int = 2000
    voters_primaries_only: bool = False
    tags_prove_membership: bool = True
    """There is a secret: who signs with it belongs to the cluster, or is meant to."""
    require_full_coverage: bool = True
    allow_replica_migration: bool = True
    migration_barrier: int = 1
    replica_no_failover: bool = False
    replica_validity_factor: int = 10
    repl_ping_replica_period_ms: int = 10_000
    announce_ip: str = ""

    @property
    def probe_period_ms(self) -> float:
        """Each node probes one peer in this time."""
        return _probe_period_ms(self.node_timeout_ms)

    @property
    def probe_timeout_ms(self) -> float:
        """An answer later than this is asked for again, through others as well."""
        return _probe_period_ms(self.node_timeout_ms) / 2

    @property
    def report_window_ms(self) -> float:
        """A failure report older than this no longer counts (Redis: twice the node timeout)."""
        return self.node_timeout_ms * 2

    @property
    def quorum_timeout_ms(self) -> float:
        """Voters silent for this long count as unreachable for a primary's right to take writes.

        Shorter than the node timeout by more than the spread of the observers' clocks (a probe period and its
        indirect retry), so that a cut-off primary stops before the other side can have elected its successor.
        """
        return self.node_timeout_ms * 0.6

    @property
    def absence_max_ms(self) -> float:
        """A node that was away for longer may have been replaced: nobody can be failed for less silence."""
        return self.node_timeout_ms - self.probe_period_ms

    @property
    def rejoin_delay_ms(self) -> float:
        return max(REJOIN_DELAY_MIN_MS, min(REJOIN_DELAY_MAX_MS, self.node_timeout_ms))


@lru_cache(maxsize=16)
def _probe_period_ms(node_timeout_ms: float) -> float:
    """Kept, because it is asked for several times with each datagram."""
    return max(PROBE_PERIOD_MIN_MS, min(PROBE_PERIOD_MAX_MS, node_timeout_ms / 10))
