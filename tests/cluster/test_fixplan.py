"""Slot repairs: whatever the primaries say, each slot ends with one owner, closed, its keys on the owner."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.fixplan import PrimaryEvidence, SlotRepair, plan_fix
from pyredis_cluster.gossip.slots import SLOT_COUNT

SLOT = 5
ALL_BUT_SLOT = frozenset(range(SLOT_COUNT)) - {SLOT}


def primary(
    node_id: str,
    owns: bool = False,
    migrating: str | None = None,
    importing: str | None = None,
    keys: int = 0,
    epoch: int = 1,
    rest: frozenset[int] = frozenset(),
) -> PrimaryEvidence:
    return PrimaryEvidence(
        node_id,
        epoch,
        rest | ({SLOT} if owns else frozenset()),
        {SLOT: migrating} if migrating else {},
        {SLOT: importing} if importing else {},
        {SLOT: keys} if keys else {},
    )


def repair_of(*primaries: PrimaryEvidence) -> SlotRepair | None:
    """The repair of SLOT; another node owns all the other slots."""
    repairs = plan_fix([*primaries, primary("z", rest=ALL_BUT_SLOT)], frozenset())
    assert len(repairs) <= 1
    return repairs[0] if repairs else None


def test_a_slot_with_one_owner_that_has_its_keys_needs_nothing() -> None:
    assert repair_of(primary("a", owns=True, keys=7), primary("b")) is None


def test_an_interrupted_move_is_finished_towards_its_target() -> None:
    repair = repair_of(
        primary("a", owns=True, migrating="b", keys=3), primary("b", importing="a", keys=4), primary("c")
    )
    assert repair == SlotRepair(SLOT, "was being moved", "b", finish_from="a")


def test_a_slot_that_is_migrating_only_is_closed() -> None:
    repair = repair_of(primary("a", owns=True, migrating="b", keys=3), primary("b"))
    assert repair == SlotRepair(SLOT, "is open", "a", close=("a",))


def test_a_slot_that_is_importing_only_is_closed() -> None:
    repair = repair_of(primary("a", owns=True), primary("b", importing="a"))
    assert repair == SlotRepair(SLOT, "is open", "a", close=("b",))


def test_keys_of_an_importing_node_go_back_to_the_owner_that_does_not_migrate() -> None:
    repair = repair_of(primary("a", owns=True), primary("b", importing="a", keys=2))
    assert repair == SlotRepair(SLOT, "is open", "a", collect_from=("b",))


def test_keys_on_a_node_that_does_not_own_the_slot_go_to_its_owner() -> None:
    repair = repair_of(primary("a", owns=True, keys=1), primary("b", keys=9))
    assert repair == SlotRepair(SLOT, "has keys on a node that does not own it", "a", collect_from=("b",))


def test_a_third_node_with_keys_gives_them_to_the_target_of_the_move() -> None:
    repair = repair_of(
        primary("a", owns=True, migrating="b"), primary("b", importing="a"), primary("c", importing="a", keys=1)
    )
    assert repair == SlotRepair(SLOT, "was being moved", "b", finish_from="a", collect_from=("c",))


def test_an_uncovered_slot_goes_to_the_node_with_its_keys() -> None:
    repair = repair_of(primary("a", keys=2), primary("b", keys=5))
    assert repair == SlotRepair(SLOT, "has no owner", "b", assign=True, collect_from=("a",))


def test_an_uncovered_empty_slot_goes_to_the_node_with_the_fewest_slots() -> None:
    repairs = plan_fix([primary("a", rest=ALL_BUT_SLOT), primary("b")], frozenset())
    assert repairs == [SlotRepair(SLOT, "has no owner", "b", assign=True)]


def test_of_two_owners_the_one_with_more_keys_stays() -> None:
    repair = repair_of(primary("a", owns=True, keys=2, epoch=9), primary("b", owns=True, keys=5))
    assert repair == SlotRepair(SLOT, "is claimed by 2 nodes", "b", assign=True, collect_from=("a",))


def test_of_two_empty_owners_the_one_with_the_newer_epoch_stays() -> None:
    repair = repair_of(primary("a", owns=True, epoch=9), primary("b", owns=True, epoch=3))
    assert repair is not None
    assert repair.owner == "a"


def test_slots_of_primaries_that_cannot_be_reached_are_left_alone() -> None:
    assert plan_fix([primary("a", rest=ALL_BUT_SLOT)], frozenset({SLOT})) == []


def test_uncovered_slots_are_spread_evenly() -> None:
    repairs = plan_fix([primary("a"), primary("b")], frozenset(range(100, SLOT_COUNT)))
    assert [repair.slot for repair in repairs] == list(range(100))
    assert sum(repair.owner == "a" for repair in repairs) == 50


_IDS = ("a", "b", "c")


@given(
    st.lists(
        st.builds(
            primary,
            st.just(""),
            st.booleans(),
            st.sampled_from([None, *_IDS]),
            st.sampled_from([None, *_IDS]),
            st.integers(0, 3),
            st.integers(1, 3),
        ),
        min_size=3,
        max_size=3,
    )
)
def test_after_any_repair_all_keys_are_with_one_owner_and_nothing_is_open(drawn: list[PrimaryEvidence]) -> None:
    evidence = [
        PrimaryEvidence(node_id, e.config_epoch, e.owned, e.migrating, e.importing, e.key_counts)
        for node_id, e in zip(_IDS, drawn, strict=True)
    ]
    repair = repair_of(*evidence)
    claimants = {e.node_id for e in evidence if SLOT in e.owned}
    holders = {e.node_id for e in evidence if SLOT in e.key_counts}
    open_on = {e.node_id for e in evidence if SLOT in e.migrating or SLOT in e.importing}
    if repair is None:
        assert len(claimants) == 1
        assert holders <= claimants
        assert not open_on
        return
    owner = repair.owner
    emptied = {*repair.collect_from, repair.finish_from}
    assert holders - emptied <= {owner}
    # Moving keys away, finishing a move and becoming the owner each close the slot on that node.
    closed = {*emptied, *repair.close} | ({owner} if repair.assign or repair.finish_from else set())
    assert open_on <= closed
    assert repair.assign or claimants == {repair.finish_from or owner}
