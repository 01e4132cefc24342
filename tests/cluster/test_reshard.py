"""The resharder: what was asked for ends where it should, whatever fails on the way, or it says why not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyredis_cluster import reshard
from pyredis_cluster.admin import Access
from pyredis_cluster.errors import MigrationFailed
from pyredis_cluster.plan import Address, reshard_plan
from pyredis_cluster.reshard import Goal, Progress, Resharder, goals_of

from .fakes import FakeCluster, FakeNode, job, three_shards

A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = three_shards()
    monkeypatch.setattr(reshard, "read_topology", fake.read)
    monkeypatch.setattr(reshard, "_RETRY_PAUSE_S", 0.001)
    monkeypatch.setattr(reshard, "_POLL_S", 0.001)
    return fake


def goals(cluster: FakeCluster, count: int, sources: tuple[str, ...] = (A,), target: str = B) -> list[Goal]:
    topology = cluster.read([], Access())
    return goals_of(reshard_plan(topology.owned, list(sources), target, count), topology)


def move(goal_list: list[Goal], tick: Callable[[Progress], None] = lambda _: None) -> Progress:
    return Resharder([Address("127.0.0.1", 7000)], Access(), goal_list, tick).run()


def test_slots_arrive_in_bounded_batches_with_their_keys_counted(cluster: FakeCluster) -> None:
    wanted = goals(cluster, 1200)
    progress = move(wanted)
    assert cluster.nodes[B].slots.issuperset(wanted[0].slots)
    assert (progress.slots_moved, progress.keys_moved, progress.retries) == (1200, 12000, 0)
    assert [len(slots) for _, _, slots in cluster.migrations] == [512, 512, 176]


def test_a_batch_is_bounded_by_its_keys_too(cluster: FakeCluster) -> None:
    cluster.keys_per_slot = reshard.BATCH_KEYS_MAX // 4
    move(goals(cluster, 10))
    assert [len(slots) for _, _, slots in cluster.migrations] == [4, 4, 2]


def test_one_slot_with_too_many_keys_is_a_batch_of_its_own(cluster: FakeCluster) -> None:
    cluster.keys_per_slot = reshard.BATCH_KEYS_MAX * 2
    move(goals(cluster, 2))
    assert [len(slots) for _, _, slots in cluster.migrations] == [1, 1]


def test_slots_that_are_at_the_target_already_are_not_moved_again(cluster: FakeCluster) -> None:
    wanted = goals(cluster, 600)
    cluster.hand_over(cluster.nodes[A], list(wanted[0].slots[:500]), B)
    progress = move(wanted)
    assert (progress.slots_done_before, progress.slots_moved) == (500, 100)
    assert [len(slots) for _, _, slots in cluster.migrations] == [100]


def test_a_failed_job_is_tried_again(cluster: FakeCluster) -> None:
    outcomes = iter(["failed", "cancelled"])

    def fail_twice(source: FakeNode, slots: list[int], target: str) -> str:
        return next(outcomes, "") or cluster.hand_over(source, slots, target)

    cluster.on_migrate = fail_twice
    progress = move(goals(cluster, 100))
    assert (progress.slots_moved, progress.retries) == (100, 2)


def test_jobs_that_always_fail_end_the_reshard_after_a_bounded_number(cluster: FakeCluster) -> None:
    cluster.on_migrate = lambda source, slots, target: "failed"
    with pytest.raises(MigrationFailed, match="0 of 100 slots are at their target; 10 attempts failed"):
        move(goals(cluster, 100))
    assert len(cluster.migrations) == reshard.FAILED_BATCHES_MAX


def test_after_the_source_died_its_replica_gives_the_rest(cluster: FakeCluster) -> None:
    def die_with_the_second_batch(source: FakeNode, slots: list[int], target: str) -> str:
        if len(cluster.migrations) == 2:
            source.alive = False
            replica = cluster.nodes[D]
            replica.primary_id, replica.slots = None, set(source.slots)
            source.slots.clear()
        return cluster.hand_over(source, slots, target) if source.alive else "failed"

    cluster.on_migrate = die_with_the_second_batch
    progress = move(goals(cluster, 1024))
    assert progress.slots_moved == 1024
    assert [source for source, _, _ in cluster.migrations] == [A, A, D]


def test_after_the_target_died_its_replica_gets_the_rest(cluster: FakeCluster) -> None:
    def target_dies_with_the_second_batch(source: FakeNode, slots: list[int], target: str) -> str:
        if len(cluster.migrations) == 2:
            dead, heir = cluster.nodes[B], cluster.nodes["e" * 40]
            heir.primary_id, heir.slots = None, set(dead.slots)
            dead.alive = False
            dead.slots.clear()
            return "failed"
        return cluster.hand_over(source, slots, target)

    cluster.on_migrate = target_dies_with_the_second_batch
    progress = move(goals(cluster, 1024))
    assert progress.slots_moved == 1024
    assert [target for _, target, _ in cluster.migrations] == [B, B, "e" * 40]


def test_a_shard_without_a_primary_is_waited_for_and_the_wait_is_bounded(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reshard, "STALL_TIMEOUT_S", 0.02)
    wanted = goals(cluster, 10)
    cluster.nodes[A].alive = False
    with pytest.raises(MigrationFailed, match=r"nothing moved for .* has no owner that answers"):
        move(wanted)


def test_other_sources_go_on_while_one_has_no_primary(cluster: FakeCluster) -> None:
    wanted = goals(cluster, 100, sources=(A, C))
    dead = cluster.nodes[A]
    dead.alive = False

    def revive(source: FakeNode, slots: list[int], target: str) -> str:
        dead.alive = True
        return cluster.hand_over(source, slots, target)

    cluster.on_migrate = revive
    move(wanted)
    assert [source for source, _, _ in cluster.migrations] == [C, A]


def test_a_job_that_runs_already_is_waited_for_instead_of_starting_another(cluster: FakeCluster) -> None:
    wanted = goals(cluster, 100)
    source = cluster.nodes[A]
    slots = list(wanted[0].slots)
    source.jobs.append(job("old", A, B, [(slots[0], slots[-1])], "replicating"))

    def finish(progress: Progress) -> None:
        if progress.events and slots[0] in source.slots:
            cluster.hand_over(source, slots, B)
            source.jobs[0] = job("old", A, B, [(slots[0], slots[-1])], "success")

    progress = move(wanted, finish)
    assert cluster.migrations == []
    assert progress.slots_moved == 100
    assert "is moving 100 slots already" in progress.events[0]


def test_without_atomic_migration_slots_are_moved_key_by_key(cluster: FakeCluster) -> None:
    cluster.atomic = False
    wanted = goals(cluster, 5)
    progress = move(wanted)
    assert cluster.nodes[B].slots.issuperset(wanted[0].slots)
    assert cluster.nodes[A].slots.isdisjoint(wanted[0].slots)
    assert progress.slots_moved == 5


def test_progress_never_falls_and_ends_at_the_total(cluster: FakeCluster) -> None:
    seen: list[int] = []
    move(goals(cluster, 1500, sources=(A, C)), lambda progress: seen.append(progress.slots_moved))
    assert seen == sorted(seen)
    assert seen[-1] == 1500
