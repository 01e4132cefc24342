"""python -m pyredis_cluster.gossip.simulate: whole clusters of cores under faults, in virtual time, from one seed.

See `simulation` for what is simulated and checked. A run ends with its report; a broken invariant is an
AssertionError.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser

from .config import ClusterConfig
from .simulation.cluster import Simulation
from .simulation.faults import Faults


def main(arguments: list[str] | None = None) -> int:
    parser = ArgumentParser(
        prog="python -m pyredis_cluster.gossip.simulate", description="Simulate a cluster."
    )
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--replicas", type=int, default=1, help="replicas of each primary")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run, one after the other")
    parser.add_argument("--minutes", type=float, default=1.0, help="virtual minutes under faults")
    parser.add_argument("--faults", choices=["all", "none"], default="all")
    parser.add_argument("--node-timeout", type=int, default=2000, help="milliseconds")
    parser.add_argument("--voters", choices=["all", "primaries"], default="all")
    parser.add_argument("--trace", action="store_true", help="print each event")
    options = parser.parse_args(arguments)
    messages, began_ns = 0, time.process_time_ns()
    for seed in range(options.seed, options.seed + options.seeds):
        config = ClusterConfig(options.node_timeout, voters_primaries_only=options.voters == "primaries")
        faults = Faults.all() if options.faults == "all" else Faults()
        trace = print if options.trace else None
        simulation = Simulation(seed, options.nodes, options.replicas, config, faults, trace)
        simulation.create()
        simulation.endure(options.minutes * 60_000)
        report = simulation.report
        messages += report.messages
        outages = " ".join(f"{outage_ms:.0f}" for outage_ms in report.outages_ms)
        print(
            f"seed {seed}: {report.messages} messages, {report.promotions} promotions, "
            f"well after {report.settled_ms:.0f} ms, outages [{outages}] ms, trace {report.trace}"
        )
    seconds = (time.process_time_ns() - began_ns) / 1e9
    print(f"{messages / seconds:.0f} messages/s of CPU", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
