"""Counters of the bus, as CLUSTER INFO shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class BusStats:
    """Messages by kind and what came of them, since the node started."""

    sent: Counter[int] = field(default_factory=Counter)
    received: Counter[int] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    suspicions: int = 0
    failures: int = 0
    elections: int = 0
    promotions: int = 0
    syncs: int = 0
