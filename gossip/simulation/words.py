"""Random words by the block: the network draws one for each datagram, which has to be cheap."""

from __future__ import annotations

from hashlib import shake_128
from struct import unpack
from typing import Final

BLOCK_WORDS: Final = 1024
WORD_BITS: Final = 60
"""A machine word holds as much of a Python integer, where mypyc has compiled the simulator."""


class Words:
    """Words(seed): integers of WORD_BITS bits without end, from SHAKE-128 of the seed and a counter."""

    __slots__ = ("_block", "_blocks", "_next", "_seed")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._blocks = 0
        self._next = BLOCK_WORDS
        self._block: list[int] = []

    def draw(self) -> int:
        index = self._next
        if index == BLOCK_WORDS:
            data = shake_128(b"%d %d" % (self._seed, self._blocks)).digest(8 * BLOCK_WORDS)
            self._block = [word >> 64 - WORD_BITS for word in unpack(f"<{BLOCK_WORDS}Q", data)]
            self._blocks += 1
            index = 0
        self._next = index + 1
        return self._block[index]
