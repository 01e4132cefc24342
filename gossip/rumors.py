"""Dissemination: what this node has to tell, how often, and to whom at once.

News goes out eagerly (to everybody in a small cluster, to a few who pass it on in a large one) and then rides
on later datagrams a number of times that grows with the logarithm of the cluster. What is lost anyway is
found by comparing digests.

What is sent eagerly is limited: a failure or two spread at once, but where hundreds of members fail together, what
there is to tell of them waits some milliseconds for a datagram that carries many of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from math import ceil, inf, log10
from typing import Final

from .messages import RUMORS_MAX_BYTES, Rumor, RumorKind, rumor_size

EAGER_ALL_MAX: Final = 24
"""Up to so many members, the origin tells everybody itself."""
EAGER_ORIGIN_FANOUT = 8
EAGER_RELAY_FANOUT = 4
EAGER_BURST_MAX: Final = 32
"""Eager rounds, each of one datagram to some members, that may follow each other at once."""
EAGER_ROUND_MS: Final = 5.0
"""In this time one more becomes due after such a burst."""
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

    def __init__(self, now_ms: float) -> None:
        self._told: dict[tuple[int, bytes], _Told] = {}
        self._originated: dict[tuple[int, bytes], Rumor] = {}
        self._relayed: dict[tuple[int, bytes], Rumor] = {}
        self._spent_until_ms = now_ms
        """When all that was sent eagerly will have been made up for, each round by EAGER_ROUND_MS."""

    def tell(self, rumor: Rumor, subject: bytes, members: int, *, origin: bool) -> None:
        """Queue `rumor` about `subject` and mark it for the next eager round."""
        key = (rumor[0], subject)
        self._told.pop(key, None)
        if rumor[0] == RumorKind.FAIL:
            self._drop((int(RumorKind.SUSPECT), subject))
        retell = RETELL_FACTOR * ceil(log10(members + 1))
        self._told[key] = _Told(rumor, rumor_size(rumor), retell)
        while len(self._told) > QUEUE_MAX:
            del self._told[next(iter(self._told))]
        if origin:
            self._waits(self._originated, key, rumor)
        elif members > EAGER_ALL_MAX:
            self._waits(self._relayed, key, rumor)

    @staticmethod
    def _waits(eager: dict[tuple[int, bytes], Rumor], key: tuple[int, bytes], rumor: Rumor) -> None:
        eager[key] = rumor
        while len(eager) > QUEUE_MAX:
            del eager[next(iter(eager))]

    def _drop(self, key: tuple[int, bytes]) -> None:
        self._told.pop(key, None)
        self._originated.pop(key, None)
        self._relayed.pop(key, None)

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

    def take_eager(self, now_ms: float) -> list[tuple[int, tuple[Rumor, ...]]]:
        """take_eager(now_ms) -> (fan-out, rumors of one datagram) pairs, as many as may be sent now."""
        rounds: list[tuple[int, tuple[Rumor, ...]]] = []
        if not self._originated and not self._relayed:
            return rounds
        for fanout, waiting in ((EAGER_ORIGIN_FANOUT, self._originated), (EAGER_RELAY_FANOUT, self._relayed)):
            while waiting and now_ms >= self._due_ms():
                rumors = fitting(waiting.values())
                for key in list(islice(waiting, len(rumors))):
                    del waiting[key]
                rounds.append((fanout, rumors))
                self._spent_until_ms = max(self._spent_until_ms, now_ms) + EAGER_ROUND_MS
        return rounds

    def deadline_ms(self) -> float:
        """deadline_ms() -> when `take_eager` has something to give that had to wait."""
        return self._due_ms() if self._originated or self._relayed else inf

    def _due_ms(self) -> float:
        return self._spent_until_ms - (EAGER_BURST_MAX - 1) * EAGER_ROUND_MS


def fitting(rumors: Iterable[Rumor]) -> tuple[Rumor, ...]:
    """fitting(rumors) -> as many of the first ones as one datagram carries; one at least."""
    picked: list[Rumor] = []
    room = RUMORS_MAX_BYTES
    for rumor in rumors:
        room -= rumor_size(rumor)
        if room < 0 and picked:
            break
        picked.append(rumor)
    return tuple(picked)
