"""The slot cache: which shard serves which slot, as CLUSTER SLOTS told it and MOVED corrected it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pyredis_cluster.gossip.slots import SLOT_COUNT

from .errors import ProtocolViolationError
from .wire import Address

UNKNOWN_HOST = "?"


@dataclass(frozen=True, slots=True)
class Shard:
    """A primary and the replicas that serve the same slots."""

    primary: Address
    replicas: tuple[Address, ...] = ()


SlotRange = tuple[int, int, Shard]


def as_text(value: Any) -> str:
    """as_text(value) -> str, whether the connection decodes replies or not."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def parse_slots(
    reply: Any, answered_by: Address, remap: Callable[[Address], Address] | None = None
) -> list[SlotRange]:
    """parse_slots(reply of CLUSTER SLOTS, address that gave it) -> [(first slot, last slot, shard)].

    A null or empty host stands for the host that answered; `?` (no hostname announced) for the `ip` in the
    node's metadata. Raises ProtocolViolationError.
    """
    try:
        ranges = []
        for first, last, primary, *replicas in reply:
            if not 0 <= first <= last < SLOT_COUNT:
                raise ValueError(f"slots {first}-{last}")
            nodes = [_node_address(node, answered_by) for node in (primary, *replicas)]
            if remap is not None:
                nodes = [remap(node) for node in nodes]
            ranges.append((first, last, Shard(nodes[0], tuple(nodes[1:]))))
        return ranges
    except (TypeError, ValueError, IndexError) as error:
        raise ProtocolViolationError(f"CLUSTER SLOTS reply not understood: {error}") from error


def _node_address(node: Any, answered_by: Address) -> Address:
    host = as_text(node[0]) if node[0] else ""
    if host == UNKNOWN_HOST:
        host = _metadata(node[3]).get("ip", "") if len(node) > 3 else ""
    return host or answered_by[0], int(node[1])


def _metadata(fields: Any) -> dict[str, str]:
    if isinstance(fields, dict):
        return {as_text(name): as_text(value) for name, value in fields.items()}
    return {as_text(name): as_text(value) for name, value in zip(fields[::2], fields[1::2], strict=False)}


class SlotMap:
    """For each of the 16,384 slots its shard, or None where nobody is known to serve it.

    Replaced whole by `adopt`, corrected slot by slot by `move`. Both leave a reader on another thread with
    either the old or the new shard of a slot.
    """

    def __init__(self) -> None:
        self.shards: list[Shard | None] = [None] * SLOT_COUNT
        self._by_primary: dict[Address, Shard] = {}
        self._representatives: list[int] | None = None

    def adopt(self, ranges: Iterable[SlotRange]) -> None:
        """adopt(ranges): forget what was known and take these."""
        shards: list[Shard | None] = [None] * SLOT_COUNT
        by_primary: dict[Address, Shard] = {}
        for first, last, shard in ranges:
            # One shard may come in many ranges: share the object, since shards are told apart by identity.
            shard = by_primary.setdefault(shard.primary, shard)
            shards[first : last + 1] = [shard] * (last + 1 - first)
        self.shards = shards
        self._by_primary = by_primary
        self._representatives = None

    def move(self, slot: int, primary: Address) -> None:
        """move(slot, primary): a node said MOVED."""
        shard = self._by_primary.get(primary)
        if shard is None:
            # A replica that was promoted keeps no list of its siblings: the next refresh brings them.
            shard = Shard(primary)
            self._by_primary = {**self._by_primary, primary: shard}
        self.shards[slot] = shard
        self._representatives = None

    def primaries(self) -> list[Address]:
        """primaries() -> the addresses of all primaries that serve slots."""
        return list(self._by_primary)

    def nodes(self) -> list[Address]:
        """nodes() -> the addresses of all known nodes, each once."""
        nodes = {}
        for shard in list(self._by_primary.values()):
            for address in (shard.primary, *shard.replicas):
                nodes[address] = True
        return list(nodes)

    def one_slot_of_each_shard(self) -> list[int]:
        """one_slot_of_each_shard() -> for each shard a slot that it serves, in ascending order."""
        slots = self._representatives
        if slots is None:
            first: dict[Address, int] = {}
            for slot, shard in enumerate(self.shards):
                if shard is not None:
                    first.setdefault(shard.primary, slot)
            self._representatives = slots = list(first.values())
        return slots
