"""Carrying out slot repairs: assign, finish interrupted moves, bring keys home, close what is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pyredis_cluster.client.errors import ResponseError

from .errors import NodeRefused, OperatorError
from .fixplan import SlotRepair
from .keymover import collect_keys, move_slot, tell_owner
from .topology import Member, Topology

# As many slots as one transaction of the owner takes: one epoch, and one write of its config, for all.
ASSIGN_SLOTS_MAX = 512


@dataclass(slots=True)
class FixOutcome:
    """What a fix has done."""

    slots_fixed: int = 0
    keys_moved: int = 0

    def count_keys(self, number: int) -> None:
        self.keys_moved += number


def fix_slots(
    topology: Topology, repairs: Sequence[SlotRepair], replace: bool, done: Callable[[SlotRepair], None]
) -> FixOutcome:
    """fix_slots(topology, repairs, replace, done) -> FixOutcome. OperatorError at the first failure.

    `done` is told each slot. What was fixed stays fixed: another `fix` goes on from there.
    """
    outcome = FixOutcome()
    for owner_id, batch in _assignments(repairs):
        owner = topology.members[owner_id]
        slots = [repair.slot for repair in batch]
        _assign(slots, owner)
        tell_owner(slots, owner_id, topology.primaries)
    for repair in repairs:
        _fix_slot(topology, repair, replace, outcome)
        outcome.slots_fixed += 1
        done(repair)
    return outcome


def _assignments(repairs: Sequence[SlotRepair]) -> Iterator[tuple[str, list[SlotRepair]]]:
    """Owner's id and repairs that assign it a slot, in bounded batches."""
    by_owner: dict[str, list[SlotRepair]] = {}
    for repair in repairs:
        if repair.assign:
            by_owner.setdefault(repair.owner, []).append(repair)
    for owner_id, batch in by_owner.items():
        for start in range(0, len(batch), ASSIGN_SLOTS_MAX):
            yield owner_id, batch[start : start + ASSIGN_SLOTS_MAX]


def _fix_slot(topology: Topology, repair: SlotRepair, replace: bool, outcome: FixOutcome) -> None:
    slot, owner = repair.slot, topology.members[repair.owner]
    if repair.finish_from is not None:
        source = topology.members[repair.finish_from]
        others = [primary for primary in topology.primaries if primary not in (source, owner)]
        move_slot(slot, source, owner, others, replace, outcome.count_keys)
    for node_id in repair.collect_from:
        collect_keys(slot, topology.members[node_id], owner, replace, outcome.count_keys)
    for node_id in repair.close:
        topology.members[node_id].link.call("CLUSTER", "SETSLOT", slot, "STABLE")


def _assign(slots: Sequence[int], owner: Member) -> None:
    """Make the node claim the slots with an epoch that beats every other claim.

    One transaction, as in redis-cli: between DELSLOTS and ADDSLOTS gossip could bring another owner.
    """
    *_, replies = owner.link.pipeline(
        [
            ("MULTI",),
            *(("CLUSTER", "DELSLOTS", slot) for slot in slots),
            ("CLUSTER", "ADDSLOTS", *slots),
            *(("CLUSTER", "SETSLOT", slot, "STABLE") for slot in slots),
            ("CLUSTER", "BUMPEPOCH"),
            ("EXEC",),
        ]
    )
    if isinstance(replies, ResponseError):
        raise NodeRefused(owner.address, "CLUSTER ADDSLOTS", replies.message)
    if not isinstance(replies, list):
        raise OperatorError(f"{owner.address} did not carry out CLUSTER ADDSLOTS")
    # DELSLOTS fails where the node knows of no owner, which is what it was sent for.
    for reply in replies[len(slots) :]:
        if isinstance(reply, ResponseError):
            raise NodeRefused(owner.address, "CLUSTER ADDSLOTS", reply.message)
