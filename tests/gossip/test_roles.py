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


def replica() -> Bench:
    return Bench(record(2, primary_id="1" * 40, shard_id="1" * 40), record(1, slots=KEPT, config_epoch=4))


def test_data_of_a_primary_that_took_an_epoch_while_the_link_was_down_do_not_count() -> None:
    """It may have been another's replica in between, or been given slots."""
    bench = replica()
    assert bench.core.roles.history() == ("1" * 40, 4)
    bench.replication.synced = False
    bench.core.merge(record(1, version=2, slots=KEPT, config_epoch=9))
    assert bench.core.roles.history() is None
    assert bench.core.roles.offset() == 0
    bench.core.roles.synced()
    assert bench.core.roles.history() == ("1" * 40, 9)


def test_data_of_a_primary_that_takes_an_epoch_while_it_feeds_the_replica_go_on_counting() -> None:
    bench = replica()
    bench.core.merge(record(1, version=2, slots=KEPT, config_epoch=9))
    assert bench.core.roles.history() == ("1" * 40, 9)


def test_loaded_data_count_for_the_primary_and_the_epoch_that_they_were_saved_under() -> None:
    bench = replica()
    for epoch, counts in ((3, False), (4, True)):
        bench.core.roles.recall("1" * 40, epoch)
        assert (bench.core.roles.data_age_ms() == 0) is counts


def test_a_colliding_epoch_waits_until_slots_have_been_handed_over() -> None:
    bench = Bench(record(1, slots=KEPT, config_epoch=4), record(3))
    bench.replication.hands_over = True
    bench.core.merge(record(3, version=9, slots=MOVED, config_epoch=4))
    assert bench.core.myself.config_epoch == 4
    bench.replication.hands_over = False
    bench.core.tick(bench.now_ms)
    assert bench.core.myself.config_epoch == 5
