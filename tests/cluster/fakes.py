"""A cluster in memory that answers the commands of a reshard: links that fail, jobs that fail, owners that change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyredis_cluster.admin import Access, NodeLink
from pyredis_cluster.client.errors import ResponseError
from pyredis_cluster.errors import NodeUnreachable
from pyredis_cluster.gossip.slots import SLOT_COUNT, slot_ranges
from pyredis_cluster.plan import Address
from pyredis_cluster.topology import Absentee, Member, Topology, parse_cluster_nodes

Reply = Any


@dataclass
class FakeNode:
    """One node: which slots it owns, whose replica it is, and its migration jobs."""

    node_id: str
    port: int
    slots: set[int] = field(default_factory=set)
    primary_id: str | None = None
    alive: bool = True
    jobs: list[list[Any]] = field(default_factory=list)

    @property
    def line(self) -> str:
        ranges = " ".join(f"{first}-{last}" for first, last in slot_ranges(self.slots))
        role = f"slave {self.primary_id}" if self.primary_id else "master -"
        return f"{self.node_id} 127.0.0.1:{self.port}@{self.port + 10000} {role} 0 0 1 connected {ranges}"


class FakeCluster:
    """Nodes by id. `on_migrate` decides what MIGRATESLOTS does: it may hand over, fail, kill or raise."""

    def __init__(self, *nodes: FakeNode) -> None:
        self.nodes = {node.node_id: node for node in nodes}
        self.on_migrate: Callable[[FakeNode, list[int], str], str] = self.hand_over
        self.migrations: list[tuple[str, str, list[int]]] = []
        self.keys_per_slot = 10
        self.atomic = True

    def hand_over(self, source: FakeNode, slots: list[int], target_id: str) -> str:
        source.slots.difference_update(slots)
        self.nodes[target_id].slots.update(slots)
        return "success"

    def read(self, _seeds: Sequence[Address], access: Access) -> Topology:
        topology = Topology()
        for node in self.nodes.values():
            lines = [
                other.line.replace(" master", " myself,master").replace(" slave", " myself,slave")
                if other is node
                else other.line
                for other in self.nodes.values()
            ]
            views = {view.node_id: view for view in parse_cluster_nodes("\n".join(lines))}
            if node.alive:
                link = FakeLink(self, node, access)
                topology.members[node.node_id] = Member(link, views, {"cluster_state": "ok"}, {})
            else:
                topology.absentees[node.node_id] = Absentee(views[node.node_id], "refused")
        if not topology.members:
            raise NodeUnreachable("no node of the cluster answers")
        return topology


class FakeLink(NodeLink):
    """A link that asks the FakeCluster instead of a socket."""

    __slots__ = ("_cluster", "_node")

    def __init__(self, cluster: FakeCluster, node: FakeNode, access: Access) -> None:
        super().__init__(Address("127.0.0.1", node.port), access)
        self._cluster = cluster
        self._node = node

    def pipeline(self, commands: Iterable[Sequence[Any]], timeout_ms: float | None = None) -> list[Reply]:
        return [self._reply([str(word) for word in command]) for command in commands]

    def _reply(self, command: list[str]) -> Reply:
        node = self._node
        if not node.alive:
            raise NodeUnreachable(f"can't connect to 127.0.0.1:{node.port}")
        if command[1] in ("MIGRATESLOTS", "GETSLOTMIGRATIONS") and not self._cluster.atomic:
            return ResponseError(f"ERR unknown subcommand '{command[1]}'. Try CLUSTER HELP.")
        match command:
            case ["CLUSTER", "COUNTKEYSINSLOT", _]:
                return self._cluster.keys_per_slot
            case ["CLUSTER", "GETSLOTMIGRATIONS"]:
                return list(reversed(node.jobs))
            case ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *bounds, "NODE", target_id]:
                return self._migrate(bounds, target_id)
            case ["CLUSTER", "SETSLOT", slot, "NODE", owner]:
                (node.slots.add if owner == node.node_id else node.slots.discard)(int(slot))
                return b"OK"
            case ["CLUSTER", "SETSLOT", _, "IMPORTING" | "MIGRATING", _]:
                return b"OK"
            case ["CLUSTER", "GETKEYSINSLOT", _, _]:
                return []
        raise AssertionError(f"no answer to {command}")

    def _migrate(self, bounds: list[str], target_id: str) -> Reply:
        node = self._node
        pairs = zip(bounds[::2], bounds[1::2], strict=True)
        ranges = [(int(first), int(last)) for first, last in pairs]
        slots = [slot for first, last in ranges for slot in range(first, last + 1)]
        if not node.slots.issuperset(slots):
            return ResponseError("ERR Slots are not served by this node")
        self._cluster.migrations.append((node.node_id, target_id, slots))
        state = self._cluster.on_migrate(node, slots, target_id)
        node.jobs.append(job(f"job{len(node.jobs)}", node.node_id, target_id, ranges, state))
        return b"OK"


def job(name: str, source: str, target: str, ranges: list[tuple[int, int]], state: str) -> list[Any]:
    """An entry of CLUSTER GETSLOTMIGRATIONS as RESP2 gives it."""
    fields: dict[str, object] = {
        "name": name,
        "operation": "EXPORT",
        "slot_ranges": " ".join(f"{first}-{last}" for first, last in ranges),
        "target_node": target,
        "source_node": source,
        "create_time": 1,
        "last_update_time": 1,
        "last_ack_time": 1,
        "state": state,
        "message": "",
        "cow_size": 0,
    }
    return [word if isinstance(word, int) else str(word).encode() for pair in fields.items() for word in pair]


def three_shards() -> FakeCluster:
    """Primaries a, b, c with a third of the slots each, and their replicas ra, rb, rc."""
    third = SLOT_COUNT // 3
    return FakeCluster(
        FakeNode("a" * 40, 7000, set(range(third))),
        FakeNode("b" * 40, 7001, set(range(third, 2 * third))),
        FakeNode("c" * 40, 7002, set(range(2 * third, SLOT_COUNT))),
        FakeNode("d" * 40, 7003, primary_id="a" * 40),
        FakeNode("e" * 40, 7004, primary_id="b" * 40),
        FakeNode("f" * 40, 7005, primary_id="c" * 40),
    )
