"""What can go wrong in a simulated cluster, how often, and the schedule of it that a seed gives.

Mishaps are drawn before the run, each with a seed of its own, so that single ones can be left out of a replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from ..prng import SplitMix

DATAGRAM_FAULTS = ("loss", "duplication", "reordering", "delay")
"""Probabilities for each datagram."""
CONTINUOUS = (*DATAGRAM_FAULTS, "drift")
MISHAPS_MAX = 10_000
"""Mishaps of one schedule."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities for each datagram, the clocks' drift, and how often a minute each mishap strikes the cluster."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    """A datagram that is overtaken by what was sent in the next milliseconds."""
    delay: float = 0.0
    """A datagram that takes long; how long has a heavy tail."""
    drift: float = 0.0
    """Each monotonic clock runs faster or slower than time by at most this share."""
    partitions: float = 0.0
    one_way: float = 0.0
    """A node that hears and is not heard."""
    isolations: float = 0.0
    pauses: float = 0.0
    crashes: float = 0.0
    """The process dies, and comes back with its disk."""
    old_disks: float = 0.0
    """The host dies: what was written to nodes.conf and not fsynced is gone."""
    forgotten_writes: float = 0.0
    """As old_disks, but the last write is lost even if it was fsynced: a disk that lies."""
    torn_disks: float = 0.0
    """nodes.conf is half written, so that the process refuses to start and an operator replaces the node."""
    lost_disks: float = 0.0
    """The process starts again with a new id; an operator removes the old one and joins it."""
    replacements: float = 0.0
    """An operator replaces a machine that is gone for good."""
    meets: float = 0.0
    """An operator adds a node."""
    forgets: float = 0.0
    """An operator removes a replica everywhere, resets it and adds it again."""
    failovers: float = 0.0
    forced_failovers: float = 0.0
    takeovers: float = 0.0
    reshards: float = 0.0
    lies: float = 0.0
    """Something between some nodes and a living one answers that it refuses."""

    @classmethod
    def all(cls) -> Faults:
        """All but what breaks an invariant by definition: a disk that lies, and an operator who needs no votes."""
        return cls(
            loss=0.02, duplication=0.01, reordering=0.05, delay=0.01, drift=0.01, partitions=2, one_way=2,
            isolations=2, pauses=4, crashes=4, old_disks=2, torn_disks=0.5, lost_disks=0.5, replacements=0.5,
            meets=0.3, forgets=0.5, failovers=3, forced_failovers=1, reshards=6, lies=1,
        )  # fmt: skip

    def text(self) -> str:
        """text() -> what `parse` understands as these faults."""
        if self == Faults.all():
            return "all"
        given = [f"{field.name}={getattr(self, field.name):g}" for field in fields(self) if getattr(self, field.name)]
        return ",".join(given) or "none"


BY_DEFAULT = replace(Faults.all(), forgotten_writes=2, takeovers=1)
"""The rates of faults that are asked for by name alone."""


def parse(text: str) -> Faults:
    """parse("all" | "none" | "loss,crashes=6,...") -> Faults. ValueError for an unknown name or rate."""
    faults = Faults()
    for word in text.split(","):
        name, equals, rate = word.strip().partition("=")
        if name == "all":
            faults = replace(Faults.all(), forgotten_writes=faults.forgotten_writes, takeovers=faults.takeovers)
        elif name in {field.name for field in fields(Faults)}:
            faults = replace(faults, **{name: float(rate) if equals else getattr(BY_DEFAULT, name)})
        elif name != "none":
            raise ValueError(f"no such fault: {name}")
    return faults


@dataclass(frozen=True, slots=True)
class Mishap:
    """Something that befalls the cluster `at_ms` after the faults were let loose; `seed` decides whom and how."""

    number: int
    at_ms: float
    kind: str
    seed: int


def draw_schedule(seed: int, faults: Faults, duration_ms: float) -> list[Mishap]:
    """draw_schedule(seed, faults, duration_ms) -> mishaps in the order of their times."""
    found: list[tuple[float, str, int]] = []
    for position, field in enumerate(fields(faults)):
        rate = getattr(faults, field.name)
        if field.name in CONTINUOUS or not rate:
            continue
        rng = SplitMix(seed << 8 ^ position)
        rng.getrandbits(64)
        at_ms = rng.uniform(0, 120_000 / rate)
        while at_ms < duration_ms and len(found) < MISHAPS_MAX:
            found.append((at_ms, field.name, rng.getrandbits(64)))
            at_ms += rng.uniform(0, 120_000 / rate)
    return [Mishap(number, *entry) for number, entry in enumerate(sorted(found))]


def describe(mishaps: Sequence[Mishap]) -> str:
    """describe(mishaps) -> a line for each."""
    return "\n".join(f"  #{mishap.number} at {mishap.at_ms:.0f} ms: {mishap.kind}" for mishap in mishaps)
