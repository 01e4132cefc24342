"""The request parser: both ways of parsing agree, any fragmentation agrees, and limits come before memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyredis_cluster.client.resp import encode_command
from pyredis_cluster.node import parser as parser_module
from pyredis_cluster.node.parser import RequestParser

BULK_MAX_BYTES = 1 << 20


@pytest.fixture(autouse=True, params=["c", "python"], scope="module")
def plane(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test here runs with the compiled parser and with hiredis."""
    compiled = parser_module.parse_whole
    if request.param == "c" and compiled is None:
        pytest.skip("the compiled module isn't there")
    if request.param == "python":
        parser_module.parse_whole = None
    yield
    parser_module.parse_whole = compiled


arguments = st.lists(st.binary(max_size=40), min_size=1, max_size=5)
pipelines = st.lists(arguments, min_size=1, max_size=6)


def feed_all(parser: RequestParser, data: bytes, cuts: list[int]) -> list[list[bytes]]:
    found: list[list[bytes]] = []
    points = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    for start, stop in pairwise(points):
        if start != stop:
            found += parser.feed(data[start:stop])
    return found


@given(pipelines, st.lists(st.integers(0, 1000), max_size=6))
def test_any_fragmentation_gives_the_same_commands(commands: list[list[bytes]], cuts: list[int]) -> None:
    parser = RequestParser(BULK_MAX_BYTES)
    assert feed_all(parser, b"".join(map(encode_command, commands)), cuts) == commands
    assert parser.error is None
    assert parser.pending_bytes == 0


@given(st.binary(min_size=1, max_size=200), st.lists(st.integers(0, 1000), max_size=4))
def test_garbage_gives_commands_or_an_error_the_same_in_any_fragmentation(data: bytes, cuts: list[int]) -> None:
    whole, parts = RequestParser(BULK_MAX_BYTES), RequestParser(BULK_MAX_BYTES)
    assert feed_all(whole, data, []) == feed_all(parts, data, cuts)
    assert str(whole.error) == str(parts.error)


resp_tokens = st.sampled_from(
    [b"*1\r\n", b"*2\r\n", b"$3\r\nGET\r\n", b"+OK\r\n", b":5\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"#f\r\n",
     b"_\r\n",
     b"(123\r\n", b"=5\r\ntxt:a\r\n", b">1\r\n",
     b"$1\r\nx\r\n", b"-ERR\r\n", b"PING\r\n", b"*1\r\n$4\r\nPING\r\n", b",1.5\r\n", b"%1\r\n", b"\r\n"]
)  # fmt: skip


@example([b"*1\r\n", b"+OK\r\n"], [])
@example([b"*1\r\n$4\r\nPING\r\n", b"%1\r\n", b"*1\r\n$4\r\nPING\r\n", b"$1\r\nx\r\n"], [])
@given(st.lists(resp_tokens, min_size=1, max_size=8), st.lists(st.integers(0, 100), max_size=3))
def test_only_bulk_strings_become_arguments(tokens: list[bytes], cuts: list[int]) -> None:
    data = b"".join(tokens)
    whole, strict = RequestParser(BULK_MAX_BYTES), RequestParser(BULK_MAX_BYTES)
    commands = feed_all(whole, data, cuts)
    assert all(type(argument) is bytes for command in commands for argument in command)
    assert [c for byte in data for c in strict.feed(bytes([byte]))] == commands
    assert str(whole.error) == str(strict.error)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"*100000000000\r\n", "invalid multibulk length"),
        (b"*blabla\r\n", "invalid multibulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        (b"*1\r\n$-10\r\n", "invalid bulk length"),
        (b"*1\r\n$2000000000\r\n", "invalid bulk length"),
        (b"*1\r\n:5\r\n", "expected '$', got ':'"),
        (b'set foo "bar\r\n', "unbalanced quotes in request"),
        (b"x" * 70000, "too big inline request"),
        (b"*" + b"1" * 70000, "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 70000, "too big bulk count string"),
    ],
)
def test_protocol_errors_have_redis_texts(data: bytes, text: str) -> None:
    parser = RequestParser(BULK_MAX_BYTES)
    assert parser.feed(data) == []
    assert str(parser.error) == text


def test_commands_before_a_protocol_error_are_returned() -> None:
    parser = RequestParser(BULK_MAX_BYTES)
    assert parser.feed(b"*1\r\n$4\r\nPING\r\n*x\r\n*1\r\n$4\r\nPING\r\n") == [[b"PING"]]
    assert parser.feed(b"PING\r\n") == []


def test_a_huge_announced_count_reserves_nothing() -> None:
    parser = RequestParser(BULK_MAX_BYTES)
    assert parser.feed(b"*100000000\r\n$1\r\na\r\n") == []
    assert parser.error is None
    assert parser.pending_bytes == 1


def test_unauthenticated_clients_have_narrow_limits() -> None:
    parser = RequestParser(BULK_MAX_BYTES)
    parser.authenticated = False
    parser.feed(b"*11\r\n")
    assert str(parser.error) == "unauthenticated multibulk length"
    parser = RequestParser(BULK_MAX_BYTES)
    parser.authenticated = False
    parser.feed(b"*1\r\n$16385\r\n")
    assert str(parser.error) == "unauthenticated bulk length"


def test_a_large_argument_arrives_in_chunks() -> None:
    parser = RequestParser(BULK_MAX_BYTES)
    value = bytes(range(256)) * 1000
    data = encode_command([b"SET", b"k", value]) + b"PING\r\n"
    found = [command for at in range(0, len(data), 1000) for command in parser.feed(data[at : at + 1000])]
    assert found == [[b"SET", b"k", value], [b"PING"]]


def test_a_pipeline_may_be_cut_anywhere_and_the_tail_is_known() -> None:
    commands = [[b"SET", b"k", b"x" * 30], [b"PING"], [b"MSET", *[b"\r\n*1\r\n$1\r\n"] * 6], [b"GET", b"k"]]
    encoded = [*map(encode_command, commands)]
    data = b"".join(encoded)
    ends = [sum(map(len, encoded[: count + 1])) for count in range(len(encoded))]
    for cut in range(1, len(data)):
        parser = RequestParser(BULK_MAX_BYTES)
        whole = [end for end in ends if end <= cut]
        assert parser.feed(data[:cut]) == commands[: len(whole)]
        assert parser.tail_bytes == cut - max(whole, default=0)
        assert parser.feed(data[cut:] + data) == commands[len(whole) :] + commands
        assert parser.tail_bytes == parser.pending_bytes == 0


def test_simple_inline_commands_in_a_row_are_each_one_command() -> None:
    parser = RequestParser(BULK_MAX_BYTES)
    assert parser.feed(b"PING\r\n\r\n  SET\ta 1 \nGET a\r\n") == [[b"PING"], [b"SET", b"a", b"1"], [b"GET", b"a"]]
    assert parser.feed(b"PING\nPI") == [[b"PING"]]
    assert parser.feed(b"NG\n*1\r\n$4\r\nPING\r\n") == [[b"PING"], [b"PING"]]
