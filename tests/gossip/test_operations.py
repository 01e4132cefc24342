"""Operators' requests: Redis's rules and Redis's texts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyredis_cluster.gossip import bitmap, operations
from pyredis_cluster.gossip.config import ClusterConfig
from pyredis_cluster.gossip.core import ClusterCore
from pyredis_cluster.gossip.effects import BecomePrimary, BecomeReplica, DropData, Persist, SlotsLost
from pyredis_cluster.gossip.errors import ClusterError
from pyredis_cluster.gossip.membership import BLACKLIST_MS
from pyredis_cluster.gossip.messages import MEET_PADDED_BYTES, Kind, RumorKind
from pyredis_cluster.gossip.nodes import WITNESS

from .cores import Bench, address, of_type, record

A, B, C = ("1" * 40, "2" * 40, "3" * 40)
NOW = 1000.0


def three() -> Bench:
    """Node 1 (this one, slots 0-99), node 2 (slots 100-199), node 3, a replica of 2."""
    return Bench(
        record(1, slots=bitmap.range_mask(0, 99), config_epoch=1),
        record(2, slots=bitmap.range_mask(100, 199), config_epoch=2),
        record(3, primary_id=B, shard_id="2" * 40),
    )


def replica() -> Bench:
    return Bench(record(1, primary_id=B, shard_id="2" * 40), record(2, slots=bitmap.ALL_SLOTS, config_epoch=2))


Operation = Callable[[ClusterCore], object]


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (lambda core: operations.add_slots(core, [150], NOW), "Slot 150 is already busy"),
        (lambda core: operations.add_slots(core, [300, 300], NOW), "Slot 300 specified multiple times"),
        (lambda core: operations.del_slots(core, [300], NOW), "Slot 300 is already unassigned"),
        (lambda core: operations.forget(core, "f" * 40, NOW), f"Unknown node {'f' * 40}"),
        (lambda core: operations.forget(core, A, NOW), "I tried hard but I can't forget myself..."),
        (lambda core: operations.failover(core, "", NOW), "You should send CLUSTER FAILOVER to a replica"),
        (
            lambda core: operations.meet(core, "localhost", 1, None, NOW),
            "Invalid node address specified: localhost:1",
        ),
        (
            lambda core: operations.meet(core, "1.2.3.4", 0, None, NOW),
            "Invalid node address specified: 1.2.3.4:0",
        ),
        (lambda core: operations.set_slot_migrating(core, 150, B), "I'm not the owner of hash slot 150"),
        (
            lambda core: operations.set_slot_migrating(core, 1, "f" * 40),
            f"I don't know about node {'f' * 40}",
        ),
        (lambda core: operations.set_slot_migrating(core, 1, C), "Target node is not a master"),
        (lambda core: operations.set_slot_importing(core, 1, B), "I'm already the owner of hash slot 1"),
        (
            lambda core: operations.set_slot_node(core, 1, B, keys=3, now_ms=NOW),
            "Can't assign hashslot 1 to a different node while I still hold keys for this hash slot.",
        ),
        (
            lambda core: operations.set_slot_node(core, 1, C, keys=0, now_ms=NOW),
            "Target node is not a master",
        ),
        (
            lambda core: operations.set_config_epoch(core, 3, NOW),
            "The user can assign a config epoch only when the node does not know any other node.",
        ),
        (
            lambda core: operations.replicate(core, B, has_keys=False, now_ms=NOW),
            "To set a master the node must be empty and without assigned slots.",
        ),
        (lambda core: operations.replicate(core, A, has_keys=False, now_ms=NOW), "Can't replicate myself"),
        (
            lambda core: operations.replicate(core, C, has_keys=False, now_ms=NOW),
            "I can only replicate a master, not a replica.",
        ),
        (
            lambda core: operations.reset(core, hard=False, has_keys=True, now_ms=NOW),
            "CLUSTER RESET can't be called with master nodes containing keys",
        ),
        (
            lambda core: operations.flush_slots(core, has_keys=True, now_ms=NOW),
            "DB must be empty to perform CLUSTER FLUSHSLOTS.",
        ),
    ],
)
def test_a_primary_refuses_with_redis_texts_and_changes_nothing(operation: Operation, text: str) -> None:
    bench = three()
    before = (bench.core.digest, bench.core.current_epoch)
    with pytest.raises(ClusterError) as caught:
        operation(bench.core)
    assert str(caught.value) == text
    assert (bench.core.digest, bench.core.current_epoch) == before
    assert not of_type(bench.effects(), Persist)


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (lambda core: operations.set_slot_stable(core, 1), "Please use SETSLOT only with masters."),
        (lambda core: operations.forget(core, B, NOW), "Can't forget my master!"),
    ],
)
def test_a_replica_refuses_with_redis_texts(operation: Operation, text: str) -> None:
    with pytest.raises(ClusterError) as caught:
        operation(replica().core)
    assert str(caught.value) == text


OURSELVES = "This node is a witness: it votes, but holds no slots and no data"
ANOTHER = f"Node {B} is a witness: it holds no slots and no data"


@pytest.mark.parametrize(
    "operation",
    [
        lambda core: operations.add_slots(core, [1], NOW),
        lambda core: operations.replicate(core, B, has_keys=False, now_ms=NOW),
        lambda core: operations.set_slot_importing(core, 1, B),
        lambda core: operations.set_slot_node(core, 1, A, keys=0, now_ms=NOW),
        lambda core: operations.claim_slots(core, 1, 99, NOW),
    ],
)
def test_a_witness_takes_no_slots_and_follows_nobody(operation: Operation) -> None:
    with pytest.raises(ClusterError, match=OURSELVES):
        operation(Bench(record(1, flags=WITNESS), record(2)).core)


@pytest.mark.parametrize(
    ("slots", "operation"),
    [
        (0, lambda core: operations.replicate(core, B, has_keys=False, now_ms=NOW)),
        (2, lambda core: operations.set_slot_migrating(core, 1, B)),
        (2, lambda core: operations.set_slot_node(core, 1, B, keys=0, now_ms=NOW)),
    ],
)
def test_nobody_gives_slots_to_a_witness_or_follows_it(slots: int, operation: Operation) -> None:
    core = Bench(record(1, slots=slots), record(2, flags=WITNESS)).core
    with pytest.raises(ClusterError, match=ANOTHER):
        operation(core)


def test_a_witness_votes_unless_only_primaries_do() -> None:
    for primaries_only, voters in ((False, 3), (True, 1)):
        config = ClusterConfig(voters_primaries_only=primaries_only)
        bench = Bench(record(1, flags=WITNESS), record(2, slots=1), record(3, primary_id=B), config=config)
        assert len(bench.core.voters()) == voters
        assert bench.core.voter.ready() is not primaries_only


def test_meet_invites_until_somebody_answers() -> None:
    bench = Bench(record(1))
    operations.meet(bench.core, "10.0.0.2", 7000, None, NOW)
    (invitation,) = bench.sent(Kind.MEET)
    assert invitation.address == address(2)
    bench.receive(2, Kind.MEET_PONG, invitation.message.body[0], "10.0.0.1", record(2).packed, 0)
    assert B in bench.core.nodes
    bench.pass_time(1000)
    assert bench.core.stats.sent[Kind.MEET] == 1


def test_meet_goes_on_until_the_invited_node_speaks_to_us_as_a_member() -> None:
    bench = Bench(record(1))
    operations.meet(bench.core, "10.0.0.2", 7000, None, NOW)
    (invitation,) = bench.sent(Kind.MEET)
    bench.receive(2, Kind.MEET_PONG, invitation.message.body[0], "10.0.0.1", record(2).packed, 77)
    (proof,) = bench.sent(Kind.PROOF)
    assert proof.message.body == (77,)
    bench.pass_time(400)
    assert bench.core.stats.sent[Kind.MEET] == 2
    bench.receive(2, Kind.GOSSIP)
    bench.pass_time(1000)
    assert bench.core.stats.sent[Kind.MEET] == 2


def invite(bench: Bench, dialled: str = "10.0.0.1") -> None:
    """Node 2 invites this node, and proves that it lives."""
    packed = record(2).packed
    bench.receive(2, Kind.MEET, 5, dialled, packed, bytes(MEET_PADDED_BYTES - len(packed)))
    (answer,) = bench.sent(Kind.MEET_PONG)
    bench.receive(2, Kind.PROOF, answer.message.body[3], rumors=((int(RumorKind.RECORD), packed),))


def test_a_node_learns_its_address_from_the_invitation() -> None:
    bench = Bench(record(1, ip=""))
    invite(bench, "10.9.9.9")
    assert bench.core.myself.record.ip == "10.9.9.9"


def test_an_invitation_ends_the_time_of_a_forgotten_node() -> None:
    bench = three()
    operations.forget(bench.core, C, NOW)
    operations.forget(bench.core, B, NOW)
    invite(bench)
    assert B in bench.core.nodes
    assert C not in bench.core.nodes


def test_a_ban_that_is_heard_of_late_ends_when_the_others_do() -> None:
    bench = three()
    bench.receive(2, Kind.GOSSIP, rumors=((int(RumorKind.FORGET), bytes.fromhex(C), 10_000),))
    assert C not in bench.core.nodes
    bench.core.advance(NOW + 4_000)
    bench.core.merge(record(3, primary_id=B))
    assert (RumorKind.FORGET, bytes.fromhex(C), 6_000) in bench.core.rumors.piggyback()
    bench.core.advance(NOW + 10_001)
    bench.core.merge(record(3, primary_id=B))
    assert C in bench.core.nodes


def test_forget_is_told_to_all_and_lasts_a_minute() -> None:
    bench = three()
    operations.forget(bench.core, C, NOW)
    (news, *_) = bench.sent(Kind.GOSSIP)
    assert (RumorKind.FORGET, bytes.fromhex(C), BLACKLIST_MS) in news.message.rumors
    bench.core.merge(record(3, primary_id=B))
    assert C not in bench.core.nodes
    operations.forget(bench.core, C, NOW)
    bench.core.advance(NOW + 60_001)
    bench.core.merge(record(3, primary_id=B))
    assert C in bench.core.nodes


def test_replicate_gives_up_the_primary_role_and_follows() -> None:
    bench = Bench(record(1), record(2, slots=1))
    operations.replicate(bench.core, B, has_keys=False, now_ms=NOW)
    effects = bench.effects()
    assert of_type(effects, BecomeReplica) == [BecomeReplica(B, "10.0.0.2", 7000)]
    assert isinstance(effects[0], Persist)
    assert bench.core.myself.record.shard_id == "2" * 40


def test_takeover_needs_no_votes() -> None:
    bench = replica()
    operations.failover(bench.core, "takeover", NOW)
    effects = bench.effects()
    assert of_type(effects, BecomePrimary) == [BecomePrimary(B)]
    assert bench.core.myself.owned == bitmap.ALL_SLOTS
    assert bench.core.myself.config_epoch == bench.core.current_epoch > 2


def test_the_importing_node_claims_a_slot_under_a_new_epoch() -> None:
    bench = three()
    operations.set_slot_importing(bench.core, 150, B)
    operations.set_slot_node(bench.core, 150, A, keys=0, now_ms=NOW)
    assert bench.core.slot_map.owners[150] is bench.core.myself
    assert bench.core.myself.config_epoch == 3
    assert not bench.core.slot_map.importing


def test_the_source_serves_the_slot_no_more_and_drops_its_claim_when_the_target_has_spoken() -> None:
    bench = three()
    core = bench.core
    operations.set_slot_migrating(core, 5, B)
    operations.set_slot_node(core, 5, B, keys=0, now_ms=NOW)
    assert core.slot_map.owners[5] is core.nodes[B]
    assert core.myself.record.slots >> 5 & 1, "still claimed, so that no node sees the slot without an owner"
    bench.effects()
    core.merge(record(2, version=2, slots=bitmap.range_mask(100, 199) | 1 << 5, config_epoch=3))
    assert not core.myself.record.slots >> 5 & 1
    assert of_type(bench.effects(), SlotsLost) == [SlotsLost(1 << 5)]
    assert 5 not in core.slot_map.migrating


def test_deleting_a_foreign_slot_and_adding_it_with_a_bump_takes_it_over() -> None:
    bench = three()
    operations.del_slots(bench.core, [150], NOW)
    operations.add_slots(bench.core, [150], NOW)
    assert operations.bump_epoch(bench.core, NOW)
    bench.core.merge(record(2, version=2, slots=bitmap.range_mask(100, 199), config_epoch=2))
    assert bench.core.slot_map.owners[150] is bench.core.myself


def test_bumpepoch_keeps_the_greatest_epoch() -> None:
    bench = three()
    assert operations.bump_epoch(bench.core, NOW)
    assert bench.core.myself.config_epoch == 3
    assert not operations.bump_epoch(bench.core, NOW)


def test_a_soft_reset_keeps_the_id_and_a_hard_one_does_not() -> None:
    bench = replica()
    operations.reset(bench.core, hard=False, has_keys=True, now_ms=NOW)
    effects = bench.effects()
    assert of_type(effects, BecomePrimary) and of_type(effects, DropData)
    assert [*bench.core.nodes] == [A]
    operations.reset(bench.core, hard=True, has_keys=False, now_ms=NOW)
    assert A not in bench.core.nodes
    assert bench.core.myself.id in bench.core.nodes
    assert (bench.core.current_epoch, bench.core.myself.config_epoch) == (0, 0)
    assert bench.core.digest == bench.core.myself.digest


def test_a_handover_moves_all_its_slots_at_once() -> None:
    source, target = (
        three(),
        Bench(
            record(2, slots=bitmap.range_mask(100, 199), config_epoch=2),
            record(1, slots=bitmap.range_mask(0, 99), config_epoch=1),
        ),
    )
    slots = bitmap.range_mask(10, 19)
    operations.claim_slots(target.core, slots, operations.reserve_epoch(source.core, NOW), NOW)
    operations.hear_claim(source.core, target.core.myself.record, NOW)
    assert all(source.core.slot_map.owners[slot] is source.core.nodes[B] for slot in range(10, 20))
    assert source.core.myself.record.slots == bitmap.range_mask(0, 99) & ~slots


def test_a_claim_that_comes_after_the_owner_gave_it_up_is_outbid() -> None:
    source, target = (
        three(),
        Bench(
            record(2, slots=bitmap.range_mask(100, 199), config_epoch=2),
            record(1, slots=bitmap.range_mask(0, 99), config_epoch=1),
        ),
    )
    slots = bitmap.range_mask(10, 19)
    epoch = operations.reserve_epoch(source.core, NOW)
    operations.outbid(source.core, NOW)
    operations.claim_slots(target.core, slots, epoch, NOW)
    for bench, other in ((source, target), (target, source)):
        bench.core.merge(other.core.myself.record)
        assert all(bench.core.slot_map.owners[slot].id == source.core.myself.id for slot in range(10, 20))


def test_while_slots_are_handed_over_no_epoch_is_raised() -> None:
    """It would take back what the other primary may have claimed."""
    bench = three()
    bench.replication.hands_over = True
    operations.set_slot_importing(bench.core, 150, B)
    for operation in (
        lambda: operations.claim_slots(bench.core, 1 << 150, 9, NOW),
        lambda: operations.bump_epoch(bench.core, NOW),
        lambda: operations.set_slot_node(bench.core, 150, A, keys=0, now_ms=NOW),
    ):
        with pytest.raises(ClusterError, match="try again later"):
            operation()
    assert bench.core.myself.config_epoch == 1
    assert bench.core.slot_map.importing


def test_what_an_operator_gave_away_is_not_taken_back_by_a_new_record_of_either_side() -> None:
    bench = three()
    operations.set_slot_node(bench.core, 5, B, keys=0, now_ms=NOW)
    bench.core.change_self(hostname="changed")
    bench.core.merge(record(2, version=2, slots=bitmap.range_mask(100, 199), config_epoch=2))
    assert bench.core.slot_map.owners[5] is bench.core.nodes[B]
    assert operations.bump_epoch(bench.core, NOW)
    assert bench.core.slot_map.owners[5] is bench.core.nodes[B]
    assert not bench.core.myself.record.slots >> 5 & 1


def test_a_claim_under_an_epoch_that_is_in_use_is_refused() -> None:
    target = three()
    with pytest.raises(ClusterError, match="is taken"):
        operations.claim_slots(target.core, 1 << 150, 2, NOW)


def test_slots_that_another_has_taken_are_given_up_durably() -> None:
    bench = three()
    moved = bitmap.range_mask(0, 9)
    bench.core.merge(record(2, version=2, slots=moved | bitmap.range_mask(100, 199), config_epoch=3))
    (saved,) = of_type(bench.effects(), Persist)
    assert saved.durable
    assert not bench.core.myself.record.slots & moved
