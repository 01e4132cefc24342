"""Dissemination: what this node has to tell, how often, and to whom at once.

News goes out eagerly (to everybody in a small cluster, to a few who pass it on in a large one) and then rides
on later datagrams a number of times that grows with the logarithm of the cluster. What is lost anyway is
found by comparing digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil, log10
from typing import Final

from .messages import RUMORS_MAX_BYTES, Rumor, rumor_size

EAGER_ALL_MAX: Final = 24
"""Up to so many members, the origin tells everybody itself."""
EAGER_ORIGIN_FANOUT = 8
EAGER_RELAY_FANOUT = 4
RETELL_FACTOR = 4
QUEUE_MAX = 4096
"""Rumors kept; the oldest go first. The anti-entropy sync carries what is cut off."""


@dataclass(slots=True)
class _Told:
    rumor: Rumor
    size: int
    left: int


class RumorMill:
    """Rumors by what they are about: a newer one on the same subject replaces the older."""

    def __init__(self) -> None:
        self._told: dict[tuple[int, bytes], _Told] = {}
        self._originated: list[Rumor] = []
        self._relayed: list[Rumor] = []

    def tell(self, rumor: Rumor, subject: bytes, members: int, *, origin: bool) -> None:
        """Queue `rumor` about `subject` and mark it for the next eager round."""
        key = (rumor[0], subject)
        self._told.pop(key, None)
        retell = RETELL_FACTOR * ceil(log10(members + 1))
        self._told[key] = _Told(rumor, rumor_size(rumor), retell)
        while len(self._told) > QUEUE_MAX:
            del self._told[next(iter(self._told))]
        if origin:
            self._originated.append(rumor)
        elif members > EAGER_ALL_MAX:
            self._relayed.append(rumor)

    def piggyback(self) -> tuple[Rumor, ...]:
        """piggyback() -> rumors that fit into one datagram, the ones told least recently first."""
        if not self._told:
            return ()
        picked: list[Rumor] = []
        room = RUMORS_MAX_BYTES
        for key in list(self._told):
            told = self._told[key]
            if told.size > room:
                continue
            room -= told.size
            picked.append(told.rumor)
            del self._told[key]
            told.left -= 1
            if told.left > 0:
                self._told[key] = told
            if room < 32:
                break
        return tuple(picked)

    def take_eager(self) -> list[tuple[int, tuple[Rumor, ...]]]:
        """take_eager() -> (fan-out, rumors of one datagram) pairs."""
        rounds: list[tuple[int, tuple[Rumor, ...]]] = []
        if not self._originated and not self._relayed:
            return rounds
        for fanout, rumors in ((EAGER_ORIGIN_FANOUT, self._originated), (EAGER_RELAY_FANOUT, self._relayed)):
            rounds.extend((fanout, chunk) for chunk in _chunks(rumors))
        self._originated, self._relayed = [], []
        return rounds


def _chunks(rumors: Iterable[Rumor]) -> Iterator[tuple[Rumor, ...]]:
    chunk: list[Rumor] = []
    room = RUMORS_MAX_BYTES
    for rumor in rumors:
        size = rumor_size(rumor)
        if size > room and chunk:
            yield tuple(chunk)
            chunk, room = [], RUMORS_MAX_BYTES
        chunk.append(rumor)
        room -= size
    if chunk:
        yield tuple(chunk)


def fitting(rumors: Iterable[Rumor]) -> tuple[Rumor, ...]:
    """fitting(rumors) -> as many of the first ones as one datagram carries."""
    return next(_chunks(rumors), ())
