"""Hash commands: replies, encodings, errors in Redis's words, and what is propagated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyredis_cluster.node.reply import RESP3

if TYPE_CHECKING:
    from tests.node.conftest import Node

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


def fill(node: Node, key: str, count: int) -> dict[bytes, bytes]:
    """A hash of so many fields, set in one command."""
    fields = {b"field:%d" % number: b"%d" % number for number in range(count)}
    node.ask("HSET", key, *[text for item in fields.items() for text in item])
    return fields


def encoding(node: Node, key: str = "h") -> bytes:
    reply: bytes = node.ask("OBJECT", "ENCODING", key)
    return reply


def test_hset_counts_new_fields_and_hmset_answers_ok(node: Node) -> None:
    assert node.ask("HSET", "h", "a", "1") == 1
    assert node.ask("HSET", "h", "a", "2") == 0
    assert node.ask("HSET", "h", "a", "3", "b", "1", "c", "1") == 2
    assert node.ask("HMSET", "h", "d", "1") == b"OK"
    assert node.ask("HGETALL", "h") == [b"a", b"3", b"b", b"1", b"c", b"1", b"d", b"1"]


def test_pairs_are_required(node: Node) -> None:
    assert node.error("HSET", "h", "a", "1", "b") == "ERR wrong number of arguments for 'hset' command"
    assert node.error("HMSET", "h", "a", "1", "b") == "ERR wrong number of arguments for 'hmset' command"
    assert node.ask("EXISTS", "h") == 0


def test_each_pair_and_each_removed_field_counts_as_a_change(node: Node) -> None:
    before = node.server.keyspace.dirty
    node.ask("HSET", "h", "a", "1", "b", "2", "c", "3")
    node.ask("HSET", "h", "a", "1")
    node.ask("HDEL", "h", "a", "b", "x")
    assert node.server.keyspace.dirty == before + 6


@pytest.mark.parametrize(
    "command",
    [
        ("HSET", "s", "f", "v"),
        ("HSET", "s", "f", "v", "g", "w"),
        ("HSETNX", "s", "f", "v"),
        ("HGET", "s", "f"),
        ("HMGET", "s", "f"),
        ("HGETALL", "s"),
        ("HKEYS", "s"),
        ("HVALS", "s"),
        ("HLEN", "s"),
        ("HSTRLEN", "s", "f"),
        ("HEXISTS", "s", "f"),
        ("HDEL", "s", "f"),
        ("HINCRBY", "s", "f", "1"),
        ("HINCRBYFLOAT", "s", "f", "1"),
        ("HRANDFIELD", "s"),
        ("HRANDFIELD", "s", "2"),
        ("HSCAN", "s", "0"),
    ],
)
def test_another_type_is_refused(node: Node, command: tuple[str, ...]) -> None:
    node.ask("SET", "s", "v")
    assert node.error(*command) == WRONG_TYPE
    assert node.ask("GET", "s") == b"v"


def test_reading_what_is_not_there(node: Node) -> None:
    for key in ("h", "none"):
        node.ask("HSET", "h", "a", "1")
        assert node.ask("HGET", key, "x") is None
        assert node.ask("HMGET", key, "x", "y") == [None, None]
        assert node.ask("HSTRLEN", key, "x") == 0
        assert node.ask("HEXISTS", key, "x") == 0
        assert node.ask("HDEL", key, "x", "y") == 0
    assert node.ask("HGETALL", "none") == []
    assert node.ask("HKEYS", "none") == node.ask("HVALS", "none") == []
    assert node.ask("HLEN", "none") == 0
    assert node.ask("HSCAN", "none", 0) == [b"0", []]


def test_reading_what_is_there(node: Node) -> None:
    node.ask("HSET", "h", "a", "one", "b", "")
    assert node.ask("HGET", "h", "a") == b"one"
    assert node.ask("HMGET", "h", "b", "x", "a") == [b"", None, b"one"]
    assert node.ask("HKEYS", "h") == [b"a", b"b"]
    assert node.ask("HVALS", "h") == [b"one", b""]
    assert node.ask("HLEN", "h") == 2
    assert node.ask("HSTRLEN", "h", "a") == 3
    assert node.ask("HEXISTS", "h", "b") == 1


def test_hgetall_is_a_map_in_resp3(node: Node) -> None:
    node.ask("HSET", "h", "a", "1")
    node.client.resp = RESP3
    assert node.run(b"HGETALL", b"h") == b"%1\r\n$1\r\na\r\n$1\r\n1\r\n"
    assert node.run(b"HGETALL", b"none") == b"%0\r\n"


def test_hsetnx_sets_only_new_fields(node: Node) -> None:
    assert node.ask("HSETNX", "h", "a", "1") == 1
    assert node.ask("HSETNX", "h", "a", "2") == 0
    assert node.ask("HGET", "h", "a") == b"1"
    assert node.propagated() == [[b"HSETNX", b"h", b"a", b"1"]]


def test_the_last_field_takes_the_key_with_it(node: Node) -> None:
    node.ask("HSET", "h", "a", "1", "b", "2")
    assert node.ask("HDEL", "h", "a", "b", "c") == 2
    assert node.ask("EXISTS", "h") == 0


def test_hincrby(node: Node) -> None:
    assert node.ask("HINCRBY", "h", "n", 5) == 5
    assert node.ask("HINCRBY", "h", "n", -7) == -2
    node.ask("HSET", "h", "high", 2**63 - 1, "text", "x", "empty", "")
    assert node.error("HINCRBY", "h", "high", 1) == "ERR increment or decrement would overflow"
    assert node.error("HINCRBY", "h", "text", 1) == "ERR hash value is not an integer"
    assert node.error("HINCRBY", "h", "empty", 1) == "ERR hash value is not an integer"
    assert node.error("HINCRBY", "h", "n", "x") == "ERR value is not an integer or out of range"


def test_hincrbyfloat_is_propagated_as_its_result(node: Node) -> None:
    assert node.ask("HINCRBYFLOAT", "h", "n", "2.5") == b"2.5"
    assert node.ask("HINCRBYFLOAT", "h", "n", "-0.6") == b"1.9"
    assert node.propagated() == [[b"HSET", b"h", b"n", b"2.5"], [b"HSET", b"h", b"n", b"1.9"]]
    node.ask("HSET", "h", "text", "x", "empty", "", "infinite", "inf")
    assert node.error("HINCRBYFLOAT", "h", "text", 1) == "ERR hash value is not a float"
    assert node.error("HINCRBYFLOAT", "h", "empty", 1) == "ERR hash value is not a float"
    assert node.error("HINCRBYFLOAT", "h", "n", "inf") == "ERR value is NaN or Infinity"
    assert node.error("HINCRBYFLOAT", "h", "infinite", 1) == "ERR increment would produce NaN or Infinity"
    assert node.error("HINCRBYFLOAT", "h", "n", "x") == "ERR value is not a valid float"


def test_a_hash_outgrows_its_listpack_by_entries_and_never_returns(node: Node) -> None:
    node.server.config.hash_max_listpack_entries = 3
    for number in range(3):
        node.ask("HSET", "h", f"f{number}", "v")
    assert encoding(node) == b"listpack"
    node.ask("HSET", "h", "f0", "other")
    assert encoding(node) == b"listpack"
    node.ask("HSET", "h", "f3", "v")
    assert encoding(node) == b"hashtable"
    node.ask("HDEL", "h", "f1", "f2", "f3")
    assert encoding(node) == b"hashtable"


@pytest.mark.parametrize("pair", [("f" * 65, "v"), ("f", "v" * 65)])
def test_a_hash_outgrows_its_listpack_by_length(node: Node, pair: tuple[str, str]) -> None:
    node.ask("HSET", "h", "a", "b" * 64)
    assert encoding(node) == b"listpack"
    node.ask("HSET", "h", *pair)
    assert encoding(node) == b"hashtable"


def test_a_command_with_many_pairs_makes_a_hashtable_even_of_few_fields(node: Node) -> None:
    node.server.config.hash_max_listpack_entries = 3
    node.ask("HSET", "h", *["f", "v"] * 4)
    assert node.ask("HLEN", "h") == 1
    assert encoding(node) == b"hashtable"


@pytest.mark.parametrize("count", [5, 600, 5000])
def test_hscan_returns_every_field_that_stays(node: Node, count: int) -> None:
    fields = fill(node, "h", count)
    cursor, seen = b"0", {}
    for step in range(count + 1):
        cursor, items = node.ask("HSCAN", "h", cursor, "COUNT", 20)
        seen.update(zip(items[::2], items[1::2], strict=True))
        node.ask("HDEL", "h", f"field:{step}")
        node.ask("HSET", "h", f"new:{step}", "x")
        fields.pop(b"field:%d" % step, None)
        if cursor == b"0":
            break
    assert cursor == b"0"
    assert fields.items() <= seen.items()


def test_hscan_matches_fields_only(node: Node) -> None:
    node.ask("HSET", "h", "aa", "bb", "bb", "aa")
    assert node.ask("HSCAN", "h", 0, "MATCH", "a*") == [b"0", [b"aa", b"bb"]]
    assert node.ask("HSCAN", "h", 0, "MATCH", "*", "COUNT", 1) == [b"0", [b"aa", b"bb", b"bb", b"aa"]]
    assert node.error("HSCAN", "h", 0, "TYPE", "string") == "ERR syntax error"
    assert node.error("HSCAN", "h", 0, "COUNT", 0) == "ERR syntax error"
    assert node.error("HSCAN", "h", "x") == "ERR invalid cursor"
