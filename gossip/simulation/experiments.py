"""What is measured of the protocol in simulation: detection, outage, false positives, cost, dissemination.

Each experiment builds clusters in their joined state from fixed seeds and reads the cores from outside, so that
measuring changes nothing. Times are virtual milliseconds, read every RESOLUTION_MS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from .. import bitmap, operations
from ..config import ClusterConfig
from ..core import ClusterCore
from ..effects import Effect, Send
from ..messages import Keyring, Kind, encode
from .cluster import Simulation
from .faults import Faults
from .hosts import SimNode

RESOLUTION_MS = 1.0
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
LOOK_EVERY_MS = 200.0
ROUND_LOOKS = 40
"""How often FAIL marks are looked for while members stop and go on once."""
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
    """What came of nodes that failed: times from the event until the first node and all nodes know it as FAIL, and
    until a replica was promoted, if it was a primary.
    """

    first: Samples
    all: Samples
    outage: Samples


KILL_PRIMARY, KILL_REPLICA, FREEZE_PRIMARY = "kill", "kill_replica", "freeze"
"""A killed process's host refuses, and a primary's replicas lose their link at once; of a replica nobody does. A
frozen one is silent.
"""


def failures(nodes: int, samples: int, kind: str, *, seed: int = 1) -> Failures:
    """failures(nodes, samples, kind) -> what came of that many failures of a kind, one after the other."""
    found = Failures(Samples([]), Samples([]), Samples([]))
    while len(found.first.values) < samples:
        simulation = cluster(seed, nodes)
        seed += 1
        for _ in range(min(max(1, nodes // VICTIMS_SHARE), samples - len(found.first.values))):
            _fail_one(simulation, found, kind)
    return found


def _fail_one(simulation: Simulation, found: Failures, kind: str) -> None:
    simulation.run(simulation.rng.uniform(200, 1200))
    running = [node for node in simulation.nodes if node.running]
    followed = {node.core.myself.primary_id for node in running if node.core is not None}
    victims = [
        node
        for node in running
        if (node.core is not None and node.core.myself.primary_id if kind == KILL_REPLICA else node.id in followed)
    ]
    victim = victims[simulation.rng.randrange(len(victims))]
    start_ms = simulation.now_ms
    if kind == FREEZE_PRIMARY:
        simulation.pause(victim, FOREVER_MS)
    else:
        simulation.crash(victim)
    unaware = [node.core for node in running if node is not victim and node.core is not None]
    living = len(unaware)
    outages_ms = simulation.report.outages_ms
    promoted = len(outages_ms) + (kind != KILL_REPLICA)
    first_ms = all_ms = 0.0

    def over() -> bool:
        nonlocal unaware, first_ms, all_ms
        unaware = [core for core in unaware if victim.id not in core.failed]
        if not first_ms and len(unaware) < living:
            first_ms = simulation.now_ms
        if not all_ms and not unaware:
            all_ms = simulation.now_ms
        return bool(all_ms) and len(outages_ms) == promoted

    wait(simulation, over, "failed over")
    found.first.values.append(first_ms - start_ms)
    found.all.values.append(all_ms - start_ms)
    found.outage.values.extend(outages_ms[promoted - 1 : promoted] if kind != KILL_REPLICA else ())


def false_positives(nodes: int, minutes: float, trouble: str, *, seed: int = 1) -> dict[str, float]:
    """false_positives(nodes, minutes, "loss" or "slow") -> how often an hour living nodes were held to be dead.

    `fail_per_hour` counts FAIL marks of the member that has seen most of them; `suspected_per_hour`
    each single observer's suspicion, which costs some datagrams and nothing else.
    """
    simulation = cluster(seed, nodes)
    if trouble == "loss":
        simulation.network.set_faults(Faults(loss=LOSS))
    else:
        for node in simulation.nodes[:: min(nodes, SLOW_SHARE)]:
            _slow_down(simulation, node)
    before = _suspicions(simulation)
    simulation.run(minutes * 60_000)
    marks = max(node.core.stats.failures for node in simulation.nodes if node.core is not None)
    hours = minutes / 60
    return {
        "hours": hours,
        "fail_per_hour": marks / hours,
        "suspected_per_hour": round((_suspicions(simulation) - before) / hours, 1),
    }


def _suspicions(simulation: Simulation) -> int:
    return sum(node.core.stats.suspicions for node in simulation.nodes if node.core is not None)


def _slow_down(simulation: Simulation, node: SimNode) -> None:
    """Stop `node` for a while, and again after a while, for good."""

    def stop() -> None:
        stopped_ms = simulation.rng.uniform(*SLOW_MS)
        simulation.pause(node, stopped_ms)
        simulation.at(simulation.now_ms + stopped_ms + simulation.rng.uniform(*SLOW_GAP_MS), stop)

    simulation.at(simulation.now_ms + simulation.rng.uniform(*SLOW_GAP_MS), stop)


def stopped_together(
    nodes: int, stopped: int, stop_ms: float, run_ms: float, seconds: float, *, seed: int = 1
) -> dict[str, float]:
    """stopped_together(nodes, stopped, stop_ms, run_ms, seconds) -> FAIL marks while some members stop in step.

    The experiment of the Lifeguard paper: `stopped` members stop for `stop_ms`, all at the same moment, then run for
    `run_ms`, and so on. `healthy` counts the members that never stopped and were marked, which is wrong; `marked` the
    others, which is right once they are silent for longer than the node timeout.
    """
    simulation = cluster(seed, nodes)
    slow = simulation.nodes[:: max(1, nodes // stopped)][:stopped]
    slow_ids = {node.id for node in slow}
    marked: set[str] = set()
    end_ms = simulation.now_ms + seconds * 1000
    while simulation.now_ms < end_ms:
        for node in slow:
            simulation.pause(node, stop_ms)
        for _ in range(ROUND_LOOKS):
            simulation.run((stop_ms + run_ms) / ROUND_LOOKS)
            marked.update(*(node.core.failed for node in simulation.nodes if node.core is not None))
    healthy = [node.core for node in simulation.nodes if node.id not in slow_ids and node.core is not None]
    return {
        "stopped": stopped,
        "stop_ms": stop_ms,
        "run_ms": run_ms,
        "seconds": seconds,
        "healthy": len(marked - slow_ids),
        "marked": len(marked & slow_ids),
        "ok": sum(core.health.ok for core in healthy) / len(healthy),
    }


def half_deaf(nodes: int, minutes: float, share: float, *, seed: int = 1) -> dict[str, float]:
    """half_deaf(nodes, minutes, share) -> what a node does to others whose socket loses that share of what they send.

    `suspected_per_hour` counts its own suspicions, all wrong, and `reports_per_hour` what it reported to others.
    """
    simulation = cluster(seed, nodes)
    deaf = simulation.nodes[-1]
    assert deaf.core is not None
    rng = simulation.rng

    def lose(source: SimNode, effects: list[Effect]) -> list[Effect]:
        return [
            effect
            for effect in effects
            if not (isinstance(effect, Send) and effect.address == deaf.address and rng.random() < share)
        ]

    simulation.tap = lose
    before, reports = deaf.core.stats.suspicions, deaf.core.stats.sent[Kind.REPORT]
    hours = minutes / 60
    healthy = [node.core for node in simulation.nodes if node is not deaf and node.core is not None]
    marked: set[str] = set()
    end_ms = simulation.now_ms + minutes * 60_000
    while simulation.now_ms < end_ms:
        simulation.run(LOOK_EVERY_MS)
        marked.update(*(core.failed for core in healthy))
    return {
        "hours": hours,
        "suspected_per_hour": round((deaf.core.stats.suspicions - before) / hours, 1),
        "reports_per_hour": round((deaf.core.stats.sent[Kind.REPORT] - reports) / hours, 1),
        "healthy_failed": len(marked - {deaf.id}),
    }


def mass_failure(nodes: int, killed: int, *, seed: int = 1) -> dict[str, float]:
    """mass_failure(nodes, killed) -> what came of that many primaries killed in one moment, each with one replica.

    Outages are those of the shards; `all_ok_ms` is until all nodes left say so; datagrams are counted until then.
    """
    simulation = cluster(seed, nodes)
    victims = [node for node in simulation.nodes if node.core is not None and node.core.myself.owned][:killed]
    start_ms, datagrams = simulation.now_ms, simulation.report.messages
    for node in victims:
        simulation.crash(node)
    left = [node.core for node in simulation.nodes if node.core is not None]
    outages = Samples(simulation.report.outages_ms)
    simulation.run_until(lambda: len(outages.values) == killed, LIMIT_MS, "failed over")
    simulation.run_until(lambda: all(core.health.ok for core in left), LIMIT_MS, "ok")
    outcomes = sum((core.stats.election_outcomes for core in left), Counter[str]())
    return {
        "nodes": nodes,
        "killed": killed,
        **outages.summary(),
        "max": round(outages.quantile(1.0), 1),
        "all_ok_ms": round(simulation.now_ms - start_ms, 1),
        "elections": outcomes.total(),
        "datagrams_per_node": round((simulation.report.messages - datagrams) / len(left), 1),
    }


def cost(nodes: int, seconds: float, *, moving: bool, seed: int = 1) -> dict[str, float]:
    """cost(nodes, seconds, moving) -> datagrams and bytes that a node sends in a second, idle or while slots move."""
    simulation = cluster(seed, nodes, Meter)
    assert isinstance(simulation, Meter)
    datagrams, octets = simulation.report.messages, simulation.bytes
    for turn in range(round(seconds * 1000 / MOVE_EVERY_MS)):
        if moving:
            _move_slot(simulation, turn)
        simulation.run(MOVE_EVERY_MS)
    scale = 1 / (nodes * seconds)
    return {
        "datagrams_per_s": round((simulation.report.messages - datagrams) * scale, 2),
        "bytes_per_s": round((simulation.bytes - octets) * scale, 1),
    }


def _move_slot(simulation: Simulation, turn: int) -> SimNode:
    """A slot of a primary goes to another one, as it does at the end of its migration. Gives the new owner."""
    owners = [node for node in simulation.nodes if node.core is not None and node.core.myself.owned]
    source, target = owners[turn % len(owners)], owners[(turn + 1) % len(owners)]
    assert source.core is not None and target.core is not None
    slot, _ = next(bitmap.ranges(source.core.myself.owned))
    epoch = operations.reserve_epoch(source.core, source.clock())
    source.apply()
    simulation.ledger.on_claim(source, target, 1 << slot)
    operations.claim_slots(target.core, 1 << slot, epoch, target.clock())
    target.apply()
    operations.hear_claim(source.core, target.core.myself.record, source.clock())
    source.apply()
    return target


def dissemination(nodes: int, samples: int, news: str, *, seed: int = 1) -> Samples:
    """dissemination(nodes, samples, "join" or "slots") -> times until all members know a newcomer, or a slot's move."""
    simulation = cluster(seed, nodes)
    times = Samples([])
    for turn in range(samples):
        simulation.run(simulation.rng.uniform(200, 1200))
        start_ms = simulation.now_ms
        told = _join(simulation) if news == "join" else _move_slot(simulation, turn)
        assert told.core is not None
        version = told.core.myself.record.version
        unaware = [node.core for node in simulation.nodes if node.core is not None]

        def known(told: SimNode = told, version: int = version, unaware: list[ClusterCore] = unaware) -> bool:
            unaware[:] = [
                core for core in unaware if told.id not in core.nodes or core.nodes[told.id].record.version < version
            ]
            return not unaware

        times.values.append(wait(simulation, known, "known to all") - start_ms)
    return times


def _join(simulation: Simulation) -> SimNode:
    """A new node meets one member, chosen at random."""
    contact = simulation.nodes[simulation.rng.randrange(len(simulation.nodes))]
    node = simulation.add_node()
    node.diskless = True
    node.start()
    assert node.core is not None
    operations.meet(node.core, contact.ip, 7000, None, node.clock())
    node.apply()
    return node
