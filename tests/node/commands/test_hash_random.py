"""HRANDFIELD: distinct or repeated fields, fair ones, in RESP2's and RESP3's shapes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from pyredis_cluster.node.reply import RESP3

if TYPE_CHECKING:
    from tests.node.conftest import Node

SIZES = [1, 7, 300, 3000]


def fill(node: Node, count: int) -> set[bytes]:
    fields = {b"f%d" % number for number in range(count)}
    node.ask("HSET", "h", *[text for field in fields for text in (field, field + b"v")])
    return fields


def test_a_missing_key(node: Node) -> None:
    assert node.ask("HRANDFIELD", "none") is None
    assert node.ask("HRANDFIELD", "none", 3) == []
    assert node.ask("HRANDFIELD", "none", -3, "WITHVALUES") == []


@pytest.mark.parametrize("size", SIZES)
def test_positive_counts_are_distinct_and_negative_ones_exact(node: Node, size: int) -> None:
    fields = fill(node, size)
    assert node.ask("HRANDFIELD", "h") in fields
    for count in (0, 1, 2, size // 2, size, size + 5):
        chosen = node.ask("HRANDFIELD", "h", count)
        assert len(chosen) == len(set(chosen)) == min(count, size)
        assert set(chosen) <= fields
        repeated = node.ask("HRANDFIELD", "h", -count)
        assert len(repeated) == count
        assert set(repeated) <= fields


def test_values_come_flat_in_resp2_and_in_pairs_in_resp3(node: Node) -> None:
    fill(node, 3)
    flat = node.ask("HRANDFIELD", "h", 2, "withvalues")
    assert len(flat) == 4
    assert all(value == field + b"v" for field, value in zip(flat[::2], flat[1::2], strict=True))
    node.client.resp = RESP3
    pairs = node.ask("HRANDFIELD", "h", -5, "WITHVALUES")
    assert len(pairs) == 5
    assert all(value == field + b"v" for field, value in pairs)


@pytest.mark.parametrize(("size", "count"), [(10, -1), (10, 1), (10, 5), (600, -1), (600, 150)])
def test_every_field_is_as_likely_as_any_other(node: Node, size: int, count: int) -> None:
    fields = fill(node, size)
    rounds = max(1, 60 * size // abs(count))
    counts = Counter(field for _ in range(rounds) for field in node.ask("HRANDFIELD", "h", count))
    expected = rounds * abs(count) / size
    chi_squared = sum((counts[field] - expected) ** 2 / expected for field in fields)
    assert chi_squared < size + 6 * (2 * size) ** 0.5


def test_errors(node: Node) -> None:
    fill(node, 3)
    assert node.error("HRANDFIELD", "h", "x") == "ERR value is not an integer or out of range"
    assert node.error("HRANDFIELD", "h", 1, "FOO") == "ERR syntax error"
    assert node.error("HRANDFIELD", "h", 1, "WITHVALUES", "X") == "ERR syntax error"
    assert node.error("HRANDFIELD", "h", -(2**63)).startswith("ERR value is out of range")
    assert node.error("HRANDFIELD", "h", -(2**62) - 1, "WITHVALUES") == "ERR value is out of range"
