"""Elections and manual failover: who may vote for whom, and what must be on the disk first."""

from __future__ import annotations

from pyredis_cluster.gossip import bitmap, operations
from pyredis_cluster.gossip.effects import (
    BecomePrimary,
    BecomeReplica,
    PauseWrites,
    Persist,
    ResumeWrites,
    Send,
)
from pyredis_cluster.gossip.messages import Kind

from .cores import Bench, of_type, record

P, R, S, V = ("1" * 40, "2" * 40, "3" * 40, "4" * 40)
SLOTS = bitmap.range_mask(0, 99)


def members(me: int) -> Bench:
    """Node 1 is a primary with replicas 2 and 3; nodes 4 and 5 are primaries. This node is number `me`."""
    records = {
        1: record(1, slots=SLOTS, config_epoch=1),
        2: record(2, primary_id=P, shard_id="1" * 40),
        3: record(3, primary_id=P, shard_id="1" * 40),
        4: record(4, slots=bitmap.ALL_SLOTS & ~SLOTS, config_epoch=2),
        5: record(5, config_epoch=3),
    }
    mine = records.pop(me)
    return Bench(mine, *records.values())


def fail_primary(bench: Bench) -> None:
    bench.core.mark_failed(bench.core.nodes[P], origin=False)


def ask(
    voter: Bench, candidate: int, epoch: int, *, slots_epoch: int = 1, manual: bool = False
) -> list[Send]:
    """A candidate asks `voter` -> the voter's answer."""
    voter.receive(candidate, Kind.AUTH_REQUEST, epoch, bytes.fromhex(P), slots_epoch, manual, epoch=epoch)
    effects = voter.effects()
    acks = of_type(effects, Send, Kind.AUTH_ACK)
    assert bool(acks) != bool(of_type(effects, Send, Kind.AUTH_NACK))
    if acks:
        assert isinstance(effects[0], Persist)
        assert effects[0].durable or voter.core.last_vote_epoch >= epoch
    return acks


def test_the_vote_is_saved_before_it_is_sent() -> None:
    voter = members(4)
    fail_primary(voter)
    voter.effects()
    voter.receive(2, Kind.AUTH_REQUEST, 7, bytes.fromhex(P), 1, False, epoch=7)
    effects = voter.effects()
    assert isinstance(effects[0], Persist)
    assert effects[0].durable
    assert "lastVoteEpoch 7" in effects[0].render()
    assert len(of_type(effects, Send, Kind.AUTH_ACK)) == 1


def test_a_voter_votes_once_an_epoch_but_repeats_a_lost_answer() -> None:
    voter = members(4)
    fail_primary(voter)
    assert ask(voter, 2, 7)
    assert not ask(voter, 3, 7)
    voter.receive(2, Kind.AUTH_REQUEST, 7, bytes.fromhex(P), 1, False, epoch=7)
    assert voter.sent(Kind.AUTH_ACK)
    assert not ask(voter, 2, 6)


def test_no_vote_while_the_primary_is_well_unless_the_operator_asks() -> None:
    voter = members(4)
    assert not ask(voter, 2, 7)
    assert ask(voter, 2, 8, manual=True)


def test_no_vote_for_who_is_not_its_replica_or_knows_old_slots_only() -> None:
    voter = members(4)
    fail_primary(voter)
    assert not ask(voter, 5, 7)
    assert not ask(voter, 2, 8, slots_epoch=0)


def test_a_voter_that_chose_one_replica_waits_before_it_chooses_another() -> None:
    voter = members(4)
    fail_primary(voter)
    assert ask(voter, 2, 7)
    assert not ask(voter, 3, 8)
    voter.now_ms += 500
    assert ask(voter, 3, 9)


def elect(bench: Bench, *voters: int) -> None:
    for number in voters:
        bench.receive(number, Kind.AUTH_ACK, bench.core.current_epoch)


def test_an_only_replica_that_knows_it_is_best_starts_at_once_and_wins_with_a_majority() -> None:
    bench = members(2)
    bench.core.remove_node(bench.core.nodes[S])
    fail_primary(bench)
    effects = bench.effects()
    requests = of_type(effects, Send, Kind.AUTH_REQUEST)
    assert len(requests) == 3
    assert isinstance(effects[0], Persist) and effects[0].durable
    elect(bench, 4)
    assert not of_type(bench.effects(), BecomePrimary), "two of four votes are no majority"
    elect(bench, 4)
    assert not of_type(bench.effects(), BecomePrimary), "a vote counts once"
    elect(bench, 5)
    assert of_type(bench.effects(), BecomePrimary) == [BecomePrimary(P)]
    assert bench.core.myself.config_epoch == bench.core.current_epoch == 4
    assert bench.core.myself.owned == SLOTS


