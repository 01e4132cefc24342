"""What Python callers get instead of RESP2's flat arrays: dicts, sets, pairs, floats and booleans.

A shape is a function of the reply. It takes the RESP2 and the RESP3 form, decoded or not; null stays None.
"""

from __future__ import annotations

from typing import Any

from .topology import as_text


def as_bool(reply: Any) -> Any:
    """as_bool(reply) -> True for 1 and OK, False for 0, None for null."""
    return None if reply is None else bool(reply)


def as_float(reply: Any) -> Any:
    """as_float(reply) -> float or None."""
    return None if reply is None else float(reply)


def as_floats(reply: Any) -> Any:
    """as_floats(reply) -> list of float or None."""
    return [as_float(item) for item in reply]


def as_set(reply: Any) -> Any:
    """as_set(reply) -> set."""
    return set(reply)


def as_dict(reply: Any) -> Any:
    """as_dict(reply) -> dict, of a flat array of names and values."""
    if reply is None or isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


def as_bools(reply: Any) -> Any:
    """as_bools(reply) -> list of bool."""
    return [bool(item) for item in reply]


def as_scored(reply: Any) -> Any:
    """as_scored(reply) -> [(member, score)]; RESP3 sends pairs, RESP2 one flat array."""
    if not reply:
        return []
    if isinstance(reply[0], list):
        return [(member, float(score)) for member, score in reply]
    return [(member, float(score)) for member, score in zip(reply[::2], reply[1::2], strict=True)]


def as_popped(reply: Any) -> Any:
    """as_popped(reply) -> (key, member, score) or None, of BZPOPMIN and BZPOPMAX."""
    return None if reply is None else (reply[0], reply[1], float(reply[2]))


def as_pair(reply: Any) -> Any:
    """as_pair(reply) -> (key, value) or None, of BLPOP and BRPOP."""
    return None if reply is None else tuple(reply)


def as_name(reply: Any) -> Any:
    """as_name(reply) -> str, of a word that is Redis's own, such as a type."""
    return None if reply is None else as_text(reply)


def as_info(reply: Any) -> Any:
    """as_info(reply of INFO) -> {field: value}, numbers as int or float."""
    fields: dict[str, int | float | str] = {}
    for line in as_text(reply).splitlines():
        name, separator, value = line.partition(":")
        if separator and not line.startswith("#"):
            fields[name] = _number(value)
    return fields


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def as_cursor_page(reply: Any) -> Any:
    """as_cursor_page(reply of HSCAN, SSCAN, ZSCAN) -> (cursor, items)."""
    return int(reply[0]), reply[1]
