"""The set value against a Python set, its encodings at Redis's thresholds, and fair random choice."""

from __future__ import annotations

from collections import Counter
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.node.values.set import HASHTABLE, INTSET, LISTPACK, Set, SetLimits, is_integer


def limits(intset: int = 512, entries: int = 128, value: int = 64) -> SetLimits:
    return SimpleNamespace(  # type: ignore[return-value]
        set_max_intset_entries=intset, set_max_listpack_entries=entries, set_max_listpack_value=value
    )


LIMITS = limits()
MEMBERS = st.one_of(st.integers(-40, 900).map(lambda n: b"%d" % n), st.binary(max_size=3), st.just(b"x" * 65))


@given(st.lists(st.tuples(st.booleans(), MEMBERS), max_size=60))
def test_a_set_equals_a_python_set_after_any_operations(steps: list[tuple[bool, bytes]]) -> None:
    small = limits(intset=20, entries=10)
    value, expected = Set(), set[bytes]()
    for adding, member in steps:
        if adding:
            assert value.add(member, small) is (member not in expected)
            expected.add(member)
        else:
            assert value.remove(member) is (member in expected)
            expected.discard(member)
        value._check()
        assert {*value} == expected
        assert len(value) == len(expected)
        assert member not in value or member in expected


@pytest.mark.parametrize("text", [b"0", b"7", b"-1", b"10", b"9223372036854775807", b"-9223372036854775808"])
def test_canonical_64_bit_integers_go_into_an_intset(text: bytes) -> None:
    assert is_integer(text)


NOT_INTEGERS = b"- -0 00 01 -01 +1 1.0 1_0 1e3 9223372036854775808 -9223372036854775809 12345678901234567890123"


@pytest.mark.parametrize("text", [b"", b" 1", b"1 ", *NOT_INTEGERS.split()])
def test_other_texts_do_not(text: bytes) -> None:
    assert not is_integer(text)


def test_an_intset_is_iterated_in_the_order_of_its_integers() -> None:
    value = Set.of([b"10", b"-3", b"9"], LIMITS)
    assert value.encoding is INTSET
    assert [*value] == [b"-3", b"9", b"10"]
    assert value.scan(0, 1) == (0, [b"-3", b"9", b"10"])


def test_a_full_intset_becomes_a_hashtable() -> None:
    value = Set()
    for number in range(512):
        value.add(b"%d" % number, LIMITS)
    assert value.encoding is INTSET
    value.add(b"512", LIMITS)
    assert value.encoding is HASHTABLE


def test_a_text_turns_a_small_intset_into_a_listpack_and_a_larger_one_into_a_hashtable() -> None:
    for count, encoding in ((127, LISTPACK), (128, HASHTABLE)):
        value = Set.of([b"%d" % number for number in range(count)], LIMITS)
        value.add(b"text", LIMITS)
        assert value.encoding is encoding


def test_a_listpack_becomes_a_hashtable_at_its_limits() -> None:
    value = Set.of([b"m%d" % number for number in range(128)], LIMITS)
    assert value.encoding is LISTPACK
    value.add(b"one more", LIMITS)
    assert value.encoding is HASHTABLE
    wide = Set.of([b"a", b"x" * 64], LIMITS)
    assert wide.encoding is LISTPACK
    wide.add(b"x" * 65, LIMITS)
    assert wide.encoding is HASHTABLE


def test_the_expected_count_converts_at_once() -> None:
    assert Set.for_adding(b"1", 512, LIMITS).encoding is INTSET
    assert Set.for_adding(b"1", 513, LIMITS).encoding is HASHTABLE
    assert Set.for_adding(b"a", 128, LIMITS).encoding is LISTPACK
    assert Set.for_adding(b"a", 129, LIMITS).encoding is HASHTABLE
    value = Set.of([b"a"], LIMITS)
    value.expect(129, LIMITS)
    assert value.encoding is HASHTABLE


def test_a_copy_is_independent_and_keeps_the_encoding() -> None:
    value = Set([b"1"], LISTPACK)
    twin = value.copy()
    twin.add(b"2", LIMITS)
    assert [*value] == [b"1"]
    assert twin.encoding is LISTPACK


def chi_square(drawn: Counter[bytes], members: list[bytes]) -> float:
    expected = sum(drawn.values()) / len(members)
    return sum((drawn[member] - expected) ** 2 / expected for member in members)


@pytest.mark.parametrize("size", [50, 700])
def test_every_member_is_as_likely_in_each_kind_of_draw(size: int) -> None:
    members = [b"m%d" % number for number in range(size)]
    value = Set(members, HASHTABLE)
    rng = Random(7)
    rounds = 40 * size
    draws = {
        "random": Counter(value.random(rng) for _ in range(rounds)),
        "choices": Counter(member for _ in range(rounds // 20) for member in value.choices(20, rng)),
        "sample": Counter(member for _ in range(rounds // 20) for member in value.sample(20, rng)),
    }
    for kind, drawn in draws.items():
        # Mean size, standard deviation sqrt(2 * size): six deviations never come by chance.
        assert chi_square(drawn, members) < size + 6 * (2 * size) ** 0.5, kind


def test_a_sample_has_no_duplicates_and_pop_takes_out() -> None:
    members = [b"m%d" % number for number in range(700)]
    value = Set(members, HASHTABLE)
    rng = Random(7)
    for count in (1, 100, 500, 700):
        assert len({*value.sample(count, rng)}) == count
    popped = [value.pop(rng) for _ in range(700)]
    assert sorted(popped) == sorted(members)
    assert len(value) == 0
    value._check()
