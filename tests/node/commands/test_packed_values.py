"""No command can tell a packed collection from one that isn't: each one runs against both, whatever the table has."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING

import pytest
from pyredis_cluster.node.command import Command
from pyredis_cluster.node.command_docs import subcommands_of
from pyredis_cluster.node.values.common import encoding, type_name
from pyredis_cluster.node.values.packed import Packed, kind_of, packed, unpacked

if TYPE_CHECKING:
    from tests.node.conftest import Node

WRITERS: dict[bytes, list[bytes]] = {
    b"hash": [b"HSET", b"hash", b"1", b"10", b"f", b"v"],
    b"list": [b"RPUSH", b"list", b"1", b"f", b"1", b"0"],
    b"longer": [b"RPUSH", b"longer", *(b"%064d" % number for number in range(200))],
    b"set": [b"SADD", b"set", b"1", b"f", b"g"],
    b"integers": [b"SADD", b"integers", b"1", b"30", b"2"],
    b"zset": [b"ZADD", b"zset", b"1", b"1", b"2.5", b"f", b"-3", b"g"],
    b"string": [b"SET", b"string", b"1"],
}
FILLERS = (b"1", b"f", b"0")
"""What stands for arguments that aren't keys: numbers, members, fields, options that exist nowhere."""

REST_MAX = 3
"""So many arguments are tried behind those that the arity asks for."""

NOT_COMPARED = {"migrate", "debug", "memory|usage"}
"""Other nodes, object addresses, and the one command that is there to tell the difference."""


def prepared(node: Node, *, pack: bool, keys: Iterable[bytes] = WRITERS) -> Node:
    node.server.keyspace.rng = Random(1)
    for key in [*node.client.db.keys()]:
        node.client.db.remove(key)
    for key in keys:
        node.run(*WRITERS[key])
        if pack:
            node.client.db.pack(key)
            assert isinstance(node.client.db.peek(key), Packed) is (key != b"string")
    node.propagated()
    return node


def commands_with_keys(node: Node) -> list[Command]:
    table = node.server.dispatcher.table
    every = [each for parent in table for each in (parent, *subcommands_of(parent))]
    return [each for each in every if each.key_specs and each.full_name not in NOT_COMPARED]


def variants(command: Command, key: bytes) -> list[list[bytes]]:
    """Requests of the command on the key: with as many arguments as it takes, and some more."""
    words = command.full_name.encode().split(b"|")
    found = []
    for rest in range(REST_MAX if command.arity < 0 else 1):
        for filler in FILLERS:
            args = words + [filler] * (abs(command.arity) + rest - len(words))
            try:
                positions = command.key_positions(args)
            except Exception:
                continue
            for position in positions:
                args[position] = key
            found.append(args)
            if len(positions) > 1:
                other = list(args)
                other[positions[-1]] = b"none"
                found.append(other)
    return found


def state(node: Node) -> dict[bytes, list[bytes]]:
    return {
        key: [node.run(b"OBJECT", b"ENCODING", key), node.run(b"TYPE", key), node.run(b"DUMP", key)]
        for key in sorted(node.client.db.keys())
    }


@pytest.mark.parametrize("key", [*WRITERS])
def test_each_command_does_the_same_to_packed_and_unpacked_values(make_node: type[Node], key: bytes) -> None:
    compared = set()
    plain, dense = make_node(), make_node()
    for command in commands_with_keys(plain):
        for args in variants(command, key):
            prepared(plain, pack=False, keys=[key])
            prepared(dense, pack=True, keys=[key])
            assert dense.run(*args) == plain.run(*args), args
            assert dense.propagated() == plain.propagated(), args
            if command.is_write:
                assert state(dense) == state(plain), args
            compared.add(command.full_name)
    dense.client.db._check()
    assert len(compared) > 100


def test_opening_a_packed_value_is_no_change(node: Node) -> None:
    prepared(node, pack=True)
    other = node.connect()
    node.run(b"WATCH", b"hash", client=other)
    dirty = node.server.keyspace.dirty
    assert node.ask("HGET", "hash", "f") == b"v"
    assert not isinstance(node.client.db.peek(b"hash"), Packed)
    assert node.server.keyspace.dirty == dirty
    assert node.run(b"MULTI", client=other) == b"+OK\r\n"
    assert node.run(b"PING", client=other) == b"+QUEUED\r\n"
    assert node.run(b"EXEC", client=other) == b"*1\r\n+PONG\r\n"


def test_what_is_noted_is_packed_after_a_while_and_opened_by_a_command(node: Node) -> None:
    prepared(node, pack=False)
    database, reclaimer = node.client.db, node.server.reclaimer
    while reclaimer.slice():
        pass
    node.advance(10_000)
    while reclaimer.slice():
        pass
    assert all(isinstance(database.peek(key), Packed) for key in WRITERS if key != b"string")
    assert len(database.unpacked) == 0
    assert node.ask("HSET", "hash", "g", "2") == 1
    assert [*database.unpacked.noted] == [b"hash"]


def test_each_new_collection_is_noted_whatever_else_is_in_its_slot(node: Node) -> None:
    for number in range(5):
        node.ask("HSET", f"{{a}}{number}", "f", "v")
        node.ask("SET", f"{{a}}s{number}", "v")
    assert len(node.client.db.unpacked) == 5


def test_a_large_collection_and_one_of_a_large_encoding_stay_unpacked(node: Node) -> None:
    node.ask("RPUSH", "list", *range(5000))
    node.ask("HSET", "hash", "f", "v" * 65)
    for key in (b"list", b"hash"):
        node.client.db.pack(key)
        assert not isinstance(node.client.db.peek(key), Packed)


def test_restored_and_copied_collections_come_packed(node: Node) -> None:
    prepared(node, pack=True)
    payload = node.ask("DUMP", "zset")
    node.ask("RESTORE", "other", 0, payload)
    node.ask("COPY", "zset", "third")
    for key in (b"zset", b"other", b"third"):
        assert isinstance(node.client.db.peek(key), Packed)
        assert node.ask("ZRANGE", key, 0, -1) == [b"g", b"1", b"f"]


def test_a_packed_value_unpacks_to_an_equal_one(node: Node) -> None:
    prepared(node, pack=False)
    for key in WRITERS:
        value = node.client.db.peek(key)
        again = packed(value)
        if key != b"string":
            assert isinstance(again, Packed)
            assert (kind_of(again), type_name(again), encoding(again)) == (type(value), value.type_name, value.encoding)
            again = unpacked(again)
            again._check()
            assert again.encoding is value.encoding
            assert packed(again) == packed(value)
