"""Clusters of real node processes for tests, and redis-cli pointed at them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pyredis_cluster.admin import Access
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.errors import ClientError
from pyredis_cluster.launcher import LocalCluster, NodeCommand, prepare

from .conftest import free_port, wait_until

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

    def pipeline(self, port: int, commands: Iterable[Sequence[str | bytes | int]]) -> list[Any]:
        """pipeline(port, commands) -> that node's replies, errors among them."""
        with Connection("127.0.0.1", port) as link:
            return link.pipeline(commands)

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

    def replica_of(self, primary: int) -> int:
        """replica_of(port) -> the port of a replica of that primary."""
        node_id = self.node_id(primary)
        found = [words for words in self.nodes(primary) if words[3] == node_id and "fail" not in words[2].split(",")]
        return int(found[0][1].split("@")[0].split(":")[1])

    def wait_until_agreed(self) -> None:
        """Every node says cluster_state:ok, has the same map of slots and, if it is a replica, follows its primary."""

        def agreed() -> bool:
            try:
                fine = all(b"cluster_state:ok" in self.call(port, "CLUSTER", "INFO") for port in self.ports)
                linked = all(b"_link_status:down" not in self.call(port, "INFO", "replication") for port in self.ports)
                maps = {tuple(sorted(self.owners(port).items())) for port in self.ports}
            except ClientError:
                return False
            return fine and linked and len(maps) == 1

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


def start_nodes_in(directory: Path, settings: Sequence[tuple[str, str]], count: int = NODES) -> RunningNodes:
    """start_nodes_in(directory, settings) -> nodes that don't know each other; `local.destroy()` ends them."""
    ports = [free_port() for _ in range(count)]
    local = prepare(directory, ports, "127.0.0.1", settings, NodeCommand())
    try:
        local.start(local.nodes, Access())
    except BaseException:
        local.destroy()
        raise
    return RunningNodes(local)
