"""What a rumor does at who hears it. Rumors come late, twice and out of order: each says which version it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .deltas import apply_delta
from .errors import Dropped
from .messages import Rumor, RumorKind
from .nodes import Node, unpack_record

if TYPE_CHECKING:
    from .core import ClusterCore


def on_rumor(core: ClusterCore, rumor: Rumor, sender: Node) -> None:
    """on_rumor(core, rumor, sender): raises Dropped("malformed") for a record that is none."""
    kind = rumor[0]
    if kind == RumorKind.RECORD:
        core.merge(unpack_record(rumor[1]))
        return
    node = core.nodes.get(rumor[1].hex())
    if kind == RumorKind.FORGET:
        core.membership.on_forget(node, rumor[1].hex(), rumor[2])
    elif kind == RumorKind.DELTA:
        _on_delta(core, node, rumor, sender)
    elif kind == RumorKind.NOTICE:
        if node is None or node.record.version < rumor[2]:
            core.membership.want_sync(sender)
    elif node is None or node.record.version != rumor[2]:
        return
    elif kind == RumorKind.FAIL:
        core.mark_failed(node, origin=False)
    elif kind == RumorKind.SUSPECT and node is core.myself:
        core.detector.doubt_self()
    elif kind == RumorKind.SUSPECT:
        core.detector.on_suspicion(node, rumor[3])


def _on_delta(core: ClusterCore, node: Node | None, rumor: Rumor, sender: Node) -> None:
    header = unpack_record(rumor[2])
    if header.id != rumor[1].hex():
        raise Dropped("malformed")
    if node is core.myself or (node is not None and header.version <= node.record.version):
        return
    record = apply_delta(node.record, rumor) if node is not None else None
    if node is None or record is None:
        core.membership.want_sync(sender)
        return
    node.delta = (record.version, rumor)
    core.merge(record)
