"""Commands on keys of any type: DEL, EXISTS, RENAME, COPY, MOVE and their kin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.node.conftest import Node

WRITERS = {
    "string": ("SET", "k", "v"),
    "raw": ("SETRANGE", "k", "2", "v"),
    "hash": ("HSET", "k", "f", "v"),
    "list": ("RPUSH", "k", "a", "b"),
    "set": ("SADD", "k", "a", "b"),
    "zset": ("ZADD", "k", "1", "a"),
}
READERS = {
    "string": ("GET",),
    "raw": ("GET",),
    "hash": ("HGETALL",),
    "list": ("LRANGE", "0", "-1"),
    "set": ("SMEMBERS",),
    "zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
}


def read(node: Node, kind: str, key: str) -> object:
    name, *rest = READERS[kind]
    return node.ask(name, key, *rest)


@pytest.mark.parametrize("command", ["DEL", "UNLINK"])
def test_removing_counts_the_keys_that_were_there(node: Node, command: str) -> None:
    node.ask("MSET", "a", "1", "b", "2", "c", "3")
    assert node.ask(command, "a", "none", "b", "a") == 2
    assert node.ask("DBSIZE") == 1
    assert node.ask(command, "none") == 0
    assert node.propagated()[1:] == [[command.encode(), b"a", b"none", b"b", b"a"]]


def test_an_expired_key_is_not_counted_as_removed(node: Node) -> None:
    node.ask("SET", "k", "v", "PX", 10)
    node.advance(10)
    assert node.ask("DEL", "k") == 0
    assert node.ask("EXISTS", "k") == 0


def test_lazyfree_lazy_user_del_makes_del_an_unlink(node: Node) -> None:
    node.ask("RPUSH", "k", *map(str, range(1000)))
    node.server.config.lazyfree_lazy_user_del = True
    assert node.ask("DEL", "k") == 1
    assert node.server.reclaimer.lazy_free.pending == 1


def test_exists_and_touch_count_a_key_as_often_as_it_is_named(node: Node) -> None:
    node.ask("MSET", "a", "1", "b", "2")
    for command in ("EXISTS", "TOUCH"):
        assert node.ask(command, "a", "a", "none", "b") == 3


@pytest.mark.parametrize("kind", WRITERS)
def test_type_rename_copy_and_move_work_for_each_type(node: Node, kind: str) -> None:
    node.ask(*WRITERS[kind])
    node.ask("EXPIRE", "k", 100)
    content = read(node, kind, "k")
    assert node.run(b"TYPE", b"k") == b"+%b\r\n" % (b"string" if kind == "raw" else kind.encode())
    encoding = node.ask("OBJECT", "ENCODING", "k")
    assert node.ask("COPY", "k", "copy") == 1
    assert node.ask("RENAME", "k", "renamed") == b"OK"
    assert node.ask("MOVE", "renamed", 1) == 1
    assert node.ask("EXISTS", "k", "renamed") == 0
    assert read(node, kind, "copy") == content
    assert node.ask("OBJECT", "ENCODING", "copy") == encoding
    assert node.ask("TTL", "copy") == 100
    node.ask("SELECT", 1)
    assert read(node, kind, "renamed") == content
    assert node.ask("TTL", "renamed") == 100
    node.ask("DEL", "renamed")
    node.ask("SELECT", 0)
    assert read(node, kind, "copy") == content


@pytest.mark.parametrize("kind", ["hash", "list", "set", "zset"])
def test_a_copy_is_independent(node: Node, kind: str) -> None:
    node.ask(*WRITERS[kind])
    node.ask("COPY", "k", "copy")
    before = read(node, kind, "copy")
    name, _, *rest = WRITERS[kind]
    node.ask(name, "k", *[*rest[:-1], "another"])
    node.ask(name, "k", "5", "more") if kind != "hash" else node.ask(name, "k", "g", "w")
    assert read(node, kind, "copy") == before


def test_type_of_nothing(node: Node) -> None:
    assert node.run(b"TYPE", b"k") == b"+none\r\n"


def test_rename_replaces_the_target_and_its_time(node: Node) -> None:
    node.ask("SET", "a", "1")
    node.ask("SET", "b", "2", "EX", 100)
    node.propagated()
    before = node.server.keyspace.dirty
    assert node.ask("RENAME", "a", "b") == b"OK"
    assert node.server.keyspace.dirty == before + 1
    assert node.ask("GET", "b") == b"1"
    assert node.ask("TTL", "b") == -1
    assert node.ask("DBSIZE") == 1
    assert node.propagated() == [[b"RENAME", b"a", b"b"]]


def test_rename_of_a_key_to_itself(node: Node) -> None:
    assert node.error("RENAME", "k", "k") == "ERR no such key"
    node.ask("SET", "k", "v", "EX", 100)
    node.propagated()
    assert node.ask("RENAME", "k", "k") == b"OK"
    assert node.ask("RENAMENX", "k", "k") == 0
    assert node.ask("TTL", "k") == 100
    assert node.propagated() == []


def test_renamenx_spares_an_existing_target(node: Node) -> None:
    node.ask("MSET", "a", "1", "b", "2")
    assert node.ask("RENAMENX", "a", "b") == 0
    assert node.ask("RENAMENX", "a", "c") == 1
    assert node.ask("MGET", "a", "b", "c") == [None, b"2", b"1"]
    assert node.error("RENAMENX", "none", "c") == "ERR no such key"


def test_rename_wakes_and_fails_watchers_of_both_keys(node: Node) -> None:
    other = node.connect()
    for key in ("a", "b"):
        node.ask("MSET", "a", "1", "b", "2")
        node.ask("WATCH", key)
        node.ask("RENAME", "a", "b", client=other)
        node.ask("MULTI")
        node.ask("PING")
        assert node.ask("EXEC") is None


def test_copy_needs_replace_for_an_existing_target(node: Node) -> None:
    node.ask("SET", "a", "1")
    node.ask("SET", "b", "2", "EX", 100)
    assert node.ask("COPY", "a", "b") == 0
    assert node.ask("COPY", "a", "b", "REPLACE") == 1
    assert node.ask("GET", "b") == b"1"
    assert node.ask("TTL", "b") == -1
    assert node.ask("COPY", "none", "b", "REPLACE") == 0


def test_copy_to_another_database(node: Node) -> None:
    node.ask("SET", "a", "1")
    assert node.ask("COPY", "a", "a", "DB", 3) == 1
    assert node.ask("COPY", "a", "a", "DB", 3) == 0
    assert node.server.keyspace.databases[3].find(b"a") == b"1"
    same = "ERR source and destination objects are the same"
    assert node.error("COPY", "a", "a") == same
    assert node.error("COPY", "a", "a", "DB", 0) == same
    assert node.error("COPY", "a", "b", "DB", 16) == "ERR DB index is out of range"
    assert node.error("COPY", "a", "b", "DB") == "ERR syntax error"
    assert node.error("COPY", "a", "b", "DB", "x") == "ERR value is not an integer or out of range"


def test_move_spares_an_existing_target(node: Node) -> None:
    node.ask("SET", "a", "1")
    node.ask("COPY", "a", "a", "DB", 1)
    assert node.ask("MOVE", "a", 1) == 0
    assert node.ask("MOVE", "none", 1) == 0
    assert node.error("MOVE", "a", 0) == "ERR source and destination objects are the same"
    assert node.error("MOVE", "a", 99) == "ERR DB index is out of range"
    assert node.ask("MOVE", "a", 2) == 1


def test_randomkey_is_fair_and_never_expired(node: Node) -> None:
    assert node.ask("RANDOMKEY") is None
    node.ask("MSET", "a", "1", "b", "2", "c", "3")
    assert {node.ask("RANDOMKEY") for _ in range(100)} == {b"a", b"b", b"c"}
    for key in ("a", "b"):
        node.ask("PEXPIRE", key, 10)
    node.advance(10)
    assert {node.ask("RANDOMKEY") for _ in range(50)} == {b"c"}
