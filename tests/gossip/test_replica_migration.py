"""Who moves to a primary without replicas, when, and who does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyredis_cluster.gossip import bitmap
from pyredis_cluster.gossip.config import ClusterConfig
from pyredis_cluster.gossip.nodes import NodeRecord
from pyredis_cluster.gossip.replica_migration import MIGRATION_DELAY_MS

from .cores import Bench, record

P, Q = ("1" * 40, "2" * 40)


def members(me: int) -> Bench:
    """Primary 1 has the replicas 3 and 4, primary 2 only 5; this node is number `me`."""
    half = bitmap.range_mask(0, 8191)
    records: dict[int, NodeRecord] = {
        1: record(1, slots=half, config_epoch=1),
        2: record(2, slots=bitmap.ALL_SLOTS & ~half, config_epoch=2),
        3: record(3, primary_id=P, shard_id=P),
        4: record(4, primary_id=P, shard_id=P),
        5: record(5, primary_id=Q, shard_id=Q),
    }
    bench = Bench(records.pop(me), *records.values(), config=ClusterConfig(node_timeout_ms=10**6))
    for number in records:
        bench.hear_from(number)
    bench.pass_time(100)
    assert bench.core.health.ok
    return bench


def lose_replica(bench: Bench) -> None:
    bench.core.mark_failed(bench.core.nodes["5" * 40], origin=False)


def test_the_replica_with_the_smallest_id_moves_after_the_delay() -> None:
    bench = members(3)
    lose_replica(bench)
    bench.pass_time(MIGRATION_DELAY_MS - 500)
    assert bench.core.myself.primary_id == P
    bench.pass_time(2500)
    assert bench.core.myself.primary_id == Q
    assert bench.core.myself.record.shard_id == Q


def forbid(bench: Bench) -> None:
    bench.core.config.allow_replica_migration = False


def raise_barrier(bench: Bench) -> None:
    bench.core.config.migration_barrier = 2


def lose_the_sibling(bench: Bench) -> None:
    bench.core.mark_failed(bench.core.nodes["4" * 40], origin=False)


def replica_comes_back(bench: Bench) -> None:
    bench.core.merge(record(5, version=2, primary_id=Q, shard_id=Q))


def never_had_one(bench: Bench) -> None:
    bench.core.remove_node(bench.core.nodes["5" * 40])


@pytest.mark.parametrize(
    "reason", [forbid, raise_barrier, lose_the_sibling, replica_comes_back, never_had_one]
)
def test_nobody_moves_where_the_rules_forbid_it(reason: Callable[[Bench], None]) -> None:
    bench = members(3)
    lose_replica(bench)
    bench.pass_time(1000)
    reason(bench)
    bench.pass_time(2 * MIGRATION_DELAY_MS)
    assert bench.core.myself.primary_id == P


def test_the_replica_with_the_greater_id_stays() -> None:
    bench = members(4)
    lose_replica(bench)
    bench.pass_time(2 * MIGRATION_DELAY_MS)
    assert bench.core.myself.primary_id == P
