"""The list value against a plain Python list, and its encoding at Redis's thresholds."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.node.values.list import LISTPACK, QUICKLIST, List

FILL = -2

ELEMENTS = st.sampled_from([b"a", b"b", b"c", b"x" * 70, b"12345", b"y" * 5000])
FILLS = st.sampled_from([-5, -2, -1, 0, 1, 3, 100])


class Model:
    """A `List` and the Python list that it must equal, driven together."""

    def __init__(self, fill: int) -> None:
        self.fill = fill
        self.value = List()
        self.expected: list[bytes] = []

    def check(self) -> None:
        self.value._check()
        assert [*self.value] == self.expected
        assert len(self.value) == len(self.expected)

    def push(self, elements: list[bytes], left: bool) -> None:
        if left:
            self.value.extendleft(elements, self.fill)
            self.expected[:0] = reversed(elements)
        else:
            self.value.extend(elements, self.fill)
            self.expected += elements

    def push_one(self, element: bytes, left: bool) -> None:
        if left:
            self.value.appendleft(element, self.fill)
            self.expected.insert(0, element)
        else:
            self.value.append(element, self.fill)
            self.expected.append(element)

    def pop(self, left: bool) -> None:
        if self.expected:
            pop = self.value.popleft if left else self.value.pop
            assert pop(self.fill) == self.expected.pop(0 if left else -1)

    def take(self, count: int, left: bool) -> None:
        source = self.expected if left else self.expected[::-1]
        assert self.value.take(count, self.fill, left=left) == source[:count]
        self.expected = source[count:] if left else source[count:][::-1]

    def insert(self, pivot: bytes, element: bytes, after: bool) -> None:
        there = pivot in self.expected
        assert self.value.insert(pivot, element, self.fill, after=after) is there
        if there:
            self.expected.insert(self.expected.index(pivot) + after, element)

    def replace(self, index: int, element: bytes) -> None:
        if -len(self.expected) <= index < len(self.expected):
            self.value.replace(index, element, self.fill)
            self.expected[index] = element
        else:
            with pytest.raises(IndexError):
                self.value.replace(index, element, self.fill)

    def remove(self, element: bytes, count: int) -> None:
        found = [at for at, item in enumerate(self.expected) if item == element]
        gone = found[count:] if count < 0 else found[: count or None]
        assert self.value.remove(element, count, self.fill) == len(gone)
        self.expected = [item for at, item in enumerate(self.expected) if at not in gone]

    def trim(self, start: int, stop: int) -> None:
        start, stop = sorted((min(start, len(self.expected)), min(stop, len(self.expected))))
        removed = len(self.expected) - (stop - start)
        assert self.value.trim(start, stop, self.fill) == removed
        self.expected = self.expected[start:stop]


STEPS = st.one_of(
    st.tuples(st.just("push"), st.lists(ELEMENTS, max_size=100), st.booleans()),
    st.tuples(st.just("push_one"), ELEMENTS, st.booleans()),
    st.tuples(st.just("pop"), st.booleans()),
    st.tuples(st.just("take"), st.integers(1, 90), st.booleans()),
    st.tuples(st.just("insert"), ELEMENTS, ELEMENTS, st.booleans()),
    st.tuples(st.just("replace"), st.integers(-8, 8), ELEMENTS),
    st.tuples(st.just("remove"), ELEMENTS, st.integers(-30, 30)),
    st.tuples(st.just("trim"), st.integers(0, 150), st.integers(0, 150)),
)


@given(FILLS, st.lists(STEPS, max_size=25))
def test_a_list_equals_a_python_list_after_any_operations(fill: int, steps: list[tuple[object, ...]]) -> None:
    model = Model(fill)
    for name, *arguments in steps:
        getattr(model, str(name))(*arguments)
        model.check()


@given(
    st.lists(ELEMENTS, max_size=40), ELEMENTS, st.booleans(), st.integers(0, 3), st.integers(1, 5), st.integers(0, 40)
)
def test_positions_are_those_of_the_matches_in_the_order_of_the_search(
    elements: list[bytes], wanted: bytes, backward: bool, skip: int, count: int, limit: int
) -> None:
    value = List.of(elements, FILL)
    order = range(len(elements) - 1, -1, -1) if backward else range(len(elements))
    matches = [index for index in order[:limit] if elements[index] == wanted]
    found = value.positions(wanted, backward=backward, skip=skip, count=count, limit=limit)
    assert found == matches[skip : skip + count]


@pytest.mark.parametrize("start", [0, 5, 999, 1001, 2500, 4000, 4990])
def test_a_slice_is_the_same_wherever_it_starts(start: int) -> None:
    elements = [b"%d" % number for number in range(5000)]
    value = List.of(elements, FILL)
    for stop in (start, start + 1, min(start + 600, 5000), 5000):
        assert value.slice(start, stop) == elements[start:stop]
    assert [*value] == elements


def test_the_size_class_limits_a_listpack() -> None:
    for fill, size in ((-1, 4096), (-2, 8192), (-3, 16384), (-4, 32768), (-5, 65536), (-6, 65536)):
        value = List()
        value.append(b"x" * (size - 7), fill)
        assert value.encoding is LISTPACK
        value.append(b"", fill)
        assert value.encoding is QUICKLIST


def test_the_entries_limit_a_listpack_and_zero_counts_as_one() -> None:
    for fill, entries in ((0, 1), (1, 1), (3, 3)):
        value = List()
        for _ in range(entries):
            value.append(b"a", fill)
        assert value.encoding is LISTPACK
        value.append(b"a", fill)
        assert value.encoding is QUICKLIST


def test_a_quicklist_turns_back_at_half_of_the_limit() -> None:
    value = List.of([b"a", b"b", b"c", b"d"], 3)
    assert value.encoding is QUICKLIST
    value.pop(3)
    value.pop(3)
    assert value.encoding is QUICKLIST
    value.pop(3)
    assert value.encoding is LISTPACK
    large = List.of([b"x" * 4000, b"y" * 3000], -1)
    large.popleft(-1)
    assert large.encoding is QUICKLIST
    large.replace(0, b"y" * 2000, -1)
    assert large.encoding is LISTPACK


def test_a_copy_is_independent_and_keeps_the_encoding() -> None:
    value = List.of([b"a", b"b"], 1)
    twin = value.copy()
    twin.append(b"c", 1)
    assert [*value] == [b"a", b"b"]
    assert twin.encoding is value.encoding is QUICKLIST
    twin._check()


def long_model(count: int = 6000) -> Model:
    model = Model(FILL)
    model.push([b"%d" % (number % 4000) for number in range(count)], left=False)
    while model.value.pack_more():
        pass
    assert model.value.hidden > count // 2
    model.check()
    return model


@pytest.mark.parametrize("seed", range(4))
def test_a_list_with_blocks_equals_a_python_list_after_any_operations(seed: int) -> None:
    rng = Random(seed)
    model = long_model()
    value, expected = model.value, model.expected
    for step in range(300):
        match rng.randrange(9):
            case 0 | 1:
                model.push([b"new:%d" % number for number in range(rng.choice((1, 7, 300)))], left=rng.random() < 0.5)
                expected = model.expected
            case 2:
                left = rng.random() < 0.5
                taken = value.take(rng.choice((1, 5, 700)), FILL, left=left)
                assert taken == (expected[: len(taken)] if left else expected[: -len(taken) - 1 : -1])
                expected[:] = expected[len(taken) :] if left else expected[: -len(taken)]
            case 3:
                start = rng.randrange(len(expected))
                stop = start + rng.choice((0, 1, 100, 3000))
                stop = min(stop, len(expected))
                assert value.slice(start, stop) == expected[start:stop]
            case 4:
                index = rng.randrange(-len(expected), len(expected))
                assert value[index] == expected[index]
                value.replace(index, b"at:%d" % step, FILL)
                expected[index] = b"at:%d" % step
            case 5:
                pivot, after = rng.choice(expected), rng.random() < 0.5
                assert value.insert(pivot, b"in:%d" % step, FILL, after=after)
                expected.insert(expected.index(pivot) + after, b"in:%d" % step)
            case 6:
                element, count = rng.choice(expected), rng.choice((-1, 0, 1, 2))
                indexes = [index for index, item in enumerate(expected) if item == element]
                gone = indexes[count:] if count < 0 else indexes[:count] if count else indexes
                assert value.remove(element, count, FILL) == len(gone)
                for index in reversed(gone):
                    del expected[index]
            case 7:
                element, backward = rng.choice(expected), rng.random() < 0.5
                indexes = [index for index, item in enumerate(expected) if item == element]
                found = value.positions(element, backward=backward, skip=0, count=9, limit=len(expected))
                assert found == (indexes[::-1] if backward else indexes)[:9]
            case _:
                value.pack_more()
        assert len(value) == len(expected)
        assert value.slice(0, 600) == expected[:600]
        if step % 20 == 0:
            model.check()
    twin = value.copy()
    start, stop = len(expected) // 3, len(expected) // 2
    assert value.trim(start, stop, FILL) == len(expected) - (stop - start)
    assert [*value] == expected[start:stop]
    assert [*twin] == expected
    twin._check()
    value._check()


def test_a_list_that_is_filled_at_one_end_and_emptied_at_the_other_keeps_its_blocks() -> None:
    model = long_model()
    for number in range(20_000):
        model.value.appendleft(b"%d" % number, FILL)
        model.value.pop(FILL)
    assert len(model.value) == 6000
    assert model.value.hidden > 3000
    model.value._check()


def test_a_list_that_is_only_emptied_is_not_packed_meanwhile() -> None:
    value = List()
    for _ in range(50_000):
        value.append(b"xxx", FILL)
    packed = 0
    while len(value) > 2000:
        hidden = value.hidden
        value.pop(FILL)
        packed += value.hidden > hidden
    assert packed <= 1, "what came before the first pop may be packed once"
    value._check()


@pytest.mark.parametrize("size_bytes", [3, 16])
@pytest.mark.parametrize("way", ["loaded", "pushed one by one", "pushed at once"])
def test_the_whole_inside_of_a_long_list_stands_in_blocks(way: str, size_bytes: int) -> None:
    elements = [b"%0*d" % (size_bytes, number % 1000) for number in range(50_000)]
    if way == "loaded":
        value = List.of(elements, FILL)
    elif way == "pushed at once":
        value = List()
        value.extend(elements, FILL)
    else:
        value = List()
        for element in elements:
            value.append(element, FILL)
    assert len(value.items) < 6000
    assert [*value] == elements
    value._check()


def test_a_list_at_rest_is_packed_step_by_step_wherever_blocks_were_opened() -> None:
    value = List.of([b"%d" % number for number in range(100_000)], FILL)
    for index in range(20_000, 70_000, 128):
        value.replace(index, b"new", FILL)
    elements, entries = [*value], len(value.items)
    assert entries > 50_000
    steps = 1
    while value.pack_more():
        steps += 1
    assert steps > 5
    assert len(value.items) < entries // 5
    assert [*value] == elements
    value._check()


def test_large_elements_stand_in_no_blocks() -> None:
    value = List.of([b"x" * 1000] * 5000, FILL)
    assert value.hidden == 0
