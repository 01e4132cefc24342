"""The snapshot codec: what is written is read back, in any portions; anything else is a typed error."""

from __future__ import annotations

import contextlib
import struct
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyredis_cluster.gossip.slots import key_slot
from pyredis_cluster.node.clock import Clock
from pyredis_cluster.node.keyspace import Keyspace
from pyredis_cluster.node.persistence import encode, intset, listpack, rdb
from pyredis_cluster.node.persistence.crc64 import crc64
from pyredis_cluster.node.persistence.errors import RdbFormatError
from pyredis_cluster.node.persistence.reader import Entry, SnapshotReader
from pyredis_cluster.node.persistence.values import DefaultLimits
from pyredis_cluster.node.persistence.writer import aux_fields, write_snapshot
from pyredis_cluster.node.values.hash import Hash
from pyredis_cluster.node.values.list import List
from pyredis_cluster.node.values.set import Set
from pyredis_cluster.node.values.sorted_set import LISTPACK, SKIPLIST, SortedSet

LIMITS = DefaultLimits()
TEXT = st.one_of(
    st.binary(max_size=70),
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda value: b"%d" % value),
    st.integers(-200, 40_000).map(lambda value: b"%d" % value),
    st.integers(60, 20_000).map(lambda size: b"z" * size),
)
SCORE = st.one_of(st.floats(allow_nan=False), st.integers(-(1 << 40), 1 << 40).map(float))


def sorted_set(scores: dict[bytes, float]) -> SortedSet:
    small = len(scores) <= 128 and max(map(len, scores)) <= 64
    return SortedSet(scores, LISTPACK if small else SKIPLIST)


VALUE = st.one_of(
    TEXT,
    st.lists(TEXT, min_size=1).map(lambda elements: List.of(elements, -2)),
    st.lists(TEXT, min_size=1, unique=True).map(lambda members: Set.of(members, LIMITS)),
    st.sets(st.integers(-100_000, 100_000), min_size=1).map(
        lambda members: Set.of([b"%d" % member for member in members], LIMITS)
    ),
    st.dictionaries(TEXT, TEXT, min_size=1).map(lambda fields: Hash.of(fields.items(), 512, 64)),
    st.dictionaries(TEXT, SCORE, min_size=1).map(sorted_set),
)


def plain(value: Any) -> Any:
    """What a value holds, and its encoding, in a form that compares."""
    if isinstance(value, Hash):
        return "hash", value.encoding, dict(value.fields.items())
    if isinstance(value, List):
        return "list", value.encoding, [*value]
    if isinstance(value, Set):
        return "set", value.encoding, {*value}
    if isinstance(value, SortedSet):
        return "zset", value.encoding, value.items()
    return bytes(value)


def keyspace(database_count: int = 2) -> Keyspace:
    return Keyspace(database_count, Clock(), Random(1))


def read(chunks: list[bytes], database_count: int = 2) -> tuple[list[Entry], SnapshotReader]:
    reader = SnapshotReader(LIMITS, database_count)
    entries = [entry for chunk in chunks for entry in reader.feed(chunk)]
    reader.close()
    return entries, reader


def snapshot_of(*records: bytes, version: int = 10) -> bytes:
    body = b"REDIS%04d" % version + b"".join(records) + b"\xff"
    return body + (crc64(body).to_bytes(8, "little") if version >= 5 else b"")


def record(value_type: int, value: bytes, key: bytes = b"k") -> bytes:
    return bytes((value_type,)) + rdb.encode_string(key) + value


