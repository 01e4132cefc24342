"""The order of a sorted set: members by (score, member), in blocks that are searched with bisect.

Laws: scores and members stand in parallel blocks of at most BLOCK_MAX_ENTRIES; no block is empty; the
last entry of each block is also in the two lists of maxima. Members with the same score are in the order
of their bytes (Redis: zslInsert). Scores are packed doubles: a search that would follow a pointer for each
comparison takes half as long again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import chain
from operator import itemgetter

BLOCK_MAX_ENTRIES = 384
"""A longer block is split in two."""

BLOCK_MIN_ENTRIES = 48
"""A shorter block is joined with a neighbour, if the two don't make more than JOINED_MAX_ENTRIES."""

JOINED_MAX_ENTRIES = 256
BUILT_BLOCK_ENTRIES = 256

Bound = tuple[int, int]
"""A position between two entries: (block, offset in the block)."""


class ScoreIndex:
    """ScoreIndex(items) -> the (member, score) pairs in order. Finding, inserting and removing are O(log n).

    A rank is an entry's position in ascending order, from 0. Ranks are found through a Fenwick tree over
    the lengths of the blocks, which is built when it is first needed and dropped when a block comes or goes.
    """

    __slots__ = ("_max_members", "_max_scores", "_members", "_scores", "_size", "_tree")

    def __init__(self, items: Iterable[tuple[bytes, float]]) -> None:
        pairs = list(items)
        pairs.sort(key=itemgetter(1))
        scores = [score for _, score in pairs]
        if len(set(scores)) != len(scores):
            pairs.sort()
            pairs.sort(key=itemgetter(1))
        members = [member for member, _ in pairs]
        steps = range(0, len(pairs), BUILT_BLOCK_ENTRIES)
        self._scores = [array("d", scores[at : at + BUILT_BLOCK_ENTRIES]) for at in steps]
        self._members = [members[at : at + BUILT_BLOCK_ENTRIES] for at in steps]
        self._max_scores = [block[-1] for block in self._scores]
        self._max_members = [block[-1] for block in self._members]
        self._size = len(pairs)
        self._tree: list[int] | None = None

    def __len__(self) -> int:
        return self._size

    # -- changing

    def insert(self, member: bytes, score: float) -> None:
        """insert(b"a", 1.5) adds an entry; the member must not be there. O(log n)."""
        maxima = self._max_scores
        at = bisect_left(maxima, score)
        if at < len(maxima):
            if maxima[at] == score:
                at = bisect_left(self._max_members, member, at, bisect_right(maxima, score, at))
        elif not maxima:
            self._scores.append(array("d", (score,)))
            self._members.append([member])
            maxima.append(score)
            self._max_members.append(member)
            self._size = 1
            self._tree = None
            return
        if at == len(maxima):
            at -= 1
            scores = self._scores[at]
            scores.append(score)
            self._members[at].append(member)
            maxima[at] = score
            self._max_members[at] = member
        else:
            scores = self._scores[at]
            members = self._members[at]
            offset = bisect_left(scores, score)
            if scores[offset] == score:
                offset = bisect_left(members, member, offset, bisect_right(scores, score, offset))
            scores.insert(offset, score)
            members.insert(offset, member)
        self._size += 1
        if len(scores) > BLOCK_MAX_ENTRIES:
            self._split(at)
        elif self._tree is not None:
            self._adjust(at, 1)

    def remove(self, member: bytes, score: float) -> None:
        """remove(b"a", 1.5) takes out an entry that is there, with exactly that score. O(log n)."""
        at, offset = self.before(score, member)
        scores = self._scores[at]
        members = self._members[at]
        assert members[offset] == member
        del scores[offset]
        del members[offset]
        self._size -= 1
        left = len(scores)
        if offset == left or left < BLOCK_MIN_ENTRIES:
            self._shrunk(at, 1)
        elif self._tree is not None:
            self._adjust(at, -1)

    def remove_ranks(self, start: int, stop: int) -> list[bytes]:
        """remove_ranks(0, 2) -> the members of ranks start to stop-1, taken out. O(log n + m + blocks)."""
        if start >= stop:
            return []
        first, offset = self._locate(start)
        left = stop - start
        self._size -= left
        if offset + left <= len(self._members[first]):
            removed = self._cut(first, offset, offset + left)
            self._shrunk(first, left)
            return removed
        removed = self._cut(first, offset, len(self._members[first])) if offset else []
        left -= len(removed)
        begin = end = first + 1 if offset else first
        while left and len(self._members[end]) <= left:
            removed += self._members[end]
            left -= len(self._members[end])
            end += 1
        del self._members[begin:end], self._scores[begin:end]
        del self._max_members[begin:end], self._max_scores[begin:end]
        self._tree = None
        if left:
            removed += self._cut(begin, 0, left)
            self._shrunk(begin, left)
        if offset:
            self._shrunk(first, 0)
        return removed

    def _cut(self, at: int, start: int, stop: int) -> list[bytes]:
        members = self._members[at]
        removed = members[start:stop]
        del members[start:stop]
        del self._scores[at][start:stop]
        return removed

    def pop_first(self) -> tuple[bytes, float]:
        """pop_first() -> the entry of rank 0, taken out; the index must not be empty. O(1)."""
        member = self._members[0].pop(0)
        scores = self._scores[0]
        score = scores.pop(0)
        self._size -= 1
        if len(scores) < BLOCK_MIN_ENTRIES:
            self._shrunk(0, 1)
        elif self._tree is not None:
            self._adjust(0, -1)
        return member, score

    def pop_last(self) -> tuple[bytes, float]:
        """pop_last() -> the entry of the highest rank, taken out; the index must not be empty. O(1)."""
        member = self._members[-1].pop()
        score = self._scores[-1].pop()
        self._size -= 1
        self._shrunk(len(self._members) - 1, 1)
        return member, score

    def _split(self, at: int) -> None:
        scores, members = self._scores[at], self._members[at]
        # A block that grows at its end (timestamps as scores) is left nearly full.
        last = at == len(self._scores) - 1
        half = len(scores) * 3 // 4 if last else len(scores) // 2
        self._scores.insert(at + 1, scores[half:])
        self._members.insert(at + 1, members[half:])
        del scores[half:]
        del members[half:]
        self._max_scores.insert(at, scores[-1])
        self._max_members.insert(at, members[-1])
        self._tree = None

    def _shrunk(self, at: int, count: int) -> None:
        scores, members = self._scores[at], self._members[at]
        if len(scores) < BLOCK_MIN_ENTRIES and self._join(at):
            return
        self._max_scores[at] = scores[-1]
        self._max_members[at] = members[-1]
        if self._tree is not None:
            self._adjust(at, -count)

    def _join(self, at: int) -> bool:
        scores, members = self._scores[at], self._members[at]
        if scores:
            if at + 1 < len(self._scores) and len(scores) + len(self._scores[at + 1]) <= JOINED_MAX_ENTRIES:
                self._scores[at + 1][:0] = scores
                self._members[at + 1][:0] = members
            elif at > 0 and len(scores) + len(self._scores[at - 1]) <= JOINED_MAX_ENTRIES:
                self._scores[at - 1] += scores
                self._members[at - 1] += members
                self._max_scores[at - 1] = scores[-1]
                self._max_members[at - 1] = members[-1]
            else:
                return False
        del self._scores[at], self._members[at], self._max_scores[at], self._max_members[at]
        self._tree = None
        return True

    # -- ranks

    def _adjust(self, at: int, change: int) -> None:
        tree = self._tree
        assert tree is not None
        position = at + 1
        while position < len(tree):
            tree[position] += change
            position += position & -position

    def _lengths(self) -> list[int]:
        tree = self._tree
        if tree is None:
            self._tree = tree = [0, *map(len, self._members)]
            for position in range(1, len(tree)):
                parent = position + (position & -position)
                if parent < len(tree):
                    tree[parent] += tree[position]
        return tree

    def rank(self, bound: Bound) -> int:
        """rank((block, offset)) -> how many entries stand before that position. O(log n)."""
        at, offset = bound
        if at == 0:
            return offset
        if at >= len(self._members) - 1:
            return self._size if at == len(self._members) else self._size - len(self._members[at]) + offset
        tree = self._lengths()
        while at:
            offset += tree[at]
            at &= at - 1
        return offset

    def _locate(self, rank: int) -> Bound:
        members = self._members
        if not members or rank < len(members[0]):
            return 0, rank
        from_last = rank - self._size + len(members[-1])
        if from_last >= 0:
            return len(members) - 1, from_last
        tree = self._lengths()
        at = 0
        step = 1 << (len(tree) - 1).bit_length() - 1
        while step:
            if at + step < len(tree) and tree[at + step] <= rank:
                at += step
                rank -= tree[at]
            step >>= 1
        return at, rank

    # -- searching

    def before_score(self, score: float) -> Bound:
        """before_score(1.5) -> the position before the first entry of at least that score. O(log n)."""
        at = bisect_left(self._max_scores, score)
        return at, bisect_left(self._scores[at], score) if at < len(self._scores) else 0

    def after_score(self, score: float) -> Bound:
        """after_score(1.5) -> the position after the last entry of at most that score. O(log n)."""
        at = bisect_right(self._max_scores, score)
        return at, bisect_right(self._scores[at], score) if at < len(self._scores) else 0

    def before(self, score: float, member: bytes) -> Bound:
        """before(1.5, b"a") -> the position of that entry, or where it would be inserted. O(log n)."""
        maxima = self._max_scores
        at = bisect_left(maxima, score)
        if at < len(maxima) and maxima[at] == score:
            at = bisect_left(self._max_members, member, at, bisect_right(maxima, score, at))
        if at == len(maxima):
            return at, 0
        scores = self._scores[at]
        offset = bisect_left(scores, score)
        if scores[offset] == score:
            offset = bisect_left(self._members[at], member, offset, bisect_right(scores, score, offset))
        return at, offset

    def before_member(self, member: bytes) -> Bound:
        """before_member(b"a") -> as `before` where all scores are the same (the BYLEX queries). O(log n)."""
        at = bisect_left(self._max_members, member)
        return at, bisect_left(self._members[at], member) if at < len(self._members) else 0

    def after_member(self, member: bytes) -> Bound:
        """after_member(b"a") -> the position after that member where all scores are the same. O(log n)."""
        at = bisect_right(self._max_members, member)
        return at, bisect_right(self._members[at], member) if at < len(self._members) else 0

    # -- reading

    def members(self, start: int, stop: int) -> list[bytes]:
        """members(0, 10) -> the members of ranks start to stop-1, in order. O(log n + m)."""
        if start >= stop:
            return []
        at, offset = self._locate(start)
        found = self._members[at][offset : offset + stop - start]
        while len(found) < stop - start:
            at += 1
            found += self._members[at][: stop - start - len(found)]
        return found

    def scores(self, start: int, stop: int) -> list[float]:
        """scores(0, 10) -> the scores of ranks start to stop-1, in order. O(log n + m)."""
        if start >= stop:
            return []
        at, offset = self._locate(start)
        found = self._scores[at][offset : offset + stop - start]
        while len(found) < stop - start:
            at += 1
            found += self._scores[at][: stop - start - len(found)]
        return found.tolist()

    def _check(self) -> None:
        """Assert the laws; tests call this after each operation."""
        scores = list(chain.from_iterable(self._scores))
        members = list(chain.from_iterable(self._members))
        pairs = list(zip(scores, members, strict=True))
        assert pairs == sorted(pairs)
        assert len(pairs) == self._size
        assert all(0 < len(block) <= BLOCK_MAX_ENTRIES for block in self._scores)
        assert self._max_scores == [block[-1] for block in self._scores]
        assert self._max_members == [block[-1] for block in self._members]
        for rank in range(0, self._size, max(1, self._size // 50)):
            assert self.rank(self._locate(rank)) == rank
            assert self.rank(self.before(*pairs[rank])) == rank
