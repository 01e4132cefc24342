"""Lazy freeing: large values out of the keyspace, and databases that were flushed, are taken apart in small steps.

Law: a step's work is bounded by time; whatever is handed over belongs to nobody else, it is emptied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

FREED_AT_ONCE_MAX_ELEMENTS = 64
"""A value of no more elements is freed on the spot (Redis: LAZYFREE_THRESHOLD)."""

POPPED_PER_CHECK = 256
"""So many elements go between two looks at the clock."""


class LazyFree:
    """`add` what is to be freed; `step` takes it apart. `pending` and `freed` count objects."""

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self.pending = 0
        self.freed = 0

    def add(self, value: Any, objects: int = 1) -> None:
        """add(value): a value, or a container, that nothing refers to any more; it counts as `objects` values. O(1).

        What Redis would free at once counts as none: INFO tells of what UNLINK and ASYNC leave only.
        """
        if _is_large(value):
            self._parts.append(value)
            self.pending += objects

    def step(self, has_time: Callable[[], bool]) -> bool:
        """step(has_time) -> whether there is more to free. Stops soon after `has_time()` says no."""
        parts = self._parts
        while parts:
            part = parts.pop()
            parts.extend(filter(_is_large, _take_apart(part, parts)))
            if not has_time():
                break
        if not parts:
            self.freed += self.pending
            self.pending = 0
        return bool(parts)


def _is_large(value: Any) -> bool:
    """Whether to take it apart: structure always (it may hold large values), a value of the keyspace by size."""
    kind = type(value)
    if kind is int or value is None or kind is bytes or kind is str:
        return False
    if kind is dict or kind is list or kind is deque or kind is set:
        return bool(value)
    return hasattr(kind, "__slots__") and len(value) > FREED_AT_ONCE_MAX_ELEMENTS


def _take_apart(part: Any, parts: list[Any]) -> list[Any]:
    """Empty a container by some elements -> those elements; the rest of it goes back on the pile.

    An object of another kind (a Hash, a Table, an index) is as good as what its slots hold.
    """
    popped: list[Any] = []
    kind = type(part)
    if kind is dict:
        popped = [part.popitem()[1] for _ in range(min(POPPED_PER_CHECK, len(part)))]
    elif kind is list:
        popped = part[-POPPED_PER_CHECK:]
        del part[-POPPED_PER_CHECK:]
    elif kind is deque or kind is set:
        popped = [part.pop() for _ in range(min(POPPED_PER_CHECK, len(part)))]
    else:
        return [getattr(part, slot) for slot in kind.__slots__]
    if part:
        parts.append(part)
    return popped