@settings(max_examples=60)
@given(
    st.dictionaries(
        TEXT, st.tuples(VALUE, st.none() | st.integers(1, 1 << 42), st.integers(0, 1)), max_size=8
    ),
    st.data(),
)
def test_a_keyspace_is_read_back_whatever_the_portions(
    content: dict[bytes, tuple[Any, int | None, int]], data: st.DataObject
) -> None:
    source = keyspace()
    for key, (value, expiry_ms, database) in content.items():
        source.databases[database].set(key, value)
        if expiry_ms is not None:
            source.databases[database].set_expiry(key, expiry_ms)
    stream = b"".join(write_snapshot(source, aux={b"redis-ver": b"7.2.4"}))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    entries, reader = read([*chunks, b"tail"])
    found = {key: (plain(value), expiry, database) for database, key, value, expiry in entries}
    assert found == {key: (plain(value), *rest) for key, (value, *rest) in content.items()}
    assert reader.aux == {b"redis-ver": b"7.2.4"}
    assert reader.leftover == b"tail"


@given(VALUE)
def test_a_dump_payload_gives_back_the_value(value: Any) -> None:
    assert plain(encode.load_value(encode.dump_value(value), LIMITS)) == plain(value)


@given(VALUE, st.data())
def test_a_garbled_payload_gives_a_typed_error_or_a_value(value: Any, data: st.DataObject) -> None:
    body = bytearray(encode.dump_value(value)[:-8])
    for position in data.draw(st.lists(st.integers(0, len(body) - 3), max_size=4)):
        body[position] = data.draw(st.integers(0, 255))
    payload = bytes(body) + crc64(body).to_bytes(8, "little")
    with contextlib.suppress(RdbFormatError):
        assert encode.load_value(payload, LIMITS) is not None


@given(st.data())
def test_a_garbled_snapshot_gives_a_typed_error(data: st.DataObject) -> None:
    source = keyspace()
    for number in range(3):
        source.databases[0].set(b"key:%d" % number, data.draw(VALUE))
    stream = bytearray(b"".join(write_snapshot(source)))
    cut = data.draw(st.integers(0, len(stream)))
    for position in data.draw(st.lists(st.integers(9, len(stream) - 9), min_size=1, max_size=4)):
        stream[position] ^= data.draw(st.integers(1, 255))
    for garbled in (bytes(stream), bytes(stream[:cut])):
        reader = SnapshotReader(LIMITS, 2)
        with contextlib.suppress(RdbFormatError):
            reader.feed(garbled)
            assert not reader.finished or crc64(garbled[: reader.offset - 8]) == int.from_bytes(
                garbled[reader.offset - 8 : reader.offset], "little"
            )
            reader.close()


@pytest.mark.parametrize("at", range(9))
def test_a_wrong_signature_or_version_is_refused(at: int) -> None:
    stream = bytearray(b"REDIS0010\xff")
    stream[at] = ord("9")
    with pytest.raises(RdbFormatError):
        SnapshotReader(LIMITS, 1).feed(bytes(stream))


def test_every_truncation_is_an_unexpected_end() -> None:
    source = keyspace()
    source.databases[0].set(b"list", List.of([b"a" * 100] * 3, -2))
    source.databases[0].set(b"set", Set.of([b"x", b"y"], LIMITS))
    stream = b"".join(write_snapshot(source))
    for size in range(len(stream)):
        reader = SnapshotReader(LIMITS, 2)
        reader.feed(stream[:size])
        with pytest.raises(RdbFormatError, match="unexpected end"):
            reader.close()


def test_a_wrong_checksum_is_refused_unless_it_is_not_to_be_verified() -> None:
    stream = snapshot_of(record(0, b"\x01v"))[:-1] + b"\x01"
    with pytest.raises(RdbFormatError, match="CRC"):
        read([stream])
    reader = SnapshotReader(LIMITS, 1, verify_checksum=False)
    assert reader.feed(stream) == [(0, b"k", b"v", None)]


def test_a_checksum_of_zero_means_that_there_is_none() -> None:
    assert read([snapshot_of(record(0, b"\x01v"))[:-8] + bytes(8)])[0] == [(0, b"k", b"v", None)]


def test_versions_below_5_have_no_checksum() -> None:
    assert read([snapshot_of(record(0, b"\x01v"), version=3)])[0] == [(0, b"k", b"v", None)]


