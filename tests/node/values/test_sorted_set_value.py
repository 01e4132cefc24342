"""The sorted-set value and its index against a plain dict sorted anew for every question."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyredis_cluster.node.values.score_index import BLOCK_MAX_ENTRIES, ScoreIndex
from pyredis_cluster.node.values.sorted_set import LISTPACK, SKIPLIST, UNORDERED_MAX_ENTRIES, SortedSet
from pyredis_cluster.node.values.table import Table

MEMBERS = st.binary(max_size=2)
SCORES = st.sampled_from([float("-inf"), -1.5, 0.0, 1.0, 2.0, float("inf")])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), MEMBERS, SCORES),
        st.tuples(st.just("remove"), MEMBERS, st.just(0.0)),
        st.tuples(st.sampled_from(["lowest", "highest", "order"]), st.just(b""), st.just(0.0)),
    ),
    max_size=60,
)


def ordered(model: dict[bytes, float]) -> list[tuple[bytes, float]]:
    return sorted(model.items(), key=lambda item: (item[1], item[0]))


def large(size: int, rng: Random, distinct_scores: int) -> tuple[SortedSet, dict[bytes, float]]:
    model = {b"member:%d" % number: float(rng.randrange(distinct_scores)) for number in range(size)}
    return SortedSet(dict(model), SKIPLIST), model


@given(STEPS)
def test_a_set_agrees_with_a_sorted_dict_after_every_step(steps: list[tuple[str, bytes, float]]) -> None:
    zset, model = SortedSet(), {}
    for action, member, score in steps:
        if action == "set":
            assert zset.put(member, score) == model.get(member)
            model[member] = score
        elif action == "remove":
            assert zset.remove(member) == (model.pop(member, None) is not None)
        elif action == "order":
            assert zset.items() == ordered(model)
        elif model:
            pair = zset.pop_lowest() if action == "lowest" else zset.pop_highest()
            assert pair == ordered(model)[0 if action == "lowest" else -1]
            del model[pair[0]]
        zset._check()
    assert zset.items() == ordered(model)


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from([1, 3, 100, 10**6]))
def test_a_large_set_agrees_with_a_sorted_dict(seed: int, distinct_scores: int) -> None:
    rng = Random(seed)
    zset, model = large(3 * BLOCK_MAX_ENTRIES, rng, distinct_scores)
    for _ in range(600):
        member, score = b"member:%d" % rng.randrange(4000), float(rng.randrange(distinct_scores))
        assert zset.put(member, score) == model.get(member)
        model[member] = score
        gone = b"member:%d" % rng.randrange(4000)
        assert zset.remove(gone) == (model.pop(gone, None) is not None)
    zset._check()
    expected = ordered(model)
    assert zset.items() == expected
    for rank in rng.sample(range(len(expected)), 50):
        assert zset.rank(expected[rank][0]) == rank
        assert zset.items(rank, min(rank + 900, len(expected))) == expected[rank : rank + 900]


@given(st.dictionaries(MEMBERS, SCORES, max_size=30), SCORES)
def test_score_bounds_divide_the_order(model: dict[bytes, float], score: float) -> None:
    index = ScoreIndex(model.items())
    assert index.rank(index.before_score(score)) == sum(other < score for other in model.values())
    assert index.rank(index.after_score(score)) == sum(other <= score for other in model.values())


@given(st.sets(MEMBERS, max_size=30), MEMBERS)
def test_member_bounds_divide_the_order_of_equal_scores(members: set[bytes], member: bytes) -> None:
    index = ScoreIndex((each, 0.0) for each in members)
    assert index.rank(index.before_member(member)) == sum(other < member for other in members)
    assert index.rank(index.after_member(member)) == sum(other <= member for other in members)


@pytest.mark.parametrize("distinct_scores", [1, 10**6])
def test_removing_ranks_down_to_nothing_keeps_the_laws(distinct_scores: int) -> None:
    rng = Random(7)
    zset, model = large(5000, rng, distinct_scores)
    while model:
        start = rng.randrange(len(model))
        stop = min(len(model), start + rng.randrange(1, 900))
        expected = [member for member, _ in ordered(model)[start:stop]]
        assert zset.remove_ranks(start, stop) == expected
        for member in expected:
            del model[member]
        zset._check()


def test_ascending_scores_fill_blocks_and_popping_empties_them() -> None:
    zset = SortedSet()
    for number in range(3000):
        zset.put(b"%d" % number, float(number))
    zset._check()
    assert [zset.pop_lowest()[0] for _ in range(3000)] == [b"%d" % number for number in range(3000)]
    zset._check()
    zset.put(b"again", 1.0)
    assert zset.items() == [(b"again", 1.0)]


def test_a_small_set_is_ordered_only_when_asked() -> None:
    zset = SortedSet()
    for number in range(UNORDERED_MAX_ENTRIES):
        zset.put(b"%d" % number, 1.0)
    assert zset._index is None
    zset.put(b"one more", 1.0)
    assert zset._index is not None
    assert isinstance(zset.scores, Table)
    zset._check()


def test_a_listpack_becomes_a_skiplist_and_never_turns_back() -> None:
    zset = SortedSet()
    zset.put(b"a", 1.0)
    zset.outgrow(2, 4, 1)
    assert zset.encoding is LISTPACK
    zset.put(b"longer", 1.0)
    zset.outgrow(2, 4, 6)
    assert zset.encoding is SKIPLIST
    zset.remove(b"longer")
    zset.outgrow(2, 4, 0)
    assert zset.encoding is SKIPLIST


def test_a_copy_is_independent() -> None:
    zset = SortedSet({b"a": 1.0, b"b": 2.0}, SKIPLIST)
    copied = zset.copy()
    zset.remove(b"a")
    assert copied.items() == [(b"a", 1.0), (b"b", 2.0)]
    assert copied.encoding is SKIPLIST


def test_a_scan_returns_what_was_there_throughout() -> None:
    rng = Random(3)
    zset, model = large(4000, rng, 100)
    cursor, seen = 0, set()
    while True:
        cursor, pairs = zset.scan(cursor, 10)
        seen.update(member for member, _ in pairs)
        if not cursor:
            break
        number = rng.randrange(2000)
        zset.remove(b"member:%d" % number)
        zset.put(b"new:%d" % cursor, 1.0)
    assert {member for member in model if int(member.split(b":")[1]) >= 2000} <= seen


def test_random_members_are_members() -> None:
    zset, model = large(2000, Random(1), 5)
    rng = Random(2)
    assert {zset.random_member(rng) for _ in range(100)} <= set(model)
