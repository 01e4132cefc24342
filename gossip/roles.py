"""Who this node is and what follows from slots changing hands: promotion, demotion, whom to replicate from.

A primary that loses its last slot to a successor becomes its replica; one that loses some deletes their keys;
a replica goes where its primary's slots went. Epochs that collide are taken apart by Redis's rule.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from . import bitmap
from .deltas import record_rumor
from .effects import BecomePrimary, BecomeReplica, SlotMapChanged, SlotsLost
from .messages import Kind
from .nodes import Node
from .rumors import EAGER_ALL_MAX

if TYPE_CHECKING:
    from .core import ClusterCore


class Roles:
    """The part of a ClusterCore that decides its own role."""

    def __init__(self, core: ClusterCore) -> None:
        self._core = core
        self._replicating: tuple[str, str, int] | None = None
        self._collision_waits = False
        self._history: tuple[str, int] | None = None
        """Whose data this replica holds, all of them up to some moment: the primary's id, and its configEpoch then."""

    def slots_changed(self, changed: int, claimant: Node | None) -> None:
        """`claimant`'s record is new and `changed` slots have other owners than before."""
        core = self._core
        if changed:
            core.emit(SlotMapChanged())
            self._follow_moved_slots()
        mine = core.myself.record.slots
        lost = mine & ~core.myself.owned & ~self._ceded()
        if lost:
            self._lose(lost, claimant)
            return
        primary = core.my_primary()
        if primary is not None and changed and claimant is not None and not primary.owned:
            self._follow_claimant(primary, claimant)

    def _lose(self, lost: int, claimant: Node | None) -> None:
        core = self._core
        core.change_self(slots=core.myself.record.slots & ~lost)
        if core.myself.record.slots or not self._follow_claimant(core.myself, claimant):
            core.emit(SlotsLost(lost))

    def _ceded(self) -> int:
        """Slots an operator gave away here whose new owner has not claimed them yet: no longer served, not
        lost.
        """
        return bitmap.mask_of(
            slot
            for slot, (node, _) in self._core.slot_map.hints.items()
            if node is not None and not node.record.slots >> slot & 1
        )

    def _follow_claimant(self, heir_of: Node, claimant: Node | None) -> bool:
        """Become a replica of `claimant`, who took the last slots of `heir_of`, where the rules want it.

        The shard's own primary goes first: another shard may have taken slots of it too, by a reshard, and
        its claim may have been the last to arrive.
        """
        core = self._core
        claimant = self._successor(heir_of) or claimant
        if claimant is None or claimant is core.myself or not claimant.is_primary or not claimant.owned:
            return False
        if not core.config.allow_replica_migration and claimant.record.shard_id != heir_of.record.shard_id:
            return False
        core.log(
            "notice", f"Configuration change detected. Reconfiguring myself as a replica of {claimant.label}"
        )
        self.set_primary(claimant)
        return True

    def _successor(self, heir_of: Node) -> Node | None:
        """The primary, other than `heir_of` itself, that serves slots in its shard."""
        others = (
            node
            for node in self._core.nodes.values()
            if node is not heir_of and node.is_primary and node.owned
            if node.record.shard_id == heir_of.record.shard_id
        )
        return max(others, key=lambda node: node.config_epoch, default=None)

    def _follow_moved_slots(self) -> None:
        """A slot being moved keeps its partner when the partner's shard fails over to another node."""
        core = self._core
        for moves in (core.slot_map.migrating, core.slot_map.importing):
            for slot, partner in list(moves.items()):
                successor = core.nodes.get(partner.primary_id)
                if successor is not None and successor.is_primary and successor is not core.myself:
                    moves[slot] = successor

    def resolve_epoch_collision(self, node: Node) -> None:
        """Two primaries with one configEpoch: the one with the smaller id takes a new one (Redis's rule).

        Not while slots of it are being claimed, for a new epoch takes them back.
        """
        core = self._core
        mine = core.myself
        if (
            mine.is_primary
            and node.is_primary
            and node.config_epoch == mine.config_epoch
            and node.id > mine.id
        ):
            if core.replication.handing_over():
                self._collision_waits = True
                return
            epoch = self.max_epoch() + 1
            core.log("verbose", f"configEpoch collision with node {node.label}. Updating to {epoch}")
            self.raise_epoch(epoch)

    def tick(self) -> None:
        """An operator's word about slots that has run out, and a colliding epoch that had to wait for a handover."""
        core = self._core
        if core.slot_map.hints:
            changed = core.slot_map.expire_hints(core.now_ms, core.nodes.values())
            if changed:
                self.slots_changed(changed, None)
        if self._collision_waits and not core.replication.handing_over():
            self._collision_waits = False
            for node in list(core.nodes.values()):
                if node is not core.myself:
                    self.resolve_epoch_collision(node)

    def max_epoch(self) -> int:
        """max_epoch() -> the greatest epoch this node knows of."""
        core = self._core
        return max(core.current_epoch, *(node.config_epoch for node in core.nodes.values()))

    def bump_without_consensus(self) -> bool:
        """bump_without_consensus() -> whether this node took a new, highest configEpoch by itself."""
        core = self._core
        if core.myself.config_epoch and core.myself.config_epoch == self.max_epoch():
            return False
        self.raise_epoch(self.max_epoch() + 1)
        return True

    def raise_epoch(self, epoch: int, claimed: int = 0) -> None:
        """raise_epoch(epoch[, claimed]): a new configEpoch for the slots of this primary, and those that it claims.

        What an operator gave to a node whose claim has not been heard yet is left out: it would be taken back.
        """
        core = self._core
        core.current_epoch = max(core.current_epoch, epoch)
        core.change_self(config_epoch=epoch, slots=core.myself.record.slots & ~self._ceded() | claimed)

    def set_primary(self, primary: Node) -> None:
        """Turn into a replica of `primary`; whatever this node claimed is given up."""
        core = self._core
        assert primary is not core.myself
        if core.myself.is_primary:
            core.slot_map.migrating.clear()
            core.slot_map.importing.clear()
        core.election.reset()
        core.change_self(primary_id=primary.id, shard_id=primary.record.shard_id, slots=0, config_epoch=0)
        self.follow_primary()

    def promote(self, epoch: int, votes: int | None) -> None:
        """Take over the primary's slots with configEpoch `epoch`; `votes` is None for an operator's TAKEOVER."""
        core = self._core
        primary = core.my_primary()
        assert primary is not None and epoch > primary.config_epoch
        assert votes is None or votes >= core.majority(), "promotion without a majority"
        core.current_epoch = max(core.current_epoch, epoch)
        core.stats.last_failover = core.election.time_line(primary, epoch, votes)
        core.election.reset()
        self.become_primary(primary.id)
        core.change_self(primary_id="", slots=primary.owned, config_epoch=epoch)
        if len(core.nodes) > EAGER_ALL_MAX:
            # In a large cluster the word gets around; but clients that were held back wait for this node.
            core.send_to(primary, Kind.GOSSIP, (), (record_rumor(core.myself),))
        core.stats.promotions += 1
        core.log("notice", f"configEpoch set to {epoch} after successful failover")

    def become_primary(self, replaces: str) -> None:
        """Tell the data plane to stop replicating; the record is the caller's to change."""
        self._replicating = None
        self._history = None
        self._core.emit(BecomePrimary(replaces))

    def synced(self) -> None:
        """The data plane holds what the present primary has, and is being fed the rest."""
        primary = self._core.my_primary()
        if primary is not None:
            self._history = (primary.id, primary.config_epoch)

    def recall(self, primary_id: str, config_epoch: int) -> None:
        """recall(primary_id, config_epoch): data were loaded that `history` told of when they were saved."""
        self._history = (primary_id, config_epoch)

    def history(self) -> tuple[str, int] | None:
        """history() -> (id, configEpoch) of the primary whose data this replica holds, or None."""
        return self._history if self._has_history() else None

    def _has_history(self) -> bool:
        """Whether the data are the present primary's.

        They are not where it took a new epoch while the link was down: it may have been another's replica meanwhile,
        or been given slots, and has what this replica never got.
        """
        primary = self._core.my_primary()
        if primary is None:
            return not self._core.myself.record.primary_id
        return self._history is not None and self._history == (primary.id, primary.record.config_epoch)

    def offset(self) -> int:
        """offset() -> the replication offset, or 0 on a replica that has never been in step with its primary.

        What it has is of another history, and being far in that says nothing: a primary that was cut off may have
        gone further than its successor, with writes that nobody else has.
        """
        return self._core.replication.offset() if self._has_history() else 0

    def data_age_ms(self) -> float:
        """data_age_ms() -> how old what this replica holds of its primary's data is; infinite if that is nothing."""
        return self._core.replication.age_ms() if self._has_history() else inf

    def follow_primary(self) -> None:
        """Keep the data plane replicating from the right place; a replica of a replica moves to the primary."""
        core = self._core
        primary = core.my_primary()
        if primary is None:
            return
        if self._history is not None and primary.id == self._history[0] and core.replication.in_sync():
            self.synced()  # it may have a new epoch
        if primary.primary_id and primary.primary_id != core.myself.id:
            grand = core.nodes.get(primary.primary_id)
            if grand is not None and grand.is_primary:
                self.set_primary(grand)
                return
        host = primary.record.ip or (primary.source[0] if primary.source else "")
        target = (primary.id, host, primary.record.port)
        if host and target != self._replicating:
            self._replicating = target
            if self._history is not None and primary.id != self._history[0]:
                self._history = None  # even if it comes back: the earlier primary may have another history by then
            core.emit(BecomeReplica(*target))
