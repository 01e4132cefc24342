"""The plans: every slot owned once, shares within one, no needless move, replicas away from primaries."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.errors import PlanError
from pyredis_cluster.gossip.slots import SLOT_COUNT
from pyredis_cluster.plan import (
    Address,
    Move,
    ShardLayout,
    allocate_slots,
    place_replica,
    plan_layout,
    rebalance_plan,
    reshard_plan,
)


@st.composite
def ownerships(draw: st.DrawFn) -> dict[str, list[int]]:
    """Slots dealt to up to six nodes in runs, some of the nodes possibly empty."""
    node_count = draw(st.integers(1, 6))
    cuts = sorted(draw(st.lists(st.integers(0, SLOT_COUNT), max_size=12)))
    owned: dict[str, list[int]] = {f"node-{index}": [] for index in range(node_count)}
    for low, high in zip([0, *cuts], [*cuts, SLOT_COUNT], strict=True):
        owned[f"node-{draw(st.integers(0, node_count - 1))}"].extend(range(low, high))
    return owned


def apply_moves(owned: dict[str, list[int]], moves: list[Move]) -> dict[str, set[int]]:
    after = {node_id: set(slots) for node_id, slots in owned.items()}
    for move in moves:
        assert after[move.source].issuperset(move.slots)
        after[move.source].difference_update(move.slots)
        after[move.target].update(move.slots)
    return after


@given(st.integers(1, 1000))
def test_allocation_covers_every_slot_once_and_is_balanced_within_one(primary_count: int) -> None:
    ranges = allocate_slots(primary_count)
    slots = [slot for first, last in ranges for slot in range(first, last + 1)]
    assert slots == list(range(SLOT_COUNT))
    sizes = [last - first + 1 for first, last in ranges]
    assert max(sizes) - min(sizes) <= 1


def test_three_primaries_get_the_usual_ranges() -> None:
    assert allocate_slots(3) == [(0, 5460), (5461, 10922), (10923, 16383)]


@given(st.lists(st.integers(0, 4), min_size=2, max_size=24), st.integers(0, 3))
def test_a_layout_uses_every_node_once_with_enough_replicas(hosts: list[int], replicas: int) -> None:
    nodes = [Address(f"10.0.0.{host}", 7000 + index) for index, host in enumerate(hosts)]
    if len(nodes) < replicas + 1:
        with pytest.raises(PlanError):
            plan_layout(nodes, replicas)
        return
    shards = plan_layout(nodes, replicas)
    members = [node for shard in shards for node in (shard.primary, *shard.replicas)]
    assert sorted(members) == sorted(nodes)
    assert all(len(shard.replicas) >= replicas for shard in shards)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=24).filter(lambda hosts: len(hosts) % 2 == 0))
def test_a_replica_is_on_its_primarys_host_only_where_one_host_has_most_nodes(hosts: list[int]) -> None:
    nodes = [Address(f"10.0.0.{host}", 7000 + index) for index, host in enumerate(hosts)]
    shards = plan_layout(nodes, 1)
    largest = max(Counter(hosts).values())
    if largest * 2 <= len(nodes):
        assert all(shard.primary.host != replica.host for shard in shards for replica in shard.replicas)


def test_primaries_are_spread_over_the_hosts() -> None:
    nodes = [Address(f"10.0.0.{host}", port) for host in range(3) for port in (7000, 7001)]
    assert {shard.primary.host for shard in plan_layout(nodes, 1)} == {"10.0.0.0", "10.0.0.1", "10.0.0.2"}


def test_local_nodes_become_primaries_first_and_replicas_after() -> None:
    nodes = [Address("127.0.0.1", 7000 + index) for index in range(6)]
    assert plan_layout(nodes, 1) == [
        ShardLayout(nodes[0], (nodes[3],), 0, 5460),
        ShardLayout(nodes[1], (nodes[4],), 5461, 10922),
        ShardLayout(nodes[2], (nodes[5],), 10923, 16383),
    ]


@pytest.mark.parametrize(
    ("nodes", "replicas", "text"),
    [
        (1, 1, "1 node can't hold a primary with 1 replica: 2 nodes are needed for each shard"),
        (2, 3, "2 nodes can't hold a primary with 3 replicas: 4 nodes are needed for each shard"),
        (3, -1, "--replicas can't be negative"),
    ],
)
def test_too_few_nodes_are_refused_in_words(nodes: int, replicas: int, text: str) -> None:
    with pytest.raises(PlanError, match=text):
        plan_layout([Address("127.0.0.1", 7000 + index) for index in range(nodes)], replicas)


@given(ownerships())
def test_a_rebalance_ends_within_one_slot_and_moves_no_more_than_it_must(owned: dict[str, list[int]]) -> None:
    moves = rebalance_plan(owned, threshold_percent=0)
    after = apply_moves(owned, moves)
    assert sorted(slot for slots in after.values() for slot in slots) == list(range(SLOT_COUNT))
    sizes = [len(slots) for slots in after.values()]
    assert max(sizes) - min(sizes) <= 1
    fair = SLOT_COUNT // len(owned)
    larger_shares = SLOT_COUNT % len(owned)
    counts = sorted((len(slots) for slots in owned.values()), reverse=True)
    least = sum(max(0, count - (fair + (1 if rank < larger_shares else 0))) for rank, count in enumerate(counts))
    assert sum(len(move.slots) for move in moves) == least


@given(ownerships(), st.data())
def test_a_weighted_rebalance_ends_within_one_slot_of_each_share(
    owned: dict[str, list[int]], data: st.DataObject
) -> None:
    weights = {node_id: data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0])) for node_id in owned}
    if not any(weights.values()):
        with pytest.raises(PlanError):
            rebalance_plan(owned, weights)
        return
    after = apply_moves(owned, rebalance_plan(owned, weights, threshold_percent=0))
    total = sum(weights.values())
    for node_id, slots in after.items():
        assert abs(len(slots) - SLOT_COUNT * weights[node_id] / total) < 1


def test_a_rebalance_leaves_a_cluster_within_the_threshold_alone() -> None:
    owned = {"a": range(8150), "b": range(8150, SLOT_COUNT)}
    assert rebalance_plan(owned) == []
    assert rebalance_plan(owned, threshold_percent=0) != []


def test_a_rebalance_fills_a_new_empty_node() -> None:
    owned: dict[str, range] = {"a": range(8192), "b": range(8192, SLOT_COUNT), "c": range(0)}
    moves = rebalance_plan(owned)
    assert {move.target for move in moves} == {"c"}
    assert sum(len(move.slots) for move in moves) == SLOT_COUNT // 3


def test_a_weight_for_a_stranger_is_refused() -> None:
    with pytest.raises(PlanError, match="weight is given for x, which is no primary"):
        rebalance_plan({"a": range(SLOT_COUNT)}, {"x": 1.0})


@given(ownerships(), st.data())
def test_a_reshard_moves_exactly_the_number_asked_for(owned: dict[str, list[int]], data: st.DataObject) -> None:
    target = data.draw(st.sampled_from(sorted(owned)))
    sources = [node_id for node_id in owned if node_id != target]
    available = sum(len(owned[source]) for source in sources)
    count = data.draw(st.integers(1, SLOT_COUNT))
    if count > available:
        with pytest.raises(PlanError):
            reshard_plan(owned, sources, target, count)
        return
    moves = reshard_plan(owned, sources, target, count)
    assert sum(len(move.slots) for move in moves) == count
    assert all(move.target == target for move in moves)
    after = apply_moves(owned, moves)
    assert len(after[target]) == len(owned[target]) + count


def test_a_reshard_takes_from_each_source_in_proportion() -> None:
    owned: dict[str, range] = {"a": range(12000), "b": range(12000, 16000), "c": range(16000, SLOT_COUNT)}
    moves = reshard_plan(owned, ["a", "b"], "c", 1000)
    assert {move.source: len(move.slots) for move in moves} == {"a": 750, "b": 250}


@pytest.mark.parametrize(
    ("sources", "target", "count", "text"),
    [
        (["a"], "a", 1, "can't be among the sources"),
        (["a"], "x", 1, "x is no primary"),
        (["x"], "a", 1, "x is no primary"),
        (["a"], "b", 0, "at least 1"),
        (["a"], "b", 20000, "the source owns 16384 slots, fewer than the 20000"),
    ],
)
def test_a_reshard_that_makes_no_sense_is_refused_in_words(
    sources: list[str], target: str, count: int, text: str
) -> None:
    with pytest.raises(PlanError, match=text):
        reshard_plan({"a": range(SLOT_COUNT), "b": range(0)}, sources, target, count)


def test_a_further_replica_follows_the_primary_with_the_fewest_then_one_elsewhere() -> None:
    hosts = {"a": "h1", "b": "h2", "c": "h1"}
    assert place_replica(hosts, {"a": 1, "b": 1, "c": 0}, "h1") == "c"
    assert place_replica(hosts, {"a": 1, "b": 1, "c": 1}, "h1") == "b"


@pytest.mark.parametrize("text", ["7000", "host:", ":7000", "host:x", "host:0", "host:65536"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        Address.parse(text)


def test_an_ipv6_address_keeps_its_brackets_in_print() -> None:
    assert str(Address.parse("[::1]:7000")) == "[::1]:7000"
    assert Address.parse("::1:7000") == Address("::1", 7000)
