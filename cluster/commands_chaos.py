"""The command `chaos`: faults on a local cluster under load, and a report of outages and losses."""

from __future__ import annotations

import random
import sys

import click
from rich.table import Table
from rich.text import Text

from .admin import Access
from .chaos import ChaosReport, choose_faults, run_chaos
from .faults import FAULTS, SEED_MAX, FaultReport
from .launcher import LocalCluster
from .load import DEFAULT_RATE_PER_S
from .options import Operator, with_local


@click.command()
@click.option("--duration", "duration_s", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True)
@click.option("--seed", type=int, help="Repeat the choices of an earlier run.")
@click.option(
    "--rate",
    "rate_per_s",
    type=click.FloatRange(1),
    default=DEFAULT_RATE_PER_S,
    show_default=True,
    help="Writes a second.",
)
@click.option("--fault", "names", multiple=True, type=click.Choice(list(FAULTS)), help="Only these; may be repeated.")
@with_local
def chaos(
    operator: Operator,
    cluster: LocalCluster,
    access: Access,
    duration_s: float,
    seed: int | None,
    rate_per_s: float,
    names: tuple[str, ...],
) -> None:
    """Kill, freeze, restart and reshard a local cluster under load; report outages and lost writes.

    The exit code is 1 where a promise was broken: the cluster did not heal, a key was on two primaries, or a
    reshard, a manual failover or a replica's death lost an acknowledged write. A primary's death may lose
    writes that had not reached its replica: replication is asynchronous, as in Redis.
    """
    chosen = seed if seed is not None else random.randrange(SEED_MAX)
    faults = choose_faults(names, cluster, access)
    operator.console.print(f"chaos for {duration_s:g} s, seed {chosen}, {rate_per_s:g} writes/s")

    def tell(report: FaultReport) -> None:
        operator.console.print(
            f"  {report.fault:<20}{report.detail}: outage {report.hit_gap_s:.2f} s, healed after "
            f"{report.heal_s:.2f} s, {report.lost} of {report.writes} writes lost"
        )

    report = run_chaos(cluster, access, faults, duration_s, rate_per_s, chosen, tell)
    operator.console.print(render_report(report))
    operator.console.print(
        f"{report.writes} writes acknowledged and {report.reads} reads in {report.duration_s:.0f} s, "
        f"{report.failed_requests} requests failed, {report.lost} acknowledged writes lost, "
        f"{report.doubled_slots} slots with keys on two primaries"
    )
    for error in report.first_errors[:5]:
        operator.console.print(f"  {error}", style="yellow")
    if not report.promises_kept:
        operator.console.print(Text("a promise was broken", "bold red"))
        sys.exit(1)


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
