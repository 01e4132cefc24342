"""Deltas of long records: whoever has one of the last versions follows, everybody else asks for the whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.gossip import bitmap, operations
from pyredis_cluster.gossip.deltas import STEPS_MAX, History, apply_delta
from pyredis_cluster.gossip.errors import Dropped
from pyredis_cluster.gossip.messages import RUMOR_RECORD_MAX_BYTES, RumorKind, rumor_size
from pyredis_cluster.gossip.nodes import NodeRecord
from pyredis_cluster.gossip.simulation.cluster import Simulation

from .cores import Bench, record

FRAGMENTED = bitmap.mask_of(range(0, 4096, 2))


@given(st.lists(st.sets(st.integers(0, 4095), max_size=12), min_size=1, max_size=2 * STEPS_MAX))
def test_every_version_that_a_delta_goes_back_to_leads_to_the_present_one(changes: list[set[int]]) -> None:
    versions = [record(1, version=5, slots=FRAGMENTED)]
    history = History(versions[0])
    for change in changes:
        before = versions[-1]
        after = replace(before, version=before.version + 1, slots=before.slots ^ bitmap.mask_of(change))
        history.changed(before, after)
        versions.append(after)
    rumor = history.rumor(versions[-1])
    assert rumor is not None
    assert rumor_size(rumor) <= RUMOR_RECORD_MAX_BYTES + 60
    assert apply_delta(versions[-2], rumor) == versions[-1]
    for old in versions[-1 - STEPS_MAX : -1]:
        assert apply_delta(old, rumor) in (versions[-1], None)


def follow(known: NodeRecord, now: NodeRecord) -> NodeRecord | None:
    history = History(replace(now, version=now.version - 1, slots=now.slots ^ 4))
    history.changed(replace(now, version=now.version - 1, slots=now.slots ^ 4), now)
    rumor = history.rumor(now)
    assert rumor is not None
    return apply_delta(known, rumor)


def test_another_version_or_another_content_of_it_is_not_built_upon() -> None:
    now = record(1, version=9, slots=FRAGMENTED)
    assert follow(replace(now, version=8, slots=now.slots ^ 4), now) == now
    assert follow(replace(now, version=3, slots=now.slots ^ 4), now) is None
    assert follow(replace(now, version=8, slots=now.slots ^ 8), now) is None


def test_a_change_of_a_long_record_is_told_and_passed_on_as_a_delta() -> None:
    owner = Bench(record(1, slots=FRAGMENTED, config_epoch=1), record(2), record(3))
    first = Bench(record(2), owner.core.myself.record, record(3))
    second = Bench(record(3), owner.core.myself.record, record(2))
    operations.add_slots(owner.core, [5001], owner.now_ms)
    for teller, hearer in ((owner, first), (first, second)):
        rumors = [rumor for rumor in teller.core.rumors.piggyback() if rumor[0] == RumorKind.DELTA]
        hearer.receive(int(teller.core.myself.id[0]), 6, rumors=tuple(rumors))
        assert hearer.core.nodes["1" * 40].record == owner.core.myself.record
        assert not hearer.core.stats.syncs


def test_who_has_an_unknown_version_asks_for_a_sync() -> None:
    owner = Bench(record(1, version=7, slots=FRAGMENTED), record(2))
    other = Bench(record(2), record(1, version=2, slots=FRAGMENTED))
    operations.add_slots(owner.core, [5001], owner.now_ms)
    other.receive(1, 6, rumors=owner.core.rumors.piggyback())
    assert other.core.nodes["1" * 40].record.version == 2
    assert other.core.stats.syncs == 1


@pytest.mark.parametrize("steps", [b"", b"\x05", b"\x91\x91\x01", b"\x91\x92\x01\x02"])
def test_steps_that_are_none_are_malformed(steps: bytes) -> None:
    known = record(1, slots=FRAGMENTED)
    rumor = (int(RumorKind.DELTA), bytes.fromhex(known.id), replace(known, slots=0).packed, 1, steps)
    with pytest.raises(Dropped, match="malformed"):
        apply_delta(known, rumor)


def test_one_slot_of_a_fragmented_map_reaches_all_of_forty_with_hardly_a_sync() -> None:
    simulation = Simulation(3, 40, 1)
    simulation.assemble()
    owner = simulation.nodes[0]
    assert owner.core is not None
    operations.del_slots(owner.core, range(0, 819, 2), owner.clock())
    owner.core.change_self(hostname="h" * 200)
    owner.apply()
    simulation.run_until(simulation.agreed, 10_000, "agreed")
    assert len(owner.core.myself.record.packed) > RUMOR_RECORD_MAX_BYTES

    def syncs() -> int:
        return sum(node.core.stats.syncs for node in simulation.nodes if node.core is not None)

    before = syncs()
    operations.add_slots(owner.core, [0], owner.clock())
    owner.apply()
    simulation.run_until(simulation.agreed, 2000, "agreed")
    assert syncs() - before < 5
