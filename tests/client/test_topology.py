"""The slot cache and the forms of CLUSTER SLOTS that it understands."""

from __future__ import annotations

from typing import Any

import pytest
from pyredis_cluster.client.errors import ProtocolViolationError
from pyredis_cluster.client.topology import Shard, SlotMap, parse_slots

SEED = ("10.0.0.9", 7009)


def test_primaries_and_replicas_are_read_from_the_reply() -> None:
    reply = [
        [0, 8191, [b"10.0.0.1", 7001, b"id1", []], [b"10.0.0.2", 7002, b"id2", []]],
        [8192, 16383, [b"10.0.0.3", 7003, b"id3", []]],
    ]
    assert parse_slots(reply, SEED) == [
        (0, 8191, Shard(("10.0.0.1", 7001), (("10.0.0.2", 7002),))),
        (8192, 16383, Shard(("10.0.0.3", 7003))),
    ]


@pytest.mark.parametrize(
    ("node", "address"),
    [
        ([None, 7001, b"id"], ("10.0.0.9", 7001)),
        ([b"", 7001, b"id"], ("10.0.0.9", 7001)),
        (["", 7001, "id"], ("10.0.0.9", 7001)),
        ([b"node-1.example", 7001, b"id", [b"ip", b"10.0.0.1"]], ("node-1.example", 7001)),
        ([b"?", 7001, b"id", [b"ip", b"10.0.0.1"]], ("10.0.0.1", 7001)),
        ([b"?", 7001, b"id", {b"ip": b"10.0.0.1"}], ("10.0.0.1", 7001)),
        ([b"?", 7001, b"id", []], ("10.0.0.9", 7001)),
        ([b"10.0.0.1", 7001], ("10.0.0.1", 7001)),
    ],
)
def test_a_node_without_a_usable_host_is_found_all_the_same(node: Any, address: Any) -> None:
    assert parse_slots([[0, 0, node]], SEED) == [(0, 0, Shard(address))]


def test_addresses_are_remapped_for_clients_behind_nat() -> None:
    ranges = parse_slots([[0, 0, [b"10.0.0.1", 7001]]], SEED, lambda node: ("localhost", node[1] + 1))
    assert ranges == [(0, 0, Shard(("localhost", 7002)))]


@pytest.mark.parametrize(
    "reply", [None, 5, b"x", [[0]], [[0, 16384, [b"h", 1]]], [[5, 4, [b"h", 1]]], [[0, 1, [b"h", b"port"]]]]
)
def test_a_reply_that_makes_no_sense_is_a_protocol_violation(reply: Any) -> None:
    with pytest.raises(ProtocolViolationError):
        parse_slots(reply, SEED)


def test_moved_corrects_one_slot_and_keeps_the_others() -> None:
    first, second = Shard(("a", 1), (("b", 2),)), Shard(("c", 3))
    slots = SlotMap()
    slots.adopt([(0, 99, first), (100, 199, second)])
    slots.move(5, ("c", 3))
    assert slots.shards[5] is second
    assert slots.shards[4] is slots.shards[6] is first
    assert slots.shards[200] is None


def test_moved_to_a_node_that_was_a_replica_or_unknown_makes_it_a_primary() -> None:
    slots = SlotMap()
    slots.adopt([(0, 99, Shard(("a", 1), (("b", 2),)))])
    slots.move(5, ("b", 2))
    slots.move(6, ("x", 9))
    assert slots.shards[5] == Shard(("b", 2))
    assert slots.shards[6] == Shard(("x", 9))
    assert set(slots.primaries()) == {("a", 1), ("b", 2), ("x", 9)}
    assert set(slots.nodes()) == {("a", 1), ("b", 2), ("x", 9)}


def test_each_shard_is_represented_by_one_of_its_slots() -> None:
    slots = SlotMap()
    slots.adopt([(10, 19, Shard(("a", 1))), (20, 29, Shard(("b", 2))), (30, 39, Shard(("a", 1)))])
    assert slots.one_slot_of_each_shard() == [10, 20]
    for slot in range(20, 30):
        slots.move(slot, ("a", 1))
    assert slots.one_slot_of_each_shard() == [10]
