"""The compiled data plane and the Python one do the same: call by call, and over whole sessions."""

from __future__ import annotations

import gc
import re
import socket
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyredis_cluster.bench_inprocess import InProcessNode, in_process_node
from pyredis_cluster.client.resp import encode_command, encode_commands
from pyredis_cluster.gossip.slots import key_slot
from pyredis_cluster.node.clock import Clock
from pyredis_cluster.node.data_plane import native, originals
from pyredis_cluster.node.digest import dataset_digest
from pyredis_cluster.node.keyspace import SLOT_DICT_MAX_ENTRIES, Database, Keyspace
from pyredis_cluster.node.replication.stream import Stream
from pyredis_cluster.node.values.hash import Hash
from pyredis_cluster.node.values.list import List
from pyredis_cluster.node.values.set import HASHTABLE, Set
from pyredis_cluster.node.values.sorted_set import LISTPACK, SKIPLIST, SortedSet
from pyredis_cluster.node.values.table import Table, grown, random_key

from .planes import python_method, python_plane

pytestmark = pytest.mark.skipif(native is None, reason="the compiled module isn't there")

LEAK_ROUNDS = 400
LEAK_MAX_BLOCKS = 100


def test_every_stand_in_has_its_python_method() -> None:
    assert len(originals) > 10
    with python_plane():
        assert type(Database.read) is type(python_method)
    assert type(Database.read) is not type(python_method)


# -- encoding and parsing


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_integers_are_written_alike(number: int) -> None:
    assert native is not None
    assert native.integer(number) == b":%d\r\n" % number


@given(st.lists(st.binary(max_size=20) | st.binary(max_size=20).map(bytearray), max_size=20))
def test_bulks_are_written_alike(values: list[bytes | bytearray]) -> None:
    assert native is not None
    bulks = [b"$%d\r\n%b\r\n" % (len(value), value) for value in values]
    assert [*map(native.bulk, values)] == bulks
    assert native.bulk_array(values) == b"*%d\r\n%b" % (len(values), b"".join(bulks))


@given(st.floats(allow_nan=False) | st.integers(-(1 << 64), 1 << 64).map(float))
def test_integral_doubles_are_written_alike(value: float) -> None:
    assert native is not None
    whole = value.is_integer() and abs(value) <= float(1 << 62)
    expected = (b"-0" if str(value) == "-0.0" else b"%d" % value) if whole else None
    assert native.format_integral(value) == expected
    pair = None if expected is None else native.bulk_array([b"member", expected])
    assert native.scored_integral(b"member", value) == pair


@given(st.from_regex(rb"[0-9]{1,17}", fullmatch=True) | st.binary(max_size=4))
def test_plain_floats_are_read_alike(text: bytes) -> None:
    assert native is not None
    assert native.plain_float(text) == (float(text) if text.isdigit() and len(text) <= 15 else None)


@given(
    st.integers(-(1 << 64), 1 << 64).map(lambda number: b"%d" % number)
    | st.from_regex(rb"\A[-+ 0]{0,2}[0-9]{0,21}[ a]?\Z")
)
def test_integers_are_read_alike(text: bytes) -> None:
    assert native is not None
    canonical = re.fullmatch(rb"0|-?[1-9][0-9]*", text) and -(1 << 63) <= int(text) < 1 << 63
    assert native.int64(text) == native.int64(bytearray(text)) == (int(text) if canonical else None)


@given(st.binary(max_size=40) | st.from_regex(rb"\A[a{}]{0,12}\Z"))
def test_keys_have_the_same_slots(key: bytes) -> None:
    assert native is not None
    assert native.key_slot(key) == key_slot(key)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("bulk", ("text",)),
        ("bulk_array", ([b"a", 1],)),
        ("integer", (b"1",)),
        ("integer", (1 << 64,)),
        ("key_slot", (bytearray(b"k"),)),
        ("parse", (b"*1\r\n",)),
        ("parse", (bytearray(b"*1\r\n"), 1)),
        ("bind", ({},)),
    ],
)
def test_what_has_the_wrong_type_is_refused(function: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, OverflowError, RuntimeError)):
        getattr(native, function)(*arguments)


# -- the keyspace and its tables

names = st.integers(0, 40).map(lambda number: b"{k%d}" % (number % 3) + b"%d" % number)
DATABASE_STEPS = ["read", "find", "modified", "put", "set", "expiry", "watch", "later"]
database_steps = st.lists(st.tuples(st.sampled_from(DATABASE_STEPS), names), max_size=60)


