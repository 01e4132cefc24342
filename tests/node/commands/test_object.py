"""OBJECT tells the encodings that Redis would use, and the truth about what isn't tracked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.node.conftest import Node


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        ("1", b"int"),
        ("-9223372036854775808", b"int"),
        ("9223372036854775808", b"embstr"),
        ("01", b"embstr"),
        ("", b"embstr"),
        ("x" * 44, b"embstr"),
        ("x" * 45, b"raw"),
    ],
)
def test_encodings_of_strings(node: Node, value: str, encoding: bytes) -> None:
    node.ask("SET", "k", value)
    assert node.ask("OBJECT", "ENCODING", "k") == encoding


def test_what_is_not_there_is_null(node: Node) -> None:
    for subcommand in ("ENCODING", "REFCOUNT", "IDLETIME", "FREQ"):
        assert node.ask("OBJECT", subcommand, "none") is None


def test_what_is_not_tracked_is_an_error(node: Node) -> None:
    node.ask("SET", "k", "v")
    assert node.ask("OBJECT", "REFCOUNT", "k") == 1
    assert "not tracked" in node.error("OBJECT", "IDLETIME", "k")
    assert node.error("OBJECT", "FREQ", "k").startswith("ERR An LFU maxmemory policy is not selected")


def test_help_and_unknown_subcommands(node: Node) -> None:
    assert b"OBJECT <subcommand>" in node.ask("OBJECT", "HELP")[0]
    assert node.error("OBJECT", "FOO", "k") == "ERR unknown subcommand 'FOO'. Try OBJECT HELP."
    assert node.error("OBJECT", "ENCODING") == "ERR wrong number of arguments for 'object|encoding' command"


def test_small_integers_are_shared_however_they_came(node: Node) -> None:
    node.ask("SET", "k", "1234")
    node.ask("MSET", "l", "0", "m", "9999")
    for key, text in ((b"k", b"1234"), (b"l", b"0"), (b"m", b"9999")):
        assert node.ask("GET", key) == text
        assert node.ask("OBJECT", "REFCOUNT", key) == 2147483647
    for text in ("10000", "01", "-1", "", "1x"):
        node.ask("SET", "k", text)
        assert node.ask("GET", "k") == text.encode()
        assert node.ask("OBJECT", "REFCOUNT", "k") == 1
