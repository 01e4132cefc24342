"""Sorted sets by range: ZRANGE and its older forms, ZRANGESTORE, counting and removing by rank, score or lex.

Law: a range is parsed before the key is looked up, and turned into ranks (start, stop) of the set found.
"""

from __future__ import annotations

from math import isnan
from typing import Protocol

from ..client import Client
from ..command import command, key
from ..errors import CommandError, SyntaxError_
from ..parsing import float_or_none, parse_integer
from ..reply import EMPTY_ARRAY, ZERO, bulk_array, integer
from ..values.sorted_set import SortedSet
from .sorted_sets import find_sorted_set, pairs_reply, read_sorted_set, store

NOT_A_FLOAT = "min or max is not a float"
NOT_A_LEX_ITEM = "min or max not valid string range item"
LIMIT_NEEDS_BY = "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
NO_SCORES_BY_LEX = "syntax error, WITHSCORES not supported in combination with BYLEX"

BY_RANK = b"byrank"
BY_SCORE = b"byscore"
BY_LEX = b"bylex"


class Range(Protocol):
    """A parsed range."""

    def ranks(self, zset: SortedSet) -> tuple[int, int]:
        """ranks(zset) -> (start, stop): what of the set is in the range; empty if start >= stop. O(log n)."""


class RankRange:
    """RankRange(b"0", b"-1"): positions, negative ones from the end; in reverse, the last one is 0."""

    __slots__ = ("first", "last", "reverse")

    def __init__(self, first: bytes, last: bytes, reverse: bool = False) -> None:
        self.first = parse_integer(first)
        self.last = parse_integer(last)
        self.reverse = reverse

    def ranks(self, zset: SortedSet) -> tuple[int, int]:
        """As `Range.ranks`. O(1)."""
        size = len(zset)
        first = self.first if self.first >= 0 else max(0, size + self.first)
        last = min(self.last if self.last >= 0 else size + self.last, size - 1)
        if first > last:
            return 0, 0
        return (size - 1 - last, size - first) if self.reverse else (first, last + 1)


class ScoreRange:
    """ScoreRange(b"(1", b"+inf"): scores between the two, exclusive after `(` (Redis: zslParseRange)."""

    __slots__ = ("high", "high_open", "low", "low_open")

    def __init__(self, low: bytes, high: bytes) -> None:
        self.low_open = low[:1] == b"("
        self.high_open = high[:1] == b"("
        self.low = _bound(low[1:] if self.low_open else low)
        self.high = _bound(high[1:] if self.high_open else high)

    def ranks(self, zset: SortedSet) -> tuple[int, int]:
        """As `Range.ranks`."""
        index = zset.index
        low, high = self.low, self.high
        start = index.after_score(low) if self.low_open else index.before_score(low)
        stop = index.before_score(high) if self.high_open else index.after_score(high)
        return index.rank(start), index.rank(stop)


def _bound(text: bytes) -> float:
    """A bound as C's strtod reads it: what a score may be, nothing at all (0), and an overflow (infinite)."""
    value = float_or_none(text.lstrip(b" \t\n\v\f\r"))
    if value is not None:
        return value
    if not text:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        raise CommandError(NOT_A_FLOAT) from None
    if isnan(value) or b"_" in text or text[-1:].isspace():
        raise CommandError(NOT_A_FLOAT)
    return value


class LexRange:
    """LexRange(b"[a", b"(b"): members between the two in the order of bytes; `-` and `+` are the ends."""

    __slots__ = ("high", "low")

    def __init__(self, low: bytes, high: bytes) -> None:
        for item in (low, high):
            if item not in (b"-", b"+") and item[:1] not in (b"[", b"("):
                raise CommandError(NOT_A_LEX_ITEM)
        self.low = low
        self.high = high

    def ranks(self, zset: SortedSet) -> tuple[int, int]:
        """As `Range.ranks`; the members' scores should all be the same."""
        return self._rank(zset, self.low, b"("), self._rank(zset, self.high, b"[")

    @staticmethod
    def _rank(zset: SortedSet, item: bytes, after: bytes) -> int:
        if item == b"-":
            return 0
        if item == b"+":
            return len(zset)
        index = zset.index
        return index.rank(index.after_member(item[1:]) if item[:1] == after else index.before_member(item[1:]))


