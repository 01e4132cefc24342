"""The static command table: what it says of keys, held against what a real node says of the same commands."""

from __future__ import annotations

from typing import Any

import pytest
from pyredis_cluster.client.command_table import (
    COMMAND_TABLE,
    Keys,
    Target,
    block_ms,
    find_spec,
    first_key,
    spec_from_info,
)
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.resp import to_args


def key_of(*args: Any) -> bytes | None:
    encoded = to_args(args)
    spec = find_spec(encoded, COMMAND_TABLE)
    assert spec is not None
    return first_key(spec, encoded)


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("GET", "k"), b"k"),
        (("get", "k"), b"k"),
        (("GET",), None),
        (("OBJECT", "ENCODING", "k"), b"k"),
        (("object", "encoding", "k"), b"k"),
        (("OBJECT", "HELP"), None),
        (("OBJECT",), None),
        (("EVAL", "return 1", "2", "k", "l"), b"k"),
        (("EVAL", "return 1", "0", "arg"), None),
        (("EVAL", "return 1", "x", "arg"), None),
        (("ZUNION", "2", "k", "l"), b"k"),
        (("BLMPOP", "0", "1", "k", "LEFT"), b"k"),
        (("XREAD", "COUNT", "1", "streams", "k", "0"), b"k"),
        (("XREAD", "COUNT", "1", "k"), None),
        (("BITOP", "AND", "k", "l"), b"k"),
        (("DEBUG", "OBJECT", "k"), b"k"),
        (("DEBUG", "SLEEP", "0"), None),
        (("CONFIG", "GET", "x"), None),
        (("PING",), None),
    ],
)
def test_the_first_key_is_found(command: Any, key: bytes | None) -> None:
    assert key_of(*command) == key


def test_a_command_that_is_not_in_the_table_has_no_row() -> None:
    assert find_spec([b"NOSUCH", b"k"], COMMAND_TABLE) is None


@pytest.mark.parametrize(
    ("command", "expected_ms"),
    [
        (("BLPOP", "k", "0.25"), 250),
        (("BLPOP", "k", "0"), float("inf")),
        (("BLPOP", "k", "soon"), 0),
        (("BLPOP", "k", "-1"), 0),
        (("BLPOP", "k"), 0),
        (("BZMPOP", "2", "1", "k", "MIN"), 2000),
        (("WAIT", "1", "50"), 50),
        (("XREAD", "BLOCK", "50", "STREAMS", "k", "$"), 50),
        (("XREAD", "STREAMS", "k", "$"), 0),
        (("GET", "k"), 0),
    ],
)
def test_how_long_a_command_may_block(command: Any, expected_ms: float) -> None:
    args = to_args(command)
    spec = find_spec(args, COMMAND_TABLE)
    assert spec is not None
    assert block_ms(spec, args) == expected_ms


def test_command_info_gives_a_row() -> None:
    readonly = spec_from_info([b"x", 2, [b"readonly", b"fast"], 1, 1, 1])
    assert readonly is not None
    assert (readonly.keys, readonly.position, readonly.replica, readonly.repeatable) == (Keys.AT, 1, True, True)
    movable = spec_from_info([b"x", -2, [b"write", b"movablekeys"], 0, 0, 0])
    assert movable is not None
    assert (movable.keys, movable.replica, movable.repeatable) == (Keys.ASK, False, False)
    assert spec_from_info(None) is None


def rows_of(reply: Any) -> Any:
    """All commands and subcommands of a COMMAND reply, by the table's names."""
    for entry in reply:
        name = entry[0].decode().upper()
        subcommands = entry[9] if len(entry) > 9 else []
        if subcommands:
            yield from ((row[0].decode().upper(), row) for row in subcommands)
        else:
            yield name, entry


def test_the_table_agrees_with_a_real_node(cluster: Any) -> None:
    with Connection("127.0.0.1", cluster.ports[0]) as node:
        rows = dict(rows_of(node.call("COMMAND")))
    unknown, wrong = [], []
    for name, row in rows.items():
        flags = {flag.decode() if isinstance(flag, bytes) else flag for flag in row[2]}
        spec = COMMAND_TABLE.get(name.encode())
        if spec is None:
            if row[3] > 0 or "movablekeys" in flags:
                unknown.append(name)
            continue
        if spec.target in (Target.OWN_CONNECTION, Target.CONTAINER):
            continue
        # The node gives the first key's position for COUNTED commands as well where it is a fixed one.
        expected = row[3]
        if spec.keys is Keys.AT and spec.position != expected:
            wrong.append((name, spec.position, expected))
        if spec.keys is Keys.NONE and expected != 0:
            wrong.append((name, 0, expected))
        if spec.replica and "write" in flags:
            wrong.append((name, "replica", flags))
    assert unknown == []
    assert wrong == []
