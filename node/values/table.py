"""A mapping that is scanned and sampled in bounded work while it changes: extendible hashing over small dicts.

Collections and slots use a plain dict while they are small and a `Table` beyond `DICT_MAX_ENTRIES`
(see `grown`); `scan_step` and `random_key` take either.

Laws: an entry lives in the partition that the low bits of its hash select. A cursor is a position in the
space of bit-reversed hashes. Each partition covers one contiguous range of that space and is always
returned whole, so an entry that is present from the start to the end of an iteration is returned,
whatever is split, inserted or removed in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Generic, TypeVar

DICT_MAX_ENTRIES = 512
"""A dict of more entries than this becomes a `Table`. One scan call returns a small dict whole."""

PARTITION_MAX_ENTRIES = 128
DEPTH_MAX = 24
"""Partitions are not split further than 2**24 ways; beyond 2**31 entries they just grow."""

MERGE_BELOW_ENTRIES = 16
MERGED_MAX_ENTRIES = 64
"""A partition that fell below the first is merged with its buddy if both have no more than the second."""

SAMPLE_BOUND_FACTOR = 4

SCAN_EMPTY_FACTOR = 10
"""A scan step looks at no more than count times this many partitions (Redis: maxiterations = count*10)."""

_HASH_BITS = 32
_HASH_MASK = (1 << _HASH_BITS) - 1
_REVERSED_BYTE = tuple(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

V = TypeVar("V")


def _reverse(bits: int) -> int:
    table = _REVERSED_BYTE
    return (
        table[bits & 255] << 24
        | table[bits >> 8 & 255] << 16
        | table[bits >> 16 & 255] << 8
        | table[bits >> 24 & 255]
    )


class Table(Generic[V]):
    """Table(dict) -> a mapping of bytes with `get`, `pop`, item access, `in`, `len` and iteration as a dict's.

    Get, set and pop are O(1); `scan` is O(count); `random_key` is O(1) expected.
    """

    __slots__ = ("_depths", "_mask", "_partitions", "_size")

    def __init__(self, entries: dict[bytes, V] | None = None) -> None:
        self._partitions: list[dict[bytes, V]] = [{}]
        self._depths: list[int] = [0]
        self._mask = 0
        self._size = 0
        if entries:
            for key, value in entries.items():
                self[key] = value

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: object) -> bool:
        return key in self._partitions[hash(key) & self._mask]

    def __getitem__(self, key: bytes) -> V:
        return self._partitions[hash(key) & self._mask][key]

    def get(self, key: bytes, default: V | None = None) -> V | None:
        """get(key) -> the value, or `default`."""
        return self._partitions[hash(key) & self._mask].get(key, default)

    def __setitem__(self, key: bytes, value: V) -> None:
        index = hash(key) & self._mask
        partition = self._partitions[index]
        before = len(partition)
        partition[key] = value
        after = len(partition)
        if after != before:
            self._size += 1
            if after > PARTITION_MAX_ENTRIES:
                self._split(index)

    def swap(self, key: bytes, value: V) -> V | None:
        """swap(key, value) -> the value that was there, or None; `value` is stored now."""
        index = hash(key) & self._mask
        partition = self._partitions[index]
        before = partition.get(key)
        partition[key] = value
        if before is None:
            self._size += 1
            if len(partition) > PARTITION_MAX_ENTRIES:
                self._split(index)
        return before

    def setdefault(self, key: bytes, value: V) -> V:
        """setdefault(key, value) -> the value that is there, or `value`, now stored."""
        if key in self:
            return self[key]
        self[key] = value
        return value

    def __delitem__(self, key: bytes) -> None:
        index = hash(key) & self._mask
        partition = self._partitions[index]
        del partition[key]
        self._size -= 1
        if len(partition) < MERGE_BELOW_ENTRIES:
            self._merge(index)

    def pop(self, key: bytes, default: V | None = None) -> V | None:
        """pop(key) -> the value that was removed, or `default`. Values are never None where that matters."""
        index = hash(key) & self._mask
        partition = self._partitions[index]
        if key not in partition:
            return default
        value = partition.pop(key)
        self._size -= 1
        if len(partition) < MERGE_BELOW_ENTRIES:
            self._merge(index)
        return value

    def clear(self) -> None:
        """clear() removes every entry. O(1) here; the old partitions are freed at once."""
        self._partitions = [{}]
        self._depths = [0]
        self._mask = 0
        self._size = 0

    def _split(self, index: int) -> None:
        depth = self._depths[index]
        if depth >= DEPTH_MAX:
            return
        if 1 << depth > self._mask:
            self._partitions += self._partitions
            self._depths += self._depths
            self._mask = len(self._partitions) - 1
        old = self._partitions[index]
        bit = 1 << depth
        low: dict[bytes, V] = {}
        high: dict[bytes, V] = {}
        for key, value in old.items():
            if hash(key) & bit:
                high[key] = value
            else:
                low[key] = value
        first = index & (bit - 1)
        for position in range(first, len(self._partitions), bit):
            self._partitions[position] = high if position & bit else low
            self._depths[position] = depth + 1

    def _merge(self, index: int) -> None:
        depth = self._depths[index]
        if depth == 0:
            return
        bit = 1 << (depth - 1)
        buddy = index ^ bit
        if self._depths[buddy] != depth:
            return
        if len(self._partitions[index]) + len(self._partitions[buddy]) > MERGED_MAX_ENTRIES:
            return
        merged = self._partitions[index] | self._partitions[buddy]
        for position in range(index & (bit - 1), len(self._partitions), bit):
            self._partitions[position] = merged
            self._depths[position] = depth - 1

    def _unique(self) -> Iterator[dict[bytes, V]]:
        depths = self._depths
        for index, partition in enumerate(self._partitions):
            if index < 1 << depths[index]:
                yield partition

    def __iter__(self) -> Iterator[bytes]:
        for partition in self._unique():
            yield from partition

    def keys(self) -> Iterator[bytes]:
        """keys() -> each key once; the table must not change while it is iterated."""
        return iter(self)

    def values(self) -> Iterator[V]:
        """values() -> each value once; the table must not change while it is iterated."""
        for partition in self._unique():
            yield from partition.values()

    def items(self) -> Iterator[tuple[bytes, V]]:
        """items() -> (key, value) pairs; the table must not change while it is iterated."""
        for partition in self._unique():
            yield from partition.items()

    def scan(self, cursor: int, count: int) -> tuple[int, list[tuple[bytes, V]]]:
        """scan(cursor, count) -> (next cursor or 0 at the end, items): at least `count` items unless at the end.

        Looks at no more than `count * SCAN_EMPTY_FACTOR` partitions, so a call is bounded even when the
        table was emptied. An item may be returned twice if its partition was split in between.
        """
        found: list[tuple[bytes, V]] = []
        position = cursor & _HASH_MASK
        for _ in range(max(1, count) * SCAN_EMPTY_FACTOR):
            index = _reverse(position) & self._mask
            depth = self._depths[index]
            found.extend(self._partitions[index].items())
            width = 1 << (_HASH_BITS - depth)
            position = (position & ~(width - 1)) + width
            if position > _HASH_MASK:
                return 0, found
            if len(found) >= count:
                break
        return position, found

    def random_key(self, rng: Random) -> bytes:
        """random_key(rng) -> a key, each with the same probability. O(1) expected; KeyError if empty.

        Rejection sampling: a random hash selects a partition with probability 2**-depth; it is accepted in
        proportion to its entries, bounded by SAMPLE_BOUND_FACTOR times the mean, which hashing keeps it under.
        """
        if not self._size:
            raise KeyError("random_key of an empty table")
        bound = SAMPLE_BOUND_FACTOR * self._size
        partitions, depths, mask = self._partitions, self._depths, self._mask
        random = rng.random
        while True:
            index = rng.getrandbits(_HASH_BITS) & mask
            partition = partitions[index]
            if random() * bound < len(partition) << depths[index]:
                return next(islice(partition, int(random() * len(partition)), None))

    def _check(self) -> None:
        """Assert the laws; tests call this after each operation."""
        assert len(self._partitions) == len(self._depths) == self._mask + 1
        total = 0
        for index, partition in enumerate(self._partitions):
            depth = self._depths[index]
            first = index & ((1 << depth) - 1)
            assert self._partitions[first] is partition
            assert all(hash(key) & ((1 << depth) - 1) == first for key in partition)
            if index == first:
                total += len(partition)
        assert total == self._size


Mapping = dict[bytes, V] | Table[V]


def grown(mapping: Mapping[V]) -> Mapping[V]:
    """grown(mapping) -> the mapping itself, or a `Table` of it if it is a dict past DICT_MAX_ENTRIES.

    Callers store the result after each insertion that may have crossed the bound.
    """
    if type(mapping) is dict and len(mapping) > DICT_MAX_ENTRIES:
        return Table(mapping)
    return mapping


def scan_step(mapping: Mapping[V], cursor: int, count: int) -> tuple[int, list[tuple[bytes, V]]]:
    """scan_step(mapping, cursor, count) -> (next cursor, items); a dict is returned whole, whatever the cursor."""
    if isinstance(mapping, Table):
        return mapping.scan(cursor, count)
    return 0, list(mapping.items())


def random_key(mapping: Mapping[V], rng: Random) -> bytes:
    """random_key(mapping, rng) -> a uniformly random key. O(DICT_MAX_ENTRIES) at most; KeyError if empty."""
    if isinstance(mapping, Table):
        return mapping.random_key(rng)
    if not mapping:
        raise KeyError("random_key of an empty mapping")
    return next(islice(mapping, int(rng.random() * len(mapping)), None))
