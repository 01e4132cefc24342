"""The blocking connection to one node."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.errors import (
    AuthenticationError,
    ConnectionLostError,
    ProtocolViolationError,
    RequestTimeoutError,
    ResponseError,
)


@pytest.fixture
def node(cluster: Any) -> Iterator[Connection]:
    with Connection("127.0.0.1", cluster.ports[0]) as connection:
        yield connection


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts into its backlog and says only what the test says."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_call_returns_the_reply_and_raises_an_error_reply(node: Connection) -> None:
    assert node.call("PING") == b"PONG"
    assert node.call("ECHO", "tëxt") == "tëxt".encode()
    with pytest.raises(ResponseError, match="unknown command"):
        node.call("NOSUCH")
    assert node.call("PING") == b"PONG"


def test_a_pipeline_has_errors_in_their_places(node: Connection) -> None:
    replies = node.pipeline([("ECHO", 1), ("NOSUCH",), ("ECHO", 2.5)])
    assert (replies[0], replies[2]) == (b"1", b"2.5")
    assert isinstance(replies[1], ResponseError)
    assert node.pipeline([]) == []


def test_a_pipeline_larger_than_the_socket_buffers_does_not_lock_up(node: Connection) -> None:
    value = b"x" * 1_000_000
    assert node.pipeline([("ECHO", value)] * 30) == [value] * 30


def test_send_and_receive_serve_a_stream_of_messages(cluster: Any, node: Connection) -> None:
    with Connection("127.0.0.1", cluster.ports[0]) as monitor:
        monitor.send("MONITOR")
        assert monitor.receive() == b"OK"
        node.call("ECHO", "seen")
        assert b'"ECHO" "seen"' in monitor.receive()


def test_resp3_is_agreed_on_request(cluster: Any) -> None:
    with Connection("127.0.0.1", cluster.ports[0], resp=3, decode_responses=True) as node:
        assert node.call("CONFIG", "GET", "port") == {"port": str(cluster.ports[0])}


def test_a_refused_password_is_an_authentication_error(cluster: Any) -> None:
    with pytest.raises(AuthenticationError):
        Connection("127.0.0.1", cluster.ports[0], username="nobody", password="x")


def test_nobody_listening_is_a_lost_connection_that_applied_nothing() -> None:
    with pytest.raises(ConnectionLostError) as caught:
        Connection("127.0.0.1", 1)
    assert not caught.value.maybe_applied


def test_no_reply_in_time_closes_the_connection(silent: socket.socket) -> None:
    with Connection("127.0.0.1", silent.getsockname()[1], timeout_ms=50) as node:
        with pytest.raises(RequestTimeoutError) as caught:
            node.call("INCR", "k")
        assert caught.value.maybe_applied
        with pytest.raises(ConnectionLostError, match="is closed"):
            node.call("PING")


def test_a_reply_that_stops_half_way_is_lost(silent: socket.socket) -> None:
    with Connection("127.0.0.1", silent.getsockname()[1]) as node:
        peer, _ = silent.accept()
        peer.sendall(b"$10\r\nhalf")
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionLostError) as caught:
            node.call("INCR", "k")
        assert caught.value.maybe_applied
        peer.close()


def test_what_is_not_resp_closes_the_connection(silent: socket.socket) -> None:
    with Connection("127.0.0.1", silent.getsockname()[1]) as node:
        peer, _ = silent.accept()
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(ProtocolViolationError):
            node.call("INCR", "k")
        assert node.wire.closed
        peer.close()
