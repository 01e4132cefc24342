"""A real cluster for the client's tests: three primaries with a replica each, started once.

PYREDIS_CLIENT_TEST_SERVER names the server program to test against (default: redis-server of the PATH).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.errors import ClientError
from pyredis_cluster.client.wire import Address
from pyredis_cluster.gossip.slots import SLOT_COUNT

FIRST_PORT, LAST_PORT = 31000, 31999
READY_TIMEOUT_S = 20.0
NODE_TIMEOUT_MS = 1000


def free_ports(count: int) -> list[int]:
    """free_ports(count) -> ports in our range whose bus port is free too."""
    found: list[int] = []
    for port in range(FIRST_PORT + os.getpid() % 800, LAST_PORT):
        try:
            for number in (port, port + 10000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


@dataclass
class TestCluster:
    """The processes of a cluster; the first three ports are primaries."""

    __test__ = False
    server: str
    directory: Path
    ports: list[int]
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def addresses(self) -> list[Address]:
        return [("127.0.0.1", port) for port in self.ports]

    def start_node(self, port: int) -> None:
        home = self.directory / str(port)
        home.mkdir(exist_ok=True)
        with open(home / "log", "ab") as log:
            self.processes[port] = subprocess.Popen(
                [
                    self.server,
                    *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(home)),
                    *("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
                    *("--save", "", "--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes"),
                    # CLUSTER SLOTS leaves replicas out until their first replicated byte, such as a ping.
                    *("--repl-ping-replica-period", "1"),
                ],
                stdout=log,
                stderr=log,
            )

    def node(self, port: int) -> Connection:
        return Connection("127.0.0.1", port)

    def answers(self, port: int) -> bool:
        try:
            with self.node(port) as node:
                return bool(node.call("PING") == b"PONG")
        except ClientError:
            return False

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """wait_until(condition, what): poll a condition until it holds; fails the test after READY_TIMEOUT_S."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {READY_TIMEOUT_S} s: {what}")
            time.sleep(0.02)

    def form(self) -> None:
        """Start the nodes and make them a cluster, as `redis-cli --cluster create` does."""
        for port in self.ports:
            self.start_node(port)
        for port in self.ports:
            self.wait_until(lambda port=port: self.answers(port), f"node {port} answers")  # type: ignore[misc]
        share = SLOT_COUNT // 3
        for index, port in enumerate(self.ports):
            with self.node(port) as node:
                node.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
                if index < 3:
                    last = SLOT_COUNT - 1 if index == 2 else (index + 1) * share - 1
                    node.call("CLUSTER", "ADDSLOTSRANGE", index * share, last)
        for port in self.ports[1:]:
            with self.node(self.ports[0]) as node:
                node.call("CLUSTER", "MEET", "127.0.0.1", port)
        for port in self.ports:
            self.wait_until(lambda port=port: self.known_nodes(port) == 6, f"{port} knows all")  # type: ignore[misc]
        for port, primary in zip(self.ports[3:], self.ports[:3], strict=True):
            with self.node(port) as node, self.node(primary) as other:
                node.call("CLUSTER", "REPLICATE", other.call("CLUSTER", "MYID"))
        self.wait_until(self.is_ok, "all nodes are ok and all replicas online")

    def known_nodes(self, port: int) -> int:
        with self.node(port) as node:
            nodes: bytes = node.call("CLUSTER", "NODES")
        return sum(b"handshake" not in line for line in nodes.splitlines())

    def is_ok(self) -> bool:
        for index, port in enumerate(self.ports):
            with self.node(port) as node:
                if b"cluster_state:ok" not in node.call("CLUSTER", "INFO"):
                    return False
                if len(node.call("CLUSTER", "SLOTS")) < 3 or len(node.call("CLUSTER", "SLOTS")[0]) < 4:
                    return False
                if index >= 3 and b"master_link_status:up" not in node.call("INFO", "replication"):
                    return False
        return True

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(timeout=10)


def _run_cluster(directory: Path) -> Iterator[TestCluster]:
    server = os.environ.get("PYREDIS_CLIENT_TEST_SERVER") or shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis-server on the PATH")
    cluster = TestCluster(server, directory, free_ports(6))
    try:
        cluster.form()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    """A cluster that tests share and leave healthy."""
    yield from _run_cluster(tmp_path_factory.mktemp("cluster"))


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[TestCluster]:
    """A cluster of the test's own, whose nodes it may kill."""
    yield from _run_cluster(tmp_path)
