"""Local clusters: node processes on this machine, described by DIR/cluster.json for later commands.

Whatever is started here and fails is stopped here: an error leaves no process behind.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import processes
from .admin import Access, NodeLink
from .errors import LaunchError, NodeRefused, NodeUnreachable
from .plan import Address
from .processes import ProcessHandle

DEFAULT_DIRECTORY = Path(".pyredis-cluster")
DESCRIPTION_NAME = "cluster.json"
DESCRIPTION_VERSION = 1
SECRET_NAME = "cluster.secret"
CONFIG_NAME = "redis.conf"
LOG_NAME = "node.log"

NODES_MAX = 1_000
# The cluster bus listens this far above the client port, as in Redis.
BUS_PORT_OFFSET = 10_000
PORTS_TRIED_MAX = 100
SECRET_BYTES = 32
START_TIMEOUT_S = 30.0
_START_POLL_S = 0.01
_START_CALL_TIMEOUT_MS = 1_000.0
_LOG_TAIL_LINES = 12
_WILDCARD_HOSTS = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "::": "::1"}
# Directives that make the cluster what it is; --set can't change them under our feet.
RESERVED_DIRECTIVES = frozenset(
    {
        "port",
        "bind",
        "dir",
        "daemonize",
        "include",
        "cluster-enabled",
        "cluster-config-file",
        "cluster-secret-file",
        "cluster-witness",
    }
)


@dataclass(frozen=True, slots=True)
class NodeCommand:
    """What is executed as a node: a program with its first arguments; the config file's path follows them."""

    argv: tuple[str, ...] = (sys.executable, "-P", "-m", "pyredis_cluster.node")
    takes_secret: bool = True


@dataclass(slots=True)
class LocalNode:
    """A node of a local cluster: its port and, once started, its process."""

    port: int
    process: ProcessHandle | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and processes.is_alive(self.process)