def fill_slot(database: Database, count: int) -> None:
    """fill_slot(database, 3000): so many more keys in the slot of `{k0}`, which is a Table then."""
    for number in range(count):
        database.put(b"{k0}more%d" % number, b"v")


LARGE_SLOT_KEYS = SLOT_DICT_MAX_ENTRIES + 100


@settings(max_examples=40)
@given(database_steps, st.sampled_from([0, LARGE_SLOT_KEYS]))
def test_databases_change_alike(steps: list[tuple[str, bytes]], more: int) -> None:
    found: list[list[Any]] = []
    for plane in ("c", "python"):
        clock = Clock()
        clock.now_ms = 1000
        keyspace = Keyspace(1, clock, Random(1))
        database = keyspace.databases[0]
        fill_slot(database, more)
        seen: list[Any] = []
        for number, (step, key) in enumerate(steps):
            arguments: tuple[Any, ...] = (key, b"%d" % number) if step in ("put", "set") else (key,)
            if step == "expiry":
                if database.peek(key) is not None:
                    database.set_expiry(key, clock.now_ms + 2)
            elif step == "watch":
                database.watched[key] = []
            elif step == "later":
                clock.now_ms += 1
            elif plane == "c":
                seen.append(getattr(database, step)(*arguments))
            else:
                seen.append(python_method(f"Database.{step}")(database, *arguments))
        database._check()
        seen += [keyspace.dirty, keyspace.hits, keyspace.misses, keyspace.expired_keys, database.size]
        found.append([*seen, sorted((key, database.peek(key)) for key in [*database.keys()])])
    assert found[0] == found[1]


def test_a_large_slots_keys_are_read_and_written_without_python() -> None:
    with in_process_node() as node:
        database = node.server.keyspace.databases[0]
        fill_slot(database, LARGE_SLOT_KEYS)
        called: list[str] = []
        sys.setprofile(lambda frame, event, argument: called.append(frame.f_code.co_qualname))
        try:
            found = [database.read(b"{k0}more%d" % number) for number in range(LARGE_SLOT_KEYS)]
            database.set(b"{k0}more7", b"w")
        finally:
            sys.setprofile(None)
    assert found == [b"v"] * LARGE_SLOT_KEYS
    assert not {name for name in called if name.startswith("Database.")}


@pytest.mark.parametrize("keys", [3, 300, LARGE_SLOT_KEYS])
def test_pipelines_over_few_and_many_keys_are_answered_alike(keys: int) -> None:
    asked = [[b"GET", b"{k0}more%d" % (number * 7919 % (2 * keys))] for number in range(100)]
    asked[20:20] = [[b"SET", b"{k0}more1", b"new"], [b"PING"], [b"DEL", b"{k0}more2"], [b"GET", b"elsewhere"]]
    replies = []
    for compiled in (True, False):
        with nullcontext() if compiled else python_plane(), in_process_node() as node:
            fill_slot(node.server.keyspace.databases[0], keys)
            replies.append(node.exchange(encode_commands(asked)))
    assert replies[0] == replies[1]
    assert replies[0].count(b"\r\n") > len(asked)


def on_both_planes(work: Callable[[], list[Any]]) -> None:
    """on_both_planes(work): asserts that it returns the same on either data plane."""
    compiled = work()
    with python_plane():
        assert work() == compiled


def test_a_collection_that_shrank_is_counted_or_removed_alike() -> None:
    def work() -> list[Any]:
        database = Keyspace(1, Clock(), Random(1)).databases[0]
        made = [Hash.of([], 9, 9), Set(), SortedSet(), List()]
        made += [Hash.of([(b"f", b"v")], 9, 9), Set([b"m"]), SortedSet({b"m": 1.0}), Set(map(str.encode, "abc"))]
        for number, value in enumerate(made):
            database.put(b"%d" % number, value)
        for listened in (False, True):
            if listened:
                database.blocked[b"5"] = {}
            for number, value in enumerate(made):
                database.shrunk(b"%d" % number, value)
        return [sorted(database.keys()), database.keyspace.dirty, database.keyspace.ready]

    on_both_planes(work)


table_steps = st.lists(st.tuples(st.sampled_from(["set", "swap", "del", "get", "in", "pop"]), st.integers(0, 900)))