def test_votes_of_another_epoch_or_of_strangers_do_not_count() -> None:
    bench = members(2)
    bench.core.remove_node(bench.core.nodes[S])
    fail_primary(bench)
    bench.effects()
    for number in (4, 5):
        bench.receive(number, Kind.AUTH_ACK, bench.core.current_epoch - 1)
    assert not of_type(bench.effects(), BecomePrimary)


def test_the_replica_with_less_data_waits_for_the_other() -> None:
    bench = members(2)
    sibling = bench.core.nodes[S]
    fail_primary(bench)
    assert not bench.sent(Kind.AUTH_REQUEST)
    sibling.offset, sibling.offset_at_ms = 500, bench.now_ms
    bench.pass_time(90)
    assert not bench.core.stats.elections
    bench.pass_time(300)
    assert bench.core.stats.elections


def test_the_replica_with_more_data_starts_when_it_has_heard_the_other() -> None:
    bench = members(2)
    fail_primary(bench)
    assert not bench.sent(Kind.AUTH_REQUEST)
    bench.receive(3, Kind.GOSSIP)
    assert bench.sent(Kind.AUTH_REQUEST)


def test_a_refused_candidate_tries_again_soon_under_a_new_epoch() -> None:
    bench = members(2)
    bench.core.remove_node(bench.core.nodes[S])
    fail_primary(bench)
    bench.effects()
    epoch = bench.core.current_epoch
    for number in (4, 5):
        bench.receive(number, Kind.AUTH_NACK, epoch, epoch)
    bench.effects()
    bench.pass_time(100)
    assert bench.core.stats.elections == 2
    assert bench.core.current_epoch == epoch + 1


def test_a_replica_with_old_data_or_told_not_to_does_not_run() -> None:
    for prepare in ("old", "nofailover"):
        bench = members(2)
        bench.core.remove_node(bench.core.nodes[S])
        if prepare == "old":
            bench.replication.age = 1e6
        else:
            bench.core.config.replica_no_failover = True
        fail_primary(bench)
        bench.pass_time(1000)
        assert not bench.core.stats.elections


def test_a_manual_failover_pauses_the_primary_and_waits_for_its_offset() -> None:
    primary, replica = members(1), members(2)
    operations.failover(replica.core, "", replica.now_ms)
    (start,) = replica.sent(Kind.MF_START)
    primary.receive(2, Kind.MF_START, *start.message.body)
    effects = primary.effects()
    assert len(of_type(effects, PauseWrites)) == 1
    (offset,) = of_type(effects, Send, Kind.MF_OFFSET)
    replica.replication.position = offset.message.body[1] - 1
    replica.receive(1, Kind.MF_OFFSET, *offset.message.body)
    assert not replica.sent(Kind.AUTH_REQUEST), "it has not seen all the writes yet"
    replica.replication.position += 1
    replica.now_ms += 3
    replica.core.tick(replica.now_ms)
    assert len(replica.sent(Kind.AUTH_REQUEST)) == 4
    elect(replica, 1, 4)
    assert of_type(replica.effects(), BecomePrimary)
    primary.core.merge(replica.core.myself.record)
    effects = primary.effects()
    assert of_type(effects, BecomeReplica) == [BecomeReplica(R, "10.0.0.2", 7000)]
    assert of_type(effects, ResumeWrites)


def test_a_manual_failover_that_does_not_succeed_lets_the_primary_go_on() -> None:
    primary, replica = members(1), members(2)
    operations.failover(replica.core, "", replica.now_ms)
    (start,) = replica.sent(Kind.MF_START)
    primary.receive(2, Kind.MF_START, *start.message.body)
    primary.effects()
    replica.pass_time(6000)
    assert replica.core.stats.sent[Kind.MF_CANCEL] == 1
    primary.receive(2, Kind.MF_CANCEL, *start.message.body)
    assert of_type(primary.effects(), ResumeWrites)


def test_a_returning_primary_follows_its_successor() -> None:
    bench = members(1)
    bench.core.merge(record(2, version=9, slots=SLOTS, config_epoch=8, shard_id="1" * 40))
    assert of_type(bench.effects(), BecomeReplica) == [BecomeReplica(R, "10.0.0.2", 7000)]
    assert not bench.core.myself.record.slots


def test_the_other_replica_follows_the_elected_one() -> None:
    bench = members(3)
    bench.core.merge(record(2, version=9, slots=SLOTS, config_epoch=8, shard_id="1" * 40))
    assert bench.core.myself.primary_id == R


def test_equal_epochs_of_two_primaries_are_taken_apart_by_the_smaller_id() -> None:
    small, great = Bench(record(1, config_epoch=5)), Bench(record(2, config_epoch=5))
    small.core.merge(record(2, config_epoch=5))
    great.core.merge(record(1, config_epoch=5))
    assert (small.core.myself.config_epoch, great.core.myself.config_epoch) == (6, 5)
