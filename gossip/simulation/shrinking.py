"""Which of a failed run's mishaps it takes to fail: delta debugging over the schedule (Zeller's ddmin)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
ATTEMPTS_MAX = 200
"""Runs that shrinking may cost, unless it is told otherwise."""


def shrink(items: Sequence[T], fails: Callable[[Sequence[T]], bool], attempts_max: int = ATTEMPTS_MAX) -> list[T]:
    """shrink(items, fails) -> a part of `items` that still fails, and of which no single one can be left out.

    `fails(items)` must hold. After `attempts_max` calls of it the smallest part so far is given.
    """
    left = list(items)
    chunk = max(1, len(left) // 2)
    attempts = 0
    while left:
        start, shrunk = 0, False
        while start < len(left):
            if attempts >= attempts_max:
                return left
            attempts += 1
            fewer = left[:start] + left[start + chunk :]
            if fails(fewer):
                left, shrunk = fewer, True
            else:
                start += chunk
        if chunk == 1 and not shrunk:
            break
        chunk = max(1, min(chunk // 2, len(left)))
    return left
