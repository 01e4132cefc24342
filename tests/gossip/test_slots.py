"""The slot kernel: CRC16, hash tags and ranges, against the specification and the C implementation."""

from __future__ import annotations

from binascii import crc_hqx
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.gossip.slots import SLOT_COUNT, crc16, hash_tag, key_slot, slot_ranges


def test_crc16_gives_the_check_value_of_the_specification() -> None:
    assert crc16(b"123456789") == 0x31C3


@given(st.binary(max_size=300))
def test_crc16_is_the_c_function(data: bytes) -> None:
    assert crc16(data) == crc_hqx(data, 0)


@given(st.binary(max_size=60))
def test_a_slot_is_the_crc_of_the_hash_tag(key: bytes) -> None:
    assert key_slot(key) == crc16(hash_tag(key)) % SLOT_COUNT


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"foo{bar", b"foo{bar"),
        (b"}foo{", b"}foo{"),
        (b"", b""),
    ],
)
def test_hash_tags_as_in_the_specification(key: bytes, tag: bytes) -> None:
    assert hash_tag(key) == tag


@pytest.mark.parametrize(("key", "slot"), [(b"foo", 12182), (b"bar", 5061), (b"hello", 866), (b"", 0)])
def test_slots_as_redis_gives_them(key: bytes, slot: int) -> None:
    assert key_slot(key) == slot


@given(st.sets(st.integers(0, SLOT_COUNT - 1), max_size=200))
def test_ranges_hold_the_same_slots_and_never_touch(slots: set[int]) -> None:
    ranges = list(slot_ranges(slots))
    assert {slot for first, last in ranges for slot in range(first, last + 1)} == slots
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))
