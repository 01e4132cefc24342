"""String commands without options: replies, Redis's error texts, encodings and what is propagated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.node.conftest import Node

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


def test_get_answers_the_value_null_or_an_error(node: Node) -> None:
    node.ask("SET", "k", "v")
    assert node.run(b"GET", b"k") == b"$1\r\nv\r\n"
    assert node.run(b"GET", b"none") == b"$-1\r\n"
    node.ask("HSET", "h", "f", "v")
    assert node.error("GET", "h") == WRONG_TYPE


def test_binary_values_pass_unchanged(node: Node) -> None:
    value = bytes(range(256)) + b"\r\n$5\r\n"
    node.ask("SET", "k", value)
    assert node.ask("GET", "k") == value


@pytest.mark.parametrize(
    "command",
    [
        ("GETDEL", "h"),
        ("GETSET", "h", "v"),
        ("STRLEN", "h"),
        ("APPEND", "h", "v"),
        ("SETRANGE", "h", "0", "v"),
        ("SETRANGE", "h", "0", ""),
        ("GETRANGE", "h", "0", "1"),
        ("SUBSTR", "h", "0", "1"),
        ("SET", "h", "v", "GET"),
        ("GETEX", "h"),
        ("INCR", "h"),
        ("INCRBYFLOAT", "h", "1"),
    ],
)
def test_another_type_is_refused_and_stays(node: Node, command: tuple[str, ...]) -> None:
    node.ask("HSET", "h", "f", "v")
    node.propagated()
    assert node.error(*command) == WRONG_TYPE
    assert node.ask("HGETALL", "h") == [b"f", b"v"]
    assert node.propagated() == []


def test_set_replaces_a_value_of_any_type_and_its_time(node: Node) -> None:
    node.ask("HSET", "k", "f", "v")
    node.ask("EXPIRE", "k", 100)
    assert node.ask("SET", "k", "v") == b"OK"
    assert node.ask("TTL", "k") == -1


def test_getdel_takes_the_value_out_and_propagates_del(node: Node) -> None:
    node.ask("SET", "k", "v")
    node.propagated()
    assert node.ask("GETDEL", "k") == b"v"
    assert node.ask("GETDEL", "k") is None
    assert node.propagated() == [[b"DEL", b"k"]]


def test_getset_answers_the_old_value_and_propagates_set(node: Node) -> None:
    node.ask("SET", "k", "old", "EX", 100)
    node.propagated()
    assert node.ask("GETSET", "k", "new") == b"old"
    assert node.ask("TTL", "k") == -1
    assert node.ask("GETSET", "none", "x") is None
    assert node.propagated() == [[b"SET", b"k", b"new"], [b"SET", b"none", b"x"]]


def test_setnx_sets_only_what_is_not_there(node: Node) -> None:
    assert node.ask("SETNX", "k", "1") == 1
    assert node.ask("SETNX", "k", "2") == 0
    assert node.ask("GET", "k") == b"1"
    assert node.propagated() == [[b"SETNX", b"k", b"1"]]


def test_setex_and_psetex_propagate_absolute_times(node: Node) -> None:
    now_ms = node.server.clock.now_ms
    assert node.ask("SETEX", "a", 10, "v") == b"OK"
    assert node.ask("PSETEX", "b", 10, "v") == b"OK"
    assert node.propagated() == [
        [b"SET", b"a", b"v", b"PXAT", b"%d" % (now_ms + 10_000)],
        [b"SET", b"b", b"v", b"PXAT", b"%d" % (now_ms + 10)],
    ]
    assert node.ask("PTTL", "a") == 10_000
    assert node.error("SETEX", "a", 0, "v") == "ERR invalid expire time in 'setex' command"
    assert node.error("PSETEX", "a", -1, "v") == "ERR invalid expire time in 'psetex' command"
    assert node.error("SETEX", "a", "x", "v") == "ERR value is not an integer or out of range"


def test_mget_answers_null_for_what_is_no_string(node: Node) -> None:
    node.ask("MSET", "a", "1", "b", "2")
    node.ask("HSET", "h", "f", "v")
    assert node.ask("MGET", "a", "none", "h", "b") == [b"1", None, None, b"2"]


def test_mset_needs_pairs_and_msetnx_sets_all_or_nothing(node: Node) -> None:
    assert node.error("MSET", "a", "1", "b") == "ERR wrong number of arguments for 'mset' command"
    assert node.error("MSETNX", "a", "1", "b") == "ERR wrong number of arguments for 'msetnx' command"
    assert node.ask("MSETNX", "a", "1", "b", "2") == 1
    assert node.ask("MSETNX", "c", "1", "b", "3") == 0
    assert node.ask("MGET", "a", "b", "c") == [b"1", b"2", None]
    assert node.ask("MSET", "a", "x", "a", "y") == b"OK"
    assert node.ask("GET", "a") == b"y"


def test_append_and_setrange_change_in_place_and_make_a_string_raw(node: Node) -> None:
    assert node.ask("APPEND", "k", "12") == 2
    assert node.ask("OBJECT", "ENCODING", "k") == b"int"
    assert node.ask("APPEND", "k", "34") == 4
    assert node.ask("OBJECT", "ENCODING", "k") == b"raw"
    assert node.ask("SETRANGE", "k", 6, "zz") == 8
    assert node.ask("GET", "k") == b"1234\x00\x00zz"
    assert node.ask("SETRANGE", "k", 1, "") == 8
    assert node.ask("STRLEN", "k") == 8
    assert node.ask("MGET", "k") == [b"1234\x00\x00zz"]


def test_setrange_of_nothing_creates_no_key(node: Node) -> None:
    assert node.ask("SETRANGE", "k", 5, "") == 0
    assert node.ask("EXISTS", "k") == 0
    assert node.propagated() == []
    assert node.error("SETRANGE", "k", -1, "x") == "ERR offset is out of range"


def test_strings_are_bounded_by_proto_max_bulk_len(node: Node) -> None:
    too_long = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    assert node.error("SETRANGE", "k", 512 << 20, "x") == too_long
    assert node.error("SETRANGE", "k", 2**62, "x") == too_long
    node.server.config.proto_max_bulk_len = 10
    node.ask("SET", "k", "12345678")
    assert node.error("APPEND", "k", "345") == too_long
    assert node.ask("APPEND", "k", "90") == 10


def test_a_change_in_place_keeps_the_time_to_live(node: Node) -> None:
    node.ask("SET", "k", "1", "EX", 100)
    for command in (("APPEND", "k", "2"), ("SETRANGE", "k", 0, "3"), ("INCR", "k"), ("INCRBYFLOAT", "k", "1")):
        node.ask(*command)
        assert node.ask("TTL", "k") == 100


def test_a_copy_does_not_follow_changes_in_place(node: Node) -> None:
    node.ask("APPEND", "k", "a")
    node.ask("APPEND", "k", "b")
    node.ask("COPY", "k", "other")
    node.ask("APPEND", "k", "c")
    assert node.ask("MGET", "k", "other") == [b"abc", b"ab"]


@given(text=st.binary(max_size=8), start=st.integers(-12, 12), end=st.integers(-12, 12))
def test_getrange_follows_redis_rules(make_node: type[Node], text: bytes, start: int, end: int) -> None:
    node = make_node()
    node.ask("SET", "k", text)
    first = max(0, start + len(text)) if start < 0 else start
    last = max(0, end + len(text)) if end < 0 else end
    expected = text[first : min(last, len(text) - 1) + 1] if not (start < 0 and end < 0 and start > end) else b""
    assert node.ask("GETRANGE", "k", start, end) == expected
    assert node.ask("SUBSTR", "k", start, end) == expected


def test_ranges_of_a_missing_key_are_empty(node: Node) -> None:
    assert node.ask("GETRANGE", "none", 0, -1) == b""
    assert node.ask("STRLEN", "none") == 0
    assert node.error("GETRANGE", "none", "x", 1) == "ERR value is not an integer or out of range"


def test_an_expired_string_is_as_if_it_never_was(node: Node) -> None:
    for index, command in enumerate((("GET",), ("GETDEL",), ("GETEX",))):
        node.ask("SET", f"k{index}", "v", "PX", 10)
        node.advance(10)
        assert node.ask(command[0], f"k{index}") is None
    node.ask("SET", "n", "7", "PX", 10)
    node.advance(10)
    assert node.ask("INCR", "n") == 1
    assert node.ask("TTL", "n") == -1
