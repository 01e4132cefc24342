"""Values from the elements that a snapshot holds, in the encoding that their size calls for.

Law: duplicates, missing halves of pairs and scores that are no numbers are refused with `RdbFormatError`; an
empty collection gives None (Redis skips such keys when it loads a file, and refuses them in RESTORE).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from math import isnan
from typing import Final, Protocol

from ..keyspace import Value
from ..values.hash import Hash
from ..values.list import List
from ..values.set import Set, SetLimits
from ..values.sorted_set import LISTPACK as ZSET_LISTPACK
from ..values.sorted_set import SKIPLIST, SortedSet
from . import intset, listpack, rdb, ziplist, zipmap
from .errors import RdbFormatError


class Limits(SetLimits, Protocol):
    """The thresholds between small and large encodings: a `Config` has them."""

    list_max_listpack_size: int

    hash_max_listpack_entries: int
    hash_max_listpack_value: int
    zset_max_listpack_entries: int
    zset_max_listpack_value: int


class DefaultLimits:
    """Redis's default thresholds."""

    list_max_listpack_size = -2
    set_max_intset_entries = 512
    set_max_listpack_entries = 128
    set_max_listpack_value = 64
    hash_max_listpack_entries = 512
    hash_max_listpack_value = 64
    zset_max_listpack_entries = 128
    zset_max_listpack_value = 64


def build_list(elements: list[bytes], limits: Limits) -> Value | None:
    """build_list([b"a", b"b"], limits) -> a List. O(n)."""
    return List.of(elements, limits.list_max_listpack_size) if elements else None


def build_set(members: list[bytes], limits: Limits) -> Value | None:
    """build_set([b"a", b"b"], limits) -> a Set. O(n)."""
    if not members:
        return None
    made = Set.of(members, limits)
    if len(made) != len(members):
        raise RdbFormatError("duplicate set members")
    return made


def build_hash(items: list[bytes], limits: Limits) -> Value | None:
    """build_hash([field, value, ...], limits) -> a Hash. O(n)."""
    if not items:
        return None
    if len(items) & 1:
        raise RdbFormatError("hash field without a value")
    entries_max, value_max = limits.hash_max_listpack_entries, limits.hash_max_listpack_value
    made = Hash.of(zip(items[::2], items[1::2], strict=True), entries_max, value_max)
    if len(made) * 2 != len(items):
        raise RdbFormatError("duplicate hash fields")
    return made


def build_sorted_set(members: list[bytes], scores: list[float], limits: Limits) -> Value | None:
    """build_sorted_set([b"a"], [1.5], limits) -> a SortedSet. O(n log n)."""
    if not members:
        return None
    by_member = dict(zip(members, scores, strict=True))
    if len(by_member) != len(members):
        raise RdbFormatError("duplicate sorted set members")
    if any(map(isnan, scores)):
        raise RdbFormatError("sorted set score that is not a number")
    small = (
        len(members) <= limits.zset_max_listpack_entries
        and max(map(len, members)) <= limits.zset_max_listpack_value
    )
    return SortedSet(by_member, ZSET_LISTPACK if small else SKIPLIST)


def parse_score(text: bytes) -> float:
    """parse_score(b"1.5") -> 1.5; RdbFormatError if it is no number."""
    try:
        return float(text)
    except ValueError:
        raise RdbFormatError("sorted set score that is not a number") from None


def _sorted_set_of_pairs(items: list[bytes], limits: Limits) -> Value | None:
    if len(items) & 1:
        raise RdbFormatError("sorted set member without a score")
    return build_sorted_set(items[::2], [parse_score(text) for text in items[1::2]], limits)


def _set_of_integers(blob: bytes) -> list[bytes]:
    return [b"%d" % member for member in intset.decode(blob)]


_Build = Callable[[list[bytes], Limits], "Value | None"]

_BLOBS: Final[dict[int, tuple[Callable[[bytes], list[bytes]], _Build]]] = {
    rdb.TYPE_HASH_ZIPMAP: (zipmap.decode, build_hash),
    rdb.TYPE_LIST_ZIPLIST: (ziplist.decode, build_list),
    rdb.TYPE_SET_INTSET: (_set_of_integers, build_set),
    rdb.TYPE_ZSET_ZIPLIST: (ziplist.decode, _sorted_set_of_pairs),
    rdb.TYPE_HASH_ZIPLIST: (ziplist.decode, build_hash),
    rdb.TYPE_HASH_LISTPACK: (listpack.decode, build_hash),
    rdb.TYPE_ZSET_LISTPACK: (listpack.decode, _sorted_set_of_pairs),
    rdb.TYPE_SET_LISTPACK: (listpack.decode, build_set),
}
_COLLECTIONS: Final = frozenset(
    (
        rdb.TYPE_LIST,
        rdb.TYPE_SET,
        rdb.TYPE_ZSET,
        rdb.TYPE_HASH,
        rdb.TYPE_ZSET_2,
        rdb.TYPE_LIST_QUICKLIST,
        rdb.TYPE_LIST_QUICKLIST_2,
    )
)
_REFUSED: Final = {
    rdb.TYPE_MODULE_PRE_GA: "values of modules can't be read",
    rdb.TYPE_MODULE_2: "values of modules can't be read",
    rdb.TYPE_STREAM_LISTPACKS: "streams are not supported",
    rdb.TYPE_STREAM_LISTPACKS_2: "streams are not supported",
    rdb.TYPE_STREAM_LISTPACKS_3: "streams are not supported",
}


