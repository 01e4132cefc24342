"""Who owns which slot, by this node's knowledge: for each slot the primary whose claim has the highest
configEpoch.

The map is a function of the members' records (ties go to the smaller id), so nodes with the same records have
the same map. The one exception is an operator's CLUSTER SETSLOT or DELSLOTS about somebody else's slot, which
holds for HINT_MAX_MS at most (UNBOUND_HINT_MAX_MS after DELSLOTS): the owner's own announcement is expected
to arrive in that time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from . import bitmap
from .nodes import Node
from .slots import SLOT_COUNT

HINT_MAX_MS = 5000
UNBOUND_HINT_MAX_MS = 1000


class SlotMap:
    """`owners[slot]` is a Node or None, `owned[slot]` is 1 where `myself` is the owner: plain lookups for
    dispatch.

    `migrating` and `importing` are the operator's SETSLOT states of this node: slot -> the other node.
    """

    def __init__(self, myself: Node) -> None:
        self.myself = myself
        self.owners: list[Node | None] = [None] * SLOT_COUNT
        self.owned = bytearray(SLOT_COUNT)
        self.migrating: dict[int, Node] = {}
        self.importing: dict[int, Node] = {}
        self.unassigned = bitmap.ALL_SLOTS
        self.hints: dict[int, tuple[Node | None, float]] = {}

    def restore_moves(
        self, migrating: Mapping[int, str], importing: Mapping[int, str], nodes: Mapping[str, Node]
    ) -> None:
        """restore_moves(migrating, importing, nodes): slot -> id of the other node, as saved; those that are known."""
        for saved, moves in ((migrating, self.migrating), (importing, self.importing)):
            moves.update((slot, nodes[other]) for slot, other in saved.items() if other in nodes)

    def update(self, node: Node, nodes: Iterable[Node]) -> int:
        """update(node, nodes) -> the set of slots whose owner changed, after `node.record` did.

        `nodes` are all members. Costs nothing for what is not contested. A hint is not undone by the next record of
        the node that it is in favour of, nor by one of this node's own.
        """
        claims = node.record.slots if node.is_primary else 0
        given_up = node.owned & ~claims
        contested = claims & ~node.owned
        if self.hints:
            hinted = bitmap.mask_of(slot for slot, (owner, _) in self.hints.items() if owner is not None)
            given_up &= ~hinted
            if node is self.myself:
                contested &= ~hinted
        won = contested & self.unassigned
        for owner in self._owners_of(contested & ~won):
            if beats(node, owner):
                won |= contested & owner.owned
        self.assign(won, node)
        return won | (self.recompute(given_up, nodes) if given_up else 0)

    def recompute(self, slots: int, nodes: Iterable[Node]) -> int:
        """recompute(slots, nodes) -> changed: give each of `slots` to its strongest claimant, or to nobody."""
        claimants = [node for node in nodes if node.is_primary and node.record.slots & slots]
        changed, left = 0, slots
        for node in sorted(claimants, key=lambda node: (-node.config_epoch, node.id)):
            taken = node.record.slots & left
            changed |= taken & ~node.owned
            self.assign(taken, node)
            left &= ~taken
        changed |= left & ~self.unassigned
        self.assign(left, None)
        return changed

    def assign(self, slots: int, node: Node | None) -> None:
        """Bind `slots` to `node` (None: to nobody), ending any hint about them."""
        if not slots:
            return
        for owner in self._owners_of(slots):
            owner.owned &= ~slots
        for first, last in bitmap.ranges(slots):
            count = last - first + 1
            self.owners[first : last + 1] = [node] * count
            self.owned[first : last + 1] = (b"\1" if node is self.myself else b"\0") * count
        if node is None:
            self.unassigned |= slots
        else:
            self.unassigned &= ~slots
            node.owned |= slots
        for slot in [slot for slot in self.hints if slots >> slot & 1]:
            del self.hints[slot]

    def _owners_of(self, slots: int) -> list[Node]:
        found: list[Node] = []
        left = slots & ~self.unassigned
        while left:
            owner = self.owners[(left & -left).bit_length() - 1]
            assert owner is not None
            found.append(owner)
            left &= ~owner.owned
        return found

    def hint(self, slots: int, node: Node | None, now_ms: float) -> None:
        """Bind `slots` as an operator said, until the owner's record says so too, or for HINT_MAX_MS."""
        self.assign(slots, node)
        until_ms = now_ms + (UNBOUND_HINT_MAX_MS if node is None else HINT_MAX_MS)
        for slot in bitmap.slots_of(slots):
            self.hints[slot] = (node, until_ms)

    def expire_hints(self, now_ms: float, nodes: Iterable[Node]) -> int:
        """expire_hints(now_ms, nodes) -> changed: return to what the records say where a hint has run out."""
        due = bitmap.mask_of(slot for slot, (_, until_ms) in self.hints.items() if until_ms <= now_ms)
        if not due:
            return 0
        for slot in bitmap.slots_of(due):
            del self.hints[slot]
        return self.recompute(due, nodes)

    def forget(self, node: Node, nodes: Iterable[Node]) -> int:
        """forget(node, nodes) -> changed: `node`, no longer among `nodes`, owns nothing and is no one's
        partner.
        """
        for partners in (self.migrating, self.importing):
            for slot in [slot for slot, partner in partners.items() if partner is node]:
                del partners[slot]
        return self.recompute(node.owned, nodes)

    def check(self, nodes: Iterable[Node]) -> None:
        """Assert that the three views of ownership agree. For tests and the simulator. O(slots)."""
        seen = 0
        for node in nodes:
            assert not node.owned & seen, "a slot has two owners"
            seen |= node.owned
            for slot in bitmap.slots_of(node.owned):
                assert self.owners[slot] is node
        assert seen ^ self.unassigned == bitmap.ALL_SLOTS
        assert self.owned == bytes(owner is self.myself for owner in self.owners)


def beats(claimant: Node, owner: Node) -> bool:
    """beats(claimant, owner) -> bool: whether `claimant`'s claim on a slot is the stronger one."""
    if claimant.config_epoch != owner.config_epoch:
        return claimant.config_epoch > owner.config_epoch
    return claimant.id < owner.id
