"""The program behind `make bench`: our node against redis-server, in one run on one machine.

Law: whatever ends it, an error, Ctrl-C or SIGTERM, no server is left running and no file but those asked for.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from .bench_chart import chart
from .bench_interrupts import INTERRUPTS
from .bench_measure import Repeats
from .bench_report import CHART_NAME, describe, markdown, overruns, render
from .bench_results import Section, section_as_json, section_from_json
from .bench_sections import SECTIONS, Wish
from .bench_servers import OURS, REDIS, BenchServer, Cores, Programs, pinned
from .bench_site import QUICK, Scale, Site
from .bench_workloads import WORKLOADS, Workload, find_workloads
from .errors import OperatorError
from .options import make_console

DEFAULT_TIME_LIMIT_S = 1_200.0
PIPELINE_MAX = 1_000
JSON_NAME, MARKDOWN_NAME = "benchmarks.json", "benchmarks.md"


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


def _chosen_scale(quick: bool, **given: int | None) -> Scale:
    return replace(QUICK if quick else Scale(), **{name: value for name, value in given.items() if value is not None})


@click.command()
@click.option(
    "--section", "names", multiple=True, type=click.Choice([*SECTIONS]), help="Only this; may be repeated. [all]"
)
@click.option("--tests", "workloads", callback=_chosen_tests, help="Only these, e.g. set,get,lrange. [all]")
@click.option("--pipeline", "pipelines", callback=_chosen_pipelines, default="1,16,64", show_default=True)
@click.option("--requests", type=click.IntRange(1), help=f"Of a cheap command when pipelined. [{Scale().requests}]")
@click.option("--keyspace", type=click.IntRange(1), help=f"Random keys. [{Scale().keyspace}]")
@click.option("--repeats", type=click.IntRange(1), help=f"Pairs of runs; the medians count. [{Scale().repeats}]")
@click.option("--quick", is_flag=True, help="One pair of short runs over fewer keys: the order of magnitude.")
@click.option("--standalone", is_flag=True, help="Both servers without cluster mode where only one of each runs.")
@click.option(
    "--time-limit",
    "time_limit_s",
    type=click.FloatRange(1),
    default=DEFAULT_TIME_LIMIT_S,
    show_default=True,
    help="Seconds, shared out to the sections, after which nothing is repeated.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Write {JSON_NAME}, {MARKDOWN_NAME} and {CHART_NAME} there; sections that are not run stay as they were.",
)
@click.option("--redis-server", default="redis-server", show_default=True)
@click.option("--redis-benchmark", default="redis-benchmark", show_default=True)
@click.option("--redis-cli", default="redis-cli", show_default=True)
def bench(
    names: tuple[str, ...],
    workloads: list[Workload],
    pipelines: list[int],
    requests: int | None,
    keyspace: int | None,
    repeats: int | None,
    quick: bool,
    standalone: bool,
    time_limit_s: float,
    output: Path | None,
    redis_server: str,
    redis_benchmark: str,
    redis_cli: str,
) -> None:
    """Compare our node with redis-server, in turn on one core of this machine.

    The figure that counts is the server's CPU time for each operation: on a machine that others use too,
    throughput and latency say more about them.
    """
    scale = _chosen_scale(quick, requests=requests, keyspace=keyspace, repeats=repeats)
    wish = Wish(workloads, pipelines, clustered=not standalone)
    node = (sys.executable, "-P", "-m", "pyredis_cluster.node")
    programs = Programs(node, (_program(redis_server),), _program(redis_benchmark), _program(redis_cli))
    console = make_console()
    sections = []
    try:
        with console.status("starting") as status:
            for section in run(names or tuple(SECTIONS), programs, scale, wish, time_limit_s, status.update):
                sections.append(section)
                for table in render(section):
                    console.print(table, "")
                if output is not None:
                    write(output, section)
    except OperatorError as error:
        raise click.ClickException(str(error)) from error
    console.print(describe(sections[0].environment))
    for reason, missed in overruns(sections).items():
        for line in missed:
            console.print(f"over its aim: {line}", style="yellow", markup=False)
        console.print(f"  the reason: {reason}", markup=False)


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise click.ClickException(f"{name} isn't there: install Redis (Debian: redis-server), or name its path")
    return path


def run(
    names: Sequence[str],
    programs: Programs,
    scale: Scale,
    wish: Wish,
    time_limit_s: float,
    tell: Callable[[str], None],
) -> Iterator[Section]:
    """run(names, programs, scale, wish, time_limit_s, tell) -> each section when it ends. OperatorError.

    `time_limit_s` is shared out to the sections; what one leaves over goes to those that follow.
    """
    cores = Cores.choose()
    chosen = [name for name in SECTIONS if name in names]
    ends_s = time.monotonic() + time_limit_s
    with tempfile.TemporaryDirectory(prefix="pyredis-bench-") as home, pinned(cores.clients):
        site = Site(programs, cores, Path(home), tell)
        with site.server(OURS) as ours, site.server(REDIS) as redis:
            environment = _environment(scale, ours, redis, cores)
        for number, name in enumerate(chosen):
            now_s = time.monotonic()
            share = SECTIONS[name].share / sum(SECTIONS[each].share for each in chosen[number:])
            repeats = Repeats(scale.repeats, now_s + (ends_s - now_s) * share)
            section = SECTIONS[name].measure(site, scale, repeats, wish)
            section.environment = environment
            yield section


def write(directory: Path, section: Section) -> None:
    """write(directory, section): JSON, page and chart, with the other sections that were there before."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / JSON_NAME
    before = json.loads(path.read_text())["sections"] if path.exists() else []
    known = {each.name: each for each in [*map(section_from_json, before), section]}
    everything = [known[name] for name in SECTIONS if name in known]
    found = {"sections": [section_as_json(each) for each in everything]}
    files = {JSON_NAME: json.dumps(found, indent=1) + "\n", MARKDOWN_NAME: markdown(everything)}
    if "commands" in known:
        files[CHART_NAME] = chart(known["commands"].rows)
    with INTERRUPTS.held():
        for name, text in files.items():
            (directory / name).write_text(text)


def _environment(scale: Scale, ours: BenchServer, redis: BenchServer, cores: Cores) -> dict[str, Any]:
    count = len(cores.clients)
    others = f"{count} other{'s' if count > 1 else ''}"
    return {
        "pyredis_version": version("pyredis-cluster"),
        "data_plane": {"c": "compiled", "python": "plain Python"}[ours.info("server")["data_plane"]],
        "redis_version": redis.info("server")["redis_version"],
        "python": platform.python_version(),
        "cpu": _cpu_model(),
        "client_cores": "the same core" if cores.clients == cores.server else others,
        "keyspace": scale.keyspace,
        "repeats": scale.repeats,
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    """python -m pyredis_cluster.bench. SIGTERM and SIGHUP end it as Ctrl-C does: the servers are stopped."""
    INTERRUPTS.take_over()
    bench()


if __name__ == "__main__":
    main()
