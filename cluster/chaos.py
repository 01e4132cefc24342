"""Chaos: a load, a schedule of faults and the sum of what they did to a local cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .admin import Access
from .check import plan_repairs
from .errors import OperatorError
from .faults import FAULTS, Arena, Fault, FaultReport, find_lost, remove_keys, run_fault
from .launcher import LocalCluster
from .topology import read_topology


@dataclass(frozen=True, slots=True)
class ChaosReport:
    """The whole run. `lost` are acknowledged writes that are gone, `doubled_slots` have keys on two primaries."""

    faults: tuple[FaultReport, ...]
    duration_s: float
    writes: int
    reads: int
    failed_requests: int
    lost: int
    doubled_slots: int
    first_errors: tuple[str, ...]

    @property
    def promises_kept(self) -> bool:
        """Whether all that is promised held: no key on two primaries, no loss where none is allowed."""
        return not self.doubled_slots and not any(
            report.doubled_slots or (report.lossless and report.lost) for report in self.faults
        )


def run_chaos(
    arena: Arena, faults: Sequence[Fault], duration_s: float, tell: Callable[[FaultReport], None]
) -> ChaosReport:
    """run_chaos(arena, faults, duration_s, tell) -> ChaosReport. Faults in random order, until the time is over.

    The fault that has begun is ended; `tell` hears of each. The load's keys are removed at the end.
    OperatorError, for one where the cluster does not heal.
    """
    reports: list[FaultReport] = []
    started = time.monotonic()
    queue: list[Fault] = []
    try:
        while time.monotonic() - started < duration_s:
            queue = queue or arena.rng.sample(list(faults), len(faults))
            report = run_fault(arena, queue.pop())
            reports.append(report)
            tell(report)
    except BaseException:
        arena.revive()
        raise
    writes = [write for load in arena.loads for write in load.acknowledged()]
    with arena.read() as topology:
        lost = find_lost(topology, writes)
        doubled = plan_repairs(topology)
        remove_keys(topology, writes)
    return ChaosReport(
        faults=tuple(reports),
        duration_s=time.monotonic() - started,
        writes=len(writes),
        reads=sum(report.reads for report in reports),
        failed_requests=sum(report.failed_requests for report in reports),
        lost=len(lost),
        doubled_slots=len(doubled),
        first_errors=tuple(text for report in reports for text in report.errors),
    )


def choose_faults(names: Sequence[str], cluster: LocalCluster, access: Access) -> list[Fault]:
    """choose_faults(names, cluster, access) -> these faults, or all that the cluster is large enough for."""
    with read_topology(cluster.addresses, access) as topology:
        served = [member for member in topology.primaries if member.myself.slot_count]
        replicated = sum(1 for member in served if topology.replicas_of(member.node_id))
    chosen = [FAULTS[name] for name in names] if names else list(FAULTS.values())
    fit = [fault for fault in chosen if fault.shards_min <= replicated]
    if not fit or (names and len(fit) < len(chosen)):
        raise OperatorError(
            f"the cluster has {replicated} shards with a replica; the faults need up to "
            f"{max(fault.shards_min for fault in chosen)}"
        )
    return fit
