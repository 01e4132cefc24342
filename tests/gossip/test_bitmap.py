"""Sets of slots as integers: ranges, encodings, and that nothing malformed gets in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.gossip import bitmap
from pyredis_cluster.gossip.errors import Dropped
from pyredis_cluster.gossip.slots import SLOT_COUNT, slot_ranges

SLOTS = st.sets(st.integers(0, SLOT_COUNT - 1), max_size=200)


@given(SLOTS)
def test_ranges_are_those_of_the_slots(slots: set[int]) -> None:
    assert [*bitmap.ranges(bitmap.mask_of(slots))] == [*slot_ranges(slots)]


@given(SLOTS)
def test_encoding_is_reversible(slots: set[int]) -> None:
    mask = bitmap.mask_of(slots)
    assert bitmap.decode(bitmap.encode(mask)) == mask


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 16383), (16383, 16383), (5461, 10922)])
def test_extremes_survive_encoding(first: int, last: int) -> None:
    mask = bitmap.range_mask(first, last)
    assert bitmap.decode(bitmap.encode(mask)) == mask
    assert [*bitmap.slots_of(mask)] == [*range(first, last + 1)]


def test_a_fragmented_map_is_sent_as_a_bitmap() -> None:
    every_other = bitmap.mask_of(range(0, SLOT_COUNT, 2))
    assert len(bitmap.encode(every_other)) == 1 + SLOT_COUNT // 8
    assert bitmap.decode(bitmap.encode(every_other)) == every_other


@given(st.binary(max_size=64))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        mask = bitmap.decode(data)
    except Dropped:
        return
    assert 0 <= mask <= bitmap.ALL_SLOTS
