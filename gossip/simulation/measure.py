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
)
from .figures import plot, tables

NAME = "failure-detection"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured at one cluster size: numbers of samples, minutes and seconds of virtual time."""

    nodes: int
    kills: int
    freezes: int
    false_positive_minutes: float
    cost_seconds: float
    news: int


FULL = (
    Plan(6, 200, 200, 60.0, 30.0, 60),
    Plan(10, 100, 100, 30.0, 20.0, 60),
    Plan(30, 100, 60, 10.0, 10.0, 40),
    Plan(100, 60, 40, 3.0, 5.0, 30),
    Plan(300, 30, 24, 0.6, 3.0, 20),
    Plan(1000, 10, 10, 0.0, 2.0, 10),
)
SMALL = (Plan(6, 4, 3, 0.2, 2.0, 2), Plan(30, 2, 1, 0.05, 1.0, 2))


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


def measure_all(plans: tuple[Plan, ...]) -> Results:
    """measure_all(plans) -> the contents of failure-detection.json."""
    sizes = []
    for plan in plans:
        print(f"{plan.nodes} nodes ...", file=sys.stderr, flush=True)
        sizes.append(measure(plan))
    lifeguard = reference.memberlist_detection_s(reference.LIFEGUARD_NODES, alpha=reference.LIFEGUARD_ALPHA)
    return {"sizes": sizes, "lifeguard": {"detection_s": [round(value, 2) for value in lifeguard]}}


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
    parser.add_argument("--sizes", type=int, nargs="+", help="only these cluster sizes")
    parser.add_argument("--render", action="store_true", help="measure nothing; write page and plot from the data")
    options = parser.parse_args(arguments)
    if options.render:
        results = json.loads((options.folder / f"{NAME}.json").read_text())
    else:
        plans = SMALL if options.small else FULL
        results = measure_all(tuple(plan for plan in plans if not options.sizes or plan.nodes in options.sizes))
    write(options.folder, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
