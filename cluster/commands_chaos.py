"""The command `chaos`: faults on a local cluster under load, and a report of outages and losses."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from rich.table import Table
from rich.text import Text

from .admin import Access
from .chaos import ChaosReport, choose_faults, run_chaos
from .faults import FAULTS, SEED_MAX, Arena, Fault, FaultReport
from .launcher import LocalCluster
from .load import DEFAULT_RATE_PER_S
from .options import Operator, with_local
from .outage import SHARES, Outages, measure_outages, quantiles, watch_calm


@click.command()
@click.option("--duration", "duration_s", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True)
@click.option("--runs", type=click.IntRange(1), help="Instead of --duration: measure each fault's outage so often.")
@click.option(
    "--calm-minutes",
    type=click.FloatRange(0, min_open=True),
    help="Instead of faults: watch for so long that nothing fails over.",
)
@click.option(
    "--load", "cpu_load", is_flag=True, help="With --runs or --calm-minutes: redis-benchmark on each primary."
)
@click.option("--json", "as_json", is_flag=True, help="With --runs or --calm-minutes: print JSON.")
@click.option("--seed", type=int, help="Repeat the choices of an earlier run.")
@click.option(
    "--rate",
    "rate_per_s",
    type=click.FloatRange(1),
    default=DEFAULT_RATE_PER_S,
    show_default=True,
    help="Writes a second.",
)
@click.option(
    "--fault", "--only", "names", multiple=True, type=click.Choice(list(FAULTS)), help="Only these; may be repeated."
)
@with_local
def chaos(
    operator: Operator,
    cluster: LocalCluster,
    access: Access,
    duration_s: float,
    runs: int | None,
    calm_minutes: float | None,
    cpu_load: bool,
    as_json: bool,
    seed: int | None,
    rate_per_s: float,
    names: tuple[str, ...],
) -> None:
    """Kill, freeze, restart and reshard a local cluster under load; report outages and lost writes.

    The exit code is 1 where a promise was broken: the cluster did not heal, a key was on two primaries, or a
    reshard, a manual failover or a replica's death lost an acknowledged write. A primary's death may lose
    writes that had not reached its replica: replication is asynchronous, as in Redis.

    With --runs the outages are measured: what a raw writer sees that asks each member of the shard every 2 ms.
    With --calm-minutes nothing is done to the cluster. In both, a failover that nothing was the reason for makes
    the exit code 1.
    """
    if (cpu_load or as_json) and runs is None and calm_minutes is None:
        raise click.UsageError("--load and --json need --runs or --calm-minutes")
    if runs is not None and calm_minutes is not None:
        raise click.UsageError("--runs and --calm-minutes don't go together")
    chosen = seed if seed is not None else random.randrange(SEED_MAX)
    arena = Arena(cluster, access, random.Random(chosen), rate_per_s)
    if calm_minutes is not None:
        _calm(operator, arena, calm_minutes, cpu_load=cpu_load, as_json=as_json)
    elif runs is not None:
        faults = choose_faults(names, cluster, access)
        _measure(operator, arena, faults, runs, cpu_load=cpu_load, as_json=as_json)
    else:
        faults = choose_faults(names, cluster, access)
        operator.console.print(f"chaos for {duration_s:g} s, seed {chosen}, {rate_per_s:g} writes/s")
        _schedule(operator, arena, faults, duration_s)


def _schedule(operator: Operator, arena: Arena, faults: Sequence[Fault], duration_s: float) -> None:
    def tell(report: FaultReport) -> None:
        operator.console.print(
            f"  {report.fault:<20}{report.detail}: outage {report.hit_gap_s:.2f} s, healed after "
            f"{report.heal_s:.2f} s, {report.lost} of {report.writes} writes lost"
        )

    report = run_chaos(arena, faults, duration_s, tell)
    operator.console.print(render_report(report))
    operator.console.print(
        f"{report.writes} writes acknowledged and {report.reads} reads in {report.duration_s:.0f} s, "
        f"{report.failed_requests} requests failed, {report.lost} acknowledged writes lost, "
        f"{report.doubled_slots} slots with keys on two primaries"
    )
    for error in report.first_errors[:5]:
        operator.console.print(f"  {error}", style="yellow")
    if not report.promises_kept:
        _broken(operator)


def _broken(operator: Operator) -> NoReturn:
    operator.console.print(Text("a promise was broken", "bold red"))
    sys.exit(1)


def _measure(
    operator: Operator, arena: Arena, faults: Sequence[Fault], runs: int, *, cpu_load: bool, as_json: bool
) -> None:
    def tell(fault: str, outage_ms: float, report: FaultReport) -> None:
        if not as_json:
            operator.console.print(
                f"  {fault:<20}{report.detail}: outage {outage_ms:.0f} ms, {report.lost} of {report.writes} writes lost"
            )

    measured = measure_outages(arena, faults, runs, load=cpu_load, tell=tell)
    if as_json:
        click.echo(json.dumps([outages.to_json() for outages in measured], indent=2))
    else:
        operator.console.print(render_outages(measured))
    if any(outages.false_failovers for outages in measured):
        sys.exit(1)


def _calm(operator: Operator, arena: Arena, minutes: float, *, cpu_load: bool, as_json: bool) -> None:
    calm = watch_calm(arena, minutes, load=cpu_load)
    if as_json:
        click.echo(json.dumps(calm.to_json(), indent=2))
    else:
        trip = "-" if calm.rtt_p99_ms is None else f"{calm.rtt_p99_ms:.1f} ms"
        operator.console.print(
            f"{calm.minutes:g} minutes: {calm.writes} writes acknowledged, {calm.lost} lost, "
            f"{calm.failed_requests} requests failed, longest gap of a shard {calm.gap_ms:.0f} ms\n"
            f"{calm.false_failovers} false failovers, {calm.counted['failures']} times marked as failed, "
            f"{calm.counted['suspicions']} suspicions, {calm.counted['suspicions_refuted']} refuted, "
            f"probe round trip p99 of the worst node {trip}"
        )
    if calm.false_failovers:
        sys.exit(1)


def render_outages(measured: Sequence[Outages]) -> Table:
    """render_outages(measured) -> a line for each kind of fault: quantiles, losses, failovers."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("fault")
    for name in ("runs", *SHARES, "client p50", "client max", "writes", "lost"):
        table.add_column(name, justify="right")
    for name in ("failed", "failovers", "false"):
        table.add_column(name, justify="right")
    for outages in measured:
        clients = quantiles(outages.client_outage_ms)
        table.add_row(
            outages.fault,
            str(outages.runs),
            *(f"{value:.0f} ms" for value in quantiles(outages.outage_ms).values()),
            f"{clients['p50']:.0f} ms",
            f"{clients['max']:.0f} ms",
            str(outages.acknowledged),
            str(outages.lost),
            str(outages.failed_requests),
            str(outages.counted["promotions"]),
            str(outages.false_failovers),
        )
    return table


def render_report(report: ChaosReport) -> Table:
    """render_report(report) -> a line for each kind of fault: how often, outages, losses."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("fault")
    for name in ("times", "outage median", "outage max", "other shards max", "heal max", "lost", "failed requests"):
        table.add_column(name, justify="right")
    by_fault: dict[str, list[FaultReport]] = {}
    for fault in report.faults:
        by_fault.setdefault(fault.fault, []).append(fault)
    for name, runs in by_fault.items():
        gaps = sorted(run.hit_gap_s for run in runs)
        table.add_row(
            FAULTS[name].summary,
            str(len(runs)),
            f"{gaps[len(gaps) // 2]:.2f} s",
            f"{gaps[-1]:.2f} s",
            f"{max(run.other_gap_s for run in runs):.2f} s",
            f"{max(run.heal_s for run in runs):.2f} s",
            f"{sum(run.lost for run in runs)} of {sum(run.writes for run in runs)}",
            str(sum(run.failed_requests for run in runs)),
        )
    return table
