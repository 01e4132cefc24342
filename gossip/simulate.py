"""python -m pyredis_cluster.gossip.simulate: whole clusters of cores under faults, in virtual time, from one seed.

See `simulation` for what is simulated and checked. A run ends with its report; a broken invariant ends it with the
command that replays it and the mishaps that it takes.
"""

from __future__ import annotations

import gc
import sys
import time
from argparse import ArgumentParser

from .simulation.cluster import Report
from .simulation.faults import describe, parse
from .simulation.runs import Run
from .simulation.shrinking import ATTEMPTS_MAX


def main(arguments: list[str] | None = None) -> int:
    """main(arguments) -> 0, or 1 where an invariant was broken."""
    options = _parser().parse_args(arguments)
    parse(options.faults)
    gc.disable()  # what a simulation makes, lives as long as it does; between two of them is the time to collect
    messages, failures, began_ns = 0, 0, time.process_time_ns()
    for seed in range(options.seed, options.seed + options.seeds):
        run = Run(
            seed, options.nodes, options.replicas, options.minutes, options.faults, options.node_timeout, options.voters
        )
        try:
            report = run.play(print if options.trace else None)
        except AssertionError as error:
            failures += 1
            _explain(run, error, options.shrink)
            continue
        finally:
            gc.collect()
        messages += report.messages
        print(_summary(run, report))
    seconds = (time.process_time_ns() - began_ns) / 1e9
    print(f"{messages / seconds:.0f} messages/s of CPU time", file=sys.stderr)
    return 1 if failures else 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m pyredis_cluster.gossip.simulate", description="Simulate a cluster.")
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--replicas", type=int, default=1, help="replicas of each primary")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run, one after the other")
    parser.add_argument("--minutes", type=float, default=1.0, help="virtual minutes under faults")
    parser.add_argument("--faults", default="all", help='"all", "none", or names with optional rates: loss,crashes=6')
    parser.add_argument("--node-timeout", type=int, default=2000, help="milliseconds")
    parser.add_argument("--voters", choices=["all", "primaries"], default="all")
    parser.add_argument("--trace", action="store_true", help="print each event")
    parser.add_argument("--shrink", type=int, default=ATTEMPTS_MAX, help="runs to spend on shrinking a failure")
    return parser


def _summary(run: Run, report: Report) -> str:
    outages = " ".join(f"{outage_ms:.0f}" for outage_ms in report.outages_ms)
    counts = {**report.mishaps, **report.datagrams}
    faults = ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
    return (
        f"seed {run.seed}: {report.messages} messages, {report.promotions} promotions, {report.overlaps} overlaps, "
        f"well after {report.settled_ms:.0f} ms, outages [{outages}] ms, faults: {faults}, trace {report.trace}"
    )


def _explain(run: Run, error: AssertionError, attempts_max: int) -> None:
    print(f"FAILED: {error}\nReplay: {run.command()} --trace")
    if attempts_max:
        needed = run.shrunk(attempts_max)
        print(f"It takes {len(needed)} of {len(run.schedule())} mishaps:\n{describe(needed)}")


if __name__ == "__main__":
    sys.exit(main())
