"""Estimates of what a key and its value occupy in memory, for MEMORY USAGE.

Law: sizes are Python's own (`sys.getsizeof`) of the objects held; elements of large collections are sampled.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from sys import getsizeof
from typing import Any

from .values.hash import Hash
from .values.list import List
from .values.set import Set
from .values.table import Table

ENTRY_BYTES = 104
"""A dict's share for one entry: index, hash and two references at a usual load."""


def key_bytes(key: bytes, has_expiry: bool) -> int:
    """key_bytes(b"k", True) -> the key, its entry in the database, and that in the expiry index."""
    return getsizeof(key) + ENTRY_BYTES + (2 * ENTRY_BYTES if has_expiry else 0)


def value_bytes(value: Any, samples: int) -> int:
    """value_bytes(value, 5) -> the value with its elements, their mean size taken from `samples`; 0: from all.

    A packed collection is one object, as a string is.
    """
    size = getsizeof(value)
    if isinstance(value, (bytes, bytearray, str)):
        return size
    if type(value) is List:
        return size + getsizeof(value.items) + _elements(((entry,) for entry in value.items), len(value.items), samples)
    if type(value) is Set:
        return size + _mapping(value.entries, samples, with_values=False)
    if type(value) is Hash:
        return size + _mapping(value.fields, samples, with_values=True)
    index_bytes = 2 * ENTRY_BYTES * len(value) if value.encoding != b"listpack" else 0
    return size + index_bytes + _mapping(value.scores, samples, with_values=True)


def _mapping(entries: Any, samples: int, *, with_values: bool) -> int:
    container = ENTRY_BYTES * len(entries) if type(entries) is Table else getsizeof(entries)
    pairs = entries.items() if with_values else ((key,) for key in entries)
    return container + _elements(pairs, len(entries), samples)


def _elements(elements: Iterable[tuple[object, ...]], count: int, samples: int) -> int:
    taken = [sum(map(getsizeof, parts)) for parts in (islice(elements, samples) if samples else elements)]
    return sum(taken) * count // len(taken) if taken else 0
