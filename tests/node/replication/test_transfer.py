"""Receiving a full sync: whole and right, or an error; the data that is served doesn't change meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyredis_cluster.node.digest import dataset_digest
from pyredis_cluster.node.persistence.writer import aux_fields, write_snapshot
from pyredis_cluster.node.replication.transfer import HEADER_MAX_BYTES, Transfer, TransferError

REPLID = "a" * 40
MARK = b"b" * 40
STREAM = b"*1\r\n$4\r\nPING\r\n"


@pytest.fixture(scope="module")
def source(make_node: Any) -> Any:
    node = make_node()
    for number in range(20):
        node.ask("SET", f"s{number}", "x" * number)
        node.ask("SADD", f"t{number % 3}", number, f"m{number}")
        node.ask("HSET", "h", f"f{number}", number)
        node.ask("RPUSH", "l", number)
        node.ask("ZADD", "z", number / 3, f"m{number}")
    node.ask("PEXPIRE", "s1", 100_000)
    node.ask("SELECT", 5)
    node.ask("SET", "other", "database")
    return node


@pytest.fixture(scope="module")
def payload(source: Any) -> bytes:
    aux = aux_fields(now_ms=1, used_memory_bytes=1, repl_id=REPLID, repl_offset=7, stream_database=5)
    return b"".join(write_snapshot(source.server.keyspace, aux=aux))


@pytest.fixture(scope="module")
def target(make_node: Any) -> Any:
    node = make_node()
    node.ask("SET", "mine", "old")
    return node


def framings(payload: bytes) -> list[bytes]:
    return [b"$%d\r\n%b" % (len(payload), payload), b"$EOF:%b\r\n%b%b" % (MARK, payload, MARK)]


def begin(target: Any) -> Transfer:
    return Transfer(target.server, REPLID, 7)


def check(source: Any, transfer: Transfer) -> None:
    assert dataset_digest(transfer.staging) == dataset_digest(source.server.keyspace)
    assert transfer.staging.databases[0].expiry_ms(b"s1") is not None
    assert transfer.stream_database == 5


@pytest.mark.parametrize("framing", [0, 1])
def test_a_transfer_cut_anywhere_is_whole_and_leaves_the_stream(
    source: Any, target: Any, payload: bytes, framing: int
) -> None:
    data = b"\n\n" + framings(payload)[framing] + STREAM
    whole = len(data) - len(STREAM)
    for cut in range(1, len(data)):
        transfer = begin(target)
        rest = transfer.feed(data[:cut])
        if cut < whole:
            assert rest is None
            assert transfer.feed(data[cut:]) == STREAM
        else:
            assert rest == data[whole:cut]
        check(source, transfer)


@pytest.mark.parametrize("framing", [0, 1])
def test_a_transfer_byte_by_byte_is_whole(source: Any, target: Any, payload: bytes, framing: int) -> None:
    transfer = begin(target)
    data = framings(payload)[framing]
    for index in range(len(data)):
        rest = transfer.feed(data[index : index + 1])
        assert rest == (b"" if index == len(data) - 1 else None)
    check(source, transfer)


@settings(max_examples=200)
@given(data=st.data())
def test_a_garbled_snapshot_is_never_taken_for_whole(make_node: Any, data: st.DataObject) -> None:
    node = make_node()
    node.ask("MSET", "a", "1", "b", "2" * 100)
    node.ask("ZADD", "z", 1, "m", 2, "n")
    snapshot = b"".join(write_snapshot(node.server.keyspace))
    # What stands after the signature and version is covered by the checksum, which is not all zeroes here.
    position = data.draw(st.integers(9, len(snapshot) - 1))
    garbled = bytearray(snapshot)
    garbled[position] ^= data.draw(st.integers(1, 255))
    for framed in framings(bytes(garbled)):
        transfer = begin(node)
        try:
            assert transfer.feed(framed) is None
        except TransferError:
            continue
        # The garbled length of an element lets it wait for more; an end mark is no such thing in a file.
        assert framed.startswith(b"$EOF")


@pytest.mark.parametrize("framing", [0, 1])
def test_a_torn_transfer_leaves_the_old_data(target: Any, payload: bytes, framing: int) -> None:
    before = dataset_digest(target.server.keyspace)
    data = framings(payload)[framing]
    for cut in (1, 60, len(data) // 2, len(data) - 1):
        transfer = begin(target)
        assert transfer.feed(data[:cut]) is None
        transfer.drop()
        assert dataset_digest(target.server.keyspace) == before
        assert all(database.size == 0 for database in transfer.staging.databases)


@pytest.mark.parametrize(
    "header",
    [
        b"-ERR go away\r\n",
        b"$EOF:short\r\n",
        b"$12a\r\n",
        b"$-5\r\n",
        b"$" + b"9" * (HEADER_MAX_BYTES + 1) + b"\r\n",
        b"*3\r\n",
        b"x" * (HEADER_MAX_BYTES + 1),
    ],
)
def test_a_wrong_header_is_refused(target: Any, header: bytes) -> None:
    with pytest.raises(TransferError):
        begin(target).feed(header)


def test_a_wrong_end_mark_is_refused(target: Any, payload: bytes) -> None:
    with pytest.raises(TransferError):
        begin(target).feed(b"$EOF:%b\r\n%b%b" % (MARK, payload, b"c" * 40))


def test_a_snapshot_shorter_than_announced_is_refused(target: Any, payload: bytes) -> None:
    with pytest.raises(TransferError):
        begin(target).feed(b"$%d\r\n%b" % (len(payload) - 3, payload))


@pytest.mark.parametrize("database", [b"99", b"-1", b"x", b"9" * 5000])
def test_a_stream_database_that_is_none_counts_as_the_first(source: Any, target: Any, database: bytes) -> None:
    snapshot = b"".join(write_snapshot(source.server.keyspace, aux={b"repl-stream-db": database}))
    transfer = begin(target)
    transfer.feed(framings(snapshot)[0])
    assert transfer.stream_database == 0