def test_a_false_length_reserves_nothing_and_waits_for_bytes_that_never_come() -> None:
    reader = SnapshotReader(LIMITS, 1)
    reader.feed(b"REDIS0010" + record(0, b"\x81" + b"\x7f" * 8))
    for _ in range(100):
        assert reader.feed(b"x" * 1000) == []
    with pytest.raises(RdbFormatError):
        reader.close()


def test_a_false_count_is_an_unexpected_end() -> None:
    with pytest.raises(RdbFormatError):
        read([b"REDIS0010" + record(rdb.TYPE_SET, b"\x81" + b"\x7f" * 8 + b"\x01a\x01b")])


INTEGERS = b"\x05\xc0\xff\xc1\x00\x80\xc2\xff\xff\xff\x7f\x01a\xc3\x05\x0b\x00a\xe0\x01\x00"


@pytest.mark.parametrize(
    ("value_type", "blob", "expected"),
    [
        (rdb.TYPE_STRING, b"\xc0\xff", b"-1"),
        (rdb.TYPE_STRING, b"\xc1\x00\x80", b"-32768"),
        (rdb.TYPE_STRING, b"\xc2\xff\xff\xff\x7f", b"2147483647"),
        (rdb.TYPE_STRING, b"\xc3\x05\x0b\x00a\xe0\x01\x00", b"a" * 11),
        (rdb.TYPE_STRING, b"\x40\x03abc", b"abc"),
        (rdb.TYPE_STRING, b"\x80\x00\x00\x00\x03abc", b"abc"),
        (rdb.TYPE_STRING, b"\x81\x00\x00\x00\x00\x00\x00\x00\x03abc", b"abc"),
        (rdb.TYPE_LIST, INTEGERS, ("list", b"listpack", [b"-1", b"-32768", b"2147483647", b"a", b"a" * 11])),
        (
            rdb.TYPE_ZSET,
            b"\x03\x01a\x031.5\x01b\xfe\x01c\xff",
            ("zset", b"listpack", [(b"c", float("-inf")), (b"a", 1.5), (b"b", float("inf"))]),
        ),
        (rdb.TYPE_ZSET_2, b"\x01\x01a" + struct.pack("<d", 2.5), ("zset", b"listpack", [(b"a", 2.5)])),
        (rdb.TYPE_HASH, b"\x01\x01a\x01b", ("hash", b"listpack", {b"a": b"b"})),
        (rdb.TYPE_SET, b"\x02\x01a\x011", ("set", b"listpack", {b"a", b"1"})),
        (rdb.TYPE_SET_INTSET, rdb.encode_string(intset.encode([3, 1])), ("set", b"intset", {b"1", b"3"})),
        (rdb.TYPE_SET_LISTPACK, rdb.encode_string(listpack.encode([b"a"])), ("set", b"listpack", {b"a"})),
        (
            rdb.TYPE_LIST_QUICKLIST_2,
            b"\x02\x01\x03abc\x02" + rdb.encode_string(listpack.encode([b"d"])),
            ("list", b"listpack", [b"abc", b"d"]),
        ),
    ],
)
def test_each_way_to_write_a_value_is_read(value_type: int, blob: bytes, expected: Any) -> None:
    ((_, key, value, _),), _ = read([snapshot_of(record(value_type, blob))])
    assert (key, plain(value)) == (b"k", expected)


