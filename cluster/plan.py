"""Plans for slots and replicas: who should own what, and which moves lead there.

Pure functions of their arguments: the same cluster gives the same plan, and nothing here talks to a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor

from pyredis_cluster.gossip.slots import SLOT_COUNT

from .errors import PlanError

PRIMARIES_MIN = 1
# As redis-cli has it: below this imbalance a rebalance costs more than it brings.
REBALANCE_THRESHOLD_PERCENT = 2.0


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Address.parse("HOST:PORT") -> Address, or PlanError. An IPv6 host may stand in brackets."""
        host, separator, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise PlanError(f"'{text}' is not an address of the form HOST:PORT")
        return cls(host, int(port))


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """One shard of a new cluster: its primary, replicas and slots (first and last, inclusive)."""

    primary: Address
    replicas: tuple[Address, ...]
    first_slot: int
    last_slot: int


@dataclass(frozen=True, slots=True)
class Move:
    """`slots`, in ascending order, go from the node with id `source` to the one with id `target`."""

    source: str
    target: str
    slots: tuple[int, ...]


def allocate_slots(primary_count: int) -> list[tuple[int, int]]:
    """allocate_slots(n) -> n (first, last) ranges that cover every slot once, sizes within one of each other.

    The bounds are redis-cli's: 0-5460, 5461-10922 and 10923-16383 for three primaries.
    """
    if not PRIMARIES_MIN <= primary_count <= SLOT_COUNT:
        raise PlanError(f"a cluster has {PRIMARIES_MIN} to {SLOT_COUNT} primaries, not {primary_count}")
    bounds = [(2 * index * SLOT_COUNT + primary_count) // (2 * primary_count) for index in range(primary_count + 1)]
    return [(low, high - 1) for low, high in pairwise(bounds)]


def plan_layout(nodes: Sequence[Address], replicas: int) -> list[ShardLayout]:
    """plan_layout(nodes, replicas) -> the shards of a new cluster, with at least `replicas` replicas each.

    Primaries are spread over the hosts; a replica stands on another host than its primary wherever the
    hosts allow it, and on another than its fellow replicas where that is possible too. Nodes that are
    left over become further replicas.
    """
    if len(set(nodes)) != len(nodes):
        twice = next(node for node in nodes if list(nodes).count(node) > 1)
        raise PlanError(f"{twice} is named twice")
    if replicas < 0:
        raise PlanError("--replicas can't be negative")
    primary_count = len(nodes) // (replicas + 1)
    if primary_count < PRIMARIES_MIN:
        raise PlanError(
            f"{len(nodes)} node{'s' * (len(nodes) != 1)} can't hold a primary with {replicas} "
            f"replica{'s' * (replicas != 1)}: {replicas + 1} nodes are needed for each shard"
        )
    spread = _interleave_hosts(nodes)
    primaries, rest = spread[:primary_count], spread[primary_count:]
    groups: list[list[Address]] = [rest[index::primary_count] for index in range(primary_count)]
    _separate_hosts(primaries, groups)
    ranges = allocate_slots(primary_count)
    return [
        ShardLayout(primary, tuple(group), first, last)
        for primary, group, (first, last) in zip(primaries, groups, ranges, strict=True)
    ]


def _interleave_hosts(nodes: Sequence[Address]) -> list[Address]:
    """The nodes with their hosts taking turns, so that any run of them touches as many hosts as can be."""
    by_host: dict[str, list[Address]] = {}
    for node in nodes:
        by_host.setdefault(node.host, []).append(node)
    # Large hosts come first: they'd be crowded at the end otherwise, where nothing is left to pair them with.
    queues = sorted(by_host.values(), key=lambda queue: -len(queue))
    rounds = max((len(queue) for queue in queues), default=0)
    return [queue[turn] for turn in range(rounds) for queue in queues if turn < len(queue)]


# A replica on its primary's host is lost with it; two replicas on one host are merely unwise.
_PRIMARY_CONFLICT_COST = 1_000
_REPLICA_CONFLICT_COST = 1


def _shard_cost(primary: Address, replicas: Sequence[Address]) -> int:
    hosts = [replica.host for replica in replicas]
    with_primary = hosts.count(primary.host)
    return _PRIMARY_CONFLICT_COST * with_primary + _REPLICA_CONFLICT_COST * (len(hosts) - len(set(hosts)))


def _separate_hosts(primaries: Sequence[Address], groups: list[list[Address]]) -> None:
    """Swap replicas between shards as long as a swap lowers the cost; each swap does, so it ends.

    With one replica a shard no swap helps only where some host holds more than half of the nodes.
    """
    costs = [_shard_cost(primary, group) for primary, group in zip(primaries, groups, strict=True)]
    improved = True
    while improved:
        improved = False
        for left in [index for index, cost in enumerate(costs) if cost]:
            for right in range(len(groups)):
                if left != right and _swap_best(primaries, groups, costs, left, right):
                    improved = True


def _swap_best(
    primaries: Sequence[Address], groups: list[list[Address]], costs: list[int], left: int, right: int
) -> bool:
    for i in range(len(groups[left])):
        for j in range(len(groups[right])):
            groups[left][i], groups[right][j] = groups[right][j], groups[left][i]
            new_left = _shard_cost(primaries[left], groups[left])
            new_right = _shard_cost(primaries[right], groups[right])
            if new_left + new_right < costs[left] + costs[right]:
                costs[left], costs[right] = new_left, new_right
                return True
            groups[left][i], groups[right][j] = groups[right][j], groups[left][i]
    return False


def place_replica(primary_hosts: Mapping[str, str], replica_counts: Mapping[str, int], host: str) -> str:
    """place_replica(primary id -> host, primary id -> replicas, host) -> id of the primary to replicate.

    The one with the fewest replicas; among equals one on another host than `host`.
    """
    if not primary_hosts:
        raise PlanError("the cluster has no primary that a replica could follow")
    return min(
        primary_hosts,
        key=lambda node_id: (replica_counts.get(node_id, 0), primary_hosts[node_id] == host, node_id),
    )


def apportion(weights: Mapping[str, float], total: int, preferred: Mapping[str, int]) -> dict[str, int]:
    """apportion(weights, total, preferred) -> id -> share; shares add up to `total`, each within 1 of exact.

    Largest remainders get what rounding down leaves; among equals those with the larger `preferred` count,
    which is what they have now, so that the least has to move.
    """
    weight_sum = sum(weights.values())
    if weight_sum <= 0 or any(weight < 0 for weight in weights.values()):
        raise PlanError("weights can't be negative, and one of them must be above zero")
    exact = {node_id: total * weight / weight_sum for node_id, weight in weights.items()}
    shares = {node_id: floor(share) for node_id, share in exact.items()}
    open_ids = [node_id for node_id, weight in weights.items() if weight > 0]
    open_ids.sort(key=lambda node_id: (shares[node_id] - exact[node_id], -preferred.get(node_id, 0), node_id))
    for node_id in open_ids[: total - sum(shares.values())]:
        shares[node_id] += 1
    return shares


def rebalance_plan(
    owned: Mapping[str, Sequence[int]],
    weights: Mapping[str, float] | None = None,
    threshold_percent: float = REBALANCE_THRESHOLD_PERCENT,
) -> list[Move]:
    """rebalance_plan(id -> slots, id -> weight) -> the fewest moves after which counts follow weights.

    A node without a weight has 1. Nothing moves where no node is further than `threshold_percent` from its
    share. Weight 0 empties a node.
    """
    counts = {node_id: len(slots) for node_id, slots in owned.items()}
    unknown = sorted(set(weights or ()) - set(owned))
    if unknown:
        raise PlanError(f"a weight is given for {unknown[0]}, which is no primary of the cluster")
    shares = apportion({node_id: (weights or {}).get(node_id, 1.0) for node_id in owned}, sum(counts.values()), counts)
    if not any(_outside_threshold(counts[n], shares[n], threshold_percent) for n in owned):
        return []
    surplus = {n: _take_slots(owned[n], counts[n] - shares[n]) for n in owned if counts[n] > shares[n]}
    deficit = {n: shares[n] - counts[n] for n in owned if counts[n] < shares[n]}
    return _match(surplus, deficit)


def _outside_threshold(count: int, share: int, threshold_percent: float) -> bool:
    if count == share:
        return False
    if count == 0 or share == 0:
        return True
    return abs(100.0 - 100.0 * share / count) > threshold_percent


def _match(surplus: Mapping[str, list[int]], deficit: dict[str, int]) -> list[Move]:
    """Surplus slots to where they are missing, largest first, so that few (source, target) pairs arise."""
    moves: list[Move] = []
    targets = sorted(deficit, key=lambda node_id: (-deficit[node_id], node_id))
    for source in sorted(surplus, key=lambda node_id: (-len(surplus[node_id]), node_id)):
        slots = surplus[source]
        while slots:
            target = targets[0]
            taken, slots = slots[: deficit[target]], slots[deficit[target] :]
            moves.append(Move(source, target, tuple(taken)))
            deficit[target] -= len(taken)
            if not deficit[target]:
                targets.pop(0)
    return moves


def _take_slots(owned: Iterable[int], count: int) -> list[int]:
    """The `count` highest of the slots: what stays is then one range where it was one before."""
    slots = sorted(owned)
    return slots[len(slots) - count :]


def reshard_plan(owned: Mapping[str, Sequence[int]], sources: Sequence[str], target: str, count: int) -> list[Move]:
    """reshard_plan(id -> slots, sources, target, count) -> moves of `count` slots in all to `target`.

    Each source gives in proportion to what it owns.
    """
    if count < 1:
        raise PlanError("the number of slots to move must be at least 1")
    if target in sources:
        raise PlanError("the target can't be among the sources")
    for node_id in (*sources, target):
        if node_id not in owned:
            raise PlanError(f"{node_id} is no primary of the cluster")
    available = {source: len(owned[source]) for source in dict.fromkeys(sources)}
    if sum(available.values()) < count:
        raise PlanError(
            f"the source{'s own' if len(available) > 1 else ' owns'} {sum(available.values())} slots, "
            f"fewer than the {count} to be moved"
        )
    shares = apportion({source: float(number) for source, number in available.items()}, count, available)
    return [Move(source, target, tuple(_take_slots(owned[source], share))) for source, share in shares.items() if share]
