"""Outages measured: a fault inflicted again and again on random shards, or a load that must not cause a failover.

Law: the outage is what a raw writer sees (`ShardProbe`), from the fault to the last gap before the shard serves
again; failovers and false suspicions are what the nodes themselves have counted.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .bus_status import gather_bus
from .cpu_load import CpuLoad
from .faults import Arena, Fault, FaultReport, find_lost, remove_keys, run_fault, with_replica
from .load import longest_gap_s, make_groups
from .shard_probe import ShardProbe
from .topology import Member, Topology

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
AFTERMATH_S = 0.2
"""The probe's gaps count until so long after the load's client was served again."""
CALM_POLL_S = 5.0
COUNTED = ("promotions", "failures", "suspicions", "suspicions_refuted")


@dataclass(slots=True)
class Outages:
    """One kind of fault, `runs` times. Times are in milliseconds; writes are the raw writer's and the load's."""

    fault: str
    runs: int = 0
    expected_failovers: int = 0
    outage_ms: list[float] = field(default_factory=list)
    client_outage_ms: list[float] = field(default_factory=list)
    acknowledged: int = 0
    lost: int = 0
    failed_requests: int = 0
    counted: Counter[str] = field(default_factory=Counter)

    @property
    def false_failovers(self) -> int:
        """Promotions beyond the one that each run is about."""
        return max(0, self.counted["promotions"] - self.expected_failovers)

    def to_json(self) -> dict[str, Any]:
        """to_json() -> the same with quantiles, as dicts and lists."""
        return asdict(replace(self, counted=Counter())) | {
            "counted": dict(self.counted),
            "outage_quantiles_ms": quantiles(self.outage_ms),
            "client_outage_quantiles_ms": quantiles(self.client_outage_ms),
            "false_failovers": self.false_failovers,
        }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """quantiles(values) -> p50, p90, p99 and max, each a value that occurred; nothing for no values."""
    ordered = sorted(values)
    return {name: ordered[max(0, math.ceil(share * len(ordered)) - 1)] for name, share in SHARES.items() if ordered}


class _Counters:
    """What the nodes have counted; a node that was restarted begins at zero again."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, int]] = {}

    def since_last(self, topology: Topology) -> Counter[str]:
        """since_last(topology) -> the sums of COUNTED since the call before."""
        sums: Counter[str] = Counter()
        for member in topology.members.values():
            bus = gather_bus([member])
            process = f"{member.node_id} {member.info.get('run_id')}"
            now = {name: int(getattr(bus, name)) for name in COUNTED}
            before = self._last.get(process, {})
            for name in COUNTED:
                sums[name] += now[name] - before.get(name, 0)
            self._last[process] = now
        return sums


@contextlib.contextmanager
def cpu_load(*, wanted: bool) -> Iterator[CpuLoad | None]:
    """cpu_load(wanted=True) -> a context manager: a CpuLoad, or nothing."""
    if not wanted:
        yield None
        return
    with CpuLoad() as load:
        yield load


def measure_outages(
    arena: Arena, faults: Sequence[Fault], runs: int, *, load: bool, tell: Callable[[str, float, FaultReport], None]
) -> list[Outages]:
    """measure_outages(arena, faults, runs, load=False, tell=...) -> Outages of each fault; `tell` hears of each run.

    OperatorError where the cluster does not heal.
    """
    measured = []
    counters = _Counters()
    with cpu_load(wanted=load) as burden:
        for fault in faults:
            outages = Outages(fault.name)
            measured.append(outages)
            for number in range(runs):
                with arena.read() as topology:
                    counters.since_last(topology)
                    if burden is not None:
                        burden.refresh(topology)
                    victim = with_replica(arena, topology, 1)[0]
                    probe = _probe(arena, topology, victim, f"{fault.name}-{number}")
                arena.focus = victim.node_id
                try:
                    report = _run(arena, fault, probe, outages)
                finally:
                    arena.focus = ""
                with arena.read() as topology:
                    outages.counted += counters.since_last(topology)
                tell(fault.name, outages.outage_ms[-1], report)
    return measured


def _probe(arena: Arena, topology: Topology, victim: Member, name: str) -> ShardProbe:
    (group,) = make_groups({"": victim.myself.slots}, "", 1)
    members = [victim.address, *(replica.address for replica in topology.replicas_of(victim.node_id))]
    return ShardProbe(members, arena.access, group.tags[0], f"{arena.run_id}-{name}")


def _run(arena: Arena, fault: Fault, probe: ShardProbe, outages: Outages) -> FaultReport:
    with probe:
        report = run_fault(arena, fault)
    with arena.read() as topology:
        accepted = probe.acknowledged()
        lost = len(find_lost(topology, accepted))
        remove_keys(topology, accepted)
    outages.runs += 1
    outages.expected_failovers += fault.failovers
    outages.outage_ms.append(1000 * probe.outage_s(report.hit_s, report.served_s + AFTERMATH_S))
    outages.client_outage_ms.append(1000 * report.hit_gap_s)
    outages.failed_requests += report.failed_requests
    outages.acknowledged += len(accepted) + report.writes
    outages.lost += lost + report.lost
    with arena.read() as topology:
        remove_keys(topology, arena.loads.pop().acknowledged())
    return report


@dataclass(slots=True)
class Calm:
    """A time without faults. `gap_ms` is the longest time without an accepted write, of the worst shard."""

    minutes: float
    writes: int
    failed_requests: int
    lost: int
    gap_ms: float
    rtt_p99_ms: float | None
    counted: Counter[str]

    @property
    def false_failovers(self) -> int:
        return self.counted["promotions"]

    def to_json(self) -> dict[str, Any]:
        """to_json() -> the same as dicts and lists."""
        counted = {"counted": dict(self.counted), "false_failovers": self.false_failovers}
        return asdict(replace(self, counted=Counter())) | counted


def watch_calm(arena: Arena, minutes: float, *, load: bool) -> Calm:
    """watch_calm(arena, minutes, load=True) -> Calm: what the nodes did while nothing was done to them."""
    counters = _Counters()
    with cpu_load(wanted=load) as burden:
        with arena.read() as topology:
            groups = [frozenset(member.myself.slots) for member in topology.primaries if member.myself.slot_count]
            for member in topology.members.values():
                member.link.call("CONFIG", "RESETSTAT")
            counters.since_last(topology)
            writing = arena.open_load(topology)
        with writing:
            started_s = time.monotonic()
            ends_s = started_s + 60 * minutes
            while (left_s := ends_s - time.monotonic()) > 0:
                with arena.read() as topology:
                    if burden is not None:
                        burden.refresh(topology)
                time.sleep(min(CALM_POLL_S, left_s))
            ended_s = time.monotonic()
    writes = writing.acknowledged()
    with arena.read() as topology:
        counted = counters.since_last(topology)
        bus = gather_bus(topology.members.values())
        lost = len(find_lost(topology, writes))
        remove_keys(topology, writes)
    arena.loads.remove(writing)
    gap_s = max(longest_gap_s(writes, slots, started_s, ended_s) for slots in groups)
    return Calm(minutes, len(writes), writing.error_count, lost, 1000 * gap_s, bus.rtt_p99_ms, counted)
