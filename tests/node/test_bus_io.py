"""The bus's sockets and nodes.conf on disk."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyredis_cluster.node.bus_sockets import BusSockets
from pyredis_cluster.node.nodes_file import NodesFile, NodesFileError

from ..conftest import free_port, wait_until

NODES = f"{'a' * 40} 127.0.0.1:7000@17000,,shard-id={'b' * 40} myself,master - 0 0 1 connected 0-5\n"
VARS = "vars currentEpoch 1 lastVoteEpoch 0\n"


@pytest.fixture
def sockets() -> Iterator[BusSockets]:
    found = BusSockets(["127.0.0.1"], free_port())
    yield found
    found.close()


def test_a_datagram_arrives_with_its_source(sockets: BusSockets) -> None:
    (sock,) = sockets.sockets
    sockets.send(sock.getsockname(), b"hello")
    select.select([sock], [], [], 5)
    assert [*sockets.receive(sock)] == [(b"hello", sock.getsockname())]


def test_a_dead_peer_is_told_by_its_host(sockets: BusSockets) -> None:
    (sock,) = sockets.sockets
    dead = ("127.0.0.1", free_port())
    sockets.send(dead, b"anybody there?")
    assert dead in wait_until(lambda: sockets.refused(sock), "the refusal")
    assert [*sockets.receive(sock)] == []


def test_sending_goes_on_after_a_refusal(sockets: BusSockets) -> None:
    (sock,) = sockets.sockets
    sockets.send(("127.0.0.1", free_port()), b"x")
    sockets.send(sock.getsockname(), b"y")
    select.select([sock], [], [], 5)
    wait_until(lambda: [data for data, _ in sockets.receive(sock)] == [b"y"], "the second one")


def test_a_port_in_use_is_an_error_and_a_missing_optional_address_is_not(sockets: BusSockets) -> None:
    port = sockets.sockets[0].getsockname()[1]
    with pytest.raises(OSError):
        BusSockets(["127.0.0.1"], port)
    two = BusSockets(["127.0.0.1", "-192.0.2.123"], free_port())
    assert [sock.family for sock in two.sockets] == [socket.AF_INET]
    two.close()


def test_nodes_conf_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = NodesFile(str(tmp_path / "nodes.conf"))
    assert file.load() is None
    for durable in (True, False):
        file.save(NODES + VARS, durable=durable)
        state = file.load()
        assert state is not None
        assert state.my_id == "a" * 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nodes.conf", "nodes.conf.lock"]
    file.close()


def test_a_corrupted_nodes_conf_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "nodes.conf"
    path.write_text(NODES + "rubbish\n" + VARS)
    file = NodesFile(str(path))
    with pytest.raises(NodesFileError, match="rubbish"):
        file.load()
    file.close()


def test_two_nodes_cannot_share_a_file_and_the_next_one_can(tmp_path: Path) -> None:
    path = str(tmp_path / "nodes.conf")
    first = NodesFile(path)
    with pytest.raises(NodesFileError, match="already used by a different Redis Cluster node"):
        NodesFile(path)
    first.close()
    NodesFile(path).close()
