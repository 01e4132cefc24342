"""The slot map: a function of the members' records, whatever the order in which they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.gossip import bitmap
from pyredis_cluster.gossip.nodes import Node, NodeRecord
from pyredis_cluster.gossip.slotmap import HINT_MAX_MS, SlotMap

from .cores import record

CLAIM = st.tuples(
    st.integers(1, 4), st.integers(0, 5), st.sets(st.integers(0, 30), max_size=12), st.booleans()
)


def strongest(records: list[NodeRecord], slot: int) -> str | None:
    claims = [one for one in records if not one.primary_id and one.slots >> slot & 1]
    return min(claims, key=lambda one: (-one.config_epoch, one.id)).id if claims else None


@given(st.lists(CLAIM, max_size=30))
def test_each_slot_belongs_to_its_strongest_claimant(claims: list[tuple[int, int, set[int], bool]]) -> None:
    nodes = {number: Node(record(number)) for number in range(1, 5)}
    slot_map = SlotMap(nodes[1])
    for number, epoch, slots, is_primary in claims:
        node = nodes[number]
        node.record = record(
            number,
            config_epoch=max(epoch, node.config_epoch),
            slots=bitmap.mask_of(slots),
            primary_id="" if is_primary else "f" * 40,
        )
        before = [*slot_map.owners]
        changed = slot_map.update(node, nodes.values())
        assert changed == bitmap.mask_of(
            slot for slot, owner in enumerate(slot_map.owners) if owner is not before[slot]
        )
        slot_map.check(nodes.values())
        records = [other.record for other in nodes.values()]
        owners = [owner.id if owner else None for owner in slot_map.owners[:31]]
        assert owners == [strongest(records, slot) for slot in range(31)]


def test_owned_is_kept_in_place_for_the_data_plane() -> None:
    myself = Node(record(1, slots=0b11))
    slot_map = SlotMap(myself)
    owned = slot_map.owned
    slot_map.update(myself, [myself])
    assert owned is slot_map.owned
    assert owned[:3] == b"\x01\x01\x00"


def test_a_hint_holds_until_the_records_say_so_or_its_time_is_over() -> None:
    myself, other = Node(record(1)), Node(record(2, slots=1, config_epoch=3))
    nodes = [myself, other]
    slot_map = SlotMap(myself)
    slot_map.update(other, nodes)
    slot_map.hint(1, myself, 100.0)
    assert slot_map.owners[0] is myself
    assert slot_map.expire_hints(100.0 + HINT_MAX_MS - 1, nodes) == 0
    assert slot_map.expire_hints(100.0 + HINT_MAX_MS, nodes) == 1
    assert slot_map.owners[0] is other


def test_a_forgotten_node_owns_nothing_and_is_no_partner() -> None:
    myself, other = Node(record(1)), Node(record(2, slots=1))
    slot_map = SlotMap(myself)
    slot_map.update(other, [myself, other])
    slot_map.importing[0] = other
    assert slot_map.forget(other, [myself]) == 1
    assert slot_map.owners[0] is None
    assert not slot_map.importing
