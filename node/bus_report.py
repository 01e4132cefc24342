"""What CLUSTER INFO and INFO tell about the bus: traffic, drops, round trips, suspicions, elections, failovers.

Law: fields are only added to Redis's, and no value has a colon in it, for clients split the lines at colons.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyredis_cluster.gossip.messages import KIND_NAMES
from pyredis_cluster.gossip.stats import BusStats, ElectionRecord, Failover

if TYPE_CHECKING:
    from .bus import Bus
    from .journal import Journal

Fields = dict[str, object]
PEERS_SHOWN_MAX = 100
"""INFO names so many peers at most, those with the longest round trips first."""
_NO_WRITES = frozenset((b"PING", b"REPLCONF", b"SELECT", b"MULTI", b"EXEC"))


class FirstWrite:
    """FirstWrite(journal, now_ms): notes in a failover's stages when the journal gets its first write."""

    def __init__(self, journal: Journal, now_ms: Callable[[], float]) -> None:
        self._journal = journal
        self._now_ms = now_ms
        self._failover: Failover | None = None

    def await_in(self, failover: Failover) -> None:
        """await_in(failover): its stage first_write is the time of the next write."""
        self.give_up()
        self._failover = failover
        self._journal.subscribe(self)

    def give_up(self) -> None:
        if self._failover is not None:
            self._failover = None
            self._journal.unsubscribe(self)

    def journal_entry(self, data: bytes, offset: int, database: int, args: list[bytes]) -> None:
        if self._failover is not None and args and args[0] not in _NO_WRITES:
            self._failover.stages["first_write"] = self._now_ms()
            self.give_up()


def message_fields(stats: BusStats) -> Fields:
    """message_fields(stats) -> messages and bytes by type, and what was dropped, by reason."""
    fields: Fields = {}
    for name, counts in (("sent", stats.sent), ("received", stats.received)):
        for kind, kind_name in KIND_NAMES.items():
            if counts[kind]:
                fields[f"cluster_stats_messages_{kind_name}_{name}"] = counts[kind]
        fields[f"cluster_stats_messages_{name}"] = sum(counts)
    for reason in sorted(stats.dropped):
        fields[f"cluster_stats_messages_dropped_{reason}"] = stats.dropped[reason]
    for name, sizes, of_syncs in (
        ("sent", stats.sent_bytes, stats.sync_sent_bytes),
        ("received", stats.received_bytes, stats.sync_received_bytes),
    ):
        for kind, kind_name in KIND_NAMES.items():
            if sizes[kind]:
                fields[f"cluster_stats_bytes_{kind_name}_{name}"] = sizes[kind]
        fields[f"cluster_stats_bytes_sync_{name}"] = of_syncs
        fields[f"cluster_stats_bytes_{name}"] = sum(sizes) + of_syncs
    return fields


def health_fields(bus: Bus) -> Fields:
    """health_fields(bus) -> how well the bus does. Times are in milliseconds."""
    stats = bus.core.stats
    trips = stats.round_trips
    fields: Fields = {
        "cluster_bus_tcp_port": "listening" if bus.listening else "retrying",
        "cluster_stats_dropped": stats.dropped.total(),
        "cluster_stats_probes_answered": trips.count,
        "cluster_stats_probes_unanswered": stats.probes_unanswered,
    }
    if trips.count:
        for name, value_ms in (
            ("min", trips.min_ms),
            ("avg", trips.mean_ms),
            ("p50", trips.quantile_ms(0.5)),
            ("p99", trips.quantile_ms(0.99)),
            ("max", trips.max_ms),
        ):
            fields[f"cluster_stats_probe_rtt_{name}_ms"] = f"{value_ms:.3f}"
    fields |= {
        "cluster_stats_suspicions": stats.suspicions,
        "cluster_stats_suspicions_refuted": stats.suspicions_refuted,
        "cluster_stats_failures": stats.failures,
        "cluster_stats_elections": stats.elections,
    }
    fields |= {
        f"cluster_stats_elections_{outcome}": stats.election_outcomes[outcome]
        for outcome in sorted(stats.election_outcomes)
    }
    fields |= {"cluster_stats_promotions": stats.promotions, "cluster_stats_syncs": stats.syncs}
    if stats.last_election is not None:
        fields["cluster_last_election"] = _election_text(stats.last_election, bus.now_ms())
    if stats.last_failover is not None:
        fields["cluster_last_failover"] = _failover_text(stats.last_failover, bus.wall_ms)
    return fields


def _election_text(election: ElectionRecord, now_ms: float) -> str:
    ended_ms = now_ms if election.ended_ms is None else election.ended_ms
    return (
        f"epoch={election.epoch},outcome={election.outcome},votes={election.votes},"
        f"duration_ms={ended_ms - election.started_ms:.1f}"
    )


def _failover_text(failover: Failover, wall_ms: Callable[[float], int]) -> str:
    """The time line: `at` is the wall clock of its first stage, the stages are milliseconds after that."""
    stages = sorted(failover.stages.items(), key=lambda stage: stage[1])
    first_ms = stages[0][1]
    times = "".join(f",{name}={at_ms - first_ms:.1f}" for name, at_ms in stages)
    return (
        f"kind={failover.kind},primary={failover.primary_id},epoch={failover.epoch},votes={failover.votes},"
        f"at={wall_ms(first_ms)}{times}"
    )


def peer_fields(bus: Bus) -> Fields:
    """peer_fields(bus) -> a field for each peer: its id, its state, and the round trips of probes to it."""
    core = bus.core
    now_ms = bus.now_ms()
    peers = [node for node in core.nodes.values() if node is not core.myself]
    peers.sort(key=lambda node: (-node.rtt_ms, node.id))
    fields: Fields = {"cluster_peers": len(peers)}
    for index, node in enumerate(peers[:PEERS_SHOWN_MAX]):
        state = "fail" if node.failed else "suspected" if node.suspected else "ok"
        silent_ms = -1 if node.contact_at_ms is None else int(now_ms - node.contact_at_ms)
        fields[f"cluster_peer{index}"] = (
            f"id={node.id},state={state},rtt_min_ms={node.rtt_min_ms:.3f},rtt_avg_ms={node.rtt_ms:.3f},"
            f"rtt_max_ms={node.rtt_max_ms:.3f},answered_ms_ago={silent_ms}"
        )
    return fields
