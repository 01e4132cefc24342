"""Measuring: redis-benchmark against one server and then the other, in turn, until all repeats or the time are used up.

Law: a sample counts only what the server did between the first and the last request of one redis-benchmark
run; both servers are idle before it begins.
"""

from __future__ import annotations

import csv
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from .bench_servers import HOST, BenchServer
from .bench_workloads import CLIENTS, Workload
from .errors import OperatorError

RUN_TIMEOUT_S = 120.0
_STDERR_SHOWN_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of redis-benchmark against one server; latencies are of a request at P=1, of a pipeline else."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Server CPU for each operation, user and system."""


@dataclass(slots=True)
class Row:
    """One test at one pipeline depth: the samples of both servers, pair by pair."""

    test: str
    pipeline: int
    ours: list[Sample] = field(default_factory=list)
    redis: list[Sample] = field(default_factory=list)

    @property
    def cpu_ratio(self) -> float:
        """Our CPU for each operation as a multiple of Redis's: the median over the pairs."""
        return median(ours.cpu_us / redis.cpu_us for ours, redis in zip(self.ours, self.redis, strict=True))


def median_sample(samples: Sequence[Sample]) -> Sample:
    """median_sample(samples) -> each figure's median."""
    return Sample(
        median(sample.requests_per_s for sample in samples),
        median(sample.p50_ms for sample in samples),
        median(sample.p99_ms for sample in samples),
        median(sample.cpu_us for sample in samples),
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured, and with how much of it. `time_limit_s`: no repeat begins after that."""

    workloads: Sequence[Workload]
    pipelines: Sequence[int]
    requests: int
    repeats: int
    keyspace: int
    clustered: bool
    time_limit_s: float
    benchmark: str

    @property
    def runs(self) -> int:
        return len(self.workloads) * len(self.pipelines) * self.repeats * 2


def parse_csv(output: str) -> tuple[float, float, float]:
    """parse_csv(stdout of --csv) -> requests/s, p50 and p99 in ms of its last test. OperatorError."""
    rows = list(csv.reader(line for line in output.splitlines() if line.startswith('"')))
    if len(rows) >= 2 and {"rps", "p50_latency_ms", "p99_latency_ms"} <= set(rows[0]):
        figures = dict(zip(rows[0], rows[-1], strict=True))
        return float(figures["rps"]), float(figures["p50_latency_ms"]), float(figures["p99_latency_ms"])
    raise OperatorError(f"redis-benchmark gave no table (version 6.2 or later is needed): {output.strip()[-200:]}")


def measure(server: BenchServer, workload: Workload, pipeline: int, plan: Plan) -> Sample:
    """measure(server, workload, pipeline, plan) -> Sample of one run, prepared and settled. OperatorError."""
    requests = workload.requests(plan.requests, pipeline)
    workload.prepare(server.link, requests)
    server.settle()
    argv = [plan.benchmark, "-h", HOST, "-p", str(server.port), "--csv"]
    argv += ["-c", str(CLIENTS), "-n", str(requests), "-P", str(pipeline)]
    argv += workload.command_line(plan.keyspace, plan.clustered)
    before_ns = server.cpu_ns()
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise OperatorError(f"{server.name} took over {RUN_TIMEOUT_S:.0f} s for {requests} {workload.name}") from error
    except OSError as error:
        raise OperatorError(f"{plan.benchmark} can't be executed: {error.strerror}") from error
    cpu_ns = server.cpu_ns() - before_ns
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-_STDERR_SHOWN_CHARACTERS:]
        raise OperatorError(f"{workload.name} against {server.name} failed: {said}")
    return Sample(*parse_csv(done.stdout), cpu_ns / 1000 / requests)


def measure_all(
    plan: Plan, ours: BenchServer, redis: BenchServer, tell: Callable[[str], None] = lambda what: None
) -> list[Row]:
    """measure_all(plan, ours, redis) -> a row for each test and pipeline, each with at least one pair.

    Repeats stand outermost, so that a busy minute of the machine spoils one pair of a row and not all;
    who goes first changes with each pair. `tell` hears what comes next.
    """
    rows = [Row(workload.name, pipeline) for pipeline in plan.pipelines for workload in plan.workloads]
    workloads = {workload.name: workload for workload in plan.workloads}
    started = time.monotonic()
    for repeat in range(plan.repeats):
        for number, row in enumerate(rows):
            if repeat and time.monotonic() - started > plan.time_limit_s:
                return rows
            pair = {}
            for server in _order((ours, redis), repeat + number):
                tell(f"{row.test} -P {row.pipeline}: {server.name}")
                pair[server.name] = measure(server, workloads[row.test], row.pipeline, plan)
            row.ours.append(pair[ours.name])
            row.redis.append(pair[redis.name])
    return rows


def _order(servers: tuple[BenchServer, BenchServer], turn: int) -> Iterable[BenchServer]:
    return servers if turn % 2 == 0 else reversed(servers)
