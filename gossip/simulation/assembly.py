"""Simulated clusters that are there from the first moment: every core knows every member, without a handshake.

For what is measured or proved about large clusters. Joining n nodes one by one costs O(n^2) records on the wire;
here the records are made once and shared, so that only what a core thinks of its peers is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import bitmap
from ..nodes import NodeRecord
from ..nodesconf import SavedState
from ..slots import SLOT_COUNT

if TYPE_CHECKING:
    from .hosts import SimNode


def assemble(nodes: Sequence[SimNode], replicas: int, *, diskless: bool = False) -> None:
    """assemble(nodes, replicas[, diskless]): start `nodes` as members that have long been in touch.

    The first 1 / (replicas + 1) of them are primaries with equal shares of the slots; the others follow these in
    turn. O(n^2) time and memory: 1,000 nodes take about 6 s and 0.5 GB. Where no node is going to start again,
    `diskless` saves the rendering and keeping of n times n lines of nodes.conf.
    """
    records = _records(nodes, replicas)
    digest = 0
    for node in nodes:
        node.diskless = diskless
        node.start(SavedState(node.id, records, current_epoch=len(nodes)))
        core = node.core
        assert core is not None
        records[node.id] = core.myself.record
        digest ^= core.myself.digest
    for node in nodes:
        core = node.core
        assert core is not None
        core.health.confirm()
        core.digest = digest
        now_ms = node.clock()
        for member in core.nodes.values():
            member.record = records[member.id]
            member.boot = member.record.boot
            member.owned = member.record.slots
            if member is not core.myself:
                member.heard_at_ms = member.contact_at_ms = now_ms
        node.apply()


def _records(nodes: Sequence[SimNode], replicas: int) -> dict[str, NodeRecord]:
    primaries = nodes[: max(1, len(nodes) // (replicas + 1))]
    bounds = [index * SLOT_COUNT // len(primaries) for index in range(len(primaries) + 1)]
    records: dict[str, NodeRecord] = {}
    for index, node in enumerate(nodes):
        ip, bus_port = node.address
        shard = primaries[index % len(primaries)].id
        if index < len(primaries):
            slots = bitmap.range_mask(bounds[index], bounds[index + 1] - 1)
            epoch, primary_id = index + 1, ""
        else:
            slots, epoch, primary_id = 0, 0, shard
        records[node.id] = NodeRecord(
            node.id, ip=ip, port=7000, bus_port=bus_port, shard_id=shard, primary_id=primary_id,
            config_epoch=epoch, slots=slots,
        )  # fmt: skip
    return records
