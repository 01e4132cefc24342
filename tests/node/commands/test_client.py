"""The CLIENT container, with real socket pairs as connections."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pyredis_cluster.node.client import Client
from pyredis_cluster.node.connection import Connection


class Peers:
    """Connected clients of a node and the other ends of their sockets."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.sockets: list[socket.socket] = []
        self.port = 50000

    def connect(self) -> Client:
        """connect() -> a client with a connection, from 127.0.0.1 and a port of its own."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(1)
        self.sockets.append(theirs)
        self.port += 1
        server = self.node.server
        connection = Connection(server, ours, next(server.client_ids))
        server.accept(connection, b"127.0.0.1:%d" % self.port)
        return connection.client

    def close(self) -> None:
        """close() ends what is still open."""
        for client in [*self.node.server.clients.values()]:
            assert client.connection is not None
            client.connection.close("test")
        for sock in self.sockets:
            sock.close()


@pytest.fixture
def peers(node: Any) -> Iterator[Peers]:
    made = Peers(node)
    yield made
    made.close()


def fields(line: bytes) -> dict[str, str]:
    return dict(part.split("=", 1) for part in line.decode().split())


def test_id_counts_up(node: Any) -> None:
    assert node.ask("CLIENT", "ID", client=node.connect()) > node.ask("CLIENT", "ID")


def test_names_are_set_shown_and_removed(node: Any) -> None:
    assert node.ask("CLIENT", "GETNAME") is None
    assert node.run(b"CLIENT", b"SETNAME", b"worker") == b"+OK\r\n"
    assert node.ask("CLIENT", "GETNAME") == b"worker"
    assert "cannot contain spaces" in node.error("CLIENT", "SETNAME", "a b")
    node.ask("CLIENT", "SETNAME", "")
    assert node.ask("CLIENT", "GETNAME") is None


def test_setinfo_keeps_library_name_and_version(node: Any) -> None:
    node.ask("CLIENT", "SETINFO", "lib-name", "redis-py")
    node.ask("CLIENT", "SETINFO", "LIB-VER", "5.0")
    shown = fields(node.ask("CLIENT", "INFO"))
    assert (shown["lib-name"], shown["lib-ver"]) == ("redis-py", "5.0")
    assert node.error("CLIENT", "SETINFO", "x", "y") == "ERR Unrecognized option 'x'"
    assert "lib-ver cannot contain spaces" in node.error("CLIENT", "SETINFO", "lib-ver", "a b")


def test_info_tells_the_state_of_the_connection(node: Any) -> None:
    node.ask("SELECT", 3)
    node.advance(2500)
    shown = fields(node.ask("CLIENT", "INFO"))
    assert shown["db"] == "3"
    assert shown["flags"] == "N"
    assert shown["cmd"] == "client|info"
    assert shown["qbuf"] == str(len(b"*2\r\n$6\r\nCLIENT\r\n$4\r\nINFO\r\n"))
    assert shown["argv-mem"] == "10"
    assert shown["multi"] == "-1"
    assert shown["resp"] == "2"
    assert shown["user"] == "default"


def test_list_shows_each_connection(node: Any, peers: Peers) -> None:
    first, second = peers.connect(), peers.connect()
    second.name = b"two"
    lines = node.ask("CLIENT", "LIST").splitlines()
    assert [fields(line)["id"] for line in lines] == [str(first.id), str(second.id)]
    assert fields(lines[1])["name"] == "two"
    assert fields(lines[0])["addr"] == "127.0.0.1:50001"
    assert node.ask("CLIENT", "LIST", "ID", second.id, 10**6).splitlines() == lines[1:]
    assert node.ask("CLIENT", "LIST", "TYPE", "normal").splitlines() == lines
    assert node.ask("CLIENT", "LIST", "TYPE", "replica") == b""
    assert node.error("CLIENT", "LIST", "TYPE", "x") == "ERR Unknown client type 'x'"
    assert node.error("CLIENT", "LIST", "ID", "x") == "ERR Invalid client ID"
    assert node.error("CLIENT", "LIST", "x") == "ERR syntax error"


def test_kill_closes_by_address_and_by_filters(node: Any, peers: Peers) -> None:
    clients = [peers.connect() for _ in range(4)]
    assert node.run(b"CLIENT", b"KILL", b"127.0.0.1:50001") == b"+OK\r\n"
    assert peers.sockets[0].recv(10) == b""
    assert node.error("CLIENT", "KILL", "127.0.0.1:50001") == "ERR No such client"
    assert node.ask("CLIENT", "KILL", "ID", clients[1].id) == 1
    assert node.ask("CLIENT", "KILL", "ADDR", "127.0.0.1:50003", "USER", "default") == 1
    assert node.ask("CLIENT", "KILL", "ID", clients[3].id, "TYPE", "pubsub") == 0
    assert node.ask("CLIENT", "KILL", "TYPE", "normal") == 1
    assert not node.server.clients


def test_a_client_that_kills_itself_gets_the_answer_first(node: Any, peers: Peers) -> None:
    client = peers.connect()
    assert node.ask("CLIENT", "KILL", "ID", client.id, client=client) == 0
    peers.sockets[0].sendall(b"CLIENT KILL ID %d SKIPME no\r\nPING\r\n" % client.id)
    connection = client.connection
    assert connection is not None
    connection.on_readable()
    connection.flush()
    assert peers.sockets[0].recv(100) == b":1\r\n"
    assert peers.sockets[0].recv(100) == b""


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("ID", "x"), "ERR client-id should be greater than 0"),
        (("ID", "0"), "ERR client-id should be greater than 0"),
        (("TYPE", "x"), "ERR Unknown client type 'x'"),
        (("USER", "x"), "ERR No such user 'x'"),
        (("SKIPME", "x"), "ERR syntax error"),
        (("ID", "1", "TYPE"), "ERR syntax error"),
    ],
)
def test_kill_refuses_bad_filters(node: Any, options: tuple[str, ...], text: str) -> None:
    assert node.error("CLIENT", "KILL", *options) == text


def test_reply_off_and_skip_silence_the_server(node: Any) -> None:
    assert node.run(b"CLIENT", b"REPLY", b"SKIP") == b""
    assert node.run(b"PING") == b""
    assert node.run(b"PING") == b"+PONG\r\n"
    assert node.run(b"CLIENT", b"REPLY", b"OFF") == b""
    assert node.run(b"PING") == b""
    assert node.run(b"CLIENT", b"REPLY", b"SKIP") == b""
    assert node.run(b"PING") == b""
    assert node.run(b"PING") == b""
    assert node.run(b"CLIENT", b"REPLY", b"ON") == b"+OK\r\n"
    assert node.run(b"PING") == b"+PONG\r\n"


def test_no_evict_and_no_touch_are_shown_as_flags(node: Any) -> None:
    node.ask("CLIENT", "NO-EVICT", "ON")
    node.ask("CLIENT", "NO-TOUCH", "on")
    assert fields(node.ask("CLIENT", "INFO"))["flags"] == "eT"
    node.ask("CLIENT", "NO-EVICT", "OFF")
    node.ask("CLIENT", "NO-TOUCH", "OFF")
    assert fields(node.ask("CLIENT", "INFO"))["flags"] == "N"
    assert node.error("CLIENT", "NO-EVICT", "x") == "ERR syntax error"


def test_pause_holds_commands_back_until_unpause(node: Any) -> None:
    operator = node.connect()
    assert node.run(b"CLIENT", b"PAUSE", b"100000", b"WRITE", client=operator) == b"+OK\r\n"
    assert node.ask("GET", "k") is None
    assert node.run(b"SET", b"k", b"v") == b""
    assert node.client.parked is not None
    node.ask("CLIENT", "UNPAUSE", client=operator)
    assert node.client.parked is None


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("x",), "ERR timeout is not an integer or out of range"),
        (("-1",), "ERR timeout is negative"),
        ((str((1 << 63) - 1),), "ERR timeout is out of range"),
        (("1", "x"), "ERR CLIENT PAUSE mode must be WRITE or ALL"),
    ],
)
def test_pause_refuses_bad_arguments(node: Any, args: tuple[str, ...], text: str) -> None:
    assert node.error("CLIENT", "PAUSE", *args) == text


def test_unblock_ends_a_blocking_command(node: Any, peers: Peers) -> None:
    client = peers.connect()
    node.run(b"BLPOP", b"list", b"0", client=client)
    assert node.ask("CLIENT", "UNBLOCK", client.id) == 1
    assert peers.sockets[0].recv(100) == b"*-1\r\n"
    node.run(b"BLPOP", b"list", b"0", client=client)
    assert node.ask("CLIENT", "UNBLOCK", client.id, "ERROR") == 1
    assert peers.sockets[0].recv(100) == b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
    assert node.ask("CLIENT", "UNBLOCK", client.id) == 0
    assert (
        node.error("CLIENT", "UNBLOCK", client.id, "x")
        == "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"
    )


def test_tracking_is_off(node: Any) -> None:
    assert node.ask("CLIENT", "GETREDIR") == -1
    assert node.ask("CLIENT", "TRACKINGINFO") == [b"flags", [b"off"], b"redirect", -1, b"prefixes", []]


def test_help_lists_the_subcommands(node: Any) -> None:
    lines = node.ask("CLIENT", "HELP")
    assert lines[0] == b"CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert b"ID" in lines
    assert lines[-2:] == [b"HELP", b"    Print this help."]
