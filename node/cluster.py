"""The cluster as the rest of the node sees it: who owns which slots, and the few changes a slot handover makes.

Law: everything here reads or changes the core's state at once, and the bus has told the others (and the disk)
when a method returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pyredis_cluster.gossip import bitmap, operations
from pyredis_cluster.gossip.errors import ClusterError, Dropped
from pyredis_cluster.gossip.nodes import unpack_record

from .bus import Bus
from .errors import CommandError
from .pausing import PausePurpose

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
        if node.is_witness:
            raise CommandError(f"Node {node_id} is a witness: it holds no slots and no data")
        return self.router.ip(node), node.record.port

    def serves_all(self, slots: Iterable[int]) -> bool:
        """serves_all(slots) -> whether this node is the owner of each."""
        owned = self.core.slot_map.owned
        return all(owned[slot] for slot in slots)

    def owner_id(self, slot: int) -> str | None:
        """owner_id(slot) -> the id of its owner, or None."""
        owner = self.core.slot_map.owners[slot]
        return owner.id if owner is not None else None

    def owned_by(self, slots: Iterable[int], node_id: str) -> bool:
        """owned_by(slots, id) -> whether that node is the owner of each."""
        owners = self.core.slot_map.owners
        node = self.core.nodes.get(node_id)
        return node is not None and all(owners[slot] is node for slot in slots)

    def moved_by_hand(self, slots: Iterable[int]) -> bool:
        """moved_by_hand(slots) -> whether any of them is migrating or importing by CLUSTER SETSLOT."""
        slot_map = self.core.slot_map
        return any(slot in slot_map.migrating or slot in slot_map.importing for slot in slots)

    def stop_importing(self, slots: Iterable[int]) -> None:
        """stop_importing(slots): as CLUSTER SETSLOT STABLE, for those that are importing."""
        for slot in [slot for slot in slots if slot in self.core.slot_map.importing]:
            self.run(partial(operations.set_slot_stable, self.core, slot))

    def is_ours(self, slot: int) -> bool:
        """is_ours(slot) -> whether its keys belong here: it is served here, or being moved here."""
        owner = self.core.slot_map.owners[slot]
        wanted = slot in self.core.slot_map.importing or self._server.migrations.importing(slot)
        return owner is self.core.myself or wanted

    def is_foreign(self, slot: int) -> bool:
        """is_foreign(slot) -> whether its keys have no place here: by its own word a living primary owns it."""
        owner = self.core.slot_map.owners[slot]
        if owner is None or self.is_ours(slot):
            return False
        return not owner.failed and bool(owner.record.slots >> slot & 1)

    def agreed_since(self, since_ms: float) -> bool:
        """agreed_since(bus time) -> whether a majority has had the same picture of the cluster since then."""
        core = self.core
        others = sum(
            node.confirmed_at_ms is not None and node.confirmed_at_ms >= since_ms
            for node in core.voters()
            if node is not core.myself
        )
        return core.health.ok and others + 1 >= core.majority()

    def may_hand_over(self) -> bool:
        """may_hand_over() -> whether slots may change hands: the cluster is up and no manual failover is under way."""
        pauses = self._server.blocking.pauses
        return self.core.health.ok and not pauses.holds(PausePurpose.FAILOVER)

    def reserve_epoch(self) -> int:
        """reserve_epoch() -> an epoch above all known ones, for the node that takes slots from us."""
        return self.run(lambda: operations.reserve_epoch(self.core, self.bus.now_ms()))

    def heard_epoch(self, epoch: int) -> None:
        """heard_epoch(epoch): somebody knows of it, so `reserve_epoch` gives a higher one."""
        self.core.current_epoch = max(self.core.current_epoch, epoch)

    def highest_epoch_beside(self, reserved: int) -> int:
        """highest_epoch_beside(reserved) -> the highest epoch in use; the reserved one is known but not in use."""
        core = self.core
        used = max(core.last_vote_epoch, *(node.config_epoch for node in core.nodes.values()))
        return max(used, core.current_epoch) if core.current_epoch > reserved else used

    def claim_slots(self, slots: Iterable[int], epoch: int) -> None:
        """claim_slots(slots, epoch): this node owns them, under that epoch. CommandError on a replica."""
        self.run(lambda: operations.claim_slots(self.core, bitmap.mask_of(slots), epoch, self.bus.now_ms()))

    def my_record(self) -> bytes:
        """my_record() -> what this node tells of itself on the bus."""
        return self.core.myself.record.packed

    def hear_claim(self, data: bytes, slots: Iterable[int], node_id: str) -> bool:
        """hear_claim(data, slots, id) -> whether that node's record, from its `my_record`, takes `slots` over."""
        try:
            record = unpack_record(data)
        except Dropped:
            return False
        if record.id != node_id:
            return False
        self.run(lambda: operations.hear_claim(self.core, record, self.bus.now_ms()))
        return self.owned_by(slots, node_id)

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