@settings(max_examples=60)
@given(st.integers(0, 900), table_steps, st.integers(0, 900))
def test_tables_change_alike(size: int, steps: list[tuple[str, int]], emptied: int) -> None:
    def work() -> list[Any]:
        table: Table[int] = Table({b"%d" % number: number for number in range(size)})
        seen: list[Any] = []
        for step, number in [*steps, *[("pop", number) for number in range(emptied)], *steps]:
            key = b"%d" % number
            if step == "set":
                table[key] = number
            elif step == "swap":
                seen.append(table.swap(key, number))
            elif step == "del" and key in table:
                del table[key]
            elif step == "get":
                seen.append(table.get(key, -1))
            elif step == "in":
                seen.append(key in table)
            elif step == "pop":
                seen.append((table.pop(key), table.pop(key, -1)))
            seen.append(len(table))
        table._check()
        return [*seen, table._depths, [*table.items()]]

    on_both_planes(work)


SIZES = st.sampled_from([0, 1, 9, 10, 300, 511, 512, 513, 1000, 1023, 1024, 1500])
NUMBERS = st.integers(0, 1200)
SCORES = st.sampled_from([float("-inf"), -1.5, -0.0, 0.0, 1.0, 2.0, 500.0, 501.0, 5000.0, float("inf")])
LIMITS = SimpleNamespace(set_max_intset_entries=10, set_max_listpack_entries=10, set_max_listpack_value=4)


@settings(max_examples=60)
@given(SIZES, st.lists(st.tuples(NUMBERS, st.binary(max_size=6)), max_size=60), st.sampled_from([10, 128, 1 << 62]))
def test_hashes_change_alike(size: int, steps: list[tuple[int, bytes]], entries_max: int) -> None:
    def work() -> list[Any]:
        value = Hash.of([(b"%d" % number, b"1") for number in range(size)], entries_max, 4)
        seen = [(value.set(b"%d" % number, text, entries_max, 4), value.encoding) for number, text in steps]
        value._check()
        return [*seen, [*value.fields.items()]]

    on_both_planes(work)


@settings(max_examples=60)
@given(SIZES, st.lists(NUMBERS | st.binary(max_size=6), max_size=60))
def test_sets_change_alike(size: int, members: list[int | bytes]) -> None:
    def work() -> list[Any]:
        value = Set.of([b"%d" % number for number in range(size)], LIMITS)
        texts = [b"%d" % each if type(each) is int else each for each in members]
        seen = [(value.add(text, LIMITS), value.encoding) for text in texts]  # type: ignore[arg-type]
        value._check()
        return [*seen, [*value.entries]]

    on_both_planes(work)


@pytest.mark.parametrize("size", [3, 40, 3000])
def test_every_key_is_as_likely_as_any_other_on_both_planes(size: int) -> None:
    def work() -> list[Any]:
        rng = Random(7)
        mapping = grown({b"k%d" % number: number for number in range(size)})
        counts = Counter(random_key(mapping, rng) for _ in range(20 * size))
        chi_squared = sum((counts[key] - 20) ** 2 / 20 for key in mapping)
        assert chi_squared < size + 6 * (2 * size) ** 0.5
        return []

    on_both_planes(work)


