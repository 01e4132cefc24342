"""Where a command must run in a cluster: here, or the redirect and error that Redis answers (getNodeByQuery).

Law: `served` says, for each slot, that a command on one key of it may run without another thought; everything
else is decided in `redirect`. A redirect tells only what the slot map knows now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyredis_cluster.gossip.nodes import Node
from pyredis_cluster.gossip.slots import SLOT_COUNT, key_slot

from .client import GUARD_ASKING, GUARD_READONLY, GUARD_TRUSTED, Client, Transaction
from .command import Command
from .errors import CommandError

if TYPE_CHECKING:
    from pyredis_cluster.gossip.core import ClusterCore

    from .server import Server

CROSSSLOT = CommandError("Keys in request don't hash to the same slot", "CROSSSLOT")
TRYAGAIN = CommandError("Multiple keys request during rehashing of slot", "TRYAGAIN")
DOWN = CommandError("The cluster is down", "CLUSTERDOWN")
DOWN_READS_ONLY = CommandError("The cluster is down and only accepts read commands", "CLUSTERDOWN")
DOWN_UNBOUND = CommandError("Hash slot not served", "CLUSTERDOWN")


class ClusterRouter:
    """The dispatcher's `Router` on a cluster node."""

    def __init__(self, server: Server, core: ClusterCore) -> None:
        self._server = server
        self._core = core
        self.served = bytearray(SLOT_COUNT)

    def refresh(self) -> None:
        """refresh(): the slot map, the role or the state has changed. O(slots being moved and parked clients)."""
        core = self._core
        if core.health.ok and core.myself.is_primary:
            self.served[:] = core.slot_map.owned
            for slot in core.slot_map.migrating:
                self.served[slot] = 0
        else:
            self.served[:] = bytes(SLOT_COUNT)
        self._redirect_parked()

    # Deciding

    def redirect(self, client: Client, command: Command, args: list[bytes]) -> CommandError | None:
        """redirect(client, command, args) -> MOVED, ASK, TRYAGAIN, CROSSSLOT, CLUSTERDOWN, or None: run it."""
        asking = client.guard & GUARD_ASKING or "asking" in command.flags
        client.guard &= ~GUARD_ASKING
        if client.guard & GUARD_TRUSTED:
            return None
        keys = [args[position] for position in command.key_positions(args)]
        slots = set(map(key_slot, keys))
        if len(slots) == 1 and self.served[slots.pop()]:
            return None
        readonly = bool(client.guard & GUARD_READONLY) and not command.is_write
        moves_keys = command.name == "migrate"
        return self._decide(keys, command.is_write, bool(asking), readonly, moves_keys=moves_keys)

    def redirect_transaction(self, client: Client, transaction: Transaction) -> CommandError | None:
        """redirect_transaction(client, transaction) -> the error for EXEC: all its keys are looked at together."""
        keys = [args[at] for command, args in transaction.commands for at in command.key_positions(args)]
        readonly = bool(client.guard & GUARD_READONLY) and not transaction.has_write
        return self._decide(keys, transaction.has_write, False, readonly)

    def _decide(
        self, keys: list[bytes], is_write: bool, asking: bool, readonly: bool, *, moves_keys: bool = False
    ) -> CommandError | None:
        if not keys:
            return None
        core = self._core
        slot_map = core.slot_map
        slot = key_slot(keys[0])
        owner = slot_map.owners[slot]
        if owner is None:
            return DOWN_UNBOUND
        if any(key_slot(key) != slot for key in keys[1:]):
            return CROSSSLOT
        if not core.health.ok:
            if not self._server.config.cluster_allow_reads_when_down:
                return DOWN
            if is_write:
                return DOWN_READS_ONLY
        migrating = owner is core.myself and slot in slot_map.migrating
        importing = not migrating and slot in slot_map.importing
        if migrating or importing:
            if moves_keys:
                return None
            missing = self._missing(keys)
            if migrating and missing:
                return TRYAGAIN if missing < len(keys) else self.ask(slot, slot_map.migrating[slot])
            if importing and asking:
                return TRYAGAIN if missing and len(set(keys)) > 1 else None
        if owner is core.myself or (readonly and core.myself.primary_id == owner.id):
            return None
        return self.moved(slot, owner)

    def _missing(self, keys: Iterable[bytes]) -> int:
        database = self._server.keyspace.databases[0]
        return sum(database.peek(key) is None or database.is_expired(key) for key in keys)

    # Telling

    def moved(self, slot: int, node: Node) -> CommandError:
        return CommandError(f"{slot} {self.endpoint(node)}:{node.record.port}", "MOVED")

    def ask(self, slot: int, node: Node) -> CommandError:
        return CommandError(f"{slot} {self.endpoint(node)}:{node.record.port}", "ASK")

    def endpoint(self, node: Node) -> str:
        """endpoint(node) -> how clients are told to reach it (cluster-preferred-endpoint-type)."""
        kind = self._server.config.cluster_preferred_endpoint_type
        if kind == "hostname":
            return node.record.hostname or "?"
        return "" if kind == "unknown-endpoint" else self.ip(node)

    @staticmethod
    def ip(node: Node) -> str:
        """ip(node) -> its address; one that does not know its own is shown with where it speaks from."""
        return node.record.ip or (node.source[0] if node.source else "")

    # Parked clients

    def _redirect_parked(self) -> None:
        """Clients parked on a key that is not served here any more are sent on
        (clusterRedirectBlockedClientIfNeeded).
        """
        core = self._core
        for client in self._server.blocking:
            parked = client.parked
            if parked is None or not parked.keys:
                continue
            slot = key_slot(parked.keys[0])
            owner = core.slot_map.owners[slot]
            error: CommandError | None = None
            if not core.health.ok:
                error = DOWN
            elif owner is None:
                error = DOWN_UNBOUND
            elif owner is not core.myself and slot not in core.slot_map.importing:
                replica_reads = client.guard & GUARD_READONLY and not parked.command.is_write
                if not (replica_reads and core.myself.primary_id == owner.id):
                    error = self.moved(slot, owner)
            if error is not None:
                self._server.blocking.complete(client, error.encode())