@dataclass(slots=True)
class LocalCluster:
    """The node processes under one directory. `save` after each change; `load` reads what was saved."""

    directory: Path
    bind: str
    settings: list[tuple[str, str]]
    nodes: list[LocalNode] = field(default_factory=list)
    command: NodeCommand = field(default_factory=NodeCommand)

    @classmethod
    def load(cls, directory: Path, command: NodeCommand | None = None) -> LocalCluster:
        """load(directory) -> LocalCluster. LaunchError where the directory describes none."""
        path = directory / DESCRIPTION_NAME
        try:
            description = json.loads(path.read_text())
            if description["version"] != DESCRIPTION_VERSION:
                raise LaunchError(f"{path} has the unknown version {description['version']}")
            return cls(
                directory=directory.absolute(),
                bind=description["bind"],
                settings=[(name, value) for name, value in description["settings"]],
                nodes=[_node_from_json(node) for node in description["nodes"]],
                command=command or NodeCommand(),
            )
        except FileNotFoundError:
            raise LaunchError(
                f"there is no cluster in {directory}: `pyredis-cluster create` makes one; "
                "for a cluster elsewhere give a node's HOST:PORT"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise LaunchError(f"{path} is not a cluster's description: {error!r}") from error

    def save(self) -> None:
        """save(): write the description, atomically."""
        description = {
            "version": DESCRIPTION_VERSION,
            "bind": self.bind,
            "settings": self.settings,
            "nodes": [_node_to_json(node) for node in self.nodes],
        }
        write_atomically(self.directory / DESCRIPTION_NAME, json.dumps(description, indent=2) + "\n", 0o600)

    @property
    def host(self) -> str:
        """The address under which this machine reaches the nodes: the first bound one."""
        first = self.bind.split()[0].lstrip("-")
        return _WILDCARD_HOSTS.get(first, first)

    @property
    def addresses(self) -> list[Address]:
        return [Address(self.host, node.port) for node in self.nodes]

    @property
    def password(self) -> str | None:
        """The password that the nodes were given with `--set requirepass=...`."""
        return dict(self.settings).get("requirepass")

    def node_directory(self, port: int) -> Path:
        return self.directory / str(port)

    def log_path(self, port: int) -> Path:
        return self.node_directory(port) / LOG_NAME

    def node_at(self, port: int) -> LocalNode:
        """node_at(port) -> LocalNode; LaunchError where the cluster has none on that port."""
        for node in self.nodes:
            if node.port == port:
                return node
        ports = ", ".join(str(node.port) for node in self.nodes)
        raise LaunchError(f"no node of {self.directory} listens on port {port}; its ports are {ports}")

    def next_port(self) -> int:
        """next_port() -> the first port above the cluster's own that can be listened on, bus port included."""
        highest = max(node.port for node in self.nodes)
        for port in range(highest + 1, highest + PORTS_TRIED_MAX):
            try:
                require_free_ports(self.bind, port)
            except LaunchError:
                continue
            return port
        raise LaunchError(f"no port between {highest + 1} and {highest + PORTS_TRIED_MAX} is free; give --port")

    def add_node(self, port: int, *, witness: bool = False) -> LocalNode:
        """add_node(port) -> a further node with a directory of its own, not started yet."""
        directory = self.node_directory(port)
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            raise LaunchError(f"{directory} exists already; remove it, or choose another port or --dir") from None
        write_atomically(directory / CONFIG_NAME, self._config_text(port, witness=witness), 0o600)
        node = LocalNode(port)
        self.nodes.append(node)
        return node

    def remove_node(self, node: LocalNode) -> None:
        """remove_node(node): forget the node and remove its directory; its process has ended before."""
        self.nodes.remove(node)
        shutil.rmtree(self.node_directory(node.port), ignore_errors=True)
        self.save()

    def _config_text(self, port: int, *, witness: bool) -> str:
        directives = [
            ("port", str(port)),
            ("bind", self.bind),
            ("dir", quote_argument(str(self.node_directory(port)))),
            ("cluster-enabled", "yes"),
            ("cluster-config-file", "nodes.conf"),
        ]
        if witness:
            directives.append(("cluster-witness", "yes"))
        if self.command.takes_secret:
            directives.append(("cluster-secret-file", quote_argument(str(self.directory / SECRET_NAME))))
        given = {name for name, _ in self.settings}
        if "repl-diskless-sync-delay" not in given:
            # Waiting for further replicas to share one transfer is for networks; here it delays `create`.
            directives.append(("repl-diskless-sync-delay", "0"))
        if self.password is not None and "masterauth" not in given:
            # Replicas log in to their primary; an operator who sets one password means that too.
            directives.append(("masterauth", self.password))
        return "".join(f"{name} {value}\n" for name, value in [*directives, *self.settings])

    def start(self, nodes: Iterable[LocalNode], access: Access) -> None:
        """start(nodes): start them at once and wait until each answers PING.

        LaunchError where one ends or is silent for START_TIMEOUT_S; the nodes started here are stopped then.
        """
        starting = list(nodes)
        for node in starting:
            require_free_ports(self.bind, node.port)
        try:
            for node in starting:
                node.process = self._spawn(node.port)
            self.save()
            deadline = time.monotonic() + START_TIMEOUT_S
            for node in starting:
                self._wait_until_answering(node, access, deadline)
        except BaseException:
            processes.kill([node.process for node in starting if node.process is not None])
            raise

    def _spawn(self, port: int) -> ProcessHandle:
        argv = [*self.command.argv, str(self.node_directory(port) / CONFIG_NAME)]
        try:
            return processes.spawn(argv, self.log_path(port))
        except OSError as error:
            raise LaunchError(f"{argv[0]} can't be executed: {error.strerror}") from error

    def _wait_until_answering(self, node: LocalNode, access: Access, deadline: float) -> None:
        short = Access(access.username, access.password, _START_CALL_TIMEOUT_MS)
        while True:
            link = NodeLink(Address(self.host, node.port), short)
            try:
                link.call("PING")
                return
            except NodeUnreachable:
                if not node.alive:
                    raise LaunchError(self._death_notice(node.port)) from None
            except NodeRefused as error:
                if not error.message.startswith("LOADING"):
                    raise
            finally:
                link.close()
            if time.monotonic() >= deadline:
                raise LaunchError(
                    f"the node on port {node.port} did not answer within {START_TIMEOUT_S:.0f} s; "
                    f"its log, {self.log_path(node.port)}, ends:\n{self._tail(node.port)}"
                )
            time.sleep(_START_POLL_S)

    def _death_notice(self, port: int) -> str:
        tail = self._tail(port)
        log = f"its log ends:\n{tail}" if tail else "it left no log"
        return f"the node on port {port} ended while it was starting; {log}"

    def _tail(self, port: int) -> str:
        return processes.log_tail(self.log_path(port), _LOG_TAIL_LINES)

    def stop(self, nodes: Iterable[LocalNode]) -> list[LocalNode]:
        """stop(nodes) -> those that did not end in time and were killed."""
        stopping = [node for node in nodes if node.process is not None]
        stubborn = processes.stop([node.process for node in stopping if node.process is not None])
        return [node for node in stopping if node.process in stubborn]

    def destroy(self) -> None:
        """destroy(): kill every node and remove what was made for them, nothing else."""
        processes.kill([node.process for node in self.nodes if node.process is not None])
        for node in self.nodes:
            shutil.rmtree(self.node_directory(node.port), ignore_errors=True)
        for name in (DESCRIPTION_NAME, SECRET_NAME):
            (self.directory / name).unlink(missing_ok=True)
        for leftover in self.directory.glob("reshard-*.json"):
            leftover.unlink()
        if self.directory.is_dir() and not any(self.directory.iterdir()):
            self.directory.rmdir()


def prepare(
    directory: Path,
    ports: Sequence[int],
    bind: str,
    settings: Sequence[tuple[str, str]],
    command: NodeCommand,
    witnesses: int = 0,
) -> LocalCluster:
    """prepare(directory, ports, bind, settings, command) -> a described LocalCluster, nothing started yet.

    The last `witnesses` of the ports are for witnesses. LaunchError where the directory holds a cluster, a port
    is taken or a setting is ours to make.
    """
    if (directory / DESCRIPTION_NAME).exists():
        raise LaunchError(
            f"{directory} already holds a cluster: `pyredis-cluster start` starts it, `destroy` removes it, "
            "--dir names another place"
        )
    for name, value in settings:
        check_setting(name, value)
    for port in ports:
        require_free_ports(bind, port)
    cluster = LocalCluster(directory.absolute(), bind, list(settings), command=command)
    made_directory = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / SECRET_NAME, secrets.token_hex(SECRET_BYTES) + "\n", 0o600)
        for index, port in enumerate(ports):
            cluster.add_node(port, witness=index >= len(ports) - witnesses)
        cluster.save()
    except OSError as error:
        cluster.destroy()
        raise LaunchError(f"{directory} can't be used: {error.strerror}") from error
    except BaseException:
        cluster.destroy()
        if made_directory:
            shutil.rmtree(directory, ignore_errors=True)
        raise
    return cluster


