"""The cluster as the rest of the node sees it: who owns which slots, and the few changes a slot handover makes.

Law: everything here reads or changes the core's state at once, and the bus has told the others (and the disk)
when a method returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from pyredis_cluster.gossip import bitmap, operations
from pyredis_cluster.gossip.errors import ClusterError

from .bus import Bus
from .errors import CommandError

if TYPE_CHECKING:
    from .server import Server

T = TypeVar("T")


class Cluster:
    """Cluster(server): `bus` drives the node's part in the cluster; `core` is its state, `router` its redirects."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.bus = Bus(server)
        self.core = self.bus.core
        self.router = self.bus.router

    @property
    def my_id(self) -> str:
        """This node's id."""
        return self.core.myself.id

    def primary_address(self, node_id: str) -> tuple[str, int]:
        """primary_address(id) -> (host, port) for clients. CommandError unless it is a known primary."""
        node = self.core.nodes.get(node_id)
        if node is None:
            raise CommandError(f"Unknown node {node_id}")
        if not node.is_primary:
            raise CommandError("Target node is not a master")
        return self.router.ip(node), node.record.port

    def serves_all(self, slots: Iterable[int]) -> bool:
        """serves_all(slots) -> whether this node is the owner of each."""
        owned = self.core.slot_map.owned
        return all(owned[slot] for slot in slots)

    def owner_id(self, slot: int) -> str | None:
        """owner_id(slot) -> the id of its owner, or None."""
        owner = self.core.slot_map.owners[slot]
        return owner.id if owner is not None else None

    def is_foreign(self, slot: int) -> bool:
        """is_foreign(slot) -> whether its keys have no place here: another node owns it and it is not being
        moved here.
        """
        slot_map = self.core.slot_map
        owner = slot_map.owners[slot]
        mine = owner is self.core.myself or self.core.myself.primary_id == (owner.id if owner else "")
        wanted = slot in slot_map.importing or self._server.migrations.importing(slot)
        return owner is not None and not mine and not wanted

    def claim_slots(self, slots: Iterable[int]) -> None:
        """claim_slots(slots): this node owns them, under a new epoch. CommandError on a replica."""
        self.run(lambda: operations.claim_slots(self.core, bitmap.mask_of(slots), self.bus.now_ms()))

    def cede_slots(self, slots: Iterable[int], node_id: str) -> None:
        """cede_slots(slots, id): that node has claimed them; its announcement may still be on its way."""
        mask = bitmap.mask_of(slots)
        self.run(lambda: operations.cede_slots(self.core, mask, node_id, self.bus.now_ms()))

    def reclaim_slots(self) -> None:
        """reclaim_slots(): outbid whoever may have claimed slots of this node without its hearing of it."""
        self.run(lambda: operations.outbid(self.core, self.bus.now_ms()))

    def run(self, operation: Callable[[], T]) -> T:
        """run(operation) -> its result; an operator's request, its effects carried out. Raises CommandError."""
        try:
            return operation()
        except ClusterError as error:
            raise CommandError(str(error)) from None
        finally:
            self.bus.perform()
