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
from pyredis_cluster.gossip.failover_pause import CATCH_UP_LAG_BYTES, CATCH_UP_MS, INTERRUPTION_MS, MANUAL_PAUSE_MS
from pyredis_cluster.gossip.messages import Kind, RumorKind
from pyredis_cluster.gossip.nodesconf import dump, load
from pyredis_cluster.gossip.voting import slots_digest

from .cores import Bench, address, of_type, record

P, R, S, V = ("1" * 40, "2" * 40, "3" * 40, "4" * 40)
SLOTS = bitmap.range_mask(0, 99)
CLAIM = slots_digest(SLOTS)


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
    voter: Bench, candidate: int, epoch: int, *, slots_epoch: int = 1, claim: int | None = None, manual: bool = False
) -> list[Send]:
    """A candidate asks `voter` -> the voter's answer."""
    claim = CLAIM if claim is None else claim
    voted = voter.core.last_vote_epoch
    voter.receive(candidate, Kind.AUTH_REQUEST, epoch, bytes.fromhex(P), slots_epoch, claim, manual, epoch=epoch)
    effects = voter.effects()
    acks = of_type(effects, Send, Kind.AUTH_ACK)
    assert bool(acks) != bool(of_type(effects, Send, Kind.AUTH_NACK))
    if acks and epoch > voted:
        assert isinstance(effects[0], Persist) and effects[0].durable
    return acks


def test_the_vote_is_saved_before_it_is_sent() -> None:
    voter = members(4)
    fail_primary(voter)
    voter.effects()
    voter.receive(2, Kind.AUTH_REQUEST, 7, bytes.fromhex(P), 1, CLAIM, False, epoch=7)
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
    voter.receive(2, Kind.AUTH_REQUEST, 7, bytes.fromhex(P), 1, CLAIM, False, epoch=7)
    assert voter.sent(Kind.AUTH_ACK)


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


def test_votes_need_not_come_in_the_order_of_their_epochs_and_the_highest_is_on_the_disk() -> None:
    voter = members(4)
    fail_primary(voter)
    assert ask(voter, 2, 9)
    assert ask(voter, 2, 7)
    voter.core.persist()
    (persist,) = of_type(voter.effects(), Persist)
    assert "lastVoteEpoch 9" in persist.render()


def test_a_candidate_that_claims_other_slots_is_refused_and_told_what_is_newer() -> None:
    voter = members(4)
    taker = record(5, version=2, slots=1, config_epoch=7)
    voter.core.merge(taker)
    fail_primary(voter)
    voter.effects()
    voter.receive(2, Kind.AUTH_REQUEST, 9, bytes.fromhex(P), 1, CLAIM, False, epoch=9)
    (refusal,) = voter.sent(Kind.AUTH_NACK)
    assert (int(RumorKind.RECORD), taker.packed) in refusal.message.rumors
    assert ask(voter, 2, 10, claim=slots_digest(SLOTS & ~1))


def test_a_refused_candidate_learns_the_slots_and_runs_again_for_them() -> None:
    bench = members(2)
    bench.core.remove_node(bench.core.nodes[S])
    fail_primary(bench)
    (first, _) = bench.sent(Kind.AUTH_REQUEST)
    epoch = first.message.body[0]
    taker = record(5, version=2, slots=1, config_epoch=7)
    news = ((int(RumorKind.RECORD), taker.packed),)
    bench.receive(4, Kind.AUTH_NACK, epoch, 0, True, epoch=7, rumors=news)
    bench.pass_time(100)
    assert bench.core.stats.elections == 2
    elect(bench, 4, 5)
    assert bench.core.myself.record.slots == SLOTS & ~1
    assert bench.core.myself.config_epoch == 8


def test_a_candidate_that_knows_more_tells_the_voter_and_asks_again() -> None:
    bench = members(2)
    bench.core.remove_node(bench.core.nodes[S])
    fail_primary(bench)
    (first, _) = bench.sent(Kind.AUTH_REQUEST)
    bench.receive(4, Kind.AUTH_NACK, first.message.body[0], 0, True)
    (again,) = bench.sent(Kind.AUTH_REQUEST)
    assert again.message.body == first.message.body
    assert (int(RumorKind.RECORD), bench.core.nodes[P].record.packed) in again.message.rumors


def restarted(me: int, current_epoch: int) -> Bench:
    """Node `me` of `members`, started anew from its disk; it has not heard anybody yet."""
    before = members(me)
    before.core.current_epoch = current_epoch
    saved = load(dump(before.core))
    mine = saved.records[saved.my_id]
    return Bench(mine, saved=saved)


def test_a_restarted_voter_votes_only_when_a_majority_has_confirmed_it_and_above_what_they_know() -> None:
    voter = restarted(4, current_epoch=7)
    fail_primary(voter)
    voter.effects()
    voter.receive(2, Kind.AUTH_REQUEST, 10, bytes.fromhex(P), 1, CLAIM, False, epoch=10)
    assert not of_type(voter.effects(), Send, Kind.AUTH_ACK)
    for number in (2, 3, 5):
        voter.hear_from(number)
    voter.effects()
    assert voter.core.health.confirmed
    assert not ask(voter, 2, 10 + 2 * len(voter.core.nodes))
    assert ask(voter, 2, 11 + 2 * len(voter.core.nodes))


def test_a_candidate_refused_for_its_epoch_takes_one_that_the_voters_accept() -> None:
    bench = members(2)
    bench.core.remove_node(bench.core.nodes[S])
    fail_primary(bench)
    bench.effects()
    for number in (4, 5):
        bench.receive(number, Kind.AUTH_NACK, bench.core.current_epoch, 50, False)
    bench.pass_time(100)
    assert bench.core.current_epoch == 51


