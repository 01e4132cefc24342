"""Commands on whole databases: KEYS, SCAN with its guarantee, FLUSHDB and FLUSHALL, SWAPDB."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from pyredis_cluster.node.keyspace import SLOT_DICT_MAX_ENTRIES, ExpiryPolicy

if TYPE_CHECKING:
    from tests.node.conftest import Node


def scan_all(node: Node, *options: str | int) -> list[bytes]:
    found: list[bytes] = []
    cursor: Any = "0"
    while True:
        cursor, keys = node.ask("SCAN", cursor, *options)
        found += keys
        if cursor == b"0":
            return found


def test_keys_matches_patterns_and_hides_expired_keys(node: Node) -> None:
    node.ask("MSET", "hello", 1, "hallo", 1, "hxxlo", 1, "other", 1)
    assert sorted(node.ask("KEYS", "h?llo")) == [b"hallo", b"hello"]
    assert sorted(node.ask("KEYS", "h*lo")) == [b"hallo", b"hello", b"hxxlo"]
    assert node.ask("KEYS", "h[ae]llo\\") == []
    assert len(node.ask("KEYS", "*")) == 4
    node.ask("PEXPIRE", "other", 10)
    node.advance(10)
    assert len(node.ask("KEYS", "*")) == 3
    assert node.client.db.peek(b"other") is not None


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_scan_returns_every_key_exactly_once_when_nothing_changes(node: Node, count: int) -> None:
    keys = {b"key:%d" % number for number in range(2000)}
    node.ask("MSET", *[text for key in keys for text in (key, b"v")])
    found = scan_all(node, "COUNT", count)
    assert sorted(found) == sorted(keys)


@pytest.mark.parametrize("prefix", ["", "{one slot}"])
def test_scan_misses_no_key_that_stays_whatever_else_changes(node: Node, prefix: str) -> None:
    rng = Random(3)
    count = SLOT_DICT_MAX_ENTRIES + 1500
    keys = [f"{prefix}key:{number}".encode() for number in range(count)]
    node.ask("MSET", *[text for key in keys for text in (key, b"v")])
    staying = set(keys)
    seen: set[bytes] = set()
    cursor: Any = "0"
    for step in range(10_000):
        cursor, found = node.ask("SCAN", cursor, "COUNT", 30)
        assert len(found) < SLOT_DICT_MAX_ENTRIES
        seen.update(found)
        if cursor == b"0":
            break
        removed = rng.sample(sorted(staying), 12) if len(staying) > 200 else []
        if removed:
            node.ask("DEL", *removed)
        staying.difference_update(removed)
        node.ask("MSET", *[text for more in range(10) for text in (f"{prefix}new:{step}:{more}", "v")])
    assert cursor == b"0"
    assert staying <= seen


def test_scan_work_is_bounded_in_a_slot_of_many_keys(node: Node) -> None:
    for start in range(0, 20_000, 1000):
        node.ask("MSET", *[text for n in range(start, start + 1000) for text in (f"{{t}}{n}", "v")])
    _, found = node.ask("SCAN", 0, "COUNT", 10)
    assert 10 <= len(found) < 500
    assert len(scan_all(node, "COUNT", 100)) == 20_000


def test_scan_filters_by_pattern_and_type(node: Node) -> None:
    node.ask("MSET", "a", 1, "b", 2)
    node.ask("HSET", "h", "f", "v")
    node.ask("SADD", "ab", "m")
    assert sorted(scan_all(node, "MATCH", "a*")) == [b"a", b"ab"]
    assert sorted(scan_all(node, "TYPE", "String")) == [b"a", b"b"]
    assert scan_all(node, "MATCH", "a*", "TYPE", "set", "COUNT", 1) == [b"ab"]
    assert scan_all(node, "TYPE", "unknown") == []
    assert len(scan_all(node, "MATCH", "*")) == 4


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("x",), "ERR invalid cursor"),
        (("0", "COUNT"), "ERR syntax error"),
        (("0", "COUNT", "0"), "ERR syntax error"),
        (("0", "COUNT", "x"), "ERR value is not an integer or out of range"),
        (("0", "TYPE"), "ERR syntax error"),
        (("0", "FOO", "1"), "ERR syntax error"),
    ],
)
def test_scan_errors(node: Node, args: tuple[str, ...], error: str) -> None:
    assert node.error("SCAN", *args) == error


def test_scan_takes_any_cursor(node: Node) -> None:
    node.ask("SET", "a", 1)
    for cursor in (1, 16383, 2**40, 2**64 - 1):
        node.ask("SCAN", cursor)


@pytest.mark.parametrize("options", [(), ("TYPE", "string")])
def test_scan_deletes_expired_keys_on_a_primary_only(node: Node, options: tuple[str, ...]) -> None:
    node.ask("MSET", "a", 1, "b", 2)
    node.ask("PEXPIRE", "a", 10)
    node.advance(10)
    node.server.keyspace.expiry_policy = ExpiryPolicy.HIDE
    assert scan_all(node, *options) == [b"b"]
    assert node.ask("DBSIZE") == 2
    node.server.keyspace.expiry_policy = ExpiryPolicy.DELETE
    assert scan_all(node, *options) == [b"b"]
    assert node.ask("DBSIZE") == 1


@pytest.mark.parametrize("option", [(), ("SYNC",), ("async",)])
def test_flushing_empties_and_is_always_propagated(node: Node, option: tuple[str, ...]) -> None:
    node.ask("MSET", *[text for n in range(300) for text in (f"k{n}", "v")])
    node.ask("COPY", "k0", "k0", "DB", 1)
    node.ask("EXPIRE", "k1", 100)
    node.propagated()
    assert node.ask("FLUSHDB", *option) == b"OK"
    assert node.ask("DBSIZE") == 0
    assert len(node.server.keyspace.databases[1]) == 1
    assert node.ask("FLUSHALL", *option) == b"OK"
    assert len(node.server.keyspace.databases[1]) == 0
    assert node.ask("FLUSHALL", *option) == b"OK"
    assert [command[0] for command in node.propagated()] == [b"FLUSHDB", b"FLUSHALL", b"FLUSHALL"]


def test_flush_options_are_checked_first(node: Node) -> None:
    node.ask("SET", "k", "v")
    assert node.error("FLUSHALL", "NOW") == "ERR syntax error"
    assert node.error("FLUSHDB", "ASYNC", "SYNC") == "ERR syntax error"
    assert node.ask("DBSIZE") == 1


def test_a_lazy_flush_is_freed_in_steps(node: Node) -> None:
    node.ask("MSET", *[text for n in range(5000) for text in (f"k{n}", "v")])
    node.ask("FLUSHALL", "ASYNC")
    lazy_free = node.server.reclaimer.lazy_free
    assert lazy_free.pending
    steps = 0
    while lazy_free.step(lambda: False):
        steps += 1
    assert steps > 5
    assert not lazy_free.pending


def test_swapdb_exchanges_databases(node: Node) -> None:
    node.ask("SET", "a", "1")
    assert node.ask("SWAPDB", 0, 1) == b"OK"
    assert node.ask("GET", "a") is None
    node.ask("SELECT", 1)
    assert node.ask("GET", "a") == b"1"
    assert node.ask("SWAPDB", 1, 1) == b"OK"
    assert node.ask("GET", "a") == b"1"
    assert node.error("SWAPDB", "x", 1) == "ERR invalid first DB index"
    assert node.error("SWAPDB", 0, "x") == "ERR invalid second DB index"
    assert node.error("SWAPDB", 0, 16) == "ERR DB index is out of range"


def test_cluster_mode_has_one_database(node: Node) -> None:
    node.ask("SET", "a", "1")
    node.server.config.cluster_enabled = True
    assert node.error("SWAPDB", 0, 1) == "ERR SWAPDB is not allowed in cluster mode"
    assert node.error("MOVE", "a", 1) == "ERR MOVE is not allowed in cluster mode"
