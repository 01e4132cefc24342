"""The replication backlog: the last bytes of the journal, for replicas that were away and for those that lag.

Laws: it holds a contiguous stretch of the stream that ends at the journal's offset; the bytes exist once,
however many replicas have yet to be sent them; nothing that such a replica needs is dropped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

BLOCK_MIN_BYTES = 16 * 1024
BLOCK_MAX_BYTES = 64 * 1024
BLOCKS_MIN = 16
"""The oldest bytes are dropped a block at a time: a sixteenth of the backlog, within these sizes."""

SIZE_MIN_BYTES = 16 * 1024
"""A smaller repl-backlog-size counts as this (Redis: CONFIG_REPL_BACKLOG_MIN_SIZE)."""


class Backlog:
    """The bytes of the stream from `start` (the offset of the first byte held) to `end`, exclusive.

    Offsets count as in PSYNC: the first byte of the stream has offset 1. `needed_from()` gives the offset that
    the slowest replica needs next; what comes after it stays, however much that is (its output limit bounds it).
    `on_data()` is called with the first entry after `quiet` was set.
    """

    __slots__ = ("_block_bytes", "_blocks", "_needed_from", "_on_data", "_size_bytes", "_starts", "_tail", "quiet")

    def __init__(
        self,
        size_bytes: int,
        next_offset: int,
        needed_from: Callable[[], int | None],
        on_data: Callable[[], None] = lambda: None,
    ) -> None:
        self._needed_from = needed_from
        self._on_data = on_data
        self.quiet = True
        """Nobody was told of data since this was set."""
        self._tail = bytearray()
        self._blocks = [self._tail]
        self._starts = [next_offset]
        self._set_size(size_bytes)

    def _set_size(self, size_bytes: int) -> None:
        self._size_bytes = max(size_bytes, SIZE_MIN_BYTES)
        self._block_bytes = min(max(self._size_bytes // BLOCKS_MIN, BLOCK_MIN_BYTES), BLOCK_MAX_BYTES)

    def __len__(self) -> int:
        return self.end - self._starts[0]

    @property
    def start(self) -> int:
        """The offset of the first byte held."""
        return self._starts[0]

    @property
    def end(self) -> int:
        """The offset of the next byte to come."""
        return self._starts[-1] + len(self._tail)

    def append(self, data: bytes) -> None:
        """append(data): amortised O(len(data))."""
        self.journal_entry(data, 0, 0, [])

    def journal_entry(self, data: bytes, offset: int, database: int, args: list[bytes]) -> None:
        """The journal's subscriber: `append`, in one call for each write."""
        tail = self._tail
        tail += data
        if len(tail) >= self._block_bytes:
            self._seal()
            self.trim()
        if self.quiet:
            self.quiet = False
            self._on_data()

    def _seal(self) -> None:
        """The tail becomes a block, several if one entry was that large; a new tail follows."""
        tail, size = self._tail, self._block_bytes
        if len(tail) >= 2 * size:
            start = self._starts[-1]
            cuts = range(0, len(tail), size)
            self._blocks[-1:] = [tail[cut : cut + size] for cut in cuts]
            self._starts[-1:] = [start + cut for cut in cuts]
        self._starts.append(self._starts[-1] + len(self._blocks[-1]))
        self._tail = bytearray()
        self._blocks.append(self._tail)

    def trim(self) -> None:
        """trim() drops the oldest blocks that neither the size nor a replica asks to keep."""
        keep_from = self.end - self._size_bytes
        needed = self._needed_from()
        if needed is not None:
            keep_from = min(keep_from, needed)
        # A block may go when the one after it begins at or before what is kept.
        count = bisect_right(self._starts, keep_from) - 1
        if count > 0:
            del self._blocks[:count], self._starts[:count]

    def resize(self, size_bytes: int) -> None:
        """resize(size_bytes) keeps the newest bytes (CONFIG SET repl-backlog-size)."""
        self._set_size(size_bytes)
        self.trim()

    def holds(self, offset: int) -> bool:
        """holds(offset) -> whether a replica that wants the stream from `offset` can have it."""
        return self._starts[0] <= offset <= self.end

    def read(self, offset: int, limit_bytes: int) -> bytes:
        """read(offset, limit) -> up to `limit` bytes of the stream from `offset` on; b"" at the end. O(result)."""
        starts = self._starts
        index = len(starts) - 1 if offset >= starts[-1] else bisect_right(starts, offset) - 1
        assert index >= 0
        position = offset - starts[index]
        part = bytes(self._blocks[index][position : position + limit_bytes])
        if len(part) == limit_bytes or index == len(starts) - 1:
            return part
        parts = [part]
        left = limit_bytes - len(part)
        for block in self._blocks[index + 1 :]:
            parts.append(bytes(block[:left]))
            left -= len(parts[-1])
            if not left:
                break
        return b"".join(parts)

    def _check(self) -> None:
        """Assert the laws; tests call this after each operation."""
        assert len(self._blocks) == len(self._starts) > 0
        assert self._blocks[-1] is self._tail
        for index, block in enumerate(self._blocks[:-1]):
            assert self._starts[index] + len(block) == self._starts[index + 1]
            assert len(block) >= 1
