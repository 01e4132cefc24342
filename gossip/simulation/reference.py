"""What others would need and cost, from their documented rules: Redis Cluster's bus and memberlist's SWIM.

These are models of the rules, not measurements: they leave out all that makes the real systems slower (loss,
scheduling, dissemination), so that a comparison with what is measured here errs in the others' favour.
"""

from __future__ import annotations

from math import ceil, log, log10

from ..prng import SplitMix

REDIS_NODE_TIMEOUT_S = 15.0
REDIS_HEADER_BYTES = 2256
"""CLUSTERMSG_MIN_LEN: clusterMsg up to its data (cluster.h)."""
REDIS_GOSSIP_ENTRY_BYTES = 104
"""sizeof(clusterMsgDataGossip)."""
REDIS_GOSSIP_MIN = 3
REDIS_ELECTION_DELAY_S = (0.5, 1.0)
"""clusterHandleSlaveFailover: 500 ms and up to 500 ms at random, for the best-ranked replica."""

MEMBERLIST_PROBE_INTERVAL_S = 1.0
MEMBERLIST_SUSPICION_MULT = 4
MEMBERLIST_SUSPICION_MAX_MULT = 6
MEMBERLIST_GOSSIP_INTERVAL_S = 0.2
MEMBERLIST_GOSSIP_NODES = 3
MEMBERLIST_RUNS = 2000
LIFEGUARD_RUNS = 10_000
LIFEGUARD_NODES = 128
LIFEGUARD_ALPHA = 5
"""The Lifeguard paper's cluster size, and the multiplier that was memberlist's when it was written."""


def redis_bytes_per_s(nodes: int) -> float:
    """redis_bytes_per_s(nodes) -> bytes that each node of an idle Redis Cluster sends in a second, by default.

    clusterCron pings one node a second, and every node that was not heard for half the node timeout; each ping has
    its pong; both carry a tenth of the members, at least three (clusterSendPing).
    """
    pings = max(1.0, (nodes - 1) / (REDIS_NODE_TIMEOUT_S / 2))
    entries = min(max(REDIS_GOSSIP_MIN, nodes // 10), max(0, nodes - 2))
    return 2 * pings * (REDIS_HEADER_BYTES + entries * REDIS_GOSSIP_ENTRY_BYTES)


def redis_outage_s() -> tuple[float, float]:
    """redis_outage_s() -> the least and, of the delays that the rules name, the greatest time to a promotion.

    A ping has to be unanswered for the node timeout, which may be sent half a timeout after the node went silent;
    a majority of the primaries has to say so; then the election is delayed.
    """
    least, most = REDIS_ELECTION_DELAY_S
    return REDIS_NODE_TIMEOUT_S + least, REDIS_NODE_TIMEOUT_S * 1.5 + most


def memberlist_detection_s(nodes: int) -> tuple[float, float]:
    """memberlist_detection_s(nodes) -> (p50, p99) until the first member declares a silent one dead."""
    runs = MEMBERLIST_RUNS if nodes <= LIFEGUARD_NODES else MEMBERLIST_RUNS // 10
    found = _detections_s(nodes, MEMBERLIST_SUSPICION_MULT, runs)
    return found[len(found) // 2], found[ceil(len(found) * 0.99) - 1]


def lifeguard_detection_s() -> tuple[float, float, float]:
    """lifeguard_detection_s() -> (p50, p99, p99.9) by memberlist's rule, size and alpha as in Lifeguard's paper."""
    found = _detections_s(LIFEGUARD_NODES, LIFEGUARD_ALPHA, LIFEGUARD_RUNS)
    return found[len(found) // 2], found[ceil(len(found) * 0.99) - 1], found[ceil(len(found) * 0.999) - 1]


def _detections_s(nodes: int, alpha: int, runs: int) -> list[float]:
    """Times until the first member declares a silent one dead, in order.

    Each member probes the others in turn, one an interval, and suspects at the interval's end. The suspicion lasts
    6 alpha log10(n) intervals and shrinks with the confirmations of two others to alpha log10(n) (suspicion.go).
    """
    rng = SplitMix(nodes)
    least = alpha * max(1.0, log10(nodes)) * MEMBERLIST_PROBE_INTERVAL_S
    wanted = alpha - 2 if nodes - 2 >= alpha - 2 else 0
    found = []
    for _ in range(runs):
        probes = sorted(rng.random() * (nodes - 1) * MEMBERLIST_PROBE_INTERVAL_S for _ in range(nodes - 1))
        suspicions = [at + MEMBERLIST_PROBE_INTERVAL_S for at in probes[: wanted + 1]]
        found.append(suspicions[0] + _suspicion_s(suspicions, wanted, least))
    found.sort()
    return found


def _suspicion_s(suspicions: list[float], wanted: int, least: float) -> float:
    """How long the first suspicion lasts, given when each member began to suspect."""
    most = least * MEMBERLIST_SUSPICION_MAX_MULT
    timeout = most if wanted else least
    for count, at in enumerate(suspicions[1:], 1):
        elapsed = at - suspicions[0]
        if elapsed >= timeout:
            break
        timeout = max(least, most - log(count + 1) / log(wanted + 1) * (most - least), elapsed)
    return timeout


def memberlist_spread_s(nodes: int) -> float:
    """memberlist_spread_s(nodes) -> about how long news takes to reach all: gossip to three members at a time."""
    return MEMBERLIST_GOSSIP_INTERVAL_S * ceil(log(nodes) / log(1 + MEMBERLIST_GOSSIP_NODES))
