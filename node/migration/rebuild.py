"""A key as the commands that make it anew: what a slot migration sends of the keys it finds.

Law: run in order on a node without the key, the commands give the same value and time to live; none of them
names more than ELEMENTS_MAX elements, so that no single one keeps the other node busy for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

from ..keyspace import Value
from ..persistence.encode import dump_value
from ..reply import format_double
from ..values.hash import Hash
from ..values.list import List
from ..values.packed import unpacked
from ..values.set import Set
from ..values.sorted_set import SortedSet

ELEMENTS_MAX: Final = 512
"""Arguments of one command besides its name and key."""


def _hash(value: Hash) -> Iterable[bytes]:
    return chain.from_iterable(value.fields.items())


def _sorted_set(value: SortedSet) -> Iterable[bytes]:
    return chain.from_iterable((format_score(score), member) for member, score in value.scores.items())


def format_score(score: float) -> bytes:
    """format_score(1.5) -> b"1.5"; infinities as ZADD takes them."""
    if score in (float("inf"), float("-inf")):
        return b"inf" if score > 0 else b"-inf"
    return format_double(score)


_FILLED_BY: Final[dict[type, tuple[bytes, Callable[[Any], Iterable[bytes]]]]] = {
    Hash: (b"HSET", _hash),
    List: (b"RPUSH", List.present_elements),
    Set: (b"SADD", iter),
    SortedSet: (b"ZADD", _sorted_set),
}


def rebuild(key: bytes, value: Value, expiry_ms: int | None) -> Iterator[list[bytes]]:
    """rebuild(key, value, expiry_ms) -> commands. The value must not change while they are taken. O(n).

    A list may be held in another way meanwhile: one at rest is packed.
    """
    if type(value) in (bytes, bytearray):
        yield [b"SET", key, bytes(value)] + ([] if expiry_ms is None else [b"PXAT", b"%d" % expiry_ms])
        return
    value = unpacked(value)
    filled_by = _FILLED_BY.get(type(value))
    if filled_by is None:
        yield [b"RESTORE", key, b"%d" % (expiry_ms or 0), dump_value(value), b"REPLACE", b"ABSTTL"]
        return
    name, flatten = filled_by
    words = iter(flatten(value))
    while piece := [*islice(words, ELEMENTS_MAX)]:
        yield [name, key, *piece]
    if expiry_ms is not None:
        yield [b"PEXPIREAT", key, b"%d" % expiry_ms]
