"""What can go wrong in a simulated cluster, and how often."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Faults:
    """Probabilities for each datagram, and how often a minute each kind of mishap strikes the cluster."""

    loss: float = 0.0
    duplication: float = 0.0
    slow: float = 0.0
    crashes: float = 0.0
    pauses: float = 0.0
    partitions: float = 0.0
    isolations: float = 0.0
    one_way: float = 0.0
    failovers: float = 0.0

    @classmethod
    def all(cls) -> Faults:
        return cls(0.02, 0.01, 0.01, crashes=6, pauses=4, partitions=2, isolations=2, one_way=2, failovers=3)
