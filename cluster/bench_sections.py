"""The sections of `make bench`, by name and in the order of its page; and those that are loads of redis-benchmark.

Law: adding a section is adding a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .bench_cluster import measure_clusters
from .bench_latency import measure_lone_client
from .bench_measure import Load, Repeats, load, measure_loads
from .bench_memory import measure_memory
from .bench_operations import measure_operations
from .bench_results import Row, Section
from .bench_site import Scale, Site
from .bench_stalls import measure_stalls
from .bench_workloads import WORKLOADS, Workload, fill_keys

CROWD_CLIENTS = 1_000
CROWD_TESTS = ("PING_MBULK", "SET", "GET")
LONE_REQUESTS_DIVISOR = 10


@dataclass(frozen=True, slots=True)
class ValueSize:
    """How values of a size are measured: fewer requests, and fewer keys, which fit into memory."""

    value_bytes: int
    pipelines: tuple[int, ...]
    cost: int
    keys_divisor: int


VALUE_SIZES = (ValueSize(1_024, (1, 16), 1, 20), ValueSize(65_536, (1,), 5, 1_000))


@dataclass(frozen=True, slots=True)
class Wish:
    """What of the commands is measured, and whether single servers are in cluster mode."""

    workloads: Sequence[Workload]
    pipelines: Sequence[int]
    clustered: bool = True

    @property
    def mode(self) -> str:
        return "cluster mode, one node with all slots" if self.clustered else "standalone"


def _measure(loads: Sequence[Load], site: Site, scale: Scale, repeats: Repeats, wish: Wish) -> list[Row]:
    """The loads of one size of values, on servers that hold such values already."""
    with site.pair(clustered=wish.clustered) as servers:
        for server in servers:
            site.tell(f"filling {server.name}")
            fill_keys(server.link, loads[0].keyspace, loads[0].value_bytes)
        return measure_loads(loads, servers, repeats, site.programs.benchmark, wish.clustered, site.tell)


def _commands(site: Site, scale: Scale, repeats: Repeats, wish: Wish) -> Section:
    section = Section("commands", "Commands", f"redis-benchmark's default tests, 50 clients; {wish.mode}.")
    loads = [
        load(workload, pipeline, scale.requests, scale.keyspace)
        for pipeline in wish.pipelines
        for workload in wish.workloads
    ]
    section.rows = _measure(loads, site, scale, repeats, wish)
    return section


def _lone(site: Site, scale: Scale, repeats: Repeats, wish: Wish) -> Section:
    notes = (
        "One client that sends a request when it has the reply to the last one. The client is a loop in Python, the "
        f"same for both: its own cost is in both latencies; {wish.mode}."
    )
    section = Section("lone", "A lone client", notes)
    with site.pair(clustered=wish.clustered) as servers:
        section.rows = measure_lone_client(servers, scale.requests // LONE_REQUESTS_DIVISOR, repeats, site.tell)
    return section


def _crowd(site: Site, scale: Scale, repeats: Repeats, wish: Wish) -> Section:
    section = Section(
        "clients", f"{CROWD_CLIENTS:,} clients", f"As above, with {CROWD_CLIENTS:,} clients; {wish.mode}."
    )
    loads = [
        Load(WORKLOADS[name], 1, scale.requests, scale.keyspace, clients)
        for clients in (50, CROWD_CLIENTS)
        for name in CROWD_TESTS
    ]
    section.rows = _measure(loads, site, scale, repeats, wish)
    return section


def _values(site: Site, scale: Scale, repeats: Repeats, wish: Wish) -> Section:
    section = Section("values", "Larger values", f"50 clients; {wish.mode}.")
    for number, size in enumerate(VALUE_SIZES):
        loads = [
            replace(
                load(WORKLOADS[name], pipeline, scale.requests // size.cost, scale.keyspace // size.keys_divisor),
                value_bytes=size.value_bytes,
            )
            for pipeline in size.pipelines
            for name in ("SET", "GET")
        ]
        section.rows += _measure(loads, site, scale, repeats.one_of(len(VALUE_SIZES) - number), wish)
    return section


@dataclass(frozen=True, slots=True)
class Part:
    """A section: how it is measured, and its share of the time."""

    measure: Callable[[Site, Scale, Repeats, Wish], Section]
    share: float


SECTIONS: dict[str, Part] = {
    "commands": Part(_commands, 8),
    "lone": Part(_lone, 0.5),
    "clients": Part(_crowd, 1),
    "values": Part(_values, 1),
    "cluster": Part(lambda site, scale, repeats, wish: measure_clusters(site, scale, repeats), 1.5),
    "memory": Part(lambda site, scale, repeats, wish: measure_memory(site, scale, wish.clustered), 1),
    "operations": Part(lambda site, scale, repeats, wish: measure_operations(site, scale), 1),
    "stalls": Part(lambda site, scale, repeats, wish: measure_stalls(site, scale, repeats), 4),
}
