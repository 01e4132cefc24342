"""Whom a node follows when others have taken its slots."""

from __future__ import annotations

from pyredis_cluster.gossip import bitmap
from pyredis_cluster.gossip.effects import BecomeReplica

from .cores import Bench, of_type, record

KEPT, MOVED = bitmap.mask_of(range(100)), bitmap.mask_of(range(100, 120))


def test_a_returning_primary_stays_in_its_shard_although_another_shard_took_slots_too() -> None:
    """It was killed in the middle of a reshard: its replica has its place, the reshard's target some slots."""
    successor = record(2, version=9, slots=KEPT, config_epoch=8, shard_id="1" * 40)
    target = record(3, version=9, slots=MOVED, config_epoch=9)
    for first, last in ((successor, target), (target, successor)):
        replica = record(2, primary_id="1" * 40, shard_id="1" * 40)
        bench = Bench(record(1, version=1, slots=KEPT | MOVED, config_epoch=4), replica, record(3))
        bench.core.merge(first)
        bench.core.merge(last)
        assert of_type(bench.effects(), BecomeReplica) == [BecomeReplica("2" * 40, "10.0.0.2", 7000)]


def test_a_primary_that_gave_its_last_slots_to_another_shard_follows_that_one() -> None:
    bench = Bench(record(1, slots=MOVED, config_epoch=4), record(3))
    bench.core.merge(record(3, version=9, slots=MOVED, config_epoch=9))
    assert of_type(bench.effects(), BecomeReplica) == [BecomeReplica("3" * 40, "10.0.0.3", 7000)]