class _Query:
    """What ZRANGE and its relatives ask for, parsed (Redis: zrangeGenericCommand).

    `at` is the position of the source key; `by` and `reverse` are None where options say so (ZRANGE).
    """

    __slots__ = ("limit", "offset", "range", "reverse", "with_scores")

    def __init__(
        self, args: list[bytes], at: int, by: bytes | None, reverse: bool | None, storing: bool = False
    ) -> None:
        self.offset = 0
        self.limit = -1
        self.with_scores = False
        position = at + 3
        while position < len(args):
            word = args[position].lower()
            if word == b"withscores" and not storing:
                self.with_scores = True
            elif word == b"limit" and len(args) - position > 2:
                self.offset = parse_integer(args[position + 1])
                self.limit = parse_integer(args[position + 2])
                position += 2
            elif word == b"rev" and reverse is None:
                reverse = True
            elif word in (BY_SCORE, BY_LEX) and by is None:
                by = word
            else:
                raise SyntaxError_
            position += 1
        self.reverse = bool(reverse)
        if self.limit != -1 and by in (None, BY_RANK):
            raise CommandError(LIMIT_NEEDS_BY)
        if self.with_scores and by == BY_LEX:
            raise CommandError(NO_SCORES_BY_LEX)
        low, high = args[at + 1], args[at + 2]
        self.range: Range
        if by == BY_SCORE:
            self.range = ScoreRange(high, low) if reverse else ScoreRange(low, high)
        elif by == BY_LEX:
            self.range = LexRange(high, low) if reverse else LexRange(low, high)
        else:
            self.range = RankRange(low, high, self.reverse)
            self.offset = 0  # "LIMIT 5 -1" passes the check above and is ignored

    def ranks(self, zset: SortedSet) -> tuple[int, int]:
        """ranks(zset) -> (start, stop) after LIMIT; a negative offset gives nothing, a negative count all."""
        start, stop = self.range.ranks(zset)
        if self.offset < 0:
            return 0, 0
        if self.reverse:
            stop -= self.offset
            return (max(start, stop - self.limit) if self.limit >= 0 else start), stop
        start += self.offset
        return start, (min(stop, start + self.limit) if self.limit >= 0 else stop)


def _answer(client: Client, args: list[bytes], by: bytes | None, reverse: bool | None) -> bytes:
    """The reply of ZRANGE and its relatives."""
    query = _Query(args, 1, by, reverse)
    zset = read_sorted_set(client, args[1])
    if zset is None:
        return EMPTY_ARRAY
    start, stop = query.ranks(zset)
    members = zset.index.members(start, stop)
    if query.reverse:
        members.reverse()
    if not query.with_scores:
        return bulk_array(members)
    scores = zset.index.scores(start, stop)
    if query.reverse:
        scores.reverse()
    return pairs_reply(client, members, scores)


@command(
    "zrange",
    arity=-4,
    flags="readonly",
    keys=key("RO access"),
    categories="sortedset",
    since="1.2.0",
    group="sorted-set",
)
def zrange(client: Client, args: list[bytes]) -> bytes:
    """ZRANGE key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES] -> array of members

    Returns members in a sorted set within a range of indexes.

    Complexity: O(log(N)+M), N members of which M are returned
    """
    return _answer(client, args, None, None)


@command(
    "zrevrange",
    arity=-4,
    flags="readonly",
    keys=key("RO access"),
    categories="sortedset",
    since="1.2.0",
    group="sorted-set",
)
def zrevrange(client: Client, args: list[bytes]) -> bytes:
    """ZREVRANGE key start stop [WITHSCORES] -> array of members

    Returns members in a sorted set within a range of indexes in reverse order.

    Complexity: O(log(N)+M), N members of which M are returned
    """
    return _answer(client, args, BY_RANK, True)


@command(
    "zrangebyscore",
    arity=-4,
    flags="readonly",
    keys=key("RO access"),
    categories="sortedset",
    since="1.0.5",
    group="sorted-set",
)
def zrangebyscore(client: Client, args: list[bytes]) -> bytes:
    """ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count] -> array of members

    Returns members in a sorted set within a range of scores.

    Complexity: O(log(N)+M), N members of which M are returned
    """
    return _answer(client, args, BY_SCORE, False)


@command(
    "zrevrangebyscore",
    arity=-4,
    flags="readonly",
    keys=key("RO access"),
    categories="sortedset",
    since="2.2.0",
    group="sorted-set",
)
def zrevrangebyscore(client: Client, args: list[bytes]) -> bytes:
    """ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count] -> array of members

    Returns members in a sorted set within a range of scores in reverse order.

    Complexity: O(log(N)+M), N members of which M are returned
    """
    return _answer(client, args, BY_SCORE, True)


@command(
    "zrangebylex",
    arity=-4,
    flags="readonly",
    keys=key("RO access"),
    categories="sortedset",
    since="2.8.9",
    group="sorted-set",
)
def zrangebylex(client: Client, args: list[bytes]) -> bytes:
    """ZRANGEBYLEX key min max [LIMIT offset count] -> array of members

    Returns members in a sorted set within a lexicographical range.

    Complexity: O(log(N)+M), N members of which M are returned
    """
    return _answer(client, args, BY_LEX, False)


