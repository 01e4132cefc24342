"""DEBUG and the data set's digest, whose reference values were taken from redis-server 7."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def debug(node: Any) -> Any:
    node.server.config.enable_debug_command = "yes"
    return node


def test_debug_is_gated(node: Any) -> None:
    assert node.error("DEBUG", "JMAP").startswith(
        "ERR DEBUG command not allowed. If the enable-debug-command option"
    )
    node.server.config.enable_debug_command = "local"
    assert node.run(b"DEBUG", b"SLEEP", b"0") == b"+OK\r\n"


def test_unknown_subcommands_are_refused(debug: Any) -> None:
    text = "ERR unknown subcommand or wrong number of arguments for 'NOTHING'. Try DEBUG HELP."
    assert debug.error("DEBUG", "NOTHING") == text
    assert "for 'SLEEP'" in debug.error("DEBUG", "SLEEP")
    assert debug.ask("DEBUG", "HELP")[0].startswith(b"DEBUG <subcommand>")


def test_an_empty_data_set_has_the_zero_digest(debug: Any) -> None:
    assert debug.ask("DEBUG", "DIGEST") == b"0" * 40


REFERENCE = {
    "string": b"d59ec93db87f4cd915db3cdf44bb63755bc4a635",
    "list": b"e093abdde6c4844ba87b7ed2172d25e2334a432b",
    "set": b"415a07507e2348d139f9fd645a024f6be569dd65",
    "hash": b"9dc7e1ed596e8ccab4b91d04b8317fc85b68294a",
    "zset": b"308b0edeaf6af1c369b86b39c457d8035dfad398",
    "volatile": b"311b17018163335616e089f6b951c82c477335ac",
}
"""What redis-server 7 answers to DEBUG DIGEST-VALUE for the keys of `fill`."""

REFERENCE_ALL = b"5b30769c52477f8a18777b26657b0934548ea0df"


def fill(node: Any) -> None:
    node.ask("SET", "string", "value")
    node.ask("RPUSH", "list", "a", "b", "c", "1")
    node.ask("SADD", "set", "x", "y", "3")
    node.ask("HSET", "hash", "f", "v", "g", "2")
    node.ask("ZADD", "zset", "1", "one", "2.5", "two", "-3", "three")
    node.ask("SET", "volatile", "v")
    node.ask("PEXPIREAT", "volatile", "99999999999999")


def test_the_digest_is_redis_own(debug: Any) -> None:
    fill(debug)
    assert debug.ask("DEBUG", "DIGEST-VALUE", *REFERENCE) == [*REFERENCE.values()]
    assert debug.ask("DEBUG", "DIGEST") == REFERENCE_ALL
    assert debug.ask("DEBUG", "DIGEST-VALUE", "none") == [b"0" * 40]


def test_the_digest_does_not_depend_on_the_order_of_writes(debug: Any, make_node: Any) -> None:
    fill(debug)
    other = make_node()
    other.server.config.enable_debug_command = "yes"
    for args in (("HSET", "hash", "g", "2"), ("SADD", "set", "3", "y"), ("ZADD", "zset", "-3", "three")):
        other.ask(*args)
    fill(other)
    assert other.ask("DEBUG", "DIGEST") == debug.ask("DEBUG", "DIGEST")
    other.ask("PERSIST", "volatile")
    assert other.ask("DEBUG", "DIGEST") != debug.ask("DEBUG", "DIGEST")


def test_populate_makes_keys_that_are_not_propagated(debug: Any) -> None:
    debug.ask("SET", "key:1", "mine")
    assert debug.run(b"DEBUG", b"POPULATE", b"3") == b"+OK\r\n"
    assert debug.ask("MGET", "key:0", "key:1", "key:2") == [b"value:0", b"mine", b"value:2"]
    debug.ask("DEBUG", "POPULATE", 1, "p", 10)
    assert debug.ask("GET", "p:0") == b"value:0\0\0\0"
    assert debug.propagated() == [[b"SET", b"key:1", b"mine"]]


def test_object_and_listpack_look_into_a_value(debug: Any) -> None:
    debug.ask("HSET", "hash", "f", "v")
    assert b"encoding:listpack" in debug.ask("DEBUG", "OBJECT", "hash")
    assert debug.ask("DEBUG", "LISTPACK", "hash") == b"Listpack structure printed on stdout"
    assert debug.error("DEBUG", "OBJECT", "none") == "ERR no such key"
    debug.ask("SET", "string", "v")
    assert debug.error("DEBUG", "LISTPACK", "string") == "ERR Not a listpack encoded object."
    assert debug.ask("DEBUG", "JMAP") == [b"embstr", 1, b"listpack", 1]


def test_switches(debug: Any) -> None:
    debug.ask("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    debug.ask("DEBUG", "PAUSE-CRON", 1)
    assert not debug.server.reclaimer.active_expiry
    assert debug.server.cron_paused
    before = debug.server.replication.identity.replid
    debug.ask("DEBUG", "CHANGE-REPL-ID")
    assert debug.server.replication.identity.replid != before
    assert debug.run(b"DEBUG", b"QUICKLIST-PACKED-THRESHOLD", b"100b") == b"+OK\r\n"
    assert "smaller than 4gb" in debug.error("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "4gb")


def test_replies_of_each_type(debug: Any) -> None:
    assert debug.ask("DEBUG", "STRINGMATCH-LEN", 5, "a*") == 1
    assert debug.ask("DEBUG", "STRINGMATCH-LEN", 5, "b*") == 0
    assert debug.error("DEBUG", "ERROR", "MINE two\nlines") == "MINE two lines"
    assert debug.error("DEBUG", "PROTOCOL", "push") == "ERR RESP2 is not supported by this command"
    assert debug.ask("DEBUG", "PROTOCOL", "map") == [0, 0, 1, 1, 2, 0]
    debug.ask("HELLO", 3)
    assert debug.run(b"DEBUG", b"PROTOCOL", b"double") == b",3.141\r\n"
    assert debug.run(b"DEBUG", b"PROTOCOL", b"true") == b"#t\r\n"
    assert debug.run(b"DEBUG", b"PROTOCOL", b"verbatim").startswith(b"=29\r\ntxt:")
    assert debug.run(b"DEBUG", b"PROTOCOL", b"attrib").startswith(b"|1\r\n$14\r\nkey-popularity\r\n*2")
    assert debug.error("DEBUG", "PROTOCOL", "x").startswith("ERR Wrong protocol type name.")
