"""Real server processes for tests: our nodes and Debian's redis-server, on free ports, gone after the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.errors import ClientError

# How long an example takes is the machine's doing.
settings.register_profile("pyredis", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pyredis")

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.01
# Below the ports that the system gives to outgoing connections, the bus ports too.
FIRST_PORT, LAST_PORT = 12000, 22000
BUS_PORT_OFFSET = 10000

_next_port = FIRST_PORT + os.getpid() * 37 % (LAST_PORT - FIRST_PORT)


def free_port() -> int:
    """free_port() -> a port that nobody listens on, its bus port neither; each call gives another one."""
    global _next_port
    for _ in range(LAST_PORT - FIRST_PORT):
        _next_port = _next_port + 1 if _next_port < LAST_PORT else FIRST_PORT
        try:
            for port in (_next_port, _next_port + BUS_PORT_OFFSET):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return _next_port
    raise RuntimeError("no free port")


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = START_TIMEOUT_S) -> Any:
    """wait_until(condition, what) -> its first true value; fails the test when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what}")
        time.sleep(POLL_INTERVAL_S)
    return value


class ServerProcess:
    """One server process. `call` talks to it; `kill` and `freeze` are faults."""

    def __init__(self, command: list[str], directory: Path, options: dict[str, str]) -> None:
        self.port = free_port()
        self.directory = directory
        self.log_path = directory / "log"
        self._arguments = [*command, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory)]
        for name, value in ({"save": ""} | options).items():
            self._arguments += ["--" + name.replace("_", "-"), *value.split()] if value else ["--" + name, ""]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """start() -> once it answers; also after `kill`, with the same port and directory."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self._arguments, stdout=log, stderr=log, cwd=self.directory)
        wait_until(self.answers, f"{self._arguments[0]} answers on {self.port}:\n{self.log()}")

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"exit status {self.process.returncode} at start:\n{self.log()}")
        try:
            with Connection("127.0.0.1", self.port) as link:
                return bool(link.call("PING") == b"PONG")
        except ClientError:
            return False

    def call(self, *args: str | bytes | int) -> Any:
        """call("GET", "k") -> the reply; errors are raised."""
        with Connection("127.0.0.1", self.port) as link:
            return link.call(*args)

    def info(self, section: str) -> dict[str, str]:
        """info("replication") -> that section's fields."""
        lines = self.call("INFO", section).decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Processes:
    """Starts servers in directories of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[ServerProcess] = []

    def _start(self, name: str, command: list[str], options: dict[str, str]) -> ServerProcess:
        home = self._directory / f"{name}-{len(self._started)}"
        home.mkdir()
        server = ServerProcess(command, home, options)
        self._started.append(server)
        return server

    def node(self, **options: str) -> ServerProcess:
        """node(maxclients="10") -> one of our nodes, with these directives."""
        return self._start("node", [sys.executable, "-m", "pyredis_cluster.node"], options)

    def redis(self, **options: str) -> ServerProcess:
        """redis(appendonly="yes") -> Debian's redis-server, with these directives."""
        program = shutil.which("redis-server")
        assert program, "redis-server isn't installed"
        return self._start("redis", [program], options)

    def stop(self) -> None:
        for server in self._started:
            server.stop()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Real servers for one test."""
    made = Processes(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def module_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Real servers that a module's tests share."""
    made = Processes(tmp_path_factory.mktemp("servers"))
    yield made
    made.stop()
