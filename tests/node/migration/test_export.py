"""The source's side of a slot migration against a scripted target: the order of the handover, and every way it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyredis_cluster.gossip.slots import key_slot
from pyredis_cluster.node.migration import export as export_module
from pyredis_cluster.node.migration.export import HANDOVER_TIMEOUT_MS, SILENCE_TIMEOUT_MS
from pyredis_cluster.node.migration.job import Job, JobState
from pyredis_cluster.node.pausing import PausePurpose

from .fakes import CLAIM, ME, OTHER, THIRD, FakeCluster, ScriptedTarget, with_cluster

Node = Any

SLOT = key_slot(b"{a}")
OTHER_SLOT = key_slot(b"{b}")


@pytest.fixture
def cluster(node: Node) -> FakeCluster:
    made = with_cluster(node)
    made.give([SLOT, OTHER_SLOT], ME)
    return made


@pytest.fixture
def begin(node: Node, cluster: FakeCluster) -> Iterator[Callable[..., ScriptedTarget]]:
    """begin(slots) -> a scripted target that the export has connected to."""
    made: list[ScriptedTarget] = []

    def start(slots: tuple[int, ...] = (SLOT,)) -> ScriptedTarget:
        made.append(ScriptedTarget(node.server, slots))
        return made[-1]

    yield start
    for target in made:
        target.close()


def writes_are_held(node: Node) -> bool:
    return node.server.blocking.pauses.holds(PausePurpose.SLOT_MIGRATION)


def test_keys_go_first_and_the_claim_is_asked_for_when_all_was_answered(node: Node, begin: Any) -> None:
    node.run(b"SET", b"{a}k", b"1")
    target = begin()
    introduction = target.answer_all()
    assert introduction[0][:4] == [b"CLUSTER", b"SYNCSLOTS", b"ESTABLISH", ME.encode()]
    assert introduction[0][5:] == [b"SLOTSRANGE", b"%d" % SLOT, b"%d" % SLOT]
    assert target.received() == [[b"MSET", b"{a}k", b"1"]]
    assert writes_are_held(node)
    assert target.received() == []
    target.answer(b"+OK")
    assert target.received() == [[b"CLUSTER", b"SYNCSLOTS", b"FINISH", target.job.name.encode(), b"11"]]


def test_the_slots_are_given_up_when_the_target_has_claimed_them(node: Node, cluster: FakeCluster, begin: Any) -> None:
    target = begin()
    target.until_finish()
    assert writes_are_held(node)
    assert cluster.done == []
    target.answer(CLAIM)
    assert cluster.done == ["cede"]
    assert not writes_are_held(node)
    assert target.job.state is JobState.CLEANUP
    assert target.ended == [target.export]


def test_a_write_that_waits_is_run_when_the_handover_fails(node: Node, begin: Any) -> None:
    target = begin()
    target.until_finish()
    client = node.connect()
    assert node.run(b"SET", b"{a}k", b"1", client=client) == b""
    assert client.parked is not None
    assert node.ask("GET", "{a}k") is None
    target.answer(b"-ERR no")
    assert client.parked is None


def test_removing_the_keys_is_not_told_to_the_target(node: Node, cluster: FakeCluster, begin: Any) -> None:
    """The bus may tell of the claim before the answer comes; our own DELs then must not reach the new owner."""
    node.run(b"SET", b"{a}k", b"1")
    target = begin()
    target.until_finish()
    cluster.give([SLOT], OTHER)
    node.server.migrations.purge.add([SLOT])
    assert node.server.migrations.purge.turn()
    assert [b"DEL", b"{a}k"] in node.propagated()
    assert target.received() == []


def test_the_bus_may_tell_of_the_claim_first(node: Node, cluster: FakeCluster, begin: Any) -> None:
    target = begin()
    target.until_finish()
    cluster.give([SLOT], OTHER)
    target.export.cron()
    assert target.job.state is JobState.CLEANUP
    assert not writes_are_held(node)


def test_an_epoch_that_is_in_use_is_asked_again_with_a_higher_one(cluster: FakeCluster, begin: Any) -> None:
    target = begin()
    assert target.until_finish()[-1] == b"11"
    target.answer(b"-STALEEPOCH 40")
    assert target.received()[0][-1] == b"41"
    target.answer(CLAIM)
    assert cluster.done == ["cede"]


def test_a_refused_claim_ends_the_job_without_a_new_epoch(node: Node, cluster: FakeCluster, begin: Any) -> None:
    target = begin()
    target.until_finish()
    target.answer(b"-ERR I can't take over slots now")
    assert target.job.state is JobState.FAILED
    assert "I can't take over slots now" in target.job.message
    assert cluster.done == []
    assert not writes_are_held(node)


def test_a_lost_connection_in_the_handover_is_waited_out(node: Node, cluster: FakeCluster, begin: Any) -> None:
    target = begin()
    target.until_finish()
    target.sock.close()
    target.export.on_readable()
    assert target.job.state is JobState.HANDOVER
    assert writes_are_held(node)
    cluster.give([SLOT], OTHER)
    target.export.cron()
    assert target.job.state is JobState.CLEANUP


def test_writes_are_held_until_a_higher_epoch_is_taken(node: Node, cluster: FakeCluster, begin: Any) -> None:
    target = begin()
    target.until_finish()
    node.advance(HANDOVER_TIMEOUT_MS - 1)
    target.export.cron()
    assert writes_are_held(node)
    node.advance(1)
    node.server.blocking.expire(node.server.clock.now_ms)
    assert writes_are_held(node), "the pause must not end by itself"
    released: list[list[str]] = []
    release = node.server.migrations.release_writes
    node.server.migrations.release_writes = lambda job: (released.append([*cluster.done]), release(job))
    target.export.cron()
    assert target.job.state is JobState.FAILED
    assert released == [["reclaim"]]
    assert not writes_are_held(node)


def test_a_node_that_became_a_replica_takes_no_epoch(node: Node, cluster: FakeCluster, begin: Any) -> None:
    target = begin()
    target.until_finish()
    node.server.replication.follow("127.0.0.1", 1)
    target.export.fail("this node is a replica now")
    assert target.job.state is JobState.FAILED
    assert cluster.done == []


def test_a_handover_is_not_cancelled(begin: Any) -> None:
    target = begin()
    target.until_finish()
    target.export.cancel()
    assert target.job.state is JobState.HANDOVER


def test_a_lost_connection_before_the_handover_ends_the_job(node: Node, cluster: FakeCluster, begin: Any) -> None:
    cluster.up = False
    target = begin()
    target.answer_all()
    target.sock.close()
    target.export.on_readable()
    assert target.job.state is JobState.FAILED
    assert cluster.done == []
    assert not writes_are_held(node)


def test_a_silent_target_ends_the_job(node: Node, begin: Any) -> None:
    target = begin()
    target.received()
    node.advance(SILENCE_TIMEOUT_MS + 1)
    target.export.cron()
    assert target.job.message == "the target is silent"


def test_slots_that_were_lost_meanwhile_end_the_job(cluster: FakeCluster, begin: Any) -> None:
    target = begin()
    target.answer_all()
    cluster.give([SLOT], THIRD)
    target.export.cron()
    assert target.job.message == "this node does not own the slots any more"


def test_a_tail_that_grows_too_long_ends_the_job(node: Node, begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module, "TAIL_MAX_BYTES", 1000)
    monkeypatch.setattr(export_module, "HANDOVER_BACKLOG_BYTES", 0)
    node.run(b"SET", b"{a}k", b"1")
    target = begin()
    target.answer_all()
    for _ in range(30):
        node.run(b"APPEND", b"{a}k", b"x" * 100)
    assert target.job.message == "the target does not keep up with the writes"
    assert node.ask("STRLEN", "{a}k") == 3001


def test_no_handover_begins_while_a_failover_is_under_way(node: Node, cluster: FakeCluster, begin: Any) -> None:
    cluster.up = False
    target = begin()
    target.answer_all()
    target.answer_all()
    assert target.job.state is JobState.STREAMING
    assert not writes_are_held(node)
    cluster.up = True
    target.export.cron()
    assert target.received()[0][2] == b"FINISH"


def test_a_flush_is_told_to_every_subscriber_although_it_ends_the_job(
    node: Node, cluster: FakeCluster, begin: Any
) -> None:
    cluster.up = False
    node.run(b"SET", b"{a}k", b"1")
    target = begin()
    target.answer_all()
    journal = node.server.journal
    journal.unsubscribe(node.recorder)
    journal.subscribe(node.recorder)  # it stands behind the export now
    node.propagated()
    node.run(b"FLUSHALL")
    assert target.job.message == "the database was flushed"
    assert node.propagated() == [[b"FLUSHALL"]]


def test_writes_stay_held_until_the_last_of_two_jobs_is_done(node: Node, cluster: FakeCluster) -> None:
    migrations = node.server.migrations
    first, second = (Job(name, True, (SLOT,), ME, OTHER, 0, 0) for name in "xy")
    migrations.hold_writes(first)
    migrations.hold_writes(second)
    migrations.release_writes(first)
    assert writes_are_held(node)
    migrations.release_writes(second)
    assert not writes_are_held(node)


def test_an_answer_to_finish_that_is_no_claim_leaves_the_slots_here(cluster: FakeCluster, begin: Any) -> None:
    target = begin()
    target.until_finish()
    target.answer(b"+OK")
    assert target.job.state is JobState.FAILED
    assert cluster.done == ["reclaim"]


def test_a_handover_outbids_others_that_are_under_way(node: Node, cluster: FakeCluster, begin: Any) -> None:
    target = begin()
    target.until_finish()
    node.server.migrations._exports["other"] = target.export
    node.server.migrations.outbid()
    assert target.job.state is JobState.FAILED
    assert not writes_are_held(node)


def test_a_claim_may_be_under_way_only_in_the_handover(node: Node, begin: Any) -> None:
    target = begin()
    assert not node.server.migrations.handing_over
    target.until_finish()
    assert node.server.migrations.handing_over
    target.answer(CLAIM)
    assert not node.server.migrations.handing_over