class CollectionReader:
    """Reads one collection that is written element by element, in as many steps as the bytes come in.

    `read` appends what the buffer holds; when `remaining` is 0, `build` gives the value. Elements are kept
    only as they arrive, so a false count costs nothing.
    """

    __slots__ = ("_elements", "_scores", "_type", "remaining")

    def __init__(self, value_type: int, count: int) -> None:
        self._type = value_type
        self._elements: list[bytes] = []
        self._scores: list[float] = []
        self.remaining = count * 2 if value_type == rdb.TYPE_HASH else count
        """Strings, pairs of member and score, or list nodes that are still to come."""

    def read(self, buffer: bytes, position: int) -> int:
        """read(buffer, position) -> the position after what was taken. Raises Short if that is nothing."""
        value_type = self._type
        if value_type in (rdb.TYPE_HASH, rdb.TYPE_SET, rdb.TYPE_LIST):
            before = len(self._elements)
            position = rdb.read_strings(buffer, position, self.remaining, self._elements)
            self.remaining -= len(self._elements) - before
            return position
        step = self._read_node if value_type in _QUICKLISTS else self._read_scored
        start = position
        try:
            while self.remaining:
                position = step(buffer, position)
                self.remaining -= 1
        except rdb.Short:
            if position == start:
                raise
        return position

    def _read_scored(self, buffer: bytes, position: int) -> int:
        member, position = rdb.read_string(buffer, position)
        if self._type == rdb.TYPE_ZSET_2:
            stop = position + rdb.DOUBLE.size
            if stop > len(buffer):
                raise rdb.Short(stop)
            score = rdb.DOUBLE.unpack_from(buffer, position)[0]
        else:
            score, stop = _read_text_score(buffer, position)
        self._elements.append(member)
        self._scores.append(score)
        return stop

    def _read_node(self, buffer: bytes, position: int) -> int:
        container = rdb.QUICKLIST_NODE_PACKED
        decode = ziplist.decode
        if self._type == rdb.TYPE_LIST_QUICKLIST_2:
            container, position = rdb.read_length(buffer, position)
            decode = listpack.decode
        node, after = rdb.read_string(buffer, position)
        if container == rdb.QUICKLIST_NODE_PACKED:
            try:
                self._elements += decode(node)
            except RdbFormatError as error:
                raise RdbFormatError(error.reason, position + error.offset) from None
        elif container == rdb.QUICKLIST_NODE_PLAIN and node:
            self._elements.append(node)
        else:
            raise RdbFormatError("list node of an unknown kind", position)
        return after

    def build(self, limits: Limits) -> Value | None:
        """build(limits) -> the value, or None if it has no element. `remaining` is 0."""
        if self._type in (rdb.TYPE_ZSET, rdb.TYPE_ZSET_2):
            return build_sorted_set(self._elements, self._scores, limits)
        if self._type == rdb.TYPE_HASH:
            return build_hash(self._elements, limits)
        if self._type == rdb.TYPE_SET:
            return build_set(self._elements, limits)
        return build_list(self._elements, limits)


_QUICKLISTS: Final = (rdb.TYPE_LIST_QUICKLIST, rdb.TYPE_LIST_QUICKLIST_2)
_SPECIAL_SCORES: Final = {253: float("nan"), 254: float("inf"), 255: float("-inf")}


def _read_text_score(buffer: bytes, position: int) -> tuple[float, int]:
    if position >= len(buffer):
        raise rdb.Short(position + 1)
    length = buffer[position]
    if length in _SPECIAL_SCORES:
        return _SPECIAL_SCORES[length], position + 1
    stop = position + 1 + length
    if stop > len(buffer):
        raise rdb.Short(stop)
    return parse_score(buffer[position + 1 : stop]), stop


def read_value(
    value_type: int, buffer: bytes, position: int, limits: Limits
) -> tuple[Value | CollectionReader | None, int]:
    """read_value(type, buffer, position, limits) -> (value, position after it).

    For a type that is written element by element, a `CollectionReader` and the position of the first
    element. None for an empty collection. Raises Short, RdbFormatError.
    """
    if value_type == rdb.TYPE_STRING:
        return rdb.read_string(buffer, position)
    if value_type in _BLOBS:
        blob, after = rdb.read_string(buffer, position)
        decode, build = _BLOBS[value_type]
        try:
            return build(decode(blob), limits), after
        except RdbFormatError as error:
            raise RdbFormatError(error.reason, position + error.offset) from None
    if value_type in _COLLECTIONS:
        count, position = rdb.read_length(buffer, position)
        return CollectionReader(value_type, count), position
    raise RdbFormatError(_REFUSED.get(value_type, f"unknown type {value_type}"), position)


def flatten_scores(items: list[tuple[bytes, float]], text: Callable[[float], bytes]) -> list[bytes]:
    """flatten_scores([(b"a", 1.0)], format_double) -> [b"a", b"1"]."""
    return list(chain.from_iterable((member, text(score)) for member, score in items))
