"""One run of the simulator as data: what it is made of, the command that replays it, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..config import ClusterConfig
from ..prng import SplitMix
from .cluster import Report, Simulation
from .faults import Mishap, draw_schedule, parse
from .shrinking import shrink

MINUTE_MS = 60_000.0
COMMAND = "python -m pyredis_cluster.gossip.simulate"
NODES = (2, 9)
REPLICAS_MAX = 2


@dataclass(frozen=True, slots=True)
class Run:
    """A cluster, and what it has to endure. The same Run gives the same trace."""

    seed: int
    nodes: int = 6
    replicas: int = 1
    minutes: float = 1.0
    faults: str = "all"
    node_timeout_ms: int = 2000
    voters: str = "all"

    def command(self) -> str:
        """command() -> what replays it."""
        return (
            f"{COMMAND} --seed {self.seed} --nodes {self.nodes} --replicas {self.replicas} "
            f"--minutes {self.minutes:g} --faults {self.faults} --node-timeout {self.node_timeout_ms} "
            f"--voters {self.voters}"
        )

    def simulation(self, trace: Callable[[str], None] | None = None) -> Simulation:
        config = ClusterConfig(self.node_timeout_ms, voters_primaries_only=self.voters == "primaries")
        return Simulation(self.seed, self.nodes, self.replicas, config, parse(self.faults), trace)

    def schedule(self) -> list[Mishap]:
        return draw_schedule(self.seed, parse(self.faults), self.minutes * MINUTE_MS)

    def play(self, trace: Callable[[str], None] | None = None, schedule: Sequence[Mishap] | None = None) -> Report:
        """play([trace, schedule]) -> Report. AssertionError where an invariant is broken, or liveness."""
        simulation = self.simulation(trace)
        simulation.create()
        simulation.endure(self.minutes * MINUTE_MS, schedule)
        return simulation.report

    def shrunk(self, attempts_max: int) -> list[Mishap]:
        """shrunk(attempts_max) -> the mishaps of this failing run that it takes to fail; it is played so often."""
        return shrink(self.schedule(), self._fails, attempts_max)

    def _fails(self, schedule: Sequence[Mishap]) -> bool:
        try:
            self.play(schedule=schedule)
        except AssertionError:
            return True
        return False


def varied(seed: int, minutes: float, faults: str) -> Run:
    """varied(seed, minutes, faults) -> a Run whose cluster's shape depends on the seed."""
    rng = SplitMix(seed)
    low, high = NODES
    nodes = low + rng.randrange(high - low + 1)
    replicas = min(rng.randrange(REPLICAS_MAX + 1), nodes - 1)
    voters = "primaries" if rng.randrange(4) == 0 and nodes // (replicas + 1) >= 3 else "all"
    return Run(seed, nodes, replicas, minutes, faults, voters=voters)
