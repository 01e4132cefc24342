"""A small random number generator of our own, so that a seed gives the same numbers in every Python version.

SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). Not for secrets.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any, Final

_MASK: Final = (1 << 64) - 1


class SplitMix:
    """SplitMix(seed): the part of random.Random's interface that the core and the simulator use."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def _next(self) -> int:
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return state ^ (state >> 31)

    def random(self) -> float:
        """random() -> float in [0, 1)."""
        return (self._next() >> 11) / (1 << 53)

    def getrandbits(self, k: int) -> int:
        """getrandbits(k) -> int in [0, 2**k)."""
        value = 0
        for _ in range(0, k, 64):
            value = value << 64 | self._next()
        return value & ((1 << k) - 1)

    def randrange(self, stop: int) -> int:
        """randrange(stop) -> int in [0, stop)."""
        return self._next() * stop >> 64

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def shuffle(self, items: MutableSequence[Any]) -> None:
        for last in range(len(items) - 1, 0, -1):
            other = self.randrange(last + 1)
            items[last], items[other] = items[other], items[last]
