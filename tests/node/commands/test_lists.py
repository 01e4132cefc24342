"""Commands of a single list: replies, errors in Redis's words, and what is propagated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.node.conftest import Node

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_INTEGER = "ERR value is not an integer or out of range"


def elements(node: Node, key: str = "l") -> list[bytes]:
    """The whole list."""
    return node.ask("LRANGE", key, 0, -1)  # type: ignore[no-any-return]


def test_pushes_answer_the_length_and_keep_the_order(node: Node) -> None:
    assert node.ask("RPUSH", "l", "a") == 1
    assert node.ask("RPUSH", "l", "b", "c") == 3
    assert node.ask("LPUSH", "l", "x") == 4
    assert node.ask("LPUSH", "l", "y", "z") == 6
    assert elements(node) == [b"z", b"y", b"x", b"a", b"b", b"c"]


def test_each_pushed_element_counts_as_a_change(node: Node) -> None:
    before = node.server.keyspace.dirty
    node.ask("RPUSH", "l", "a", "b", "c")
    node.ask("LPUSH", "l", "a", "b")
    assert node.server.keyspace.dirty == before + 5


def test_pushx_needs_the_list(node: Node) -> None:
    assert node.ask("LPUSHX", "l", "a") == 0
    assert node.ask("RPUSHX", "l", "a") == 0
    assert node.propagated() == []
    node.ask("RPUSH", "l", "b")
    assert node.ask("LPUSHX", "l", "a") == 2
    assert node.ask("RPUSHX", "l", "c", "d") == 4
    assert elements(node) == [b"a", b"b", b"c", b"d"]


def test_pops_answer_the_element_and_delete_an_emptied_list(node: Node) -> None:
    node.ask("RPUSH", "l", "a", "b")
    assert node.ask("LPOP", "l") == b"a"
    assert node.ask("RPOP", "l") == b"b"
    assert node.client.db.find(b"l") is None
    assert node.ask("LPOP", "l") is None
    assert node.ask("RPOP", "l") is None


def test_pops_with_a_count_answer_an_array(node: Node) -> None:
    node.ask("RPUSH", "l", *"abcdefg")
    assert node.ask("LPOP", "l", 2) == [b"a", b"b"]
    assert node.ask("RPOP", "l", 2) == [b"g", b"f"]
    assert node.ask("LPOP", "l", 0) == []
    assert node.ask("LPOP", "l", 99) == [b"c", b"d", b"e"]
    assert node.run(b"LPOP", b"l", b"1") == b"*-1\r\n"
    assert node.run(b"LPOP", b"l") == b"$-1\r\n"


def test_pops_refuse_bad_counts(node: Node) -> None:
    assert node.error("LPOP", "l", -1) == "ERR value is out of range, must be positive"
    assert node.error("LPOP", "l", "x") == "ERR value is out of range, must be positive"
    assert node.error("RPOP", "l", 1, 2) == "ERR wrong number of arguments for 'rpop' command"


def test_index_and_length(node: Node) -> None:
    assert node.ask("LLEN", "l") == 0
    assert node.ask("LINDEX", "l", "x") is None
    node.ask("RPUSH", "l", "a", "b", "c")
    assert node.ask("LLEN", "l") == 3
    assert [node.ask("LINDEX", "l", index) for index in (0, 2, 3, -1, -3, -4)] == [b"a", b"c", None, b"c", b"a", None]
    assert node.error("LINDEX", "l", "x") == NOT_INTEGER
    assert node.ask("LINDEX", "l", 2**63 - 1) is None


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, -1, b"abcde"),
        (1, 2, b"bc"),
        (-2, -1, b"de"),
        (-100, 1, b"ab"),
        (3, 100, b"de"),
        (3, 2, b""),
        (5, 9, b""),
        (-9, -8, b""),
        (0, -6, b""),
    ],
)
def test_range_and_trim_take_the_same_bounds(node: Node, start: int, stop: int, expected: bytes) -> None:
    node.ask("RPUSH", "l", *"abcde")
    assert b"".join(node.ask("LRANGE", "l", start, stop)) == expected
    assert node.run(b"LTRIM", b"l", b"%d" % start, b"%d" % stop) == b"+OK\r\n"
    assert b"".join(elements(node)) == expected
    assert (node.client.db.find(b"l") is None) is (expected == b"")


def test_range_of_elements_of_different_lengths(node: Node) -> None:
    pushed = ["x" * (number % 3) for number in range(20)]
    node.ask("RPUSH", "l", *pushed)
    assert elements(node) == [text.encode() for text in pushed]


def test_a_trim_that_removes_nothing_is_not_propagated(node: Node) -> None:
    node.ask("RPUSH", "l", "a")
    node.propagated()
    node.ask("LTRIM", "l", 0, -1)
    assert node.propagated() == []


def test_set_replaces_within_the_list_only(node: Node) -> None:
    assert node.error("LSET", "l", 0, "x") == "ERR no such key"
    node.ask("RPUSH", "l", "a", "b")
    assert node.ask("LSET", "l", -1, "z") == b"OK"
    assert elements(node) == [b"a", b"z"]
    assert node.error("LSET", "l", 2, "x") == "ERR index out of range"
    assert node.error("LSET", "l", "x", "x") == NOT_INTEGER


def test_insert_beside_the_pivot(node: Node) -> None:
    assert node.ask("LINSERT", "l", "before", "a", "x") == 0
    node.ask("RPUSH", "l", "a", "b", "a")
    assert node.ask("LINSERT", "l", "BEFORE", "b", "x") == 4
    assert node.ask("LINSERT", "l", "after", "a", "y") == 5
    assert node.ask("LINSERT", "l", "after", "none", "y") == -1
    assert elements(node) == [b"a", b"y", b"x", b"b", b"a"]
    assert node.error("LINSERT", "l", "beside", "a", "x") == "ERR syntax error"


def test_remove_counts_from_the_side_that_its_sign_names(node: Node) -> None:
    node.ask("RPUSH", "l", *"abacada")
    assert node.ask("LREM", "l", 1, "a") == 1
    assert node.ask("LREM", "l", -1, "a") == 1
    assert b"".join(elements(node)) == b"bacad"
    assert node.ask("LREM", "l", 0, "a") == 2
    assert node.ask("LREM", "l", 0, "a") == 0
    assert b"".join(elements(node)) == b"bcd"
    for element in "bcd":
        assert node.ask("LREM", "l", 5, element) == 1
    assert node.client.db.find(b"l") is None
    assert node.error("LREM", "l", "x", "a") == NOT_INTEGER


def test_positions_by_rank_count_and_maximum(node: Node) -> None:
    node.ask("RPUSH", "l", *"abc123cc")
    assert node.ask("LPOS", "l", "c") == 2
    assert node.ask("LPOS", "l", "c", "RANK", 2) == 6
    assert node.ask("LPOS", "l", "c", "RANK", -1) == 7
    assert node.ask("LPOS", "l", "c", "COUNT", 2) == [2, 6]
    assert node.ask("LPOS", "l", "c", "count", 0, "rank", -2) == [6, 2]
    assert node.ask("LPOS", "l", "c", "COUNT", 0, "MAXLEN", 7) == [2, 6]
    assert node.ask("LPOS", "l", "a", "RANK", -1, "MAXLEN", 2) is None
    assert node.ask("LPOS", "l", "z") is None
    assert node.ask("LPOS", "l", "z", "COUNT", 1) == []
    assert node.ask("LPOS", "none", "z", "COUNT", 1) == []
    assert node.ask("LPOS", "none", "z") is None


def test_position_options_are_refused_in_redis_words(node: Node) -> None:
    zero = (
        "use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list"
    )
    assert node.error("LPOS", "l", "c", "RANK", 0) == f"ERR RANK can't be zero: {zero}"
    low = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
    assert node.error("LPOS", "l", "c", "RANK", -(2**63)) == low
    assert node.error("LPOS", "l", "c", "COUNT", -1) == "ERR COUNT can't be negative"
    assert node.error("LPOS", "l", "c", "MAXLEN", -1) == "ERR MAXLEN can't be negative"
    assert node.error("LPOS", "l", "c", "COUNT") == "ERR syntax error"
    assert node.error("LPOS", "l", "c", "FOO", 1) == "ERR syntax error"
    assert node.error("LPOS", "l", "c", "COUNT", "x", "MAXLEN") == "ERR COUNT can't be negative"


@pytest.mark.parametrize(
    "request_line",
    [
        "LPUSH s a", "RPUSH s a b", "LPUSHX s a", "RPUSHX s a", "LPOP s", "RPOP s", "LPOP s 1", "LLEN s", "LINDEX s 0",
        "LRANGE s 0 1", "LTRIM s 0 1", "LREM s 0 a", "LSET s 0 a", "LINSERT s after a b", "LPOS s a",
        "LMPOP 1 s LEFT", "LMOVE s d LEFT LEFT", "RPOPLPUSH s d", "BLPOP s 0", "BLMOVE s d LEFT LEFT 0",
        "BLMPOP 0 1 s LEFT", "BRPOPLPUSH s d 0",
    ],
)  # fmt: skip
def test_another_type_is_refused_and_left_alone(node: Node, request_line: str) -> None:
    node.client.db.set(b"s", b"text")
    assert node.error(*request_line.split()) == WRONG_TYPE
    assert node.client.db.find(b"s") == b"text"
    assert node.propagated() == []


def test_the_configured_size_decides_the_encoding(node: Node) -> None:
    node.server.config.list_max_listpack_size = 2
    node.ask("RPUSH", "l", "a", "b")
    assert node.client.db.find(b"l").encoding == b"listpack"
    node.ask("LPUSH", "l", "c")
    assert node.client.db.find(b"l").encoding == b"quicklist"
    node.ask("RPOP", "l", 2)
    assert node.client.db.find(b"l").encoding == b"listpack"
