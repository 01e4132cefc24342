"""The replica's stream: transactions whole or not at all, wherever the bytes are cut and the link is lost."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyredis_cluster.client.resp import encode_commands
from pyredis_cluster.node.data_plane import native
from pyredis_cluster.node.digest import dataset_digest
from pyredis_cluster.node.replication.replica import LinkState, PrimaryLink

COMMANDS = [
    [b"SELECT", b"0"],
    [b"INCR", b"n"],
    [b"MULTI"],
    [b"SELECT", b"3"],
    [b"INCR", b"a"],
    [b"RPUSH", b"list", b"multi"],
    [b"INCR", b"b"],
    [b"EXEC"],
    [b"INCR", b"n"],
    [b"PING"],
    [b"SET", b"text", b"MULTI\r\n*1\r\n$4\r\nEXEC\r\n"],
    [b"multi"],
    [b"INCR", b"a"],
    [b"INCR", b"b"],
    [b"exec"],
    [b"INCR", b"last"],
]
DATA = encode_commands(COMMANDS)
CALLS_FOR_A_READ = 20
"""Of Python functions, for what is read of the stream at once."""


def replica(make_node: Any) -> tuple[Any, PrimaryLink]:
    """A replica whose link is up, without a socket."""
    node = make_node()
    node.server.journal.unsubscribe(node.recorder)
    node.server.replication.follow("127.0.0.1", 1, connect=False)
    link = node.server.replication.link
    node.server.replication.primary.open_backlog()
    link.state = LinkState.CONNECTED
    return node, link


def counters(node: Any) -> tuple[Any, Any]:
    database = node.server.keyspace.databases[3]
    return database.peek(b"a"), database.peek(b"b")


@pytest.fixture(scope="module")
def expected(make_node: Any) -> str:
    node, link = replica(make_node)
    link._received(DATA)
    assert node.server.journal.offset == len(DATA)
    assert counters(node) == (b"2", b"2")
    assert node.server.keyspace.databases[3].peek(b"last") == b"1"
    return str(dataset_digest(node.server.keyspace))


def test_bytes_one_by_one_are_the_same_stream(make_node: Any, expected: str) -> None:
    node, link = replica(make_node)
    for index in range(len(DATA)):
        link._received(DATA[index : index + 1])
        assert len(set(counters(node))) == 1
        assert link.read_offset == index + 1
    assert str(dataset_digest(node.server.keyspace)) == expected
    assert node.server.journal.offset == len(DATA)


def test_a_link_lost_anywhere_goes_on_from_its_offset(make_node: Any, expected: str) -> None:
    for cut in range(1, len(DATA)):
        node, link = replica(make_node)
        link._received(DATA[:cut])
        assert len(set(counters(node))) == 1
        link.lost("cut")
        offset = node.server.journal.offset
        assert offset <= cut
        link.state = LinkState.CONNECTED
        link._received(DATA[offset:])
        assert str(dataset_digest(node.server.keyspace)) == expected
        assert node.server.journal.offset == len(DATA)


@settings(max_examples=60)
@given(cuts=st.lists(st.integers(1, len(DATA) - 1), max_size=6), lose=st.booleans())
def test_what_replicas_of_a_replica_get_is_the_same_stream(make_node: Any, cuts: list[int], lose: bool) -> None:
    node, link = replica(make_node)
    for cut in sorted(cuts):
        position = link.read_offset
        if cut > position:
            link._received(DATA[position:cut])
        if lose:
            link.lost("cut")
            link.state = LinkState.CONNECTED
    link._received(DATA[link.read_offset :])
    backlog = node.server.replication.primary.backlog
    assert backlog.read(1, len(DATA) + 1) == DATA


def test_an_open_transaction_is_neither_applied_nor_counted(make_node: Any) -> None:
    node, link = replica(make_node)
    first, transaction = encode_commands(COMMANDS[:2]), encode_commands(COMMANDS[2:7])
    link._received(first + transaction)
    assert node.server.journal.offset == len(first)
    assert counters(node) == (None, None)


def test_a_command_that_fails_here_is_logged_and_the_stream_goes_on(make_node: Any, caplog: Any) -> None:
    node, link = replica(make_node)
    with caplog.at_level("CRITICAL", "pyredis"):
        link._received(
            encode_commands([[b"NOSUCH", b"x"], [b"LPUSH", b"l", b"1"], [b"INCR", b"l"], [b"SET", b"k", b"v"]])
        )
    assert node.server.keyspace.databases[0].peek(b"k") == b"v"
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert "NOSUCH" in texts[0]
    assert "after processing the command 'incr'" in texts[1]


def test_getack_is_answered_with_the_offset_that_was_applied(make_node: Any) -> None:
    _, link = replica(make_node)
    data = encode_commands([[b"SET", b"k", b"v"], [b"REPLCONF", b"GETACK", b"*"]])
    link._received(data)
    assert b"REPLCONF\r\n$3\r\nACK\r\n$%d\r\n%d\r\n" % (len(str(len(data))), len(data)) in bytes(link._out)


def test_keys_of_the_primary_live_until_its_del(make_node: Any) -> None:
    node, link = replica(make_node)
    when_ms = b"%d" % (node.server.clock.now_ms + 10)
    link._received(encode_commands([[b"SET", b"k", b"5"], [b"PEXPIREAT", b"k", when_ms]]))
    node.advance(20)
    assert node.ask("GET", "k") is None
    link._received(encode_commands([[b"INCR", b"k"]]))
    assert node.server.keyspace.databases[0].peek(b"k") == b"6"
    assert node.ask("EXISTS", "k") == 0
    link._received(encode_commands([[b"DEL", b"k"]]))
    assert node.server.keyspace.databases[0].peek(b"k") is None


def test_a_broken_stream_loses_the_link(make_node: Any) -> None:
    node, link = replica(make_node)
    link._received(b"*1\r\n$4\r\nPING\r\n*1\r\n:5\r\n")
    assert link.state is LinkState.DOWN
    assert node.server.journal.offset in (0, 14)


@pytest.mark.skipif(native is None, reason="the compiled module isn't there")
def test_ordinary_commands_are_applied_by_calls_of_their_functions_alone(make_node: Any) -> None:
    _, link = replica(make_node)
    data = encode_commands([b"SET", b"k%d" % number, b"v"] for number in range(30))
    link._received(data)
    called: Counter[str] = Counter()
    sys.setprofile(lambda frame, event, argument: called.update([frame.f_code.co_qualname] * (event == "call")))
    try:
        link._received(data)
    finally:
        sys.setprofile(None)
    functions = called.pop("set_", 0)
    assert functions == data.count(b"SET")
    assert called.total() < CALLS_FOR_A_READ
