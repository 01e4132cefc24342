"""What is wrong with slots, and what sets it right: a pure function of what the primaries say.

The rules follow `redis-cli --cluster fix`. Each slot ends with one owner, closed, its keys on the owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyredis_cluster.gossip.slots import SLOT_COUNT


@dataclass(frozen=True, slots=True)
class PrimaryEvidence:
    """What one reachable primary says of itself: slots owned, open slots, and keys held in each slot."""

    node_id: str
    config_epoch: int
    owned: frozenset[int]
    migrating: Mapping[int, str]
    importing: Mapping[int, str]
    key_counts: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class SlotRepair:
    """How one slot is set right, in the order of the fields.

    `assign`: make `owner` the owner first. `finish_from`: complete the interrupted move from there.
    `collect_from`: nodes whose keys go to the owner. `close`: nodes on which the slot is set STABLE.
    """

    slot: int
    problem: str
    owner: str
    assign: bool = False
    finish_from: str | None = None
    collect_from: tuple[str, ...] = ()
    close: tuple[str, ...] = ()


def plan_fix(primaries: Iterable[PrimaryEvidence], owned_elsewhere: frozenset[int]) -> list[SlotRepair]:
    """plan_fix(primaries, owned_elsewhere) -> a repair for each slot that needs one, in ascending order.

    `owned_elsewhere` are slots of primaries that can't be reached; those are left alone. Empty uncovered
    slots go to whoever has the fewest slots.
    """
    evidence = list(primaries)
    if not evidence:
        return []
    slot_counts = {primary.node_id: len(primary.owned) for primary in evidence}
    repairs: list[SlotRepair] = []
    for slot in range(SLOT_COUNT):
        if slot in owned_elsewhere:
            continue
        repair = _plan_slot(slot, evidence, slot_counts)
        if repair is not None:
            if repair.assign:
                slot_counts[repair.owner] += 1
            repairs.append(repair)
    return repairs


def _plan_slot(slot: int, evidence: list[PrimaryEvidence], slot_counts: Mapping[str, int]) -> SlotRepair | None:
    claimants = [primary for primary in evidence if slot in primary.owned]
    holders = [primary for primary in evidence if slot in primary.key_counts]
    open_on = [primary for primary in evidence if slot in primary.migrating or slot in primary.importing]
    if len(claimants) == 1 and not open_on and all(holder is claimants[0] for holder in holders):
        return None
    if len(claimants) == 1:
        return _plan_owned(slot, claimants[0], holders, open_on)
    if claimants:
        problem = f"is claimed by {len(claimants)} nodes"
        owner = max(claimants, key=lambda claimant: (_keys(claimant, slot), claimant.config_epoch))
    elif holders or open_on:
        problem = "has no owner"
        owner = max(holders or open_on, key=lambda primary: (_keys(primary, slot), primary.config_epoch))
    else:
        problem = "has no owner"
        owner = min(evidence, key=lambda primary: (slot_counts[primary.node_id], primary.node_id))
    collect = tuple(
        primary.node_id for primary in evidence if primary is not owner and primary in (*holders, *claimants)
    )
    close = tuple(p.node_id for p in open_on if p is not owner and p.node_id not in collect)
    return SlotRepair(slot, problem, owner.node_id, True, None, collect, close)


def _plan_owned(
    slot: int, owner: PrimaryEvidence, holders: list[PrimaryEvidence], open_on: list[PrimaryEvidence]
) -> SlotRepair:
    target_id = owner.migrating.get(slot)
    target = next((p for p in open_on if p.node_id == target_id and p.importing.get(slot) == owner.node_id), None)
    settled = target or owner
    strangers = [holder for holder in holders if holder not in (owner, target)]
    collect = tuple(stranger.node_id for stranger in strangers)
    if target is not None:
        close = tuple(p.node_id for p in open_on if p not in (owner, target, *strangers))
        problem = "was being moved"
        return SlotRepair(slot, problem, settled.node_id, False, owner.node_id, collect, close)
    close = tuple(p.node_id for p in open_on if p not in strangers)
    problem = "is open" if open_on else "has keys on a node that does not own it"
    return SlotRepair(slot, problem, owner.node_id, False, None, collect, close)


def _keys(primary: PrimaryEvidence, slot: int) -> int:
    return primary.key_counts.get(slot, 0)
