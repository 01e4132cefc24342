"""The bus's health over all nodes, from their CLUSTER INFO: the last failover, drops, round trips, trouble."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .topology import Member

_DROPPED = "cluster_stats_messages_dropped_"


@dataclass(frozen=True, slots=True)
class FailoverStatus:
    """A failover as the node that took over saw it. `stages` are milliseconds since the first one, at `at_ms`."""

    address: str
    kind: str
    replaced_id: str
    epoch: int
    votes: int
    at_ms: int
    stages: dict[str, float]


@dataclass(frozen=True, slots=True)
class BusStatus:
    """Sums over the nodes that answered; the round trip is the worst node's 99th percentile."""

    last_failover: FailoverStatus | None
    dropped: dict[str, int]
    failures: int
    promotions: int
    suspicions: int
    suspicions_refuted: int
    rtt_p99_ms: float | None
    ports_retrying: tuple[str, ...]


def gather_bus(members: Iterable[Member]) -> BusStatus:
    """gather_bus(members) -> BusStatus. Nodes that aren't ours tell little: what they leave out counts nothing."""
    known = [(str(member.address), member.cluster_info) for member in members]
    dropped: Counter[str] = Counter()
    for _, info in known:
        for name in info:
            if name.startswith(_DROPPED):
                dropped[name.removeprefix(_DROPPED)] += int(info[name])
    failovers = [
        parse_failover(address, info["cluster_last_failover"])
        for address, info in known
        if "cluster_last_failover" in info
    ]
    trips = [
        float(info["cluster_stats_probe_rtt_p99_ms"]) for _, info in known if "cluster_stats_probe_rtt_p99_ms" in info
    ]
    return BusStatus(
        last_failover=max(failovers, key=lambda failover: failover.at_ms, default=None),
        dropped=dict(sorted(dropped.items())),
        failures=_sum(known, "cluster_stats_failures"),
        promotions=_sum(known, "cluster_stats_promotions"),
        suspicions=_sum(known, "cluster_stats_suspicions"),
        suspicions_refuted=_sum(known, "cluster_stats_suspicions_refuted"),
        rtt_p99_ms=max(trips, default=None),
        ports_retrying=tuple(address for address, info in known if info.get("cluster_bus_tcp_port") == "retrying"),
    )


def _sum(known: Iterable[tuple[str, Mapping[str, str]]], name: str) -> int:
    return sum(int(info.get(name, 0)) for _, info in known)


def parse_failover(address: str, text: str) -> FailoverStatus:
    """parse_failover(address, "kind=manual,primary=...,at=...,requested=0.0,...") -> FailoverStatus."""
    fields = dict(part.split("=", 1) for part in text.split(","))
    kind, replaced = fields.pop("kind"), fields.pop("primary")
    epoch, votes, at_ms = (int(fields.pop(name)) for name in ("epoch", "votes", "at"))
    stages = {name: float(value) for name, value in fields.items()}
    return FailoverStatus(address, kind, replaced, epoch, votes, at_ms, stages)
