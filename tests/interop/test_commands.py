"""Differential tests: random string, hash, key and expiry commands get the same replies from redis-server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyredis_cluster.client.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Processes

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs Debian's redis-server")

Words = tuple[str | bytes, ...]

KEYS = st.sampled_from(["a", "b", "h", "n"])
FIELDS = st.sampled_from(["f", "g", "", "x" * 65])
NUMBERS = st.sampled_from(
    [
        *[
            "0",
            "1",
            "-1",
            "7",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "007",
            "1.0",
            "+5",
            "x",
        ],
        "",
        " 1",
    ]
)
FLOATS = st.sampled_from(
    [
        "0",
        "1.5",
        "-2.25",
        "3.0e3",
        "1e-3",
        "inf",
        "-inf",
        "nan",
        "0x10",
        "1e400",
        ".5",
        "5.",
        "1e",
        "x",
        "0.1",
        "1e17",
        "-0",
        "1e-17",
    ]
)
TEXTS = st.one_of(st.sampled_from(["", "10", "abc", "z" * 50]), NUMBERS, st.binary(max_size=6))
OFFSETS = st.sampled_from(
    ["0", "1", "-1", "3", "-3", "100", "-100", "9223372036854775807", "-9223372036854775808", "x"]
)
TIMES = st.sampled_from(["0", "-1", "100", "100000000", "9223372036854775807", "9223372036854775", "x", "1.5"])
FUTURE = st.sampled_from(["4000000000", "4000000000000", "1", "0", "-5"])


def words(*parts: str | st.SearchStrategy[Any]) -> st.SearchStrategy[Words]:
    return st.tuples(*[st.just(part) if isinstance(part, str) else part for part in parts])


def with_options(start: st.SearchStrategy[Words], *options: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
    """A command and up to three options, fitting or not."""
    chosen = st.lists(st.one_of(*options), max_size=3)
    return st.tuples(start, chosen).map(lambda pair: sum(pair[1], pair[0]))


SET_OPTIONS = (
    words(st.sampled_from(["NX", "xx", "GET", "KEEPTTL", "FOO"])),
    words(st.sampled_from(["EX", "px"]), TIMES),
    words(st.sampled_from(["EXAT", "PXAT"]), FUTURE),
)

STRINGS = st.one_of(
    with_options(words("SET", KEYS, TEXTS), *SET_OPTIONS),
    with_options(words("GETEX", KEYS), *SET_OPTIONS[1:], words("PERSIST")),
    words(st.sampled_from(["GET", "STRLEN", "GETDEL", "INCR", "DECR"]), KEYS),
    words(st.sampled_from(["APPEND", "GETSET", "SETNX"]), KEYS, TEXTS),
    words(st.sampled_from(["INCRBY", "DECRBY"]), KEYS, NUMBERS),
    words("INCRBYFLOAT", KEYS, FLOATS),
    words(st.sampled_from(["SETEX", "PSETEX"]), KEYS, TIMES, TEXTS),
    words("SETRANGE", KEYS, st.sampled_from(["0", "2", "-1", "x", "4611686018427387904"]), TEXTS),
    words(st.sampled_from(["GETRANGE", "SUBSTR"]), KEYS, OFFSETS, OFFSETS),
    words("MGET", KEYS, KEYS),
    words(st.sampled_from(["MSET", "MSETNX"]), KEYS, TEXTS, KEYS, TEXTS),
    words("MSET", KEYS, TEXTS, KEYS),
    with_options(words("LCS", KEYS, KEYS), words(st.sampled_from(["LEN", "IDX", "WITHMATCHLEN", "X"]))),
)

HASHES = st.one_of(
    words("HSET", KEYS, FIELDS, TEXTS),
    words(st.sampled_from(["HSET", "HMSET"]), KEYS, FIELDS, TEXTS, FIELDS, TEXTS),
    words("HSET", KEYS, FIELDS, TEXTS, FIELDS),
    words("HSETNX", KEYS, FIELDS, TEXTS),
    words(st.sampled_from(["HGET", "HSTRLEN", "HEXISTS"]), KEYS, FIELDS),
    words(st.sampled_from(["HMGET", "HDEL"]), KEYS, FIELDS, FIELDS),
    words("HINCRBY", KEYS, FIELDS, NUMBERS),
    words("HINCRBYFLOAT", KEYS, FIELDS, FLOATS),
    words("HSCAN", KEYS, st.sampled_from(["0", "x", ""]), "MATCH", st.sampled_from(["*", "f", "[f-g]", "x*"])),
    words("HRANDFIELD", KEYS, st.sampled_from(["0", "100", "x", "-9223372036854775808"])),
)

GENERIC = st.one_of(
    words(st.sampled_from(["DEL", "UNLINK", "EXISTS", "TOUCH"]), KEYS, KEYS),
    words(st.sampled_from(["TYPE", "PERSIST", "TTL", "EXPIRETIME"]), KEYS),
    words(st.sampled_from(["RENAME", "RENAMENX", "COPY"]), KEYS, KEYS),
    words("COPY", KEYS, KEYS, st.sampled_from(["REPLACE", "DB", "FOO"])),
    with_options(
        words(st.sampled_from(["EXPIRE", "PEXPIRE"]), KEYS, TIMES),
        words(st.sampled_from(["NX", "xx", "GT", "lt", "FOO"])),
    ),
    with_options(
        words(st.sampled_from(["EXPIREAT", "PEXPIREAT"]), KEYS, FUTURE),
        words(st.sampled_from(["NX", "XX", "GT", "LT"])),
    ),
    words(st.sampled_from(["DBSIZE", "RANDOMKEY", "FLUSHDB", "FLUSHALL"]), st.sampled_from(["SYNC", "x"])),
)

COMMANDS = st.lists(st.one_of(STRINGS, HASHES, GENERIC), min_size=1, max_size=25)

AFTERWARDS: list[Words] = [
    (name, *before, key, *after)
    for key in ("a", "b", "h", "n")
    for name, before, after in (
        ("OBJECT", ("ENCODING",), ()),
        ("TYPE", (), ()),
        ("GET", (), ()),
        ("HGETALL", (), ()),
        ("TTL", (), ()),
    )
]


@pytest.fixture(scope="module")
def links(module_processes: Processes) -> Iterator[tuple[Connection, Connection]]:
    """A connection to a node of ours and one to redis-server."""
    ours, theirs = module_processes.node(), module_processes.redis()
    with Connection("127.0.0.1", ours.port) as one, Connection("127.0.0.1", theirs.port) as other:
        yield one, other


def replies(link: Connection, commands: list[Words]) -> list[object]:
    """What the server answers; it starts empty."""
    answered = link.pipeline([("FLUSHALL",), *commands, *AFTERWARDS])
    return [ordered(reply) for reply in answered]


def ordered(reply: Any) -> object:
    """The reply with errors as texts and arrays sorted: a hash table has no order that two servers share."""
    if isinstance(reply, list):
        return sorted(map(ordered, reply), key=repr)
    return str(reply) if isinstance(reply, Exception) else reply


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(commands=COMMANDS)
def test_replies_and_what_is_left_agree_with_redis_server(
    links: tuple[Connection, Connection], commands: list[Words]
) -> None:
    ours, theirs = (replies(link, commands) for link in links)
    # Only redis-server remembers that an integer was the sum of floats and holds it as text.
    floats = any(command[0] == "INCRBYFLOAT" for command in commands)
    for command, mine, its in zip([("FLUSHALL",), *commands, *AFTERWARDS], ours, theirs, strict=True):
        assert mine == its or (floats and command[0] == "OBJECT"), command
