"""Set commands on members: replies, errors in Redis's words, and what is propagated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.node.conftest import Node

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


def members(node: Node, key: str = "s") -> set[bytes]:
    """The whole set, read without the command under test."""
    value = node.client.db.find(key.encode())
    return set() if value is None else {*value}


def test_add_and_remove_count_what_changed(node: Node) -> None:
    assert node.ask("SADD", "s", "a") == 1
    assert node.ask("SADD", "s", "a") == 0
    assert node.ask("SADD", "s", "a", "b", "c", "b") == 2
    assert node.ask("SREM", "s", "a", "x", "b") == 2
    assert node.ask("SREM", "none", "a") == 0
    assert members(node) == {b"c"}


def test_each_added_or_removed_member_counts_as_a_change(node: Node) -> None:
    before = node.server.keyspace.dirty
    node.ask("SADD", "s", "a", "b", "b")
    node.ask("SADD", "s", "c")
    node.ask("SREM", "s", "a", "b", "x")
    assert node.server.keyspace.dirty == before + 5


def test_what_changes_nothing_is_not_propagated(node: Node) -> None:
    node.ask("SADD", "s", "a")
    node.propagated()
    node.ask("SADD", "s", "a")
    node.ask("SREM", "s", "b")
    node.ask("SMOVE", "s", "s", "a")
    node.ask("SMOVE", "s", "d", "b")
    assert node.propagated() == []


def test_removing_the_last_member_deletes_the_key(node: Node) -> None:
    node.ask("SADD", "s", "a", "b")
    assert node.ask("SREM", "s", "b", "a") == 2
    assert node.client.db.find(b"s") is None


def test_membership_and_cardinality(node: Node) -> None:
    node.ask("SADD", "s", "a", "1")
    assert node.ask("SISMEMBER", "s", "a") == 1
    assert node.ask("SISMEMBER", "s", "b") == 0
    assert node.ask("SISMEMBER", "none", "a") == 0
    assert node.ask("SMISMEMBER", "s", "a", "b", "1") == [1, 0, 1]
    assert node.ask("SMISMEMBER", "none", "a", "b") == [0, 0]
    assert node.ask("SCARD", "s") == 2
    assert node.ask("SCARD", "none") == 0


def test_members_of_an_integer_set_come_in_order(node: Node) -> None:
    node.ask("SADD", "s", 10, -5, 7)
    assert node.ask("SMEMBERS", "s") == [b"-5", b"7", b"10"]
    assert node.ask("SMEMBERS", "none") == []


def test_members_are_a_set_in_resp3(node: Node) -> None:
    from pyredis_cluster.node.reply import RESP3

    node.ask("SADD", "s", 1)
    node.client.resp = RESP3
    assert node.run(b"SMEMBERS", b"s") == b"~1\r\n$1\r\n1\r\n"
    assert node.run(b"SRANDMEMBER", b"s", b"1") == b"*1\r\n$1\r\n1\r\n"
    assert node.run(b"SPOP", b"s", b"1") == b"~1\r\n$1\r\n1\r\n"
    assert node.run(b"SPOP", b"s", b"1") == b"~0\r\n"
    assert node.run(b"SPOP", b"s") == b"_\r\n"


def test_move_between_sets(node: Node) -> None:
    node.ask("SADD", "s", "a", "b")
    assert node.ask("SMOVE", "s", "d", "a") == 1
    assert node.ask("SMOVE", "s", "d", "a") == 0
    assert node.ask("SMOVE", "s", "s", "b") == 1
    assert node.ask("SMOVE", "s", "d", "b") == 1
    assert node.client.db.find(b"s") is None
    assert members(node, "d") == {b"a", b"b"}
    assert node.propagated()[1:] == [[b"SMOVE", b"s", b"d", b"a"], [b"SMOVE", b"s", b"d", b"b"]]


def test_move_checks_the_types_only_if_the_source_exists(node: Node) -> None:
    node.client.db.set(b"d", b"text")
    assert node.ask("SMOVE", "none", "d", "a") == 0
    node.ask("SADD", "s", "a")
    assert node.error("SMOVE", "s", "d", "a") == WRONG_TYPE
    assert node.error("SMOVE", "d", "s", "a") == WRONG_TYPE


def test_pop_is_propagated_as_a_removal(node: Node) -> None:
    node.ask("SADD", "s", "a", "b")
    node.propagated()
    first = node.ask("SPOP", "s")
    assert members(node) == {b"a", b"b"} - {first}
    second = node.ask("SPOP", "s")
    assert {first, second} == {b"a", b"b"}
    assert node.ask("SPOP", "s") is None
    assert node.propagated() == [[b"SREM", b"s", first], [b"SREM", b"s", second]]


def test_pop_with_a_count_is_propagated_in_batches(node: Node) -> None:
    node.ask("SADD", "s", *range(3000))
    node.propagated()
    popped = node.ask("SPOP", "s", 2500)
    assert len({*popped}) == 2500
    assert members(node) == {b"%d" % number for number in range(3000)} - {*popped}
    batches = node.propagated()
    assert [len(batch) - 2 for batch in batches] == [1024, 1024, 452]
    assert [member for batch in batches for member in batch[2:]] == popped


def test_pop_of_all_members_is_propagated_as_a_deletion(node: Node) -> None:
    node.ask("SADD", "s", "a", "b", "c")
    node.propagated()
    assert {*node.ask("SPOP", "s", 3)} == {b"a", b"b", b"c"}
    node.ask("SADD", "s", "a")
    node.server.config.lazyfree_lazy_server_del = True
    node.ask("SPOP", "s", 100)
    assert node.propagated() == [[b"DEL", b"s"], [b"SADD", b"s", b"a"], [b"UNLINK", b"s"]]
    assert node.client.db.find(b"s") is None


def test_pop_arguments(node: Node) -> None:
    node.ask("SADD", "s", "a")
    assert node.ask("SPOP", "s", 0) == []
    assert node.ask("SPOP", "none", 5) == []
    assert node.error("SPOP", "s", -1) == "ERR value is out of range, must be positive"
    assert node.error("SPOP", "s", "x") == "ERR value is out of range, must be positive"
    assert node.error("SPOP", "s", 1, 2) == "ERR syntax error"


@pytest.mark.parametrize("size", [5, 100, 1000])
def test_random_members_with_a_positive_count_are_distinct(node: Node, size: int) -> None:
    node.ask("SADD", "s", *(f"m{number}" for number in range(size)))
    for count in (1, 4, size - 1, size, size + 10):
        drawn = node.ask("SRANDMEMBER", "s", count)
        assert len(drawn) == len({*drawn}) == min(count, size)
        assert {*drawn} <= members(node)


@pytest.mark.parametrize("size", [5, 1000])
def test_random_members_with_a_negative_count_may_repeat(node: Node, size: int) -> None:
    node.ask("SADD", "s", *(f"m{number}" for number in range(size)))
    for count in (1, 7, 3000):
        drawn = node.ask("SRANDMEMBER", "s", -count)
        assert len(drawn) == count
        assert {*drawn} <= members(node)


def test_random_member_arguments(node: Node) -> None:
    assert node.ask("SRANDMEMBER", "none") is None
    assert node.ask("SRANDMEMBER", "none", 5) == []
    node.ask("SADD", "s", "a")
    assert node.ask("SRANDMEMBER", "s") == b"a"
    assert node.ask("SRANDMEMBER", "s", 0) == []
    bounds = "value must between -9223372036854775807 and 9223372036854775807"
    assert node.error("SRANDMEMBER", "s", -(2**63)) == f"ERR value is out of range, {bounds}"
    assert node.error("SRANDMEMBER", "s", -(2**63) + 1) == "ERR value is out of range"
    assert node.error("SRANDMEMBER", "s", 1, 2) == "ERR syntax error"


@pytest.mark.parametrize("size", [3, 400, 3000])
def test_a_scan_returns_every_member(node: Node, size: int) -> None:
    node.ask("SADD", "s", *(f"m{number}" for number in range(size)))
    cursor, found = b"0", []
    while True:
        cursor, batch = node.ask("SSCAN", "s", cursor, "COUNT", 50)
        found += batch
        if cursor == b"0":
            break
    assert {*found} == members(node)


def test_scan_options(node: Node) -> None:
    node.ask("SADD", "s", "apple", "banana", "avocado")
    cursor, found = node.ask("SSCAN", "s", 0, "MATCH", "a*", "COUNT", 10)
    assert (cursor, {*found}) == (b"0", {b"apple", b"avocado"})
    assert node.ask("SSCAN", "none", 0) == [b"0", []]
    assert node.error("SSCAN", "s", "x") == "ERR invalid cursor"
    assert node.error("SSCAN", "s", 0, "COUNT", 0) == "ERR syntax error"
    assert node.error("SSCAN", "s", 0, "TYPE", "set") == "ERR syntax error"


def test_the_configured_limits_decide_the_encoding(node: Node) -> None:
    config = node.server.config
    config.set_max_intset_entries, config.set_max_listpack_entries, config.set_max_listpack_value = 2, 3, 5
    for words, encoding in [
        ("1 2", b"intset"),
        ("1 2 3", b"listpack"),
        ("1 2 3 4", b"hashtable"),
        ("a 1", b"listpack"),
        ("1 a", b"listpack"),
        ("abcdef 1", b"hashtable"),
        ("a b c d", b"hashtable"),
    ]:
        node.client.db.remove(b"s")
        node.ask("SADD", "s", *words.split())
        assert node.client.db.find(b"s").encoding == encoding, words


@pytest.mark.parametrize(
    "request_line",
    [
        "SADD l a", "SADD l a b", "SREM l a", "SISMEMBER l a", "SMISMEMBER l a", "SCARD l", "SMEMBERS l", "SPOP l",
        "SPOP l 1", "SRANDMEMBER l", "SRANDMEMBER l 1", "SSCAN l 0", "SINTER l", "SUNION l", "SDIFF l",
        "SINTERCARD 1 l", "SINTERSTORE d l", "SUNIONSTORE d none l", "SDIFFSTORE d none l", "SINTER none l",
    ],
)  # fmt: skip
def test_another_type_is_refused_and_left_alone(node: Node, request_line: str) -> None:
    node.client.db.set(b"l", b"text")
    assert node.error(*request_line.split()) == WRONG_TYPE
    assert node.client.db.find(b"l") == b"text"
    assert node.propagated() == []
