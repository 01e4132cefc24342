"""The text of CLUSTER NODES and of nodes.conf, in Redis's format.

nodes.conf adds, as Redis does, auxiliary fields to the address and a `vars` line. That line also carries
`versions`, the record versions, and `witnesses`, their ids, which Redis skips as unknown variables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from . import bitmap
from .errors import CorruptedConfig
from .nodes import NOFAILOVER, WITNESS, Node, NodeRecord
from .slots import SLOT_COUNT

if TYPE_CHECKING:
    from .core import ClusterCore

BUS_PORT_OFFSET = 10_000


def describe(core: ClusterCore, node: Node, wall: Callable[[float], int], *, aux: bool = False) -> str:
    """describe(core, node, wall) -> one line of CLUSTER NODES, without its end.

    `wall(ms)` turns a time of the core into Unix milliseconds. With `aux`, as nodes.conf has it.
    """
    record = node.record
    address = f"{record.ip}:{record.port}@{record.bus_port}"
    if record.hostname or aux:
        address += f",{record.hostname}"
    if aux:
        if record.human_nodename:
            address += f",nodename={record.human_nodename}"
        address += f",shard-id={record.shard_id}"
    epoch = node.config_epoch
    if not node.is_primary and node.primary_id in core.nodes:
        epoch = core.nodes[node.primary_id].config_epoch
    ping_ms = wall(node.ping_sent_ms) if node.ping_sent_ms is not None else 0
    pong_ms = wall(node.contact_at_ms) if node.contact_at_ms is not None else 0
    link = "connected" if node is core.myself or is_connected(node) else "disconnected"
    flags = ",".join(flag_names(core, node))
    if node.is_witness and not aux:
        flags += ",witness"
    parts = [node.id, address, flags, node.primary_id or "-", str(ping_ms), str(pong_ms), str(epoch), link]
    parts.extend(
        str(first) if first == last else f"{first}-{last}" for first, last in bitmap.ranges(node.owned)
    )
    if node is core.myself:
        slot_map = core.slot_map
        for slot in sorted({**slot_map.migrating, **slot_map.importing}):
            if slot in slot_map.migrating:
                parts.append(f"[{slot}->-{slot_map.migrating[slot].id}]")
            else:
                parts.append(f"[{slot}-<-{slot_map.importing[slot].id}]")
    return " ".join(parts)


def is_connected(node: Node) -> bool:
    """Whether the last thing known about the way to `node` is an answer (Redis's link state)."""
    return not node.failed and node.refused_at_ms is None and node.contact_at_ms is not None


def flag_names(core: ClusterCore, node: Node) -> list[str]:
    """flag_names(core, node) -> Redis's flags in Redis's order."""
    names = ["myself"] if node is core.myself else []
    names.append("master" if node.is_primary else "slave")
    if node.failed:
        names.append("fail")
    elif node is not core.myself and core.detector.evidence(node):
        names.append("fail?")
    if not node.record.ip and node is not core.myself and node.source is None:
        names.append("noaddr")
    if node.record.flags & NOFAILOVER:
        names.append("nofailover")
    return names


def nodes_text(core: ClusterCore, wall: Callable[[float], int]) -> str:
    """nodes_text(core, wall) -> CLUSTER NODES."""
    return "".join(describe(core, node, wall) + "\n" for node in core.nodes.values())


def dump(core: ClusterCore) -> str:
    """dump(core) -> the text of nodes.conf."""
    lines = [describe(core, node, int, aux=True) + "\n" for node in core.nodes.values()]
    versions = ",".join(f"{node.id}:{node.record.version}" for node in core.nodes.values())
    witnesses = ",".join(node.id for node in core.nodes.values() if node.is_witness)
    lines.append(
        f"vars currentEpoch {core.current_epoch} lastVoteEpoch {core.last_vote_epoch} versions {versions}"
        f"{f' witnesses {witnesses}' if witnesses else ''}\n"
    )
    return "".join(lines)


@dataclass(slots=True)
class SavedState:
    """What nodes.conf held. `records` has this node's own as well, under `my_id`."""

    my_id: str
    records: dict[str, NodeRecord]
    failed: set[str] = field(default_factory=set)
    witnesses: set[str] = field(default_factory=set)
    migrating: dict[int, str] = field(default_factory=dict)
    importing: dict[int, str] = field(default_factory=dict)
    current_epoch: int = 0
    last_vote_epoch: int = 0


def load(text: str) -> SavedState:
    """load(text) -> SavedState. Raises CorruptedConfig with the line that cannot be read, or for a torn end.

    The `vars` line is written last: without it the node would not know in which epochs it has voted.
    """
    lines = text.splitlines()
    if not text.endswith("\n") or not lines[-1].startswith("vars "):
        raise CorruptedConfig(lines[-1][:200] if lines else "")
    state = SavedState("", {})
    versions: Mapping[str, int] = {}
    for line in lines:
        words = line.split()
        if not words:
            continue
        try:
            if words[0].lower() == "vars":
                versions = _read_vars(words, state)
            else:
                _read_node(words, state)
        except (ValueError, IndexError) as error:
            raise CorruptedConfig(line) from error
    if not state.my_id:
        raise CorruptedConfig(text[:200])
    for node_id, record in state.records.items():
        version = versions.get(node_id, 0) + (node_id == state.my_id)  # its own is announced anew
        flags = record.flags | (WITNESS if node_id in state.witnesses else 0)
        state.records[node_id] = replace(record, version=version, flags=flags)
        state.current_epoch = max(state.current_epoch, record.config_epoch)
    return state


def _read_vars(words: list[str], state: SavedState) -> dict[str, int]:
    versions: dict[str, int] = {}
    if len(words) % 2 == 0:
        raise ValueError("an odd number of words was expected")
    for name, value in zip(words[1::2], words[2::2], strict=True):
        if name.lower() == "currentepoch":
            state.current_epoch = int(value)
        elif name.lower() == "lastvoteepoch":
            state.last_vote_epoch = int(value)
        elif name.lower() == "witnesses":
            state.witnesses.update(map(_node_id, value.split(",")))
        elif name.lower() == "versions":
            pairs = (entry.split(":") for entry in value.split(","))
            versions = {node_id: int(version) for node_id, version in pairs}
    return versions


def _read_node(words: list[str], state: SavedState) -> None:
    if len(words) < 8:
        raise ValueError("a node has at least eight fields")
    node_id = _node_id(words[0])
    where, *rest = words[1].split(",")
    host, _, ports = where.rpartition(":")
    port, _, bus_port = ports.partition("@")
    aux = dict(entry.split("=", 1) for entry in rest[1:])
    flags = set(words[2].split(","))
    unknown = flags - {
        "myself",
        "master",
        "slave",
        "fail?",
        "fail",
        "handshake",
        "noaddr",
        "nofailover",
        "noflags",
    }
    if unknown or set(aux) - {"shard-id", "nodename", "tcp-port", "tls-port"}:
        raise ValueError("unknown flag or field")
    if "myself" in flags:
        state.my_id = node_id
    if "fail" in flags:
        state.failed.add(node_id)
    primary_id = "" if words[3] == "-" else _node_id(words[3])
    state.records[node_id] = NodeRecord(
        id=node_id,
        ip=host,
        port=int(port),
        bus_port=int(bus_port) if bus_port else int(port) + BUS_PORT_OFFSET,
        hostname=rest[0] if rest else "",
        human_nodename=aux.get("nodename", ""),
        shard_id=_node_id(aux["shard-id"]) if "shard-id" in aux else node_id,
        primary_id=primary_id,
        config_epoch=0 if primary_id else int(words[6]),
        slots=_read_slots(words[8:], state),
        flags=NOFAILOVER if "nofailover" in flags else 0,
    )


def _read_slots(words: Iterable[str], state: SavedState) -> int:
    mask = 0
    for word in words:
        if word.startswith("["):
            slot, arrow, other = word.strip("[]").partition("->-")
            moves = state.migrating
            if not arrow:
                slot, arrow, other = word.strip("[]").partition("-<-")
                moves = state.importing
            moves[_slot(slot)] = _node_id(other)
            continue
        first, dash, last = word.partition("-")
        mask |= bitmap.range_mask(_slot(first), _slot(last if dash else first))
    return mask


def _slot(text: str) -> int:
    slot = int(text)
    if not 0 <= slot < SLOT_COUNT:
        raise ValueError("slot out of range")
    return slot


def _node_id(text: str) -> str:
    if len(text) != 40 or not set(text) <= set("0123456789abcdef"):
        raise ValueError("not a node id")
    return text
