"""What clients have been told: which writes were acknowledged, by whom, and that they are not lost where they must not.

A manual failover and a slot's move lose no acknowledged write, and no slot is served twice under one configEpoch.
kill -9, a lost disk and an election may lose the unreplicated tail of a history: replication is asynchronous. So may
the election of a successor while the primary lives, by FORCE, TAKEOVER, a partition or a host that is said to refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .dataset import Branch

if TYPE_CHECKING:
    from .cluster import Simulation
    from .hosts import SimNode


class Ledger:
    """Ledger(simulation): hosts tell it what they serve and become; a broken invariant is an AssertionError."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._last: dict[tuple[SimNode, Branch], int] = {}
        """Who served each slot last, and in which history."""
        self._destroyed: set[Branch] = set()

    def _require(self, held: bool, text: str) -> None:
        assert held, f"seed {self._simulation.seed} at {self._simulation.now_ms:.3f} ms: {text}"

    def on_promotion(self, node: SimNode, replaces: str) -> None:
        """A replica takes over; its core has just said so, and its new history has begun."""
        core = node.core
        assert core is not None
        failover = core.stats.last_failover
        node.data.branch.kind = failover.kind if failover is not None else ""
        if node.id in self._simulation.takeovers:
            node.took_over_epoch = core.myself.config_epoch
        elif node.data.branch.kind == "automatic":
            self._check_history(node, replaces)
        elif node.data.branch.kind == "manual":
            self._check_handed_over(node, replaces)

    def _check_history(self, node: SimNode, replaces: str) -> None:
        """The successor holds the data of the primary that it replaces, not others that came before."""
        for old in self._simulation.nodes:
            if old.id == replaces and old.data.branch.owner == old.index:
                its = old.data.branch is node.data.branch.parent
                self._require(its, f"{node.index} succeeds {old.index}, whose data it never had")

    def _check_handed_over(self, node: SimNode, replaces: str) -> None:
        """A plain manual failover: the successor has all that its primary has acknowledged."""
        now_ms = self._simulation.now_ms
        for old in self._simulation.nodes:
            if old.id == replaces and old.data.branch is node.data.branch.parent:
                lost = old.data.offset_at(now_ms) - node.data.branch.fork
                way = f"from {old.index} to {node.index}"
                self._require(lost <= 0, f"a manual failover lost writes: {lost} bytes, {way}")

    def on_destroyed(self, node: SimNode) -> None:
        """Its data are gone with its disk."""
        self._destroyed.add(node.data.branch)

    def on_claim(self, source: SimNode, target: SimNode, slots: int) -> None:
        """`target` has all writes to `slots` that `source` acknowledged, and owns them now."""
        target.data.branch.grants.append((source.data.branch, slots))

    def on_follow(self, node: SimNode, source: SimNode) -> None:
        """`node` is about to throw away what it has beyond the history of `source`."""
        shared = node.data.branch.shared_with(source.data.branch)
        if shared is None or node.data.branch.owner != node.index:
            return
        lost = node.data.offset_at(self._simulation.now_ms) - shared
        if lost <= 0:
            return
        self._simulation.report.lost_bytes += lost
        fork: Branch | None = source.data.branch
        while fork is not None and fork.parent is not node.data.branch:
            fork = fork.parent
        if fork is not None and fork.kind == "manual":
            late = node.data.offset_at(self._simulation.now_ms) - fork.fork
            self._require(late <= 0, f"{node.index} acknowledged {late} bytes after its manual failover")

    def on_served(self, node: SimNode, before: int, served: int) -> None:
        """`node` takes writes to the slots `served` from now on."""
        gained = served & ~before
        if not gained:
            return
        gained &= ~self._check_alone(node, gained)
        for key, slots in list(self._last.items()):
            taken = slots & gained
            if not taken or key == (node, node.data.branch):
                continue
            if key[0] is not node:
                self._check_succession(node, *key, taken)
            if slots == taken:
                del self._last[key]
            else:
                self._last[key] = slots & ~taken
        key = (node, node.data.branch)
        self._last[key] = self._last.get(key, 0) | gained

    def _check_alone(self, node: SimNode, gained: int) -> int:
        """_check_alone(node, gained) -> those slots that another node serves under a higher epoch, which will win."""
        core = node.core
        assert core is not None
        weaker = 0
        for other in self._simulation.nodes:
            if other is node or not other.served & gained or other.core is None:
                continue
            self._simulation.report.overlaps += 1
            epoch = core.myself.config_epoch
            exempt = epoch in (node.took_over_epoch, other.took_over_epoch)
            self._require(
                exempt or other.core.myself.config_epoch != epoch,
                f"{node.index} and {other.index} serve the same slots under epoch {epoch}",
            )
            if other.core.myself.config_epoch > epoch:
                weaker |= other.served
        return weaker

    def _check_succession(self, node: SimNode, last: SimNode, branch: Branch, slots: int) -> None:
        """What `last` acknowledged about `slots` must be in the history of `node`, but for an unreplicated tail."""
        if branch.descends_from(node.data.branch):
            return  # its successor was elected while it lives: what it acknowledges now is the tail that is lost
        if any(own.kind in ("forced", "takeover") for own in node.data.branch.apart_from(branch)):
            return  # an operator wanted a primary, whatever it has
        if _elected_without(node.data.branch, branch):
            return  # what had not been replicated is lost
        for granted_from, granted in branch.grants:
            if _elected_without(node.data.branch, granted_from):
                slots &= ~granted  # elected where the move had not been heard of: lost as if it had not been
        left = slots
        for own in node.data.branch.lineage():
            if own is branch:
                return
            for granted_from, granted in own.grants:
                if granted_from.descends_from(branch):
                    left &= ~granted
        if left and branch not in self._destroyed:
            count = left.bit_count()
            self._require(False, f"{node.index} serves {count} slots without what {last.index} acknowledged")


def _elected_without(successor: Branch, other: Branch) -> bool:
    """Whether `successor` left the history of `other` otherwise than by a manual failover, which loses nothing."""
    if not successor.shared_with(other):
        return False
    return successor.apart_from(other)[-1].kind != "manual"