@pytest.mark.parametrize("size", [2, 4, 400, 3000])
def test_popping_takes_each_member_once_and_none_sooner_than_another(size: int) -> None:
    def work() -> list[Any]:
        rng = Random(7)
        members = {b"%d" % number for number in range(size)}
        early: Counter[bool] = Counter()
        for _ in range(max(2, 3000 // size)):
            value = Set(members, HASHTABLE)
            popped = []
            while len(value):
                popped.append(value.pop(rng))
                if len(value) % 100 == 0:
                    value._check()
            assert {*popped} == members
            assert len(popped) == size
            with pytest.raises(KeyError):
                value.pop(rng)
            early.update(int(member) < size // 2 for member in popped[: size // 2])
        assert abs(early[True] - early[False]) <= 6 * early.total() ** 0.5
        return []

    on_both_planes(work)


ORDER_STEPS = st.sampled_from(["put", "put", "remove", "lowest", "highest", "rank"])
order_steps = st.lists(st.tuples(ORDER_STEPS, NUMBERS, SCORES), max_size=60)


@settings(max_examples=100)
@given(SIZES, order_steps, st.sampled_from([1, 7, 1 << 30]), st.sampled_from([LISTPACK, SKIPLIST]), st.integers(0, 900))
def test_sorted_sets_change_alike(
    size: int, steps: list[tuple[str, int, float]], scores: int, encoding: bytes, emptied: int
) -> None:
    def work() -> list[Any]:
        value = SortedSet({b"%d" % number: float(number * 7919 % scores) for number in range(size)}, encoding)
        seen: list[Any] = []
        for step, number, score in [*steps, *[("lowest", 0, 0.0)] * emptied, *steps]:
            if step == "put":
                seen.append(repr(value.put(b"%d" % number, score)))
            elif step == "remove":
                seen.append(value.remove(b"%d" % number))
            elif step == "rank":
                seen.append(value.rank(b"%d" % number))
            elif len(value):
                seen.append(value.pop_lowest() if step == "lowest" else value.pop_highest())
        value._check()
        return [*seen, repr([*value.scores.items()]), value.items(), [*map(len, value.index._members)]]

    on_both_planes(work)


def test_values_of_other_types_are_refused_or_taken_as_python_takes_them() -> None:
    def work() -> list[Any]:
        zset = SortedSet({b"%d" % number: float(number) for number in range(2000)}, SKIPLIST)
        for score in (-1, 5000, 700, True):
            zset.put(b"integer:%d" % score, score)
            zset.put(b"float:%d" % score, float(score))
        zset.put(b"integer:700", 3.0)
        zset._check()
        found: list[Any] = [zset.pop_lowest(), zset.pop_highest(), zset.rank(b"float:700"), zset.items(0, 20)]
        for method in (zset.put, Hash().set, Set().add):
            with pytest.raises(TypeError):
                method(b"a")  # type: ignore[call-arg]
        return found

    on_both_planes(work)


# -- whole sessions

PARKS = encode_commands([[b"BLPOP", b"l", b"0"], [b"PING"], [b"GET", b"k"]])
SESSION = [
    b"PING\r\n",
    encode_commands([[b"SET", b"k", b"v"], [b"get", b"k"], [b"Get", b"none"], [b"INCR", b"n"], [b"INCR", b"k"]]),
    encode_commands([[b"nonsense"], [b"GET"], [b"CONFIG", b"NOPE"], [b"LPUSH", b"k", b"a"], [b"SPOP", b"none"]]),
    encode_commands([[b"MSET", b"{a}1", b"x", b"{a}2", b"y"], [b"MSET", b"{a}1", b"x", b"{b}2", b"y"]]),
    encode_commands([[b"MULTI"], [b"LPUSH", b"l", b"1", b"2"], [b"NOPE"], [b"EXEC"]]),
    encode_commands([[b"MULTI"], [b"LPOP", b"l"], [b"EXEC"]]),
    PARKS,
    encode_commands([[b"CLIENT", b"REPLY", b"SKIP"], [b"PING"], [b"ECHO", b"on"], [b"HSET", b"h", b"f", b"1"]]),
    encode_command([b"SET", b"big", b"x" * 100])[:50],
    encode_command([b"SET", b"big", b"x" * 100])[50:] + encode_command([b"STRLEN", b"big"]) + b"*1\r\n$4\r\nPI",
    b"NG\r\n" + b"PING\r\nECHO inline\r\n" + encode_command([b"ZADD", b"z", b"1.5", b"m", b"2", b"o"]),
    encode_commands([[b"ZPOPMIN", b"z"], [b"SADD", b"s", b"1", b"a"], [b"PEXPIRE", b"k", b"1"], [b"HGETALL", b"h"]]),
    encode_commands([[b"CLUSTER", b"DELSLOTS", b"%d" % key_slot(b"k")], [b"GET", b"k"], [b"GET", b"n"]]),
    encode_command([b"PING"]) + b"*1\r\n:5\r\n" + encode_command([b"PING"]),
]


def play(node: InProcessNode) -> tuple[bytes, list[Any]]:
    """play(node) -> all replies to SESSION, and what was counted."""
    replies = b""
    server = node.server
    for data in SESSION:
        node.socket.sendall(data)
        node.round()
        if data is PARKS:
            assert server.blocking.unblock(node.connection.client, with_error=False)
        for _ in range(3):
            node.round()
    node.socket.setblocking(False)
    while True:
        try:
            more = node.socket.recv(1 << 16)
        except BlockingIOError:
            break
        if not more:
            break
        replies += more
    stats = server.stats
    counts = [(each.name, each.calls, each.failed, each.rejected) for each in server.dispatcher.table if each.calls]
    return replies, [
        counts,
        server.dispatcher.commands_processed,
        server.dispatcher.errors,
        stats.net_input_bytes,
        stats.net_output_bytes,
        stats.reads_processed,
        node.connection.closed,
        server.keyspace.dirty,
    ]


def reset_statistics(node: InProcessNode) -> None:
    node.exchange(encode_command([b"CONFIG", b"RESETSTAT"]))
    node.server.stats.reset()  # C counts a round's bytes at its end


def test_a_session_has_the_same_replies_and_counts() -> None:
    with in_process_node() as node:
        reset_statistics(node)
        compiled = play(node)
    with python_plane(), in_process_node() as node:
        reset_statistics(node)
        plain = play(node)
    assert compiled[0] == plain[0]
    assert compiled[1] == plain[1]
    assert compiled[0].count(b"\r\n") > 30
    assert compiled[0].endswith(b"-ERR Protocol error: expected '$', got ':'\r\n")


WRITES = [
    encode_commands([[b"SET", b"k", b"v"], [b"GET", b"k"], [b"INCR", b"n"], [b"incr", b"n"], [b"DEL", b"none"]]),
    encode_commands([[b"SADD", b"s", b"only"], [b"SPOP", b"s"], [b"SADD", b"s", b"a", b"b"], [b"SPOP", b"s", b"2"]]),
    encode_commands([[b"INCRBYFLOAT", b"f", b"1.5"], [b"MULTI"], [b"INCR", b"n"], [b"LPUSH", b"l", b"1"], [b"EXEC"]]),
    encode_commands([[b"SET", b"%d" % number, b"x" * 700] for number in range(20)]),
    *[encode_command([b"SET", b"large", b"y" * 15_000])] * 5,
    encode_commands([[b"SET", b"k", b""], [b"APPEND", b"k", b"end"], [b"GETSET", b"k", b"v"]]),
]


def journalled() -> tuple[bytes, list[int]]:
    """journalled() -> the stream that WRITES leave in a backlog, and the offset that WAIT would wait for after each."""
    offsets = []
    with in_process_node(repl_backlog_size="1mb") as node:
        side, journal = node.server.replication.primary, node.server.journal
        side.open_backlog()
        start = journal.offset + 1
        for data in WRITES:
            assert b"-ERR" not in node.exchange(data)
            offsets.append(node.connection.client.waiting_offset)
            assert side.backlog is not None
            side.backlog._check()
            assert side.backlog.quiet
            assert side.backlog.end == journal.offset + 1
        return side.backlog.read(start, 1 << 20), offsets


def test_writes_are_journalled_alike() -> None:
    stream, offsets = journalled()
    with python_plane():
        assert journalled() == (stream, offsets)
    assert offsets == sorted(set(offsets))
    assert len(stream) > 80_000
    assert encode_command([b"SREM", b"s", b"only"]) in stream


def streamed() -> tuple[bytes, bytes]:
    """streamed() -> what a replica that reads by fits and starts is sent, and what was journalled."""
    rng = Random(5)
    with in_process_node(repl_backlog_size="16kb", client_output_buffer_limit="replica 0 0 0") as node:
        replication, journal = node.server.replication, node.server.journal
        replication.primary.open_backlog()
        start = journal.offset + 1
        node.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        node.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        introduction = b"+CONTINUE\r\n"
        request = encode_command([b"PSYNC", replication.identity.replid.encode(), b"%d" % start])
        assert node.exchange(request) == introduction
        written, read = bytearray(), b""
        recorder = Recorder(written)
        journal.subscribe(recorder)
        node.socket.setblocking(False)
        for number in range(300):
            size = rng.choice([1, 10, 1000, 20_000])
            node.server.reactor.batch(lambda: journal.append(0, [b"SET", b"k", b"%d" % number * size]))  # noqa: B023
            if rng.random() < 0.3:
                read += read_all(node)
        for _ in range(len(written)):
            if len(read) == len(written):
                break
            read += read_all(node)
        assert replication.primary.backlog is not None
        assert next(iter(replication.primary.links.values())).next_offset == replication.primary.backlog.end
        return read, bytes(written)


class Recorder:
    """A journal subscriber that keeps the bytes."""

    def __init__(self, written: bytearray) -> None:
        self._written = written

    def journal_entry(self, data: bytes, offset: int, database: int, args: list[bytes]) -> None:
        self._written += data


def read_all(node: InProcessNode) -> bytes:
    """read_all(node) -> what has arrived at the replica; its socket takes more after that."""
    read = b""
    with suppress(BlockingIOError):
        while data := node.socket.recv(1 << 16):
            read += data
    node.round()
    return read


def test_a_replica_is_sent_the_whole_stream_by_either_plane() -> None:
    read, written = streamed()
    assert read == written
    with python_plane():
        assert streamed() == (read, written)


APPLIED: list[list[bytes]] = [
    [b"SELECT", b"0"],
    *[[b"SET", b"k%d" % number, b"%d" % number] for number in range(40)],
    [b"INCR", b"k7"],
    [b"LPUSH", b"k7", b"not a list"],
    [b"GET"],
    [b"no-such-command"],
    [b"PING"],
    [b"MULTI"],
    [b"INCR", b"k8"],
    [b"EXEC"],
    [b"SET", b"late", b"v", b"PXAT", b"1"],
    [b"EXPIRE", b"k9", b"1"],
    [b"CONFIG", b"nonsense"],
    [b"REPLCONF", b"GETACK", b"*"],
    [b"DEL", b"k1", b"k2"],
]


def test_a_stream_is_applied_alike(caplog: pytest.LogCaptureFixture) -> None:
    found = []
    for compiled in (True, False):
        caplog.clear()
        with nullcontext() if compiled else python_plane(), in_process_node() as node:
            reset_statistics(node)
            server = node.server
            server.replication.follow("127.0.0.1", 1, connect=False)
            assert server.replication.link is not None
            stream = Stream(server, server.replication.link.client)
            stream.apply(APPLIED)
            found.append([
                stream.ack_wanted,
                dataset_digest(server.keyspace),
                [(each.name, each.calls, each.failed) for each in server.dispatcher.table if each.calls],
                [record.getMessage() for record in caplog.records],
            ])  # fmt: skip
    assert found[0] == found[1]
    assert len(found[0][3]) >= 4


def test_a_bug_in_a_command_is_answered_by_either_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(client: Any, args: list[bytes]) -> bytes:
        raise ZeroDivisionError

    for compiled in (True, False):
        with in_process_node() as node:
            monkeypatch.setattr(node.server.dispatcher.by_name[b"PING"], "function", broken)
            if compiled:
                reply = node.exchange(encode_commands([[b"PING"], [b"ECHO", b"a"]]))
            else:
                with python_plane():
                    reply = node.exchange(encode_commands([[b"PING"], [b"ECHO", b"a"]]))
            monkeypatch.undo()
        assert reply == b"-ERR internal error, see the server's log\r\n$1\r\na\r\n"


def test_a_reply_that_is_no_bytes_is_a_fault_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with in_process_node() as node:
        monkeypatch.setattr(node.server.dispatcher.by_name[b"PING"], "function", lambda client, args: 5)
        node.socket.sendall(encode_command([b"PING"]))
        node.round()
        monkeypatch.undo()
        assert node.connection.closed


def test_nothing_is_kept_of_what_was_served() -> None:
    data = [encode_commands([[b"SET", b"k%d" % at, b"v"], [b"GET", b"k%d" % at], [b"GET", b"none"]]) for at in range(8)]
    data += [
        encode_commands([[b"LPUSH", b"l", b"abc"], [b"RPOP", b"l"], [b"HSET", b"h", b"f", b"v"], [b"GET", b"h"]]),
        encode_commands([[b"SADD", b"s", b"m"], [b"SPOP", b"s"], [b"ZADD", b"z", b"1", b"m"], [b"ZPOPMIN", b"z"]]),
        encode_commands([[b"INCRBY", b"i", b"100000"], [b"DEL", b"i"], [b"nonsense"], [b"MULTI"], [b"EXEC"]]),
        encode_command([b"PING"]) + b"ECHO a\r\n",
    ]
    with in_process_node() as node:

        def rounds(count: int) -> int:
            for _ in range(count):
                for each in data:
                    node.exchange(each)
            gc.collect()
            return sys.getallocatedblocks()

        rounds(20)
        before = rounds(20)
        assert rounds(LEAK_ROUNDS) - before < LEAK_MAX_BLOCKS
