"""The expiry index of one database: each key's time to die, and which keys are due, without a scan.

Law: `_when` is the truth; each key in it stands in exactly one bucket, that of its time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

BUCKET_SHIFT = 8
"""Keys that die within the same 256 ms share a bucket."""


class ExpiryIndex:
    """key -> Unix time in milliseconds. `get`, `set` and `discard` are O(1); `due` is O(keys returned)."""

    __slots__ = ("_buckets", "_heap", "_when")

    def __init__(self) -> None:
        self._when: dict[bytes, int] = {}
        self._buckets: dict[int, set[bytes]] = {}
        self._heap: list[int] = []

    def __len__(self) -> int:
        return len(self._when)

    def __contains__(self, key: object) -> bool:
        return key in self._when

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._when)

    def get(self, key: bytes) -> int | None:
        """get(key) -> its expiry time in Unix milliseconds, or None."""
        return self._when.get(key)

    def set(self, key: bytes, when_ms: int) -> None:
        """set(key, when_ms) stores or moves the key's time."""
        self.discard(key)
        self._when[key] = when_ms
        bucket = when_ms >> BUCKET_SHIFT
        keys = self._buckets.get(bucket)
        if keys is None:
            keys = self._buckets[bucket] = set()
            heapq.heappush(self._heap, bucket)
        keys.add(key)

    def discard(self, key: bytes) -> bool:
        """discard(key) -> whether the key had a time; now it has none."""
        when_ms = self._when.pop(key, None)
        if when_ms is None:
            return False
        bucket = when_ms >> BUCKET_SHIFT
        keys = self._buckets[bucket]
        keys.discard(key)
        if not keys:
            # The heap keeps the number until it is popped; a number without a bucket is skipped there.
            del self._buckets[bucket]
            if len(self._heap) > 64 and len(self._heap) > 4 * len(self._buckets):
                self._heap = sorted(self._buckets)
        return True

    def due(self, now_ms: int, limit: int) -> list[bytes]:
        """due(now_ms, limit) -> up to `limit` keys whose time has come, earliest bucket first.

        They stay in the index; the caller deletes the keys, which discards them here.
        """
        found: list[bytes] = []
        last = now_ms >> BUCKET_SHIFT
        heap = self._heap
        while heap and heap[0] not in self._buckets:
            heapq.heappop(heap)
        if not heap or heap[0] > last:
            return found
        held: list[int] = []
        while heap and heap[0] <= last and len(found) < limit:
            bucket = heapq.heappop(heap)
            keys = self._buckets.get(bucket)
            if keys is None or (held and held[-1] == bucket):
                continue
            held.append(bucket)
            for key in keys:
                if bucket < last or self._when[key] <= now_ms:
                    found.append(key)
                    if len(found) >= limit:
                        break
        for bucket in held:
            heapq.heappush(heap, bucket)
        return found

    def mean_ttl_ms(self, now_ms: int, sample: int = 64) -> int:
        """mean_ttl_ms(now_ms) -> the mean time to live of the first `sample` keys, for INFO's avg_ttl."""
        times = [when for when, _ in zip(self._when.values(), range(sample), strict=False)]
        return max(0, sum(times) // len(times) - now_ms) if times else 0

    def _check(self) -> None:
        """Assert the law; tests call this after each operation."""
        assert sum(map(len, self._buckets.values())) == len(self._when)
        assert all(key in self._buckets[when >> BUCKET_SHIFT] for key, when in self._when.items())
        assert set(self._buckets) <= set(self._heap)
