"""PING, ECHO, SELECT, HELLO, AUTH, RESET and QUIT."""

from __future__ import annotations

from typing import Any

import pytest
from pyredis_cluster.node.client import GUARD_AUTH


def secure(node: Any, password: str = "secret") -> Any:
    """A client that connected while a password was set."""
    node.server.config.set({"requirepass": password})
    client = node.connect()
    client.authenticated = False
    client.guard |= GUARD_AUTH
    return client


def test_ping_answers_pong_or_its_argument(node: Any) -> None:
    assert node.run(b"PING") == b"+PONG\r\n"
    assert node.ask("PING", "hi") == b"hi"
    assert node.error("PING", "a", "b") == "ERR wrong number of arguments for 'ping' command"


def test_echo_returns_the_message(node: Any) -> None:
    assert node.ask("ECHO", b"\x00\r\n") == b"\x00\r\n"


def test_select_changes_the_database(node: Any) -> None:
    node.ask("SET", "k", "zero")
    assert node.run(b"SELECT", b"1") == b"+OK\r\n"
    assert node.ask("GET", "k") is None
    assert node.error("SELECT", 16) == "ERR DB index is out of range"
    assert node.error("SELECT", -1) == "ERR DB index is out of range"
    assert node.error("SELECT", "x") == "ERR value is not an integer or out of range"


def test_hello_tells_about_the_server_and_switches_the_protocol(node: Any) -> None:
    assert node.ask("HELLO")[:4] == [b"server", b"redis", b"version", b"7.2.4"]
    facts = node.ask("HELLO", 3, "SETNAME", "worker")
    assert facts[b"proto"] == 3
    assert facts[b"mode"] == b"standalone"
    assert facts[b"role"] == b"master"
    assert facts[b"modules"] == []
    assert node.ask("CLIENT", "GETNAME") == b"worker"
    assert node.ask("GET", "none") is None
    assert node.run(b"GET", b"none") == b"_\r\n"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("4",), "NOPROTO unsupported protocol version"),
        (("x",), "ERR Protocol version is not an integer or out of range"),
        (("3", "NAME", "x"), "ERR Syntax error in HELLO option 'NAME'"),
        (("3", "AUTH", "default"), "ERR Syntax error in HELLO option 'AUTH'"),
        (
            ("3", "SETNAME", "a b"),
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ),
    ],
)
def test_hello_refuses_bad_options(node: Any, args: tuple[str, ...], text: str) -> None:
    assert node.error("HELLO", *args) == text
    assert node.client.resp.version == 2


def test_a_password_is_needed_until_it_was_given(node: Any) -> None:
    client = secure(node)
    assert str(node.ask("GET", "k", client=client)) == "NOAUTH Authentication required."
    assert str(node.ask("AUTH", "wrong", client=client)).startswith(
        "WRONGPASS invalid username-password pair"
    )
    assert str(node.ask("AUTH", "other", "secret", client=client)).startswith("WRONGPASS")
    assert str(node.ask("HELLO", 3, client=client)).startswith(
        "NOAUTH HELLO must be called with the client already"
    )
    assert node.run(b"AUTH", b"secret", client=client) == b"+OK\r\n"
    assert node.ask("GET", "k", client=client) is None


def test_hello_logs_in(node: Any) -> None:
    client = secure(node)
    assert node.ask("HELLO", 2, "AUTH", "default", "secret", client=client)[:2] == [b"server", b"redis"]
    assert node.ask("GET", "k", client=client) is None


def test_auth_without_a_password_set_is_an_error(node: Any) -> None:
    assert node.error("AUTH", "x").startswith("ERR AUTH <password> called without any password configured")
    assert node.run(b"AUTH", b"default", b"anything") == b"+OK\r\n"
    assert node.error("AUTH", "a", "b", "c") == "ERR syntax error"


def test_nobody_has_to_log_in_once_the_password_is_gone(node: Any) -> None:
    client = secure(node)
    node.server.clients[client.id] = client
    node.server.config.set({"requirepass": ""})
    assert node.ask("GET", "k", client=client) is None


def test_reset_makes_a_connection_like_new(node: Any) -> None:
    node.ask("HELLO", 3, "SETNAME", "worker")
    node.ask("SELECT", 2)
    node.ask("WATCH", "k")
    node.ask("MULTI")
    assert node.run(b"RESET") == b"+RESET\r\n"
    client = node.client
    assert (client.resp.version, client.db.index, client.name) == (2, 0, b"")
    assert client.transaction is None
    assert client.watch is None
    assert node.error("EXEC") == "ERR EXEC without MULTI"


def test_reset_logs_out(node: Any) -> None:
    client = secure(node)
    node.ask("AUTH", "secret", client=client)
    node.ask("RESET", client=client)
    assert str(node.ask("GET", "k", client=client)) == "NOAUTH Authentication required."


def test_quit_says_ok(node: Any) -> None:
    assert node.run(b"QUIT") == b"+OK\r\n"