def check_setting(name: str, value: str) -> None:
    """check_setting(name, value): LaunchError where `--set NAME=VALUE` can't go into the nodes' config."""
    if name.lower() in RESERVED_DIRECTIVES:
        raise LaunchError(f"--set can't change '{name}': the launcher sets it for each node")
    if not name.replace("-", "").isalnum() or "\n" in value or "\r" in value:
        raise LaunchError(f"'{name}={value}' is not a setting of the form NAME=VALUE")


def require_free_ports(bind: str, port: int) -> None:
    """require_free_ports(bind, port): LaunchError where a node's two ports can't be listened on."""
    if not 0 < port <= 65535 - BUS_PORT_OFFSET:
        raise LaunchError(
            f"port {port} can't be used: a node needs a port between 1 and {65535 - BUS_PORT_OFFSET}, "
            f"its cluster bus listens {BUS_PORT_OFFSET} above it"
        )
    for host in bind.split():
        optional, host = host.startswith("-"), {"*": "0.0.0.0"}.get(host, host).lstrip("-")
        for number, kind, use in (
            (port, socket.SOCK_STREAM, "port"),
            (port + BUS_PORT_OFFSET, socket.SOCK_STREAM, "cluster bus port"),
            (port + BUS_PORT_OFFSET, socket.SOCK_DGRAM, "cluster bus port"),
        ):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, kind) as probe:
                if kind is socket.SOCK_STREAM:
                    # As a listener does it: an old connection in TIME_WAIT is no obstacle.
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, number))
                except OSError as error:
                    if optional and error.errno == errno.EADDRNOTAVAIL:
                        continue
                    raise LaunchError(f"{use} {number} on {host} can't be used: {error.strerror}") from error


def quote_argument(text: str) -> str:
    """quote_argument(text) -> text as one argument of redis.conf, quoted where it has to be."""
    if text and not set(text) & set(" \"'\\#\t"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_atomically(path: Path, text: str, mode: int) -> None:
    """write_atomically(path, text, mode): after a crash the file is the old or the new one, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _node_to_json(node: LocalNode) -> dict[str, Any]:
    handle = node.process
    return {
        "port": node.port,
        "pid": handle.pid if handle else None,
        "start_ticks": handle.start_ticks if handle else None,
    }


def _node_from_json(description: dict[str, Any]) -> LocalNode:
    pid = description["pid"]
    return LocalNode(
        int(description["port"]), ProcessHandle(int(pid), int(description["start_ticks"])) if pid else None
    )
