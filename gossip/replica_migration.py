"""Replica migration: a spare replica moves to a primary that has lost all of its own (cluster-migration-barrier).

Redis's rules: only from a primary with the most working replicas, only where enough stay behind, only to a primary
that used to have replicas and has been without for a while; of those that could move, the one with the smallest id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .nodes import Node

if TYPE_CHECKING:
    from .core import ClusterCore

MIGRATION_DELAY_MS = 5000
"""Redis's CLUSTER_SLAVE_MIGRATION_DELAY: the primary's own replicas have so long to come back."""
CHECK_PERIOD_MS = 500
CHECK_PERIOD_PER_MEMBER_MS = 5
"""With more than a hundred members they are looked through less often, so that the time this takes stays flat."""


class ReplicaMigration:
    """The part of a ClusterCore that looks for a primary in need of this replica."""

    def __init__(self, core: ClusterCore) -> None:
        self._core = core
        self._next_check_at_ms = core.now_ms
        self._orphaned_since_ms: dict[str, float] = {}

    def tick(self) -> None:
        """Move, if it is this node's turn to. O(members) on a replica of a healthy cluster, now and then."""
        core = self._core
        if core.now_ms < self._next_check_at_ms or core.myself.is_primary:
            return
        period_ms = max(CHECK_PERIOD_MS, CHECK_PERIOD_PER_MEMBER_MS * len(core.nodes))
        self._next_check_at_ms = core.now_ms + period_ms
        if not core.config.allow_replica_migration or not core.health.ok or core.election.busy:
            return
        replicas = self._working_replicas()
        orphans = self._orphans(replicas)
        self._orphaned_since_ms = {
            node.id: self._orphaned_since_ms.get(node.id, core.now_ms) for node in orphans
        }
        if not orphans or not self._is_my_turn(replicas):
            return
        for node in orphans:
            if core.now_ms - self._orphaned_since_ms[node.id] >= MIGRATION_DELAY_MS:
                core.log("notice", f"Migrating to orphaned master {node.label}")
                core.roles.set_primary(node)
                return

    def _working_replicas(self) -> dict[str, list[str]]:
        """The replicas of each primary that neither failed nor are about to."""
        core = self._core
        found: dict[str, list[str]] = {}
        for node in core.nodes.values():
            if node.primary_id and not node.failed and not core.detector.evidence(node):
                found.setdefault(node.primary_id, []).append(node.id)
        return found

    def _orphans(self, replicas: dict[str, list[str]]) -> list[Node]:
        """Primaries that serve, are meant to have replicas (others are or were in their shard), and have none."""
        members = self._core.nodes.values()
        candidates = [
            node
            for node in members
            if node.is_primary and node.owned and not node.failed and node.id not in replicas
        ]
        if not candidates:
            return []
        sizes: dict[str, int] = {}
        for node in members:
            sizes[node.record.shard_id] = sizes.get(node.record.shard_id, 0) + 1
        return sorted((node for node in candidates if sizes[node.record.shard_id] > 1), key=lambda node: node.id)

    def _is_my_turn(self, replicas: dict[str, list[str]]) -> bool:
        core = self._core
        mine = replicas.get(core.myself.primary_id, [])
        most = max(map(len, replicas.values()), default=0)
        if len(mine) < most or len(mine) < 2 or len(mine) <= core.config.migration_barrier:
            return False
        return core.myself.id == min(min(ids) for ids in replicas.values() if len(ids) == most)
