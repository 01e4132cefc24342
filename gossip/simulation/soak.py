"""python -m pyredis_cluster.gossip.simulation.soak: thousands of seeds on all cores, with a line for each chunk.

Shapes of clusters vary with the seed. A failure is listed with the command that replays it, and ends nothing.
"""

from __future__ import annotations

import gc
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from .faults import parse
from .runs import varied

CHUNK_SEEDS = 10


@dataclass(slots=True)
class Tally:
    """What some seeds came to."""

    seeds: int = 0
    minutes: float = 0.0
    messages: int = 0
    promotions: int = 0
    overlaps: int = 0
    lost_bytes: int = 0
    settled_max_ms: float = 0.0
    cpu_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name in ("seeds", "minutes", "messages", "promotions", "overlaps", "lost_bytes", "cpu_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.settled_max_ms = max(self.settled_max_ms, other.settled_max_ms)
        self.faults += other.faults
        self.failures += other.failures

    def text(self) -> str:
        rate = self.messages / self.cpu_seconds if self.cpu_seconds else 0.0
        return (
            f"{self.seeds} seeds, {self.minutes / 60:.1f} virtual hours, {self.messages} messages, {rate:.0f} a second "
            f"of CPU time, {self.promotions} failovers, {self.overlaps} of living primaries, well after at most "
            f"{self.settled_max_ms:.0f} ms, {len(self.failures)} broken invariants"
        )


def play(seeds: range, minutes: float, faults: str) -> Tally:
    """play(seeds, minutes, faults) -> Tally, in this process."""
    gc.disable()
    tally = Tally()
    for seed in seeds:
        run = varied(seed, minutes, faults)
        simulation = run.simulation()
        began_ns = time.process_time_ns()
        try:
            simulation.create()
            simulation.endure(minutes * 60_000.0)
        except Exception as error:
            tally.failures.append(f"{type(error).__name__}: {error}\n  {run.command()}")
        report = simulation.report
        tally.cpu_seconds += (time.process_time_ns() - began_ns) / 1e9
        tally.seeds += 1
        tally.minutes += simulation.now_ms / 60_000
        tally.messages += report.messages
        tally.promotions += report.promotions
        tally.overlaps += report.overlaps
        tally.lost_bytes += report.lost_bytes
        tally.settled_max_ms = max(tally.settled_max_ms, report.settled_ms)
        tally.faults += report.mishaps + report.datagrams
        gc.collect()
    return tally


def soak(chunks: Iterable[range], minutes: float, faults: str, jobs: int, report: Path) -> Tally:
    """soak(chunks, minutes, faults, jobs, report) -> Tally of all; `report` grows by a line for each chunk."""
    total = Tally()
    with ProcessPoolExecutor(jobs) as pool, report.open("a") as out:
        pending = {pool.submit(play, seeds, minutes, faults): seeds for seeds in chunks}
        for future in as_completed(pending):
            seeds = pending[future]
            try:
                tally = future.result()
            except BrokenProcessPool as error:
                tally = Tally(failures=[f"{error} in seeds {seeds.start} to {seeds.stop - 1}"])
            total.add(tally)
            lines = [f"seeds {seeds.start}-{seeds.stop - 1}: {tally.text()}", *tally.failures]
            out.write("\n".join(lines) + "\n")
            out.flush()
            for failure in tally.failures:
                print(failure, flush=True)
    return total


def main(arguments: list[str] | None = None) -> int:
    """main(arguments) -> 0, or 1 where an invariant was broken."""
    parser = ArgumentParser(
        prog="python -m pyredis_cluster.gossip.simulation.soak", description="Simulate many clusters."
    )
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=10.0, help="virtual minutes for each seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--faults", default="all")
    parser.add_argument("--report", type=Path, default=Path("build/soak.txt"))
    options = parser.parse_args(arguments)
    parse(options.faults)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    end = options.first + options.seeds
    chunks = [range(start, min(start + CHUNK_SEEDS, end)) for start in range(options.first, end, CHUNK_SEEDS)]
    total = soak(chunks, options.minutes, options.faults, options.jobs, options.report)
    faults = ", ".join(f"{name} {count}" for name, count in sorted(total.faults.items()))
    print(f"{total.text()}\nfaults: {faults}\nreport: {options.report}")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
