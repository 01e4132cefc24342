"""python -m pyredis_cluster.gossip.simulation.measure: all experiments on cluster sizes up to 1,000, from fixed seeds.

Writes failure-detection.json into the folder that is named, and from it alone the tables of failure-detection.md
and the plot beside it. The same version gives the same numbers on every machine.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import reference
from .experiments import (
    FREEZE_PRIMARY,
    KILL_PRIMARY,
    KILL_REPLICA,
    Samples,
    cost,
    dissemination,
    failures,
    false_positives,
    half_deaf,
    mass_failure,
    stopped_together,
)
from .figures import plot, tables

NAME = "failure-detection"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured at one cluster size: numbers of samples, minutes and seconds of virtual time, primaries
    that are killed at once.
    """

    nodes: int
    kills: int
    freezes: int
    false_positive_minutes: float
    cost_seconds: float
    news: int
    killed: int


FULL = (
    Plan(6, 200, 200, 600.0, 30.0, 60, 0),
    Plan(10, 100, 100, 360.0, 20.0, 60, 2),
    Plan(30, 100, 60, 120.0, 10.0, 40, 7),
    Plan(100, 60, 40, 15.0, 5.0, 30, 25),
    Plan(300, 30, 24, 1.0, 3.0, 20, 75),
    Plan(1000, 10, 10, 0.0, 2.0, 10, 0),
)
SMALL = (Plan(6, 4, 3, 0.2, 2.0, 2, 0), Plan(30, 2, 1, 0.05, 1.0, 2, 7))
ANOMALIES = ((32, 8192.0), (8, 8192.0), (4, 8192.0), (4, 1536.0), (4, 16384.0))
"""One member in so many stops, together with the others, and for how long, as in the paper's experiment."""
ANOMALY_RUN_MS = 256.0
DEAF_NODES = (6, 30)
DEAF_SHARES = (0.5, 0.7, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class LifeguardPlan:
    """How much is measured as in Lifeguard's paper: members, samples, seconds and minutes of virtual time."""

    nodes: int
    freezes: int
    anomaly_seconds: float
    deaf_minutes: float


FULL_LIFEGUARD = LifeguardPlan(reference.LIFEGUARD_NODES, 1000, 60.0, 10.0)
SMALL_LIFEGUARD = LifeguardPlan(32, 2, 0.5, 0.05)


def measure(plan: Plan) -> Results:
    """measure(plan) -> everything about clusters of one size, as JSON has it."""
    size = plan.nodes
    killed = failures(size, plan.kills, KILL_PRIMARY)
    replica = failures(size, plan.kills, KILL_REPLICA)
    frozen = failures(size, plan.freezes, FREEZE_PRIMARY)
    spread = Samples([late - first for late, first in zip(frozen.all.values, frozen.first.values, strict=True)])
    minutes = plan.false_positive_minutes
    mistakes = {trouble: false_positives(size, minutes, trouble) for trouble in ("loss", "slow") if minutes}
    slowest, quickest = reference.redis_outage_s()
    return {
        "nodes": size,
        "kill": {"first": killed.first.summary(), "all": killed.all.summary(), "outage": killed.outage.summary()},
        "kill_replica": {"first": replica.first.summary(), "all": replica.all.summary()},
        "freeze": {"first": frozen.first.summary(), "all": frozen.all.summary(), "outage": frozen.outage.summary()},
        **mistakes,
        "idle": cost(size, plan.cost_seconds, moving=False),
        "moving": cost(size, plan.cost_seconds, moving=True),
        "join": dissemination(size, plan.news, "join").summary(),
        "slots": dissemination(size, plan.news, "slots").summary(),
        "failure": spread.summary(),
        "redis": {
            "bytes_per_s": round(reference.redis_bytes_per_s(size)),
            "outage_s": [round(slowest, 1), round(quickest, 1)],
        },
        "memberlist": {
            "detection_s": [round(value, 2) for value in reference.memberlist_detection_s(size)],
            "spread_s": round(reference.memberlist_spread_s(size), 1),
        },
    }


def measure_lifeguard(plan: LifeguardPlan) -> Results:
    """measure_lifeguard(plan) -> what is measured in the setting of Lifeguard's paper."""
    nodes = plan.nodes
    frozen = failures(nodes, plan.freezes, FREEZE_PRIMARY)
    return {
        "detection_s": [round(value, 2) for value in reference.lifeguard_detection_s()],
        "first": _three(frozen.first),
        "all": _three(frozen.all),
        "nodes": nodes,
        "samples": plan.freezes,
        "anomalies": [
            stopped_together(nodes, nodes // one_in, stop_ms, ANOMALY_RUN_MS, plan.anomaly_seconds)
            for one_in, stop_ms in ANOMALIES
        ],
        "deaf": [
            {"nodes": size, "share": share, **half_deaf(size, plan.deaf_minutes, share)}
            for size in DEAF_NODES
            for share in DEAF_SHARES
        ],
    }


def _three(samples: Samples) -> list[float]:
    return [round(samples.quantile(share), 1) for share in (0.5, 0.99, 0.999)]


def measure_all(plans: tuple[Plan, ...], lifeguard: LifeguardPlan | None, known: Results) -> Results:
    """measure_all(plans, lifeguard, known) -> the contents of failure-detection.json; what is not measured stays."""
    sizes = {size["nodes"]: size for size in known.get("sizes", ())}
    storms = {storm["nodes"]: storm for storm in known.get("storms", ())}
    for plan in plans:
        print(f"{plan.nodes} nodes ...", file=sys.stderr, flush=True)
        sizes[plan.nodes] = measure(plan)
        if plan.killed:
            storms[plan.nodes] = mass_failure(plan.nodes, plan.killed)
    results = {**known, "sizes": [sizes[nodes] for nodes in sorted(sizes)]}
    if lifeguard is not None:
        print("Lifeguard's setting ...", file=sys.stderr, flush=True)
        results["lifeguard"] = measure_lifeguard(lifeguard)
    return {**results, "storms": [storms[nodes] for nodes in sorted(storms)]}


def filled(page: str, results: Results) -> str:
    """filled(page, results) -> `page` with the tables between its two marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{tables(results)}\n{END}{tail}"


def write(folder: Path, results: Results) -> None:
    """write(folder, results): the data, the page's tables and the plot."""
    (folder / f"{NAME}.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / f"{NAME}.svg").write_text(plot(results))
    page = folder / f"{NAME}.md"
    page.write_text(filled(page.read_text() if page.exists() else BEGIN + END, results))


def main(arguments: list[str] | None = None) -> int:
    parser = ArgumentParser(
        prog="python -m pyredis_cluster.gossip.simulation.measure",
        description="Measure failure detection, outage, cost and dissemination in simulation.",
    )
    parser.add_argument("folder", type=Path, help=f"where {NAME}.json, .md and .svg are written")
    parser.add_argument("--small", action="store_true", help="a quick look, with few samples")
    parser.add_argument("--sizes", type=int, nargs="+", help="only these cluster sizes; what is known of others stays")
    parser.add_argument(
        "--storm", type=int, nargs=2, metavar=("NODES", "KILLED"),
        help="only so many primaries killed at once in a cluster of that size; 2,000 nodes take 6 GB and long",
    )
    parser.add_argument("--render", action="store_true", help="measure nothing; write page and plot from the data")
    options = parser.parse_args(arguments)
    data = options.folder / f"{NAME}.json"
    results: Results = json.loads(data.read_text()) if data.exists() else {}
    if options.storm:
        nodes, killed = options.storm
        others = [storm for storm in results.get("storms", ()) if storm["nodes"] != nodes]
        results["storms"] = sorted([*others, mass_failure(nodes, killed)], key=lambda storm: storm["nodes"])
    elif not options.render:
        plans = SMALL if options.small else FULL
        chosen = tuple(plan for plan in plans if not options.sizes or plan.nodes in options.sizes)
        lifeguard = SMALL_LIFEGUARD if options.small else FULL_LIFEGUARD
        results = measure_all(chosen, None if options.sizes else lifeguard, results)
    write(options.folder, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
