"""The recorded load's bookkeeping: groups of keys, gaps between successes, writes that are gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from pyredis_cluster.admin import Access, NodeLink
from pyredis_cluster.gossip.slots import SLOT_COUNT, key_slot
from pyredis_cluster.load import Acknowledged, longest_gap_s, lost_writes, make_groups
from pyredis_cluster.plan import Address


def test_each_group_has_tags_in_different_slots_of_its_shard() -> None:
    groups = make_groups({"a": range(8000), "b": range(8000, SLOT_COUNT)}, "s", 50)
    for group, low, high in zip(groups, (0, 8000), (8000, SLOT_COUNT), strict=True):
        assert len(set(group.slots)) == 50
        assert all(low <= slot < high for slot in group.slots)


def test_a_key_is_in_the_slot_that_its_group_says() -> None:
    (group,) = make_groups({"a": range(SLOT_COUNT)}, "s", 7)
    for number in range(20):
        assert key_slot(group.key(number).encode()) == group.slots[number % 7]


def test_keys_of_different_series_and_numbers_differ() -> None:
    first, second = (make_groups({"a": range(SLOT_COUNT)}, series, 7)[0] for series in ("s", "t"))
    keys = [group.key(number) for group in (first, second) for number in range(100)]
    assert len(set(keys)) == len(keys)


def test_a_shard_without_slots_has_no_group() -> None:
    assert [group.name for group in make_groups({"a": range(SLOT_COUNT), "b": []}, "s", 4)] == ["a"]


@pytest.mark.parametrize(
    ("times_s", "gap_s"), [([], 10.0), ([1.0, 2.0, 9.5], 7.5), ([6.0], 6.0), ([1.0], 9.0), ([-5.0, 12.0], 10.0)]
)
def test_the_longest_gap_counts_the_time_before_the_first_and_after_the_last_success(
    times_s: list[float], gap_s: float
) -> None:
    writes = [Acknowledged("k", b"v", 1, at_s) for at_s in times_s] + [Acknowledged("other", b"v", 2, 5.0)]
    assert longest_gap_s(writes, frozenset({1}), 0.0, 10.0) == gap_s


class HoldingLink(NodeLink):
    """A link to a node that holds some keys."""

    __slots__ = ("_values",)

    def __init__(self, port: int, values: dict[str, bytes]) -> None:
        super().__init__(Address("127.0.0.1", port), Access())
        self._values = values

    def pipeline(self, commands: Iterable[Sequence[Any]], timeout_ms: float | None = None) -> list[Any]:
        return [self._values.get(command[1]) for command in commands]


def test_a_write_is_lost_where_its_slots_primary_does_not_have_it_or_has_another_value() -> None:
    writes = [
        Acknowledged("a", b"v", 1, 0.0),
        Acknowledged("b", b"v", 2, 0.0),
        Acknowledged("c", b"v", 2, 0.0),
        Acknowledged("d", b"v", 2, 0.0),
    ]
    owners: dict[int, NodeLink] = {
        1: HoldingLink(7000, {"a": b"v", "c": b"v"}),
        2: HoldingLink(7001, {"b": b"v", "d": b"old"}),
    }
    assert lost_writes(writes, owners) == writes[2:]
