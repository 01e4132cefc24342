"""Sorted-set basics: ZADD and its options, removing, scores, ranks, random members, ZSCAN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.node.conftest import Node


def test_zadd_counts_new_members_and_with_ch_also_changed_ones(node: Node) -> None:
    assert node.ask("ZADD", "z", 1, "a", 2, "b") == 2
    assert node.ask("ZADD", "z", 5, "a", 3, "c") == 1
    assert node.ask("ZADD", "z", "CH", 6, "a", 3, "c", 4, "d") == 2
    assert node.ask("ZRANGE", "z", 0, -1, "WITHSCORES") == [
        *(b"b", b"2"),
        *(b"c", b"3"),
        *(b"d", b"4"),
        *(b"a", b"6"),
    ]


@pytest.mark.parametrize(
    ("options", "score", "expected"),
    [
        (("NX",), 9, b"5"),
        (("XX",), 9, b"9"),
        (("GT",), 9, b"9"),
        (("GT",), 4, b"5"),
        (("LT",), 4, b"4"),
        (("XX", "LT"), 9, b"5"),
    ],
)
def test_zadd_conditions(node: Node, options: tuple[str, ...], score: int, expected: bytes) -> None:
    node.ask("ZADD", "z", 5, "a")
    assert node.ask("ZADD", "z", *options, score, "a") == 0
    assert node.ask("ZSCORE", "z", "a") == expected


def test_zadd_xx_creates_neither_key_nor_member(node: Node) -> None:
    assert node.ask("ZADD", "z", "XX", 1, "a") == 0
    assert node.ask("ZADD", "z", "XX", "INCR", 1, "a") is None
    assert node.ask("EXISTS", "z") == 0


def test_zadd_incr_answers_the_score_or_null_where_a_condition_fails(node: Node) -> None:
    assert node.ask("ZADD", "z", "INCR", "1.5", "a") == b"1.5"
    assert node.ask("ZADD", "z", "INCR", "GT", "-1", "a") is None
    assert node.ask("ZADD", "z", "NX", "INCR", 1, "a") is None
    assert node.ask("ZINCRBY", "z", "0.25", "a") == b"1.75"


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("x", "a"), "ERR value is not a valid float"),
        (("nan", "a"), "ERR value is not a valid float"),
        (("1", "a", "x", "b"), "ERR value is not a valid float"),
        (("1", "a", "2"), "ERR syntax error"),
        (("NX", "a"), "ERR syntax error"),
        (("NX", "XX", "1", "a"), "ERR XX and NX options at the same time are not compatible"),
        (("GT", "LT", "1", "a"), "ERR GT, LT, and/or NX options at the same time are not compatible"),
        (("INCR", "1", "a", "2", "b"), "ERR INCR option supports a single increment-element pair"),
    ],
)
def test_a_refused_zadd_changes_nothing(node: Node, args: tuple[str, ...], error: str) -> None:
    assert node.error("ZADD", "z", *args) == error
    assert node.ask("EXISTS", "z") == 0
    assert node.propagated() == []


def test_infinities_that_cancel_out_are_refused(node: Node) -> None:
    node.ask("ZADD", "z", "inf", "a")
    assert node.error("ZINCRBY", "z", "-inf", "a") == "ERR resulting score is not a number (NaN)"
    assert node.ask("ZSCORE", "z", "a") == b"inf"


def test_only_what_changes_something_is_propagated(node: Node) -> None:
    node.ask("ZADD", "z", 1, "a")
    node.ask("ZADD", "z", 1, "a")
    node.ask("ZADD", "z", "NX", 2, "a")
    node.ask("ZREM", "z", "nobody")
    assert node.propagated() == [[b"ZADD", b"z", b"1", b"a"]]


def test_every_command_refuses_a_value_of_another_type(node: Node) -> None:
    node.ask("SET", "s", "text")
    for command in (
        ("ZADD", "s", 1, "a"),
        ("ZADD", "s", "CH", 1, "a"),
        ("ZINCRBY", "s", 1, "a"),
        ("ZREM", "s", "a"),
        ("ZCARD", "s"),
        ("ZSCORE", "s", "a"),
        ("ZMSCORE", "s", "a"),
        ("ZRANK", "s", "a"),
        ("ZRANGE", "s", 0, -1),
        ("ZCOUNT", "s", 0, 1),
        ("ZREMRANGEBYRANK", "s", 0, 1),
        ("ZRANDMEMBER", "s"),
        ("ZSCAN", "s", 0),
        ("ZPOPMIN", "s"),
        ("ZMPOP", 1, "s", "MIN"),
        ("BZPOPMIN", "s", 0),
        ("ZUNION", 1, "s"),
        ("ZRANGESTORE", "d", "s", 0, -1),
    ):
        assert node.error(*command).startswith("WRONGTYPE"), command


def test_removing_the_last_member_removes_the_key(node: Node) -> None:
    node.ask("ZADD", "z", 1, "a", 2, "b", 3, "c")
    assert node.ask("ZREM", "z", "a", "nobody", "b") == 2
    assert node.ask("ZREM", "z", "c") == 1
    assert node.ask("EXISTS", "z") == 0
    assert node.ask("ZREM", "z", "c") == 0


def test_dirty_counts_members_not_commands(node: Node) -> None:
    before = node.server.keyspace.dirty
    node.ask("ZADD", "z", 1, "a", 2, "b", 3, "c")
    node.ask("ZREM", "z", "a", "b")
    assert node.server.keyspace.dirty == before + 5


def test_scores_are_doubles_in_resp3_and_bulks_in_resp2(node: Node) -> None:
    node.ask("ZADD", "z", "1.5", "a")
    assert node.run(b"ZSCORE", b"z", b"a") == b"$3\r\n1.5\r\n"
    assert node.run(b"ZMSCORE", b"z", b"a", b"x") == b"*2\r\n$3\r\n1.5\r\n$-1\r\n"
    node.run(b"HELLO", b"3")
    assert node.run(b"ZSCORE", b"z", b"a") == b",1.5\r\n"
    assert node.run(b"ZMSCORE", b"z", b"a", b"x") == b"*2\r\n,1.5\r\n_\r\n"
    assert node.run(b"ZRANGE", b"z", b"0", b"-1", b"WITHSCORES") == b"*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n"
    assert node.run(b"ZRANK", b"z", b"a", b"WITHSCORE") == b"*2\r\n:0\r\n,1.5\r\n"


def test_a_missing_key_scores_nothing(node: Node) -> None:
    assert node.ask("ZCARD", "z") == 0
    assert node.ask("ZSCORE", "z", "a") is None
    assert node.ask("ZMSCORE", "z", "a", "b") == [None, None]


def test_ranks_from_both_ends_with_scores_on_demand(node: Node) -> None:
    node.ask("ZADD", "z", 1, "a", 2, "b", 3, "c")
    assert node.ask("ZRANK", "z", "c") == 2
    assert node.ask("ZREVRANK", "z", "c", "WITHSCORE") == [0, b"3"]
    assert node.run(b"ZRANK", b"z", b"x") == b"$-1\r\n"
    assert node.run(b"ZRANK", b"z", b"x", b"withscore") == b"*-1\r\n"
    assert node.error("ZRANK", "z", "a", "WITHSCORES") == "ERR syntax error"
    assert node.error("ZRANK", "z", "a", "b", "c") == "ERR wrong number of arguments for 'zrank' command"


@pytest.mark.parametrize(("size", "encoding"), [(10, b"listpack"), (1000, b"skiplist")])
def test_random_members_are_distinct_unless_the_count_is_negative(node: Node, size: int, encoding: bytes) -> None:
    members = {b"m%d" % number for number in range(size)}
    node.ask("ZADD", "z", *(part for member in members for part in (1, member)))
    assert node.client.db.find(b"z").encoding == encoding
    assert node.ask("ZRANDMEMBER", "z") in members
    for count in (1, 7, size * 2 // 3, size - 1, size, size + 5):
        drawn = node.ask("ZRANDMEMBER", "z", count)
        assert len(drawn) == len(set(drawn)) == min(count, size)
        assert set(drawn) <= members
    drawn = node.ask("ZRANDMEMBER", "z", -3 * size)
    assert len(drawn) == 3 * size
    assert set(drawn) <= members
    assert node.ask("ZRANDMEMBER", "z", 0) == []
    assert node.ask("ZRANDMEMBER", "z", 1, "WITHSCORES")[1] == b"1"


def test_a_random_count_beyond_any_reply_is_refused(node: Node) -> None:
    node.ask("ZADD", "z", 1, "a")
    assert "out of range" in node.error("ZRANDMEMBER", "z", -(1 << 62) - 1, "WITHSCORES")
    assert "out of range" in node.error("ZRANDMEMBER", "z", -(1 << 63))
    assert "out of range" in node.error("ZRANDMEMBER", "z", -(1 << 40))
    assert node.error("ZRANDMEMBER", "z", 1, "SCORES") == "ERR syntax error"


def test_zscan_returns_every_member_once_with_its_score(node: Node) -> None:
    expected = {b"m%d" % number: b"%d" % number for number in range(2000)}
    node.ask("ZADD", "z", *(part for member, score in expected.items() for part in (score, member)))
    seen: dict[bytes, bytes] = {}
    cursor = b"0"
    while True:
        cursor, flat = node.ask("ZSCAN", "z", cursor, "COUNT", 50)
        assert len(flat) < 1000
        seen.update(zip(flat[::2], flat[1::2], strict=True))
        if cursor == b"0":
            break
    assert seen == expected


def test_zscan_matches_and_refuses_what_redis_refuses(node: Node) -> None:
    node.ask("ZADD", "z", 1, "apple", "2.5", "pear", 3, "apricot")
    assert node.ask("ZSCAN", "z", 0, "MATCH", "ap*") == [b"0", [b"apple", b"1", b"apricot", b"3"]]
    assert node.ask("ZSCAN", "none", 0) == [b"0", []]
    assert node.error("ZSCAN", "z", "x") == "ERR invalid cursor"
    assert node.error("ZSCAN", "z", 0, "COUNT", 0) == "ERR syntax error"
    assert node.error("ZSCAN", "z", 0, "MATCH") == "ERR syntax error"
    assert node.error("ZSCAN", "z", 0, "TYPE", "zset") == "ERR syntax error"


def test_encoding_follows_the_configured_limits(node: Node) -> None:
    node.ask("ZADD", "z", *(part for number in range(128) for part in (1, number)))
    assert node.ask("OBJECT", "ENCODING", "z") == b"listpack"
    node.ask("ZADD", "z", 1, "one more")
    assert node.ask("OBJECT", "ENCODING", "z") == b"skiplist"
    node.ask("ZADD", "long", 1, "m" * 65)
    assert node.ask("OBJECT", "ENCODING", "long") == b"skiplist"


def test_a_listpack_forgets_the_sign_of_zero(node: Node) -> None:
    node.ask("ZADD", "z", "-0", "a")
    assert node.ask("ZSCORE", "z", "a") == b"0"
    node.ask("ZADD", "long", "-0", "m" * 65)
    assert node.ask("ZSCORE", "long", "m" * 65) == b"-0"
