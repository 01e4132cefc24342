"""The program behind `make bench`: our node against redis-server, in one run on one machine.

Law: whatever ends it, an error, Ctrl-C or SIGTERM, no server is left running and no file but those asked for.
"""

from __future__ import annotations

import json
import platform
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from .bench_measure import Plan, Row, measure_all
from .bench_report import as_json, describe, markdown, render_table
from .bench_servers import BenchServer, Cores, free_port, pinned, running
from .bench_workloads import CLIENTS, WORKLOADS, Workload, fill_keys, find_workloads
from .errors import OperatorError
from .options import make_console

DEFAULT_REQUESTS = 100_000
DEFAULT_KEYSPACE = 1_000_000
DEFAULT_REPEATS = 3
DEFAULT_TIME_LIMIT_S = 200.0
QUICK_REQUESTS = 50_000
QUICK_KEYSPACE = 100_000
PIPELINE_MAX = 1_000
OURS, REDIS = "pyredis-node", "redis-server"


def _chosen_tests(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[Workload]:
    try:
        return find_workloads(value) if value else [*WORKLOADS.values()]
    except KeyError as error:
        raise click.BadParameter(f"no test {error}; there are {', '.join(WORKLOADS).lower()}") from error


def _chosen_pipelines(_context: click.Context, _parameter: click.Parameter, value: str) -> list[int]:
    depths = [int(word) if word.isdecimal() else 0 for word in value.split(",")]
    if not all(0 < depth <= PIPELINE_MAX for depth in depths):
        raise click.BadParameter(f"depths from 1 to {PIPELINE_MAX}, with commas between them")
    return depths


@click.command()
@click.option("--tests", "workloads", callback=_chosen_tests, help="Only these, e.g. set,get,lrange; default: all.")
@click.option("--pipeline", "pipelines", callback=_chosen_pipelines, default="1,16,64", show_default=True)
@click.option("--requests", type=click.IntRange(1), help=f"Of a cheap command when pipelined. [{DEFAULT_REQUESTS}]")
@click.option("--keyspace", type=click.IntRange(1), help=f"Random keys. [{DEFAULT_KEYSPACE}]")
@click.option("--repeats", type=click.IntRange(1), help=f"Pairs of runs; the medians count. [{DEFAULT_REPEATS}]")
@click.option("--quick", is_flag=True, help="One pair of short runs over fewer keys: the order of magnitude.")
@click.option("--standalone", is_flag=True, help="Both servers without cluster mode.")
@click.option(
    "--time-limit",
    "time_limit_s",
    type=click.FloatRange(1),
    default=DEFAULT_TIME_LIMIT_S,
    show_default=True,
    help="Seconds after which nothing is repeated.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures there.")
@click.option(
    "--markdown", "markdown_path", type=click.Path(path_type=Path, dir_okay=False), help="Write a table there."
)
@click.option("--redis-server", "redis_server", default="redis-server", show_default=True)
@click.option("--redis-benchmark", "redis_benchmark", default="redis-benchmark", show_default=True)
def bench(
    workloads: list[Workload],
    pipelines: list[int],
    requests: int | None,
    keyspace: int | None,
    repeats: int | None,
    quick: bool,
    standalone: bool,
    time_limit_s: float,
    json_path: Path | None,
    markdown_path: Path | None,
    redis_server: str,
    redis_benchmark: str,
) -> None:
    """Compare our node with redis-server, in turn on one core, by redis-benchmark's tests.

    The figure that counts is the server's CPU time for each operation: on a machine that others use too,
    throughput and latency say more about them.
    """
    plan = Plan(
        workloads=workloads,
        pipelines=pipelines,
        requests=requests or (QUICK_REQUESTS if quick else DEFAULT_REQUESTS),
        repeats=repeats or (1 if quick else DEFAULT_REPEATS),
        keyspace=keyspace or (QUICK_KEYSPACE if quick else DEFAULT_KEYSPACE),
        clustered=not standalone,
        time_limit_s=time_limit_s,
        benchmark=_program(redis_benchmark),
    )
    try:
        rows, environment = run(plan, _program(redis_server))
    except OperatorError as error:
        raise click.ClickException(str(error)) from error
    console = make_console()
    console.print(render_table(rows))
    console.print(describe(environment))
    if json_path:
        json_path.write_text(json.dumps(as_json(rows, environment), indent=2) + "\n")
    if markdown_path:
        markdown_path.write_text(markdown(rows, environment))


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise click.ClickException(f"{name} isn't there: install Redis (Debian: redis-server), or name its path")
    return path


def run(plan: Plan, redis_server: str) -> tuple[list[Row], dict[str, Any]]:
    """run(plan, redis_server) -> the rows and the environment; starts and stops both servers. OperatorError."""
    cores = Cores.choose()
    node = [sys.executable, "-P", "-m", "pyredis_cluster.node"]
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pyredis-bench-")))
        stack.enter_context(pinned(cores.clients))
        servers: list[BenchServer] = []
        for name, program in ((OURS, node), (REDIS, [redis_server])):
            started = running(name, program, home / name, cores.server, free_port(), plan.clustered)
            servers.append(stack.enter_context(started))
        ours, redis = servers
        progress = stack.enter_context(
            Progress(
                BarColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=make_console(),
                transient=True,
            )
        )
        task = progress.add_task("filling", total=plan.runs)
        for server in servers:
            fill_keys(server.link, plan.keyspace)
        rows = measure_all(plan, ours, redis, lambda what: progress.update(task, description=what, advance=1))
        return rows, _environment(plan, redis, cores, min(len(row.ours) for row in rows))


def _environment(plan: Plan, redis: BenchServer, cores: Cores, pairs: int) -> dict[str, Any]:
    count = len(cores.clients)
    return {
        "pyredis_version": version("pyredis-cluster"),
        "redis_version": redis.version(),
        "python": platform.python_version(),
        "cpu": _cpu_model(),
        "client_cores": "the same core"
        if cores.clients == cores.server
        else f"{count} other{'s' if count > 1 else ''}",
        "mode": "cluster mode" if plan.clustered else "standalone",
        "clients": CLIENTS,
        "keyspace": plan.keyspace,
        "requests": plan.requests,
        "pairs": pairs,
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _terminate(signal_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal_number)


def main() -> None:
    """python -m pyredis_cluster.bench. SIGTERM ends it as Ctrl-C does: the servers are stopped."""
    signal.signal(signal.SIGTERM, _terminate)
    bench()


if __name__ == "__main__":
    main()