@pytest.mark.parametrize(
    ("value_type", "blob"),
    [
        (rdb.TYPE_SET, b"\x02\x01a\x01a"),
        (rdb.TYPE_HASH, b"\x02\x01a\x01b\x01a\x01c"),
        (rdb.TYPE_ZSET_2, b"\x02\x01a" + bytes(8) + b"\x01a" + bytes(8)),
        (rdb.TYPE_ZSET_2, b"\x01\x01a" + struct.pack("<d", float("nan"))),
        (rdb.TYPE_ZSET, b"\x01\x01a\xfd"),
        (rdb.TYPE_ZSET, b"\x01\x01a\x01x"),
        (rdb.TYPE_HASH_LISTPACK, rdb.encode_string(listpack.encode([b"a", b"b", b"c"]))),
        (rdb.TYPE_ZSET_LISTPACK, rdb.encode_string(listpack.encode([b"a", b"b"]))),
        (rdb.TYPE_LIST_QUICKLIST_2, b"\x01\x03\x01a"),
        (rdb.TYPE_STREAM_LISTPACKS_2, b""),
        (rdb.TYPE_MODULE_2, b""),
        (rdb.TYPE_STRING, b"\xc4"),
        (rdb.TYPE_STRING, b"\xc3\x01\x7f\x00"),
        (8, b""),
        (30, b""),
    ],
)
def test_values_that_are_wrong_or_unknown_are_refused(value_type: int, blob: bytes) -> None:
    with pytest.raises(RdbFormatError):
        read([snapshot_of(record(value_type, blob))])


def test_empty_collections_are_skipped_in_a_snapshot_and_refused_in_a_payload() -> None:
    stream = snapshot_of(b"\xfc" + bytes(8) + record(rdb.TYPE_LIST, b"\x00"), record(0, b"\x01v"))
    entries, reader = read([stream])
    assert entries == [(0, b"k", b"v", None)]
    assert reader.empty_keys_skipped == 1
    body = b"\x01\x00\x0a\x00"
    with pytest.raises(RdbFormatError):
        encode.load_value(body + crc64(body).to_bytes(8, "little"), LIMITS)


def test_opcodes_between_keys_are_read() -> None:
    stream = snapshot_of(
        b"\xfa\x01a\x01b",
        b"\xf5\x04code",
        b"\xf7\x01\x02\x02\x05\x02ab\x01\x05\x03\x00\x00\x00\x00\x04" + bytes(8) + b"\x00",
        b"\xfe\x01\xfb\x02\x01",
        b"\xfd\x02\x00\x00\x00\xf9\x07" + record(0, b"\x01v"),
        b"\xfc\x07" + bytes(7) + b"\xf8\x05" + record(0, b"\x01v", b"j"),
    )
    entries, reader = read([stream])
    assert entries == [(1, b"k", b"v", 2000), (1, b"j", b"v", 7)]
    assert reader.functions == [b"code"]
    assert reader.aux == {b"a": b"b"}
    assert reader.module_aux_skipped == 1


def test_a_database_that_the_node_lacks_is_refused() -> None:
    with pytest.raises(RdbFormatError, match="databases"):
        read([snapshot_of(b"\xfe\x02")])


def test_a_snapshot_of_some_slots_holds_only_their_keys() -> None:
    source = keyspace()
    for number in range(50):
        source.databases[0].set(b"key:%d" % number, b"v")
    slots = {key_slot(b"key:7"), key_slot(b"key:8")}
    entries, _ = read([*write_snapshot(source, slots=slots)])
    assert {key for _, key, _, _ in entries} == {b"key:7", b"key:8"}


def test_chunks_are_bounded_however_large_a_value_is() -> None:
    source = keyspace()
    source.databases[0].set(b"text", b"t" * 1_000_000)
    source.databases[0].set(b"set", Set.of([b"member:%d" % number for number in range(40_000)], LIMITS))
    source.databases[0].set(b"list", List.of([b"x" * 300_000, b"y"], -2))
    chunks = [*write_snapshot(source)]
    assert max(map(len, chunks)) <= 2 * 65536
    assert len(read(chunks)[0]) == 3


def test_aux_fields_are_redis_s() -> None:
    fields = aux_fields(now_ms=5000, used_memory_bytes=7, repl_id="a" * 40, repl_offset=3, stream_database=0)
    assert [*fields] == [
        b"redis-ver",
        b"redis-bits",
        b"ctime",
        b"used-mem",
        b"repl-stream-db",
        b"repl-id",
        b"repl-offset",
        b"aof-base",
    ]
    assert fields[b"ctime"] == b"5"


def test_a_payload_of_a_string_is_the_one_that_redis_7_0_makes() -> None:
    assert encode.dump_value(b"10") == b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb"
