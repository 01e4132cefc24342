"""How the replies to the parts of a command that went to several nodes become one reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .command_table import Combine


def _first(replies: list[Any]) -> Any:
    return replies[0]


def _chain(replies: list[Any]) -> list[Any]:
    return [item for reply in replies for item in reply]


def _pick(replies: list[Any]) -> Any:
    return next((reply for reply in replies if reply is not None), None)


def _all_true(replies: list[Any]) -> list[int]:
    return [min(items) for items in zip(*replies, strict=True)]


_COMBINERS: dict[Combine, Callable[[list[Any]], Any]] = {
    Combine.FIRST: _first,
    Combine.SUM: sum,
    Combine.MIN: min,
    Combine.AND: _all_true,
    Combine.CHAIN: _chain,
    Combine.ORDER: _chain,
    Combine.PICK: _pick,
}


def combine_replies(combine: Combine, replies: list[Any], order: Sequence[int]) -> Any:
    """combine_replies(combine, replies, order) -> one reply.

    For ORDER, `order[i]` is the place in the result of the i-th item of all replies in a row.
    """
    combined = _COMBINERS[combine](replies)
    if combine is not Combine.ORDER:
        return combined
    result = [None] * len(order)
    for place, item in zip(order, combined, strict=True):
        result[place] = item
    return result
