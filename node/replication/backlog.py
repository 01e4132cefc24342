"""The replication backlog: the last bytes of the journal, from which a replica that was away goes on.

Law: it holds a contiguous stretch of the stream that ends at the journal's offset.
"""

from __future__ import annotations

TRIM_STEP_BYTES = 64 * 1024
"""How far the backlog may grow over its size before the oldest bytes are cut off in one step."""


class Backlog:
    """The bytes of the stream from `start` (the offset of the first byte held) to `end`, exclusive.

    Offsets count as in PSYNC: the first byte of the stream has offset 1.
    """

    __slots__ = ("_data", "_size_bytes", "start")

    def __init__(self, size_bytes: int, next_offset: int) -> None:
        self._size_bytes = size_bytes
        self._data = bytearray()
        self.start = next_offset

    def __len__(self) -> int:
        return len(self._data)

    @property
    def end(self) -> int:
        """The offset of the next byte to come."""
        return self.start + len(self._data)

    def append(self, data: bytes) -> None:
        """append(data): amortised O(len(data))."""
        self._data += data
        excess = len(self._data) - self._size_bytes
        if excess > TRIM_STEP_BYTES:
            del self._data[:excess]
            self.start += excess

    def resize(self, size_bytes: int) -> None:
        """resize(size_bytes) keeps the newest bytes (CONFIG SET repl-backlog-size)."""
        self._size_bytes = size_bytes
        excess = len(self._data) - size_bytes
        if excess > 0:
            del self._data[:excess]
            self.start += excess

    def holds(self, offset: int) -> bool:
        """holds(offset) -> whether a replica that wants the stream from `offset` can have it."""
        return self.start <= offset <= self.end

    def since(self, offset: int) -> bytes:
        """since(offset) -> the stream from `offset` to the end. O(result)."""
        assert self.holds(offset)
        return bytes(self._data[offset - self.start :])
