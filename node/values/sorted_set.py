"""The sorted-set value: a score for each member, and on demand their order.

Laws: `scores` is the truth; the order is either absent or agrees with it after every method. It is built
by the first ordered query, or when the set grows past UNORDERED_MAX_ENTRIES, and kept up from then on:
so small and never-ordered sets don't pay for it, and no query sorts a large set.
"""

from __future__ import annotations

from math import isnan
from random import Random

from .score_index import ScoreIndex
from .table import Mapping, Table, grown, random_key, scan_step

UNORDERED_MAX_ENTRIES = 1024
"""A set of more members always has its index, so that an ordered query never sorts more than this."""

LISTPACK = b"listpack"
SKIPLIST = b"skiplist"


class SortedSet:
    """SortedSet(scores, encoding=b"listpack"): members (bytes) with scores, which are never NaN.

    `scores` (member -> score) is read freely and changed only through methods. `encoding` is OBJECT
    ENCODING's name; it goes from listpack to skiplist when `outgrow` says so, and never back. As in Redis,
    a listpack has no negative zero (Redis: zzlInsertAt stores it as an integer).
    """

    __slots__ = ("_index", "encoding", "scores")

    type_name = b"zset"

    def __init__(self, scores: dict[bytes, float] | None = None, encoding: bytes = LISTPACK) -> None:
        self.encoding = LISTPACK if encoding == LISTPACK else SKIPLIST
        if self.encoding is LISTPACK and scores:
            scores = {member: score + 0.0 for member, score in scores.items()}
        self.scores: Mapping[float] = grown(scores or {})
        self._index: ScoreIndex | None = None
        if len(self.scores) > UNORDERED_MAX_ENTRIES:
            self._index = ScoreIndex(self.scores.items())

    @classmethod
    def unordered(cls, scores: dict[bytes, float]) -> SortedSet:
        """unordered({b"a": 1.5}) -> a listpack of those scores, which it takes over; they were in one before. O(1)."""
        made = cls.__new__(cls)
        made.encoding = LISTPACK
        made.scores = grown(scores)
        made._index = None
        return made

    def __len__(self) -> int:
        return len(self.scores)

    def __contains__(self, member: object) -> bool:
        return member in self.scores

    def copy(self) -> SortedSet:
        """copy() -> an independent sorted set with the same members, scores and encoding. O(n)."""
        return SortedSet(dict(self.scores.items()), self.encoding)

    @property
    def index(self) -> ScoreIndex:
        """The order of the members; built now if it isn't there. O(UNORDERED_MAX_ENTRIES) at most."""
        index = self._index
        if index is None:
            self._index = index = ScoreIndex(self.scores.items())
        return index

    # -- changing

    def put(self, member: bytes, score: float) -> float | None:
        """put(b"a", 1.5) -> the score the member had, or None if it is new: then callers ask `outgrow`. O(log n)."""
        scores = self.scores
        if self.encoding is LISTPACK:
            score += 0.0
        if isinstance(scores, Table):
            before = scores.swap(member, score)
        else:
            before = scores.get(member)
            scores[member] = score
            if before is None:
                self.scores = grown(scores)
        index = self._index
        if index is None:
            if len(scores) > UNORDERED_MAX_ENTRIES:
                self._index = ScoreIndex(self.scores.items())
        elif before is None:
            index.insert(member, score)
        elif before != score:
            index.remove(member, before)
            index.insert(member, score)
        if before == score == 0:
            self.scores[member] = before  # 0 and -0 are equal: nothing was to be changed
        return before

    def remove(self, member: bytes) -> bool:
        """remove(b"a") -> whether the member was there; it is gone. O(log n)."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        if self._index is not None:
            self._index.remove(member, score)
        return True

    def remove_ranks(self, start: int, stop: int) -> list[bytes]:
        """remove_ranks(0, 2) -> the members of ranks start to stop-1, taken out. O(log n + m)."""
        removed = self.index.remove_ranks(start, stop)
        scores = self.scores
        for member in removed:
            del scores[member]
        return removed

    def pop_lowest(self) -> tuple[bytes, float]:
        """pop_lowest() -> (member, score) of rank 0, taken out of a non-empty set. O(1)."""
        index = self._index
        pair = (self.index if index is None else index).pop_first()
        del self.scores[pair[0]]
        return pair

    def pop_highest(self) -> tuple[bytes, float]:
        """pop_highest() -> (member, score) of the highest rank, taken out of a non-empty set. O(1)."""
        pair = self.index.pop_last()
        del self.scores[pair[0]]
        return pair

    def outgrow(self, entries_max: int, value_max: int, longest: int) -> None:
        """outgrow(128, 64, len(member)): a listpack that is too large now becomes a skiplist. O(1).

        `longest` is the length in bytes of the longest member that was added.
        """
        if self.encoding is LISTPACK and (len(self.scores) > entries_max or longest > value_max):
            self.encoding = SKIPLIST

    # -- reading

    def score(self, member: bytes) -> float | None:
        """score(b"a") -> its score, or None. O(1)."""
        return self.scores.get(member)

    def rank(self, member: bytes) -> int | None:
        """rank(b"a") -> its position in ascending order from 0, or None. O(log n)."""
        score = self.scores.get(member)
        if score is None:
            return None
        index = self.index
        return index.rank(index.before(score, member))

    def members(self, start: int = 0, stop: int | None = None) -> list[bytes]:
        """members() -> all members in order, or those of ranks start to stop-1. O(log n + m)."""
        return self.index.members(start, len(self.scores) if stop is None else stop)

    def items(self, start: int = 0, stop: int | None = None) -> list[tuple[bytes, float]]:
        """items() -> all (member, score) in order, or those of ranks start to stop-1. O(log n + m)."""
        index = self.index
        if stop is None:
            stop = len(self.scores)
        return list(zip(index.members(start, stop), index.scores(start, stop), strict=True))

    def scan(self, cursor: int, count: int) -> tuple[int, list[tuple[bytes, float]]]:
        """scan(cursor, count) -> (next cursor or 0, (member, score) pairs), in bounded work (ZSCAN)."""
        return scan_step(self.scores, cursor, count)

    def random_member(self, rng: Random) -> bytes:
        """random_member(rng) -> a uniformly random member; KeyError if there is none. O(1) expected."""
        return random_key(self.scores, rng)

    def _check(self) -> None:
        """Assert the laws; tests call this after each operation."""
        assert not any(isnan(score) for score in self.scores.values())
        assert self._index is not None or len(self.scores) <= UNORDERED_MAX_ENTRIES
        if self._index is not None:
            self._index._check()
            assert dict(self.items()) == dict(self.scores.items())
            assert len(self._index) == len(self.scores)
