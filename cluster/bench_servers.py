"""The servers that are compared: started alike, pinned to one core, asked for their CPU time, stopped in any case."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import processes
from .admin import Access, NodeLink
from .errors import ClusterUnready, LaunchError, OperatorError
from .launcher import BUS_PORT_OFFSET, require_free_ports
from .plan import Address
from .processes import ProcessHandle
from .waiting import wait_for

HOST = "127.0.0.1"
START_TIMEOUT_S = 20.0
FILL_TIMEOUT_MS = 60_000.0
PORT_ATTEMPTS_MAX = 100
SETTLE_TIMEOUT_S = 3.0
SETTLE_INTERVAL_S = 0.01
SETTLED_CPU_NS = 500_000
"""A server that used no more than this in an interval is idle: it has freed what the last test left."""

_LOG_TAIL_LINES = 12


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the servers run and where redis-benchmark runs; the same core where there is only one."""

    server: frozenset[int]
    clients: frozenset[int]

    @classmethod
    def choose(cls) -> Cores:
        """choose() -> the last core that we may use for servers, the others for the clients."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(frozenset(usable[-1:]), frozenset(usable[:-1] or usable))


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """pinned(cores): this process, and what it starts meanwhile, runs on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class BenchServer:
    """A running server under measurement."""

    name: str
    process: ProcessHandle
    link: NodeLink

    @property
    def port(self) -> int:
        return self.link.address.port

    def cpu_ns(self) -> int:
        """cpu_ns() -> user and system time of all its threads so far, from /proc/PID/task/*/schedstat.

        /proc/PID/stat counts clock ticks of 10 ms, too coarse for a run of a second.
        """
        total = 0
        try:
            for task in os.listdir(f"/proc/{self.process.pid}/task"):
                total += int(Path(f"/proc/{self.process.pid}/task/{task}/schedstat").read_text().split()[0])
        except OSError as error:
            raise OperatorError(f"the CPU time of {self.name} can't be read: {error}") from error
        return total

    def settle(self) -> None:
        """settle(): return once it is idle, after SETTLE_TIMEOUT_S at the latest."""
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        before = self.cpu_ns()
        while time.monotonic() < deadline:
            time.sleep(SETTLE_INTERVAL_S)
            now = self.cpu_ns()
            if now - before <= SETTLED_CPU_NS:
                return
            before = now

    def version(self) -> str:
        """version() -> what INFO says its version is."""
        for line in self.link.text("INFO", "server").splitlines():
            if line.startswith("redis_version:"):
                return line.partition(":")[2]
        raise OperatorError(f"{self.name} says no version")


def free_port() -> int:
    """free_port() -> a port that is free now, as is its bus port. LaunchError."""
    for _ in range(PORT_ATTEMPTS_MAX):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port + BUS_PORT_OFFSET <= 65535:
            try:
                require_free_ports(HOST, port)
            except LaunchError:
                continue
            return port
    raise LaunchError(f"no free port was found in {PORT_ATTEMPTS_MAX} attempts")


def directives(port: int, directory: Path, clustered: bool) -> list[str]:
    """directives(port, directory, clustered) -> command line of either server: nothing is written to disk."""
    given = ["--port", str(port), "--bind", HOST, "--dir", str(directory), "--save", "", "--appendonly", "no"]
    return [*given, "--cluster-enabled", "yes"] if clustered else given


@contextmanager
def running(
    name: str, program: Sequence[str], directory: Path, cores: frozenset[int], port: int, clustered: bool
) -> Iterator[BenchServer]:
    """running(name, program, directory, cores, port, clustered) -> the server, ready for commands.

    In cluster mode it owns all slots. It is stopped at the end, whatever happened. LaunchError.
    """
    directory.mkdir()
    log = directory / "log"
    try:
        with pinned(cores):
            process = processes.spawn([*program, *directives(port, directory, clustered)], log)
    except OSError as error:
        raise LaunchError(f"{program[0]} can't be executed: {error.strerror}") from error
    link = NodeLink(Address(HOST, port), Access(timeout_ms=FILL_TIMEOUT_MS))
    server = BenchServer(name, process, link)
    try:
        _wait_until_ready(server, log)
        if clustered:
            link.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_for(lambda: _not_ok(link), START_TIMEOUT_S)
        yield server
    finally:
        link.close()
        processes.stop([process])


def _wait_until_ready(server: BenchServer, log: Path) -> None:
    def missing() -> str | None:
        if not processes.is_alive(server.process):
            raise LaunchError(f"{server.name} ended at its start:\n{processes.log_tail(log, _LOG_TAIL_LINES)}")
        try:
            server.link.call("PING")
        except OperatorError as error:
            return str(error)
        return None

    try:
        wait_for(missing, START_TIMEOUT_S)
    except ClusterUnready as error:
        raise LaunchError(f"{server.name} did not start: {error}") from error


def _not_ok(link: NodeLink) -> str | None:
    return None if "cluster_state:ok" in link.text("CLUSTER", "INFO") else "cluster_state is not ok"
