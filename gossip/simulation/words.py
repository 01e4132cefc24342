"""Random 64-bit words by the block: the network draws one for each datagram, which has to be cheap."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import shake_128
from struct import unpack

BLOCK_WORDS = 1024


def random_words(seed: int) -> Iterator[int]:
    """random_words(seed) -> 64-bit integers without end: SHAKE-128 of the seed and a counter."""
    block = 0
    while True:
        data = shake_128(b"%d %d" % (seed, block)).digest(8 * BLOCK_WORDS)
        yield from unpack(f"<{BLOCK_WORDS}Q", data)
        block += 1
