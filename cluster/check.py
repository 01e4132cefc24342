"""Looking for what is wrong: nodes that fail or disagree, slots without one owner, keys on the wrong node."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyredis_cluster.client.errors import ResponseError
from pyredis_cluster.gossip.slots import SLOT_COUNT, slot_ranges

from .admin import in_parallel
from .errors import NodeRefused
from .fixplan import PrimaryEvidence, SlotRepair, plan_fix
from .topology import Member, Topology
from .waiting import disagreement


@dataclass(slots=True)
class Findings:
    """What a check has found. `repairs` is what `fix` would do; a warning does not make the check fail."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    repairs: list[SlotRepair] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


def check_cluster(topology: Topology) -> Findings:
    """check_cluster(topology) -> Findings. Counts the keys of every slot on every primary."""
    findings = Findings()
    for absentee in topology.absentees.values():
        view = absentee.view
        findings.problems.append(f"{view.address or view.node_id} does not answer: {absentee.reason}")
    members = sorted(topology.members.values(), key=lambda member: str(member.address))
    for member in members:
        if not member.state_ok:
            state = member.cluster_info.get("cluster_state", "unknown")
            findings.problems.append(f"{member.address} says cluster_state:{state}")
        if not member.link_up:
            findings.problems.append(f"replica {member.address} is not in sync with its primary")
        failing = sum(1 for view in member.views.values() if view.failed or "pfail" in view.flags)
        if failing:
            findings.problems.append(f"{member.address} sees {failing} failing node{'s' * (failing != 1)}")
    if text := disagreement(members):
        findings.problems.append(text)
    for primary in topology.primaries:
        if primary.myself.slot_count and not topology.replicas_of(primary.node_id):
            findings.warnings.append(f"{primary.address} has no replica: its slots are lost with it")
    findings.repairs = plan_repairs(topology)
    findings.problems += _describe_repairs(findings.repairs)
    unowned = SLOT_COUNT - len(topology.owners)
    if unowned:
        findings.problems.append(f"{unowned} of {SLOT_COUNT} slots are not covered")
    return findings


def _describe_repairs(repairs: list[SlotRepair]) -> list[str]:
    by_problem: dict[str, list[int]] = {}
    for repair in repairs:
        by_problem.setdefault(repair.problem, []).append(repair.slot)
    return [f"slots {format_slots(slots)}: each {problem}" for problem, slots in by_problem.items()]


def plan_repairs(topology: Topology, with_unreachable: bool = False) -> list[SlotRepair]:
    """plan_repairs(topology) -> what `fix` would do.

    Slots of primaries that can't be reached are left alone, unless `with_unreachable` gives them up.
    """
    if with_unreachable:
        return plan_fix(in_parallel(read_evidence, topology.primaries), frozenset())
    elsewhere = frozenset(
        slot
        for absentee in topology.absentees.values()
        for slot in absentee.view.slots
        if topology.owners.get(slot) == absentee.view.node_id
    )
    return plan_fix(in_parallel(read_evidence, topology.primaries), elsewhere)


def read_evidence(member: Member) -> PrimaryEvidence:
    """read_evidence(primary) -> what it owns, has open and holds, by CLUSTER COUNTKEYSINSLOT of each slot."""
    counts = member.link.pipeline(("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in range(SLOT_COUNT))
    for reply in counts:
        if isinstance(reply, ResponseError):
            raise NodeRefused(member.address, "CLUSTER COUNTKEYSINSLOT", reply.message)
    return PrimaryEvidence(
        node_id=member.node_id,
        config_epoch=member.myself.config_epoch,
        owned=frozenset(member.myself.slots),
        migrating=member.myself.migrating,
        importing=member.myself.importing,
        key_counts={slot: count for slot, count in enumerate(counts) if count},
    )


FORMATTED_RANGES_MAX = 8


def format_slots(slots: list[int]) -> str:
    """format_slots([1, 2, 3, 7]) -> "1-3 7", cut short where there are many ranges."""
    ranges = [f"{first}-{last}" if last > first else str(first) for first, last in slot_ranges(slots)]
    shown = " ".join(ranges[:FORMATTED_RANGES_MAX])
    return shown if len(ranges) <= FORMATTED_RANGES_MAX else f"{shown} and {len(ranges) - FORMATTED_RANGES_MAX} more"