@command(
    "zrevrangebylex",
    arity=-4,
    flags="readonly",
    keys=key("RO access"),
    categories="sortedset",
    since="2.8.9",
    group="sorted-set",
)
def zrevrangebylex(client: Client, args: list[bytes]) -> bytes:
    """ZREVRANGEBYLEX key max min [LIMIT offset count] -> array of members

    Returns members in a sorted set within a lexicographical range in reverse order.

    Complexity: O(log(N)+M), N members of which M are returned
    """
    return _answer(client, args, BY_LEX, True)


@command(
    "zrangestore",
    arity=-5,
    flags="write denyoom",
    keys=key("OW update") + key("RO access", 2),
    categories="sortedset",
    since="6.2.0",
    group="sorted-set",
)
def zrangestore(client: Client, args: list[bytes]) -> bytes:
    """ZRANGESTORE dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset count] -> how many were stored

    Stores a range of members from sorted set in a key.

    Complexity: O(log(N)+M), N members of which M are stored
    """
    query = _Query(args, 2, None, None, storing=True)
    zset = read_sorted_set(client, args[2])
    return store(client, args[1], {} if zset is None else dict(zset.items(*query.ranks(zset))))


# -- counting


def _count(client: Client, name: bytes, wanted: Range) -> bytes:
    zset = read_sorted_set(client, name)
    if zset is None:
        return ZERO
    start, stop = wanted.ranks(zset)
    return integer(max(0, stop - start))


@command(
    "zcount",
    arity=4,
    flags="readonly fast",
    keys=key("RO access"),
    categories="sortedset",
    since="2.0.0",
    group="sorted-set",
)
def zcount(client: Client, args: list[bytes]) -> bytes:
    """ZCOUNT key min max -> how many members

    Returns the count of members in a sorted set that have scores within a range.

    Complexity: O(log(N)) for N members
    """
    return _count(client, args[1], ScoreRange(args[2], args[3]))


@command(
    "zlexcount",
    arity=4,
    flags="readonly fast",
    keys=key("RO access"),
    categories="sortedset",
    since="2.8.9",
    group="sorted-set",
)
def zlexcount(client: Client, args: list[bytes]) -> bytes:
    """ZLEXCOUNT key min max -> how many members

    Returns the number of members in a sorted set within a lexicographical range.

    Complexity: O(log(N)) for N members
    """
    return _count(client, args[1], LexRange(args[2], args[3]))


# -- removing


def _remove(client: Client, name: bytes, wanted: Range) -> bytes:
    """ZREMRANGEBY... (Redis: zremrangeGenericCommand)."""
    db = client.db
    zset = find_sorted_set(client, name)
    if zset is None:
        return ZERO
    start, stop = wanted.ranks(zset)
    if start >= stop:
        return ZERO
    removed = len(zset.remove_ranks(start, stop))
    db.shrunk(name, zset)
    db.keyspace.dirty += removed - 1
    return integer(removed)


@command(
    "zremrangebyrank",
    arity=4,
    flags="write",
    keys=key("RW delete"),
    categories="sortedset",
    since="2.0.0",
    group="sorted-set",
)
def zremrangebyrank(client: Client, args: list[bytes]) -> bytes:
    """ZREMRANGEBYRANK key start stop -> how many were removed

    Removes members in a sorted set within a range of indexes. Deletes the sorted set if all members were
    removed.

    Complexity: O(log(N)+M), N members of which M are removed
    """
    return _remove(client, args[1], RankRange(args[2], args[3]))


@command(
    "zremrangebyscore",
    arity=4,
    flags="write",
    keys=key("RW delete"),
    categories="sortedset",
    since="1.2.0",
    group="sorted-set",
)
def zremrangebyscore(client: Client, args: list[bytes]) -> bytes:
    """ZREMRANGEBYSCORE key min max -> how many were removed

    Removes members in a sorted set within a range of scores. Deletes the sorted set if all members were
    removed.

    Complexity: O(log(N)+M), N members of which M are removed
    """
    return _remove(client, args[1], ScoreRange(args[2], args[3]))


@command(
    "zremrangebylex",
    arity=4,
    flags="write",
    keys=key("RW delete"),
    categories="sortedset",
    since="2.8.9",
    group="sorted-set",
)
def zremrangebylex(client: Client, args: list[bytes]) -> bytes:
    """ZREMRANGEBYLEX key min max -> how many were removed

    Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all members were
    removed.

    Complexity: O(log(N)+M), N members of which M are removed
    """
    return _remove(client, args[1], LexRange(args[2], args[3]))
