"""Tables behave as dicts, keep their laws, and their scans miss nothing that was there all the time."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from pyredis_cluster.node.values.table import (
    DICT_MAX_ENTRIES,
    PARTITION_MAX_ENTRIES,
    SCAN_EMPTY_FACTOR,
    Table,
    grown,
    random_key,
    scan_step,
)


class Scan:
    """An iteration that runs while the table changes, and what it must return."""

    def __init__(self, present: set[bytes]) -> None:
        self.cursor = 0
        self.kept = set(present)
        """Keys that were there at its start and were never removed since."""
        self.ever = set(present)
        """Keys that were there at some moment since its start."""
        self.seen: set[bytes] = set()


class TableMachine(RuleBasedStateMachine):
    """A table and a dict under the same operations, with any number of scans running beside them."""

    scans = Bundle("scans")

    @initialize(size=st.sampled_from([0, 5, 200, 1500]))
    def fill(self, size: int) -> None:
        self.model = {b"initial:%d" % number: number for number in range(size)}
        self.table: Table[int] = Table(dict(self.model))
        self.running: list[Scan] = []

    @rule(start=st.integers(0, 3000), count=st.integers(1, 400))
    def insert(self, start: int, count: int) -> None:
        for number in range(start, start + count):
            key = b"key:%d" % number
            self.table[key] = self.model[key] = number
            for scan in self.running:
                scan.ever.add(key)

    def _removed(self, keys: list[bytes]) -> None:
        for scan in self.running:
            scan.kept.difference_update(keys)

    @rule(share=st.floats(0, 1), seed=st.integers(0, 9))
    def remove_some(self, share: float, seed: int) -> None:
        keys = Random(seed).sample(sorted(self.model), int(share * len(self.model)))
        for key in keys:
            assert self.table.pop(key) == self.model.pop(key)
        self._removed(keys)

    @rule(number=st.integers(0, 3400))
    def remove_one(self, number: int) -> None:
        key = b"key:%d" % number
        assert (key in self.table) == (key in self.model)
        assert self.table.get(key) == self.model.get(key)
        if key in self.model:
            del self.table[key], self.model[key]
            self._removed([key])
        else:
            assert self.table.pop(key) is None
            with pytest.raises(KeyError):
                del self.table[key]

    @rule(target=scans)
    def start_scan(self) -> Scan:
        scan = Scan(set(self.model))
        self.running.append(scan)
        return scan

    @rule(scan=scans, count=st.sampled_from([1, 10, 100]))
    def go_on(self, scan: Scan, count: int) -> None:
        if scan not in self.running:
            return
        scan.cursor, items = self.table.scan(scan.cursor, count)
        assert len(items) < count + 4 * PARTITION_MAX_ENTRIES
        for key, value in items:
            assert self.model[key] == value
            scan.seen.add(key)
        if scan.cursor == 0:
            self._finish(scan)

    @rule(scan=consumes(scans))
    def run_to_the_end(self, scan: Scan) -> None:
        while scan in self.running:
            self.go_on(scan, 50)

    def _finish(self, scan: Scan) -> None:
        self.running.remove(scan)
        assert scan.kept <= scan.seen <= scan.ever

    @invariant()
    def laws_hold(self) -> None:
        if hasattr(self, "table"):
            self.table._check()
            assert len(self.table) == len(self.model)
            assert dict(self.table.items()) == self.model
            assert {*self.table} == {*self.table.keys()} == self.model.keys()


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=40, stateful_step_count=25)


def test_a_dict_turns_into_a_table_past_the_bound() -> None:
    entries: dict[bytes, int] = {b"%d" % number: number for number in range(DICT_MAX_ENTRIES)}
    assert grown(entries) is entries
    entries[b"one more"] = 1
    table = grown(entries)
    assert isinstance(table, Table)
    assert dict(table.items()) == entries
    assert grown(table) is table


def test_a_dict_is_scanned_whole_whatever_the_cursor() -> None:
    entries: dict[bytes, int] = {b"a": 1, b"b": 2}
    assert scan_step(entries, 12345, 1) == (0, [(b"a", 1), (b"b", 2)])


def test_a_scan_of_an_emptied_table_is_bounded_and_ends() -> None:
    table: Table[int] = Table({b"%d" % number: number for number in range(100_000)})
    for number in range(100_000):
        del table[b"%d" % number]
    calls = 1
    cursor, items = table.scan(0, 10)
    while cursor:
        calls += 1
        cursor, more = table.scan(cursor, 10)
        items += more
    assert items == []
    assert calls < 100_000 / PARTITION_MAX_ENTRIES * 8 / SCAN_EMPTY_FACTOR


@pytest.mark.parametrize("size", [3, 40, 3000])
def test_every_key_is_as_likely_as_any_other(size: int) -> None:
    rng = Random(7)
    mapping = grown({b"k%d" % number: number for number in range(size)})
    draws = 20 * size
    counts = Counter(random_key(mapping, rng) for _ in range(draws))
    expected = draws / size
    chi_squared = sum((counts[key] - expected) ** 2 / expected for key in mapping)
    assert chi_squared < size + 6 * (2 * size) ** 0.5


def test_a_random_key_of_nothing_is_an_error() -> None:
    for empty in ({}, Table[int]()):
        with pytest.raises(KeyError):
            random_key(empty, Random(1))


def test_setdefault_and_clear() -> None:
    table: Table[int] = Table({b"a": 1})
    assert table.setdefault(b"a", 2) == 1
    assert table.setdefault(b"b", 2) == 2
    assert table[b"b"] == 2
    table.clear()
    assert len(table) == 0
    table._check()