def test_candidates_of_primaries_that_failed_together_take_different_epochs() -> None:
    epochs = []
    for mine, primary in ((3, P), (4, R)):
        shards = {
            1: record(1, slots=1, config_epoch=1),
            2: record(2, slots=2, config_epoch=2),
            3: record(3, primary_id=P, shard_id="1" * 40),
            4: record(4, primary_id=R, shard_id="2" * 40),
            5: record(5, slots=4, config_epoch=3),
        }
        bench = Bench(shards.pop(mine), *shards.values())
        for node_id in (P, R):
            bench.core.mark_failed(bench.core.nodes[node_id], origin=False)
        bench.core.current_epoch = 20 + mine
        (*_, request) = bench.sent(Kind.AUTH_REQUEST)
        assert bench.core.myself.primary_id == primary
        epochs.append(request.message.body[0])
    assert epochs == [6, 4]


def test_between_equal_offsets_the_priority_decides_and_zero_never_runs() -> None:
    for priority, runs_at_once in ((100, True), (200, False), (0, False)):
        bench = members(2)
        bench.core.change_self(priority=priority)
        bench.effects()
        bench.core.nodes[S].offset = bench.replication.position
        fail_primary(bench)
        bench.core.nodes[S].offset_at_ms = bench.now_ms
        assert bool(bench.sent(Kind.AUTH_REQUEST)) is runs_at_once
        bench.pass_time(500)
        assert bool(bench.core.stats.elections) is (priority > 0)


def elect(bench: Bench, *voters: int) -> None:
    for number in voters:
        bench.receive(number, Kind.AUTH_ACK, bench.core.current_epoch)


def test_an_only_replica_that_knows_it_is_best_starts_at_once_and_wins_with_a_majority() -> None:
    bench = members(2)
    bench.core.remove_node(bench.core.nodes[S])
    fail_primary(bench)
    effects = bench.effects()
    requests = of_type(effects, Send, Kind.AUTH_REQUEST)
    assert {send.address for send in requests} == {address(4), address(5)}
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
        bench.receive(number, Kind.AUTH_NACK, epoch, 0, False)
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
    assert len(replica.sent(Kind.AUTH_REQUEST)) == 4, "clients are waiting"
    elect(replica, 1, 4)
    assert not of_type(replica.effects(), BecomePrimary), "it has not seen all the writes yet"
    replica.replication.position += 1
    replica.now_ms += 3
    replica.core.tick(replica.now_ms)
    assert of_type(replica.effects(), BecomePrimary)
    primary.core.merge(replica.core.myself.record)
    effects = primary.effects()
    assert of_type(effects, BecomeReplica) == [BecomeReplica(R, "10.0.0.2", 7000)]
    assert of_type(effects, ResumeWrites)


def test_a_manual_failover_interrupts_writes_while_the_replica_is_far_behind() -> None:
    primary = members(1)
    primary.replication.position = 10_000_000
    ends_ms = []
    for _ in range(6):
        primary.receive(2, Kind.MF_START, 77)
        effects = primary.effects()
        ends_ms += [pause.until_ms - primary.now_ms for pause in of_type(effects, PauseWrites)]
        assert not of_type(effects, Send, Kind.MF_OFFSET)
        primary.now_ms += INTERRUPTION_MS
    assert ends_ms == [INTERRUPTION_MS] * 3, "every other time"
    primary.receive(2, Kind.MF_START, 77, offset=10_000_000 - CATCH_UP_LAG_BYTES)
    effects = primary.effects()
    assert [pause.until_ms - primary.now_ms for pause in of_type(effects, PauseWrites)] == [MANUAL_PAUSE_MS]
    assert of_type(effects, Send, Kind.MF_OFFSET)


def test_a_replica_that_stays_far_behind_is_waited_for_all_the_same_after_a_while() -> None:
    primary = members(1)
    primary.replication.position = 10_000_000
    primary.receive(2, Kind.MF_START, 77)
    assert not primary.sent(Kind.MF_OFFSET)
    primary.now_ms += CATCH_UP_MS
    primary.receive(2, Kind.MF_START, 77)
    assert primary.sent(Kind.MF_OFFSET)


def test_a_manual_failover_waits_until_the_replica_is_in_sync_whatever_its_offset() -> None:
    replica = members(2)
    replica.replication.synced = False
    operations.failover(replica.core, "", replica.now_ms)
    (start,) = replica.sent(Kind.MF_START)
    replica.receive(1, Kind.MF_OFFSET, *start.message.body, 0)
    replica.pass_time(100)
    assert not replica.core.stats.elections
    replica.replication.synced = True
    replica.pass_time(100)
    assert replica.core.stats.elections == 1


def test_an_offset_counts_nothing_until_the_replica_has_been_in_step_with_its_primary() -> None:
    replica = members(2)
    assert replica.core.roles.offset() == replica.replication.position
    for primary in ("4" * 40, P):
        operations.replicate(replica.core, primary, has_keys=False, now_ms=replica.now_ms)
        assert replica.core.roles.offset() == 0
    replica.core.roles.synced()
    assert replica.core.roles.offset() == replica.replication.position


def test_a_second_replicas_manual_failover_waits_until_the_first_ones_pause_has_ended() -> None:
    """It would shorten the pause, and the first one would take over without what is written then."""
    primary = members(1)
    primary.receive(2, Kind.MF_START, 77)
    assert of_type(primary.effects(), PauseWrites)
    primary.receive(3, Kind.MF_START, 88)
    assert primary.effects() == []
    primary.receive(2, Kind.MF_CANCEL, 77)
    assert of_type(primary.effects(), ResumeWrites)
    primary.receive(3, Kind.MF_START, 88)
    assert of_type(primary.effects(), PauseWrites)


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
