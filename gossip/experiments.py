"""What is measured of the protocol in simulation: detection, outage, false positives, cost, dissemination.

Each experiment builds clusters in their joined state from fixed seeds and reads the cores from outside, so that
measuring changes nothing. Times are virtual milliseconds, read every RESOLUTION_MS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .config import ClusterConfig
from .effects import Send
from .messages import Keyring, encode
from .simulation.cluster import Simulation
from .simulation.hosts import SimNode

RESOLUTION_MS = 5.0
WARM_UP_MS = 2000.0
"""Longer than the rumors of the start live."""
LIMIT_MS = 30_000.0
FOREVER_MS = 1e9
VICTIMS_SHARE = 12
"""One node in so many may fail before a fresh cluster is taken."""
LOSS = 0.01
SLOW_SHARE = 20
"""One node in so many is slow (5 %)."""
SLOW_MS = (100.0, 1900.0)
SLOW_GAP_MS = (100.0, 3900.0)
"""A slow node stops for a time in the first range, then runs for one in the second, and so on."""
MOVE_EVERY_MS = 100.0
"""While the slot map changes, a slot changes hands this often, somewhere in the cluster."""


@dataclass(slots=True)
class Samples:
    """Durations in milliseconds."""

    values: list[float]

    def quantile(self, share: float) -> float:
        """quantile(0.99) -> the smallest value that this share of the samples does not exceed."""
        ordered = sorted(self.values)
        return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]

    def summary(self) -> dict[str, float]:
        return {
            "p50": round(self.quantile(0.5), 1),
            "p99": round(self.quantile(0.99), 1),
            "samples": len(self.values),
        }


class Meter(Simulation):
    """A Simulation that counts the bytes of the datagrams that are sent."""

    bytes = 0
    _signer = Keyring([b"simulation"])

    def transmit(self, source: SimNode, send: Send) -> None:
        self.bytes += len(encode(send.message, self._signer))
        super().transmit(source, send)


def cluster(seed: int, nodes: int, kind: type[Simulation] = Simulation) -> Simulation:
    """cluster(seed, nodes[, kind]) -> a joined cluster with one replica for each primary, and quiet."""
    simulation = kind(seed, nodes, 1, ClusterConfig())
    simulation.assemble(diskless=True)
    simulation.run(WARM_UP_MS)
    return simulation


def wait(simulation: Simulation, done: Callable[[], bool], what: str) -> float:
    """wait(simulation, done, what) -> when `done` held first, within RESOLUTION_MS."""
    limit_ms = simulation.now_ms + LIMIT_MS
    while not done():
        assert simulation.now_ms < limit_ms, f"seed {simulation.seed}: not {what} within {LIMIT_MS} ms"
        simulation.run(RESOLUTION_MS)
    return simulation.now_ms


@dataclass(slots=True)
class Failures:
    """What came of primaries that failed: times from the event until the first node and all nodes know it as
    FAIL, and until a replica was promoted.
    """

    first: Samples
    all: Samples
    outage: Samples


def failures(nodes: int, samples: int, *, freeze: bool, seed: int = 1) -> Failures:
    """failures(nodes, samples, freeze): primaries killed (their host refuses) or frozen (silent), one by one."""
    found = Failures(Samples([]), Samples([]), Samples([]))
    while len(found.first.values) < samples:
        simulation = cluster(seed, nodes)
        seed += 1
        for _ in range(min(max(1, nodes // VICTIMS_SHARE), samples - len(found.first.values))):
            _fail_one(simulation, found, freeze=freeze)
    return found


def _fail_one(simulation: Simulation, found: Failures, *, freeze: bool) -> None:
    simulation.run(simulation.rng.uniform(200, 1200))
    running = [node for node in simulation.nodes if node.running]
    followed = {node.core.myself.primary_id for node in running if node.core is not None}
    victims = [node for node in running if node.id in followed]
    victim = victims[simulation.rng.randrange(len(victims))]
    start_ms = simulation.now_ms
    if freeze:
        simulation.pause(victim, FOREVER_MS)
    else:
        simulation.crash(victim)
    unaware = [node.core for node in running if node is not victim and node.core is not None]
    total = len(unaware)
    promoted = len(simulation.report.outages_ms) + 1
    first_ms = 0.0

    def over() -> bool:
        nonlocal unaware, first_ms
        unaware = [core for core in unaware if victim.id not in core.failed]
        if not first_ms and len(unaware) < total:
            first_ms = simulation.now_ms
        return not unaware and len(simulation.report.outages_ms) == promoted

    all_ms = 0.0

    def known() -> bool:
        nonlocal all_ms
        done = over()
        if not all_ms and not unaware:
            all_ms = simulation.now_ms
        return done

    wait(simulation, known, "failed over")
    found.first.values.append(first_ms - start_ms)
    found.all.values.append(all_ms - start_ms)
    found.outage.values.append(simulation.report.outages_ms[-1])
