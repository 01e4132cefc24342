"""A cluster's state as plain data, made from one topology: what `status` shows, as a table or as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pyredis_cluster.gossip.slots import SLOT_COUNT

from .bus_status import BusStatus, gather_bus
from .topology import Absentee, Member, Topology


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node. Lag is in bytes of the replication stream behind its primary; None where it is not known."""

    node_id: str
    address: str
    role: str
    state: str
    pid: int | None
    replication_offset: int | None
    lag_bytes: int | None
    keys: int | None
    memory_bytes: int | None
    ops_per_s: int | None
    clients: int | None


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """A primary with its replicas and slots. `primary` is a node that does not answer, or one that does."""

    primary: NodeStatus
    replicas: tuple[NodeStatus, ...]
    ranges: tuple[tuple[int, int], ...]
    migrating: dict[int, str]
    importing: dict[int, str]

    @property
    def slot_count(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """All shards by their first slot. `state` is ok, degraded (all slots served, not all well) or fail."""

    state: str
    slots_covered: int
    epoch: int
    shards: tuple[ShardStatus, ...]
    bus: BusStatus | None = None

    def to_json(self) -> dict[str, Any]:
        """to_json() -> the same as dicts and lists."""
        return asdict(self)


def gather_status(topology: Topology) -> ClusterStatus:
    """gather_status(topology) -> ClusterStatus."""
    shards = [_member_shard(topology, primary) for primary in topology.primaries]
    known = set(topology.members)
    shards += [
        _absent_shard(topology, absentee)
        for absentee in topology.absentees.values()
        if absentee.view.is_primary or absentee.view.primary_id not in known
    ]
    nodes = [node for shard in shards for node in (shard.primary, *shard.replicas)]
    serving = all(
        member.state_ok for member in topology.members.values() if member.is_primary and member.myself.slot_count
    )
    covered = sum(1 for owner in topology.owners.values() if owner in topology.members)
    if covered < SLOT_COUNT or not serving:
        state = "fail"
    elif all(node.state == "ok" for node in nodes):
        state = "ok"
    else:
        state = "degraded"
    epochs = [int(member.cluster_info.get("cluster_current_epoch", 0)) for member in topology.members.values()]
    bus = gather_bus(topology.members.values())
    return ClusterStatus(state, covered, max(epochs, default=0), tuple(shards), bus)


def _member_shard(topology: Topology, primary: Member) -> ShardStatus:
    offset = primary.replication_offset
    replicas = [_member_status(replica, offset) for replica in topology.replicas_of(primary.node_id)]
    replicas += [
        _absent_status(absentee)
        for absentee in topology.absentees.values()
        if absentee.view.primary_id == primary.node_id
    ]
    view = primary.myself
    return ShardStatus(
        _member_status(primary, None),
        tuple(replicas),
        view.ranges,
        dict(view.migrating),
        dict(view.importing),
    )


def _absent_shard(topology: Topology, absentee: Absentee) -> ShardStatus:
    view = absentee.view
    followers = topology.replicas_of(view.node_id) if view.is_primary else []
    # Slots that somebody else has taken over since are shown there only.
    owned_still = bool(view.ranges) and topology.owners.get(view.ranges[0][0]) == view.node_id
    return ShardStatus(
        _absent_status(absentee),
        tuple(_member_status(follower, None) for follower in followers),
        view.ranges if owned_still else (),
        {},
        {},
    )


def _member_status(member: Member, primary_offset: int | None) -> NodeStatus:
    info = member.info
    offset = member.replication_offset
    if not member.state_ok:
        state = "cluster down"
    elif not member.link_up:
        state = "not in sync"
    else:
        state = "ok"
    return NodeStatus(
        node_id=member.node_id,
        address=str(member.address),
        role=member.myself.role,
        state=state,
        pid=_number(info, "process_id"),
        replication_offset=offset,
        # The primary was asked a moment earlier or later than the replica: a negative lag is none.
        lag_bytes=None if primary_offset is None else max(0, primary_offset - offset),
        keys=_key_count(info),
        memory_bytes=_number(info, "used_memory"),
        ops_per_s=_number(info, "instantaneous_ops_per_sec"),
        clients=_number(info, "connected_clients"),
    )


def _absent_status(absentee: Absentee) -> NodeStatus:
    view = absentee.view
    return NodeStatus(
        node_id=view.node_id,
        address=str(view.address or "?"),
        role=view.role,
        state="failed" if view.failed else "no answer",
        pid=None,
        replication_offset=None,
        lag_bytes=None,
        keys=None,
        memory_bytes=None,
        ops_per_s=None,
        clients=None,
    )


def _number(info: Any, name: str) -> int | None:
    value = info.get(name)
    return int(value) if value is not None and value.isdecimal() else None


def _key_count(info: Any) -> int:
    """The keys of database 0, the only one of a cluster; INFO leaves an empty one out."""
    fields = dict(part.partition("=")[::2] for part in info.get("db0", "").split(",") if part)
    return int(fields.get("keys", 0))
