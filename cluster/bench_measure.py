"""Measuring loads: redis-benchmark against one server and then the other, in turn, until repeats or time are used up.

Law: a sample counts only what the server did between the first and the last request of one run; both servers
are idle before it begins.
"""

from __future__ import annotations

import csv
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .bench_results import Row, Sample
from .bench_servers import HOST, BenchServer, cpu_time
from .bench_workloads import CLIENTS, VALUE, Workload
from .errors import OperatorError

RUN_TIMEOUT_S = 120.0
_STDERR_SHOWN_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Load:
    """One test and how it is run: so many requests of so many clients, over so many random keys."""

    workload: Workload
    pipeline: int
    requests: int
    keyspace: int
    clients: int = CLIENTS
    value_bytes: int = len(VALUE)
    cluster: bool = False
    """Whether redis-benchmark is to spread it over a cluster."""

    def row(self) -> Row:
        """row() -> an empty row for it."""
        return Row(self.workload.name, self.pipeline, self.clients, self.value_bytes)

    def command_line(self, benchmark: str, port: int, one_slot: bool) -> list[str]:
        """command_line(benchmark, port, one_slot) -> what is executed; `one_slot`: MSET's keys must share one."""
        argv = [benchmark, "-h", HOST, "-p", str(port), "--csv", "-c", str(self.clients), "-n", str(self.requests)]
        argv += ["-P", str(self.pipeline), "-d", str(self.value_bytes), *(["--cluster"] if self.cluster else [])]
        return argv + self.workload.command_line(self.keyspace, one_slot)


def load(workload: Workload, pipeline: int, requests: int, keyspace: int, clients: int = CLIENTS) -> Load:
    """load(workload, pipeline, requests, keyspace) -> Load with the workload's share of the requests."""
    return Load(workload, pipeline, workload.requests(requests, pipeline, clients), keyspace, clients)


def parse_csv(output: str) -> tuple[float, float, float]:
    """parse_csv(stdout of --csv) -> requests/s, p50 and p99 in ms of its last test. OperatorError."""
    rows = list(csv.reader(line for line in output.splitlines() if line.startswith('"')))
    if len(rows) >= 2 and {"rps", "p50_latency_ms", "p99_latency_ms"} <= set(rows[0]):
        figures = dict(zip(rows[0], rows[-1], strict=True))
        return float(figures["rps"]), float(figures["p50_latency_ms"]), float(figures["p99_latency_ms"])
    raise OperatorError(f"redis-benchmark gave no table (version 6.2 or later is needed): {output.strip()[-200:]}")


def sample_of(server: BenchServer, requests: int, work: Callable[[], tuple[float, float, float]]) -> Sample:
    """sample_of(server, requests, work) -> Sample; `work` sends them and gives requests/s, p50 and p99 in ms."""
    server.settle()
    before, before_replicas = cpu_time(server.primaries), cpu_time(server.replicas)
    speed = work()
    used = cpu_time(server.primaries).since(before)
    replicas = cpu_time(server.replicas).since(before_replicas)
    cpu_us = used.total_ns / 1000 / requests
    return Sample(*speed, cpu_us, cpu_us * used.user_share, cpu_us + replicas.total_ns / 1000 / requests)


def measure(server: BenchServer, load: Load, benchmark: str, one_slot: bool) -> Sample:
    """measure(server, load, benchmark, one_slot) -> Sample of one run, prepared and settled. OperatorError."""
    if not load.cluster:
        load.workload.prepare(server.link, load.requests)
    argv = load.command_line(benchmark, server.port, one_slot)
    return sample_of(server, load.requests, lambda: _run(argv, f"{load.workload.name} against {server.name}"))


def _run(argv: Sequence[str], what: str) -> tuple[float, float, float]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise OperatorError(f"{what} took over {RUN_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise OperatorError(f"{argv[0]} can't be executed: {error.strerror}") from error
    if done.returncode != 0:
        raise OperatorError(f"{what} failed: {(done.stderr or done.stdout).strip()[-_STDERR_SHOWN_CHARACTERS:]}")
    return parse_csv(done.stdout)


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often each pair is run: up to `count` times, but nothing is repeated after the deadline."""

    count: int
    deadline_s: float
    """On the monotonic clock."""

    def go_on(self, done: int) -> bool:
        """go_on(done) -> whether another repeat is to begin."""
        return done == 0 or (done < self.count and time.monotonic() < self.deadline_s)

    def one_of(self, parts: int) -> Repeats:
        """one_of(parts) -> the same for one of so many parts that share the time that is left."""
        now_s = time.monotonic()
        return Repeats(self.count, now_s + (self.deadline_s - now_s) / parts)


def measure_pairs(
    rows: Sequence[Row],
    servers: tuple[BenchServer, BenchServer],
    repeats: Repeats,
    measure_row: Callable[[int, BenchServer], Sample],
    tell: Callable[[str], None],
) -> None:
    """measure_pairs(rows, (ours, redis), repeats, measure_row, tell): fill the rows, each with at least one pair.

    Repeats stand outermost, so that a busy minute of the machine spoils one pair of a row and not all;
    who goes first changes with each pair. `measure_row(number, server)` gives a sample; `tell` hears what comes next.
    """
    ours, redis = servers
    for repeat in range(repeats.count):
        for number, row in enumerate(rows):
            if not repeats.go_on(repeat):
                return
            pair = {}
            for server in _order(servers, repeat + number):
                tell(f"{row.test} -P {row.pipeline} -c {row.clients}: {server.name}")
                pair[server.name] = measure_row(number, server)
            row.ours.append(pair[ours.name])
            row.redis.append(pair[redis.name])


def _order(servers: tuple[BenchServer, BenchServer], turn: int) -> Iterable[BenchServer]:
    return servers if turn % 2 == 0 else reversed(servers)


def measure_loads(
    loads: Sequence[Load],
    servers: tuple[BenchServer, BenchServer],
    repeats: Repeats,
    benchmark: str,
    one_slot: bool,
    tell: Callable[[str], None],
) -> list[Row]:
    """measure_loads(loads, (ours, redis), repeats, benchmark, one_slot, tell) -> a row for each. OperatorError."""
    rows = [load.row() for load in loads]
    measure_pairs(
        rows, servers, repeats, lambda number, server: measure(server, loads[number], benchmark, one_slot), tell
    )
    return rows
