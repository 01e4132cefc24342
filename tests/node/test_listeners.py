"""Listening and accepting: addresses, maxclients, the open files limit, and what happens without descriptors."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path
from typing import Any

import pytest
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.node import open_files
from pyredis_cluster.node.config import Config
from pyredis_cluster.node.errors import CommandError
from pyredis_cluster.node.open_files import RESERVED, OpenFilesError, watch_open_files

from ..conftest import wait_until

Processes = Any
TIMEOUT_S = 5.0


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    sock = socket.create_connection((host, port), timeout=TIMEOUT_S)
    sock.settimeout(TIMEOUT_S)
    return sock


def receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (chunk := sock.recv(size - len(data))):
        data += chunk
    return data


def answers(sock: socket.socket) -> bool:
    sock.sendall(b"PING\r\n")
    return receive(sock, 7) == b"+PONG\r\n"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_maxclients_refuses_with_redis_error(processes: Processes) -> None:
    node = processes.node(maxclients="2")
    with connect(node.port) as one, connect(node.port) as two:
        for sock in (one, two):
            sock.sendall(b"PING\r\n")
            assert receive(sock, 7) == b"+PONG\r\n"
        with connect(node.port) as three:
            assert receive(three, 100) == b"-ERR max number of clients reached\r\n"


def test_a_unix_socket_serves_too(processes: Processes) -> None:
    node = processes.node(unixsocket="node.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(node.directory / "node.sock"))
        sock.sendall(b"PING\r\n")
        assert receive(sock, 7) == b"+PONG\r\n"


def test_every_bind_address_serves(processes: Processes) -> None:
    node = processes.node()
    node.call("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2 -::1")
    for host in ("127.0.0.1", "127.0.0.2"):
        with connect(node.port, host) as sock:
            assert answers(sock)


def test_a_storm_of_connections_is_served(processes: Processes) -> None:
    node = processes.node()
    storm = [connect(node.port) for _ in range(700)]
    try:
        assert all(map(answers, storm))
        assert node.info("clients")["connected_clients"] == "701"
    finally:
        for sock in storm:
            sock.close()
    wait_until(lambda: node.info("clients")["connected_clients"] == "1", "all are forgotten")


def test_without_descriptors_the_node_serves_idles_and_recovers(processes: Processes) -> None:
    node = processes.node()
    pid = node.process.pid
    with Connection("127.0.0.1", node.port) as early:
        early.call("PING")
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 3, limits[1]))
        waiting = [connect(node.port) for _ in range(10)]
        try:
            wait_until(lambda: "Accepting client connection: accept: Too many open files" in node.log(), "it is logged")
            before = cpu_seconds(pid)
            served = 0
            while node.log().count("Too many open files") < 4:  # the 1st, 2nd, 4th and 8th cron
                assert early.call("PING") == b"PONG"
                served += 1
            assert served
            assert cpu_seconds(pid) - before < 1.0
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
            assert all(map(answers, waiting))
        finally:
            for sock in waiting:
                sock.close()


# -- the open files limit


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The system's limit as the node sees it: `soft`, `hard`; raising `hard` is refused."""
    state = {"soft": 100, "hard": 1000}

    def setrlimit(which: int, limits: tuple[int, int]) -> None:
        if max(limits) > state["hard"]:
            raise ValueError("not allowed to raise maximum limit")
        state["soft"] = limits[0]

    monkeypatch.setattr(open_files.resource, "getrlimit", lambda which: (state["soft"], state["hard"]))
    monkeypatch.setattr(open_files.resource, "setrlimit", setrlimit)
    return state


def configured(maxclients: int) -> Config:
    config = Config()
    config.maxclients = maxclients
    return config


def test_the_limit_is_raised_for_maxclients(limit: dict[str, int]) -> None:
    config = configured(500)
    watch_open_files(config)
    assert limit["soft"] == 500 + RESERVED
    assert config.maxclients == 500


def test_maxclients_is_reduced_to_what_the_limit_allows(limit: dict[str, int]) -> None:
    config = configured(5000)
    watch_open_files(config)
    assert limit["soft"] == 1000
    assert config.maxclients == 1000 - RESERVED


def test_config_set_refuses_more_clients_than_the_limit_allows(limit: dict[str, int]) -> None:
    config = configured(500)
    watch_open_files(config)
    with pytest.raises(CommandError, match=f"specified number of clients, try with {1000 - RESERVED}"):
        config.set({"maxclients": "5000"})
    assert config.maxclients == 500


def test_a_limit_that_leaves_no_room_refuses_to_start(limit: dict[str, int]) -> None:
    limit["soft"] = limit["hard"] = RESERVED
    with pytest.raises(OpenFilesError, match="is not enough for the server to start"):
        watch_open_files(configured(500))
