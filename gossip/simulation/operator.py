"""The operator of a simulated cluster: replaces, adds, removes and fails over nodes, and sees it through.

As a person with redis-cli would, it asks nodes that answer, bears refusals, and asks again until what it wants is so:
members that are gone are forgotten everywhere, new ones are met and follow a primary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import operations
from ..errors import ClusterError

if TYPE_CHECKING:
    from ..core import ClusterCore
    from .cluster import Simulation
    from .hosts import SimNode

ROUND_MS = 250.0
TAKEOVER_AFTER_MS = 8000.0
"""A shard whose primary is gone for good and that no election has helped for so long is helped by TAKEOVER."""
LOSSES_MAX = 1
"""Nodes that may be on their way out at once: an operator takes one after the other."""


class Operator:
    """Operator(simulation): what it is asked for is done in rounds; `done()` says whether all of it is."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.added = 0
        self._gone: dict[str, float] = {}
        """Ids that are to be forgotten, and since when."""
        self._resets: list[SimNode] = []
        self._joining: list[SimNode] = []

    def begin(self) -> None:
        self._simulation.at(self._simulation.now_ms + ROUND_MS, self._round)

    def done(self) -> bool:
        """done() -> whether everything that was begun has come to its end."""
        return not self._resets and not self._joining and not self._known_gone()

    # What it can be asked for

    def may_lose(self, node: SimNode) -> bool:
        """may_lose(node) -> whether its shard and the majority can do without it."""
        nodes = self._simulation.nodes
        pending = len(self._resets) + len(self._joining) + bool(self._known_gone())
        if pending >= LOSSES_MAX or node in self._joining or len(nodes) < 2:
            return False
        shard = node.shard()
        return any(other is not node and other.shard() == shard and other.has_disk() for other in nodes)

    def replace(self, node: SimNode, *, machine: bool) -> None:
        """replace(node, machine): it is gone for good, and with it the `machine`; a new one takes its part."""
        self._gone[node.id] = self._simulation.now_ms
        self._simulation.retire(node, machine=machine)
        self._join(self._simulation.add_node())

    def rejoin_empty(self, node: SimNode, down_ms: float) -> None:
        """rejoin_empty(node, down_ms): its disk is lost; the same machine comes back as another node."""
        self._gone[node.id] = self._simulation.now_ms
        node.be_new()
        self._simulation.at(self._simulation.now_ms + down_ms, self._join, node)

    def add(self) -> SimNode:
        self.added += 1
        node = self._simulation.add_node()
        self._join(node)
        return node

    def remove_and_reset(self, node: SimNode) -> None:
        """remove_and_reset(node): CLUSTER FORGET everywhere, CLUSTER RESET HARD there, and join again."""
        self._gone[node.id] = self._simulation.now_ms
        self._resets.append(node)

    def fail_over(self, node: SimNode, mode: str) -> bool:
        """fail_over(node, mode) -> whether the node accepted CLUSTER FAILOVER."""
        if not node.running or node.core is None:
            return False
        if mode == "takeover":
            self._simulation.takeovers.add(node.id)
        try:
            operations.failover(node.core, mode, node.clock())
        except ClusterError:
            self._simulation.takeovers.discard(node.id)
            return False
        node.apply()
        return True

    def _join(self, node: SimNode) -> None:
        if node not in self._simulation.nodes:
            return  # it has been replaced in the meantime
        self._joining.append(node)
        self._simulation.restart(node)

    # Rounds

    def _round(self) -> None:
        self._forget_gone()
        for node in list(self._resets):
            self._reset(node)
        self._joining = [node for node in self._joining if node in self._simulation.nodes]
        for node in list(self._joining):
            self._see_in(node)
        self._simulation.at(self._simulation.now_ms + ROUND_MS, self._round)

    def _answering(self) -> list[tuple[SimNode, ClusterCore]]:
        return [(node, node.core) for node in self._simulation.nodes if node.running and node.core is not None]

    def _known_gone(self) -> bool:
        if not self._gone:
            return False
        return any(node_id in core.nodes for _, core in self._cores() for node_id in self._gone)

    def _cores(self) -> list[tuple[SimNode, ClusterCore]]:
        return [
            (node, node.core)
            for node in self._simulation.nodes
            if node.core is not None and node.id not in self._gone
        ]

    def _forget_gone(self) -> None:
        now_ms = self._simulation.now_ms
        complete = self._introduced()
        for node_id, since_ms in self._gone.items():
            knowing = [(node, core) for node, core in self._answering() if node_id in core.nodes]
            if any(core.nodes[node_id].owned for _, core in knowing):
                if now_ms - since_ms >= TAKEOVER_AFTER_MS:
                    self._take_over(node_id, knowing)
                continue
            if not complete:
                continue  # who forgets one member after the other while it knows no others is a majority alone
            for node, core in knowing:
                if node.id == node_id:
                    continue
                try:
                    operations.forget(core, node_id, node.clock())
                except ClusterError:
                    continue  # its replica follows the successor first
                node.apply()

    def _introduced(self) -> bool:
        """Whether all members run and know each other; who does not know one is told to meet it."""
        members = [
            node for node in self._simulation.nodes if node.id not in self._gone and node not in self._joining
        ]
        complete = True
        for node in members:
            core = node.core
            if core is None or not node.running:
                complete = False
                continue
            for other in members:
                if other.core is not None and other.id not in core.nodes:
                    complete = False
                    operations.meet(core, other.ip, 7000, None, node.clock())
                    node.apply()
        return complete

    def _take_over(self, node_id: str, knowing: list[tuple[SimNode, ClusterCore]]) -> None:
        """No majority has come together for its successor: a replica is told to do without."""
        heirs = [node for node, core in knowing if core.myself.primary_id == node_id]
        if heirs:
            best = max(heirs, key=lambda node: (node.written, -node.index))
            self.fail_over(best, "takeover")
            self._gone[node_id] = self._simulation.now_ms

    def _reset(self, node: SimNode) -> None:
        core = node.core
        if not node.running or core is None:
            return
        if core.myself.is_primary and core.myself.owned:
            # It has been promoted in the meantime, so it stays.
            self._gone.pop(node.id, None)
            self._resets.remove(node)
            return
        operations.reset(core, hard=True, has_keys=False, now_ms=node.clock())
        node.renamed()
        node.apply()
        self._resets.remove(node)
        self._joining.append(node)

    def _see_in(self, node: SimNode) -> None:
        """One step on the way in: be started, meet, know the members, follow a primary."""
        core = node.core
        if core is None:
            self._simulation.restart(node)
            return
        if not node.running:
            return
        members = [(other, theirs) for other, theirs in self._answering() if other not in self._joining]
        if not members:
            return
        if not any(node.id in theirs.nodes for _, theirs in members):
            operations.meet(core, members[0][0].ip, 7000, None, node.clock())
            node.apply()
        elif core.my_primary() is not None or core.myself.owned:
            self._joining.remove(node)
        elif core.myself.is_primary:
            self._follow_somebody(node, core)

    def _follow_somebody(self, node: SimNode, core: ClusterCore) -> None:
        """A new node becomes a replica of the primary that has the fewest."""
        primaries = [other for other in core.nodes.values() if other.is_primary and other.owned and not other.failed]
        if not primaries:
            return
        least = min(primaries, key=lambda other: (len(core.replicas_of(other)), other.id))
        try:
            operations.replicate(core, least.id, has_keys=False, now_ms=node.clock())
        except ClusterError:
            return
        node.apply()
