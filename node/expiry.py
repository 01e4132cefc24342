"""The expiry index of one database: each key's time to die, and which keys are due, without a scan.

Laws: `_when` is the truth; each key in it stands in exactly one bucket, that of its time. No operation
grows with the index: times are spread over shards and full buckets become `Table`s, so nothing big is
ever rehashed at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import chain, islice

from .values.table import Mapping, grown, scan_step

BUCKET_SHIFT = 8
"""Keys that die within the same 256 ms share a bucket."""

SHARDS = 256
"""The times are held in so many dicts, by the hash of the key."""

STALE_BUCKETS_MAX = 64
"""So many numbers of empty buckets, at least, may stay in the heap before it is rebuilt."""


class ExpiryIndex:
    """key -> Unix time in milliseconds. `get`, `set` and `discard` are O(1); `due` is O(keys returned).

    `count` is the number of keys that have a time.
    """

    __slots__ = ("_buckets", "_heap", "_when", "count")

    def __init__(self) -> None:
        self.count = 0
        self._when: list[dict[bytes, int]] = [{} for _ in range(SHARDS)]
        self._buckets: dict[int, Mapping[None]] = {}
        self._heap: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __contains__(self, key: object) -> bool:
        return key in self._when[hash(key) & (SHARDS - 1)]

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self._when)

    def get(self, key: bytes) -> int | None:
        """get(key) -> its expiry time in Unix milliseconds, or None."""
        return self._when[hash(key) & (SHARDS - 1)].get(key)

    def set(self, key: bytes, when_ms: int) -> None:
        """set(key, when_ms) stores or moves the key's time."""
        times = self._when[hash(key) & (SHARDS - 1)]
        before_ms = times.get(key)
        bucket = when_ms >> BUCKET_SHIFT
        times[key] = when_ms
        if before_ms is None:
            self.count += 1
        elif before_ms >> BUCKET_SHIFT == bucket:
            return
        else:
            self._leave(key, before_ms >> BUCKET_SHIFT)
        keys = self._buckets.get(bucket)
        if keys is None:
            self._buckets[bucket] = {key: None}
            heapq.heappush(self._heap, bucket)
            return
        keys[key] = None
        if type(keys) is dict:
            self._buckets[bucket] = grown(keys)

    def discard(self, key: bytes) -> bool:
        """discard(key) -> whether the key had a time; now it has none."""
        when_ms = self._when[hash(key) & (SHARDS - 1)].pop(key, None)
        if when_ms is None:
            return False
        self.count -= 1
        self._leave(key, when_ms >> BUCKET_SHIFT)
        return True

    def _leave(self, key: bytes, bucket: int) -> None:
        keys = self._buckets[bucket]
        del keys[key]
        if not keys:
            # The heap keeps the number until it is popped; a number without a bucket is skipped there.
            del self._buckets[bucket]
            if len(self._heap) > STALE_BUCKETS_MAX and len(self._heap) > 4 * len(self._buckets):
                self._heap = sorted(self._buckets)

    def due(self, now_ms: int, limit: int) -> list[bytes]:
        """due(now_ms, limit) -> up to `limit` keys whose time has come, of the earliest bucket.

        They stay in the index; the caller deletes the keys, which discards them here, and asks again.
        """
        heap = self._heap
        while heap and heap[0] not in self._buckets:
            heapq.heappop(heap)
        if not heap or heap[0] > now_ms >> BUCKET_SHIFT:
            return []
        keys = self._buckets[heap[0]]
        if heap[0] < now_ms >> BUCKET_SHIFT:
            if type(keys) is dict:
                return [*islice(keys, limit)]
            return [key for key, _ in scan_step(keys, 0, limit)[1][:limit]]
        return self._due_now(keys, now_ms, limit)

    def _due_now(self, keys: Mapping[None], now_ms: int, limit: int) -> list[bytes]:
        """Of the bucket that is passing: a full one waits until it has passed, the others are looked through."""
        if type(keys) is not dict:
            return []
        return [*islice((key for key in keys if self._when[hash(key) & (SHARDS - 1)][key] <= now_ms), limit)]

    def mean_ttl_ms(self, now_ms: int, sample: int = 64) -> int:
        """mean_ttl_ms(now_ms) -> the mean time to live of the first `sample` keys, for INFO's avg_ttl."""
        times = [*islice(chain.from_iterable(times.values() for times in self._when), sample)]
        return max(0, sum(times) // len(times) - now_ms) if times else 0

    def _check(self) -> None:
        """Assert the laws; tests call this after each operation."""
        times = {key: when_ms for shard in self._when for key, when_ms in shard.items()}
        assert len(times) == self.count == sum(map(len, self._buckets.values()))
        assert all(key in self._buckets[when_ms >> BUCKET_SHIFT] for key, when_ms in times.items())
        assert all(hash(key) & (SHARDS - 1) == at for at, shard in enumerate(self._when) for key in shard)
        assert set(self._buckets) <= set(self._heap)
        assert all(self._buckets.values())
