"""The servers that are compared: started alike, pinned to one core, asked for their CPU time, stopped in any case."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import processes
from .admin import Access, NodeLink
from .bench_interrupts import INTERRUPTS
from .errors import LaunchError, OperatorError
from .launcher import BUS_PORT_OFFSET, require_free_ports
from .plan import Address
from .processes import ProcessHandle
from .topology import parse_info
from .waiting import wait_for

HOST = "127.0.0.1"
START_TIMEOUT_S = 20.0
CALL_TIMEOUT_MS = 120_000.0
READY_INTERVAL_S = 0.002
LOG_NAME = "log"
OURS, REDIS = "pyredis-node", "redis-server"
PORT_ATTEMPTS_MAX = 100
SETTLE_TIMEOUT_S = 3.0
SETTLE_INTERVAL_S = 0.01
SETTLED_CPU_NS = 500_000
"""A server that used no more than this in an interval is idle: it has freed what the last test left."""

_LOG_TAIL_LINES = 12

# Fields of /proc/PID/stat, counted from behind the command name.
_USER_TICKS_FIELD = 11
_SYSTEM_TICKS_FIELD = 12


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
class Programs:
    """What is executed. `node` and `server` are command lines to which directives are added."""

    node: tuple[str, ...]
    server: tuple[str, ...]
    benchmark: str
    cli: str

    def servers(self) -> list[tuple[str, tuple[str, ...]]]:
        """servers() -> (name, command line) of those that are compared, ours first."""
        return [(OURS, self.node), (REDIS, self.server)]


@dataclass(frozen=True, slots=True)
class CpuTime:
    """What processes have used: in ns, and how that splits into user and system time, in clock ticks of 10 ms."""

    total_ns: int
    user_ticks: int
    system_ticks: int

    def since(self, before: CpuTime) -> CpuTime:
        """since(before) -> what was used in between."""
        return CpuTime(
            self.total_ns - before.total_ns,
            self.user_ticks - before.user_ticks,
            self.system_ticks - before.system_ticks,
        )

    @property
    def user_share(self) -> float:
        """The user's part of it, from 0 to 1; 1 where it was too short for a tick."""
        ticks = self.user_ticks + self.system_ticks
        return self.user_ticks / ticks if ticks else 1.0


def cpu_time(handles: Iterable[ProcessHandle]) -> CpuTime:
    """cpu_time(processes) -> CpuTime of all their threads so far. OperatorError where one is gone.

    The sum is from /proc/PID/task/*/schedstat, since ticks are too coarse for a run of a second.
    """
    total_ns = user_ticks = system_ticks = 0
    for handle in handles:
        root = Path("/proc") / str(handle.pid)
        try:
            for task in (root / "task").iterdir():
                total_ns += int((task / "schedstat").read_text().split()[0])
            fields = (root / "stat").read_text().rpartition(")")[2].split()
        except OSError as error:
            raise OperatorError(f"the CPU time of process {handle.pid} can't be read: {error}") from error
        user_ticks += int(fields[_USER_TICKS_FIELD])
        system_ticks += int(fields[_SYSTEM_TICKS_FIELD])
    return CpuTime(total_ns, user_ticks, system_ticks)


def memory_bytes(pid: int, name: str) -> int:
    """memory_bytes(pid, "VmRSS") -> that line of /proc/PID/status; "VmHWM" is the peak. 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


@dataclass(frozen=True, slots=True)
class BenchServer:
    """A running server under measurement, or a cluster of them: `link` leads to the first primary."""

    name: str
    primaries: tuple[ProcessHandle, ...]
    link: NodeLink
    replicas: tuple[ProcessHandle, ...] = ()

    @property
    def port(self) -> int:
        return self.link.address.port

    @property
    def pid(self) -> int:
        return self.primaries[0].pid

    def rss_bytes(self) -> int:
        """rss_bytes() -> the memory that the first process has now."""
        return memory_bytes(self.pid, "VmRSS")

    def settle(self) -> None:
        """settle(): return once it is idle, after SETTLE_TIMEOUT_S at the latest."""
        everything = self.primaries + self.replicas
        idle_ns = SETTLED_CPU_NS * len(everything)
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        before = cpu_time(everything)
        while time.monotonic() < deadline:
            time.sleep(SETTLE_INTERVAL_S)
            now = cpu_time(everything)
            if now.since(before).total_ns <= idle_ns:
                return
            before = now

    def info(self, section: str) -> dict[str, str]:
        """info("memory") -> the fields of that section."""
        return parse_info(self.link.text("INFO", section))


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


def directives(port: int, directory: Path, clustered: bool, settings: Mapping[str, str]) -> list[str]:
    """directives(port, directory, clustered, settings) -> command line of either server: it saves nothing by itself."""
    given = {"port": str(port), "bind": HOST, "dir": str(directory), "save": "", "appendonly": "no"}
    given |= {"cluster-enabled": "yes"} if clustered else {}
    return [word for name, value in (given | dict(settings)).items() for word in (f"--{name}", value)]


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started: its command line, where its files are, on which cores it runs, its directives."""

    name: str
    program: Sequence[str]
    directory: Path
    cores: frozenset[int]
    clustered: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def running(launch: Launch) -> Iterator[BenchServer]:
    """running(launch) -> the server, ready for commands, on a port of its own; in cluster mode it owns all slots.

    It is stopped at the end, whatever happened. LaunchError.
    """
    with spawned(launch) as server:
        wait_until_ready(server, launch.directory)
        if launch.clustered:
            server.link.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_for(lambda: _not_ok(server.link), START_TIMEOUT_S)
        yield server


@contextmanager
def spawned(launch: Launch) -> Iterator[BenchServer]:
    """spawned(launch) -> as `running`, but only just started."""
    launch.directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [*launch.program, *directives(port, launch.directory, launch.clustered, launch.settings)]
    try:
        with pinned(launch.cores):
            process = INTERRUPTS.start(command, launch.directory / LOG_NAME)
    except OSError as error:
        raise LaunchError(f"{launch.program[0]} can't be executed: {error.strerror}") from error
    link = NodeLink(Address(HOST, port), Access(timeout_ms=CALL_TIMEOUT_MS))
    try:
        yield BenchServer(launch.name, (process,), link)
    finally:
        link.close()
        INTERRUPTS.stop(process)


def wait_until_ready(server: BenchServer, directory: Path, timeout_s: float = START_TIMEOUT_S) -> None:
    """wait_until_ready(server, directory): it answers, and has loaded what there was to load. LaunchError."""
    deadline = time.monotonic() + timeout_s
    while (problem := _unanswered(server, directory)) is not None:
        if time.monotonic() > deadline:
            raise LaunchError(f"{server.name} did not start: {problem}")
        time.sleep(READY_INTERVAL_S)


def _unanswered(server: BenchServer, directory: Path) -> str | None:
    if not processes.is_alive(server.primaries[0]):
        tail = processes.log_tail(directory / LOG_NAME, _LOG_TAIL_LINES)
        raise LaunchError(f"{server.name} ended at its start:\n{tail}")
    try:
        server.link.call("PING")
    except OperatorError as error:
        return str(error)
    return None


def _not_ok(link: NodeLink) -> str | None:
    return None if "cluster_state:ok" in link.text("CLUSTER", "INFO") else "cluster_state is not ok"
