"""Six-node clusters of real processes for the tools that know Redis Cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyredis_cluster.admin import Access
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.create import create_cluster
from pyredis_cluster.launcher import LocalCluster, NodeCommand, prepare

from ..conftest import free_port, wait_until

NODES = 6
TOOL_TIMEOUT_S = 60.0


class RunningNodes:
    """Node processes of one test module; `call` asks one of them, `cli` and `manage` run redis-cli."""

    def __init__(self, local: LocalCluster) -> None:
        self.local = local

    @property
    def ports(self) -> list[int]:
        return [node.port for node in self.local.nodes]

    @property
    def port(self) -> int:
        """Where tools are pointed to."""
        return self.ports[0]

    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.ports]

    def call(self, port: int, *args: str | bytes | int) -> Any:
        """call(port, "GET", "k") -> that node's reply; errors are raised."""
        with Connection("127.0.0.1", port) as link:
            return link.call(*args)

    def node_id(self, port: int) -> str:
        return str(self.call(port, "CLUSTER", "MYID").decode())

    def nodes(self, port: int) -> list[list[str]]:
        """nodes(port) -> CLUSTER NODES of that node, a list of words for each line."""
        return [line.split() for line in self.call(port, "CLUSTER", "NODES").decode().splitlines()]

    def owners(self, port: int) -> dict[int, int]:
        """owners(port) -> slot -> its owner's port, as that node sees it."""
        found = {}
        for first, last, primary, *_ in self.call(port, "CLUSTER", "SLOTS"):
            found.update(dict.fromkeys(range(first, last + 1), primary[1]))
        return found

    def primaries(self) -> list[int]:
        return [int(words[1].split("@")[0].split(":")[1]) for words in self.nodes(self.port) if "master" in words[2]]

    def slot_count(self, port: int) -> int:
        return sum(owner == port for owner in self.owners(self.port).values())

    def wait_until_agreed(self) -> None:
        """Every node says cluster_state:ok and has the same map of slots."""

        def agreed() -> bool:
            fine = all(b"cluster_state:ok" in self.call(port, "CLUSTER", "INFO") for port in self.ports)
            return fine and len({tuple(sorted(self.owners(port).items())) for port in self.ports}) == 1

        wait_until(agreed, "all nodes agree")

    def run(self, *command: str, text: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """run("redis-cli", ...) -> the finished process, output and errors in `stdout`."""
        return subprocess.run(
            command,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TOOL_TIMEOUT_S,
            cwd=cwd,
            check=False,
        )

    def cli(self, *args: str, text: str | None = None) -> str:
        """cli("-c", "GET", "k") -> what redis-cli, pointed to the first node, printed; it must succeed."""
        done = self.run("redis-cli", "-p", str(self.port), *args, text=text)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def manage(self, verb: str, *args: str, text: str | None = None) -> str:
        """manage("check", address) -> what `redis-cli --cluster check address` printed; it must succeed."""
        done = self.run("redis-cli", "--cluster", verb, *args, text=text)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def extra_node(self) -> int:
        """extra_node() -> the port of one more node, started and empty."""
        node = self.local.add_node(free_port())
        self.local.start([node], Access())
        return node.port

    def remove(self, port: int) -> None:
        node = self.local.node_at(port)
        self.local.stop([node])
        self.local.remove_node(node)


@pytest.fixture(scope="module")
def start_nodes(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Sequence[tuple[str, str]]], RunningNodes]]:
    """start_nodes([(directive, value)]) -> six nodes that don't know each other."""
    started: list[LocalCluster] = []

    def start(settings: Sequence[tuple[str, str]]) -> RunningNodes:
        directory = tmp_path_factory.mktemp("interop") / "cluster"
        ports = [free_port() for _ in range(NODES)]
        local = prepare(directory, ports, "127.0.0.1", settings, NodeCommand())
        started.append(local)
        local.start(local.nodes, Access())
        return RunningNodes(local)

    yield start
    for local in started:
        local.destroy()


@pytest.fixture(scope="module")
def cluster(start_nodes: Callable[[Sequence[tuple[str, str]]], RunningNodes]) -> RunningNodes:
    """Three primaries with a replica each."""
    nodes = start_nodes([])
    create_cluster(nodes.local.addresses, 1, Access(), lambda _: None)
    return nodes
