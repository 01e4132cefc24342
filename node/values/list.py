"""The list value: a deque of elements, O(1) at both ends, and Redis's rules for its two encodings.

Law: `encoding` follows Redis 7.2 (t_list.c): a listpack becomes a quicklist when it grows past
list-max-listpack-size, and turns back once it shrank to half of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import ClassVar

LISTPACK = b"listpack"
QUICKLIST = b"quicklist"

WALK_MAX_ELEMENTS = 1000
"""A range that starts deeper than this is reached by rotating the deque, which moves whole blocks."""

REBUILD_MIN_ELEMENTS = 64
"""LTRIM pops so many elements one by one; beyond that it copies what stays, if that is less."""

REMOVE_MAX_SEARCHES = 16
"""LREM of no more than this searches for each element in turn; of more, it copies the list once."""

_HEADER_BYTES = 7
_SIZES_BYTES = (4096, 8192, 16384, 32768, 65536)
_SAFETY_BYTES = 8192
_NO_LIMIT = 1 << 62


def entry_bytes(element: bytes) -> int:
    """entry_bytes(b"abc") -> 5: what a string takes in a listpack, with its header and back length."""
    length = len(element)
    return length + 2 if length < 64 else length + 4


class List:
    """List(elements) -> a list in the encoding that Redis would load it in.

    `size_bytes` is the size as one listpack. The limits are the process's (CONFIG list-max-listpack-size),
    set by `configure`; they take effect on a list when it next grows or shrinks.
    """

    __slots__ = ("encoding", "items", "size_bytes")

    type_name = b"list"

    grow_max_bytes: ClassVar[int] = 8192
    grow_max_entries: ClassVar[int] = _NO_LIMIT
    shrink_max_bytes: ClassVar[int] = 4096
    shrink_max_entries: ClassVar[int] = _NO_LIMIT

    def __init__(self, elements: Iterable[bytes] = ()) -> None:
        self.items: deque[bytes] = deque(elements)
        self.size_bytes = _HEADER_BYTES + sum(map(entry_bytes, self.items))
        fits = self.size_bytes <= List.grow_max_bytes and len(self.items) <= List.grow_max_entries
        self.encoding = LISTPACK if fits else QUICKLIST

    @classmethod
    def configure(cls, list_max_listpack_size: int) -> None:
        """configure(-2) sets the limits: entries (0 counts as 1), or a negative size class (-1: 4 KB)."""
        if list_max_listpack_size >= 0:
            cls.grow_max_entries = max(1, list_max_listpack_size)
            cls.grow_max_bytes = _SAFETY_BYTES
            cls.shrink_max_entries = cls.grow_max_entries // 2
            cls.shrink_max_bytes = _NO_LIMIT
        else:
            cls.grow_max_bytes = _SIZES_BYTES[min(-list_max_listpack_size, len(_SIZES_BYTES)) - 1]
            cls.grow_max_entries = _NO_LIMIT
            cls.shrink_max_bytes = cls.grow_max_bytes // 2
            cls.shrink_max_entries = _NO_LIMIT

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.items)

    def __reversed__(self) -> Iterator[bytes]:
        return reversed(self.items)

    # -- the ends

    def append(self, element: bytes) -> None:
        """append(element) at the tail. O(1)."""
        length = len(element)
        items = self.items
        if self.encoding is LISTPACK and (
            self.size_bytes + length > List.grow_max_bytes or len(items) >= List.grow_max_entries
        ):
            self.encoding = QUICKLIST
        items.append(element)
        self.size_bytes += length + 2 if length < 64 else length + 4

    def appendleft(self, element: bytes) -> None:
        """appendleft(element) at the head. O(1)."""
        length = len(element)
        items = self.items
        if self.encoding is LISTPACK and (
            self.size_bytes + length > List.grow_max_bytes or len(items) >= List.grow_max_entries
        ):
            self.encoding = QUICKLIST
        items.appendleft(element)
        self.size_bytes += length + 2 if length < 64 else length + 4

    def extend(self, elements: list[bytes]) -> None:
        """extend(elements) pushes them one after the other at the tail. O(len(elements))."""
        self.grow(elements)
        self.items.extend(elements)

    def extendleft(self, elements: list[bytes]) -> None:
        """extendleft(elements) pushes them one after the other at the head. O(len(elements))."""
        self.grow(elements)
        self.items.extendleft(elements)

    def pop(self) -> bytes:
        """pop() -> the tail, taken out; IndexError if the list is empty. O(1)."""
        element = self.items.pop()
        length = len(element)
        self.size_bytes -= length + 2 if length < 64 else length + 4
        if self.encoding is QUICKLIST and self.size_bytes <= List.shrink_max_bytes:
            self.shrink()
        return element

    def popleft(self) -> bytes:
        """popleft() -> the head, taken out; IndexError if the list is empty. O(1)."""
        element = self.items.popleft()
        length = len(element)
        self.size_bytes -= length + 2 if length < 64 else length + 4
        if self.encoding is QUICKLIST and self.size_bytes <= List.shrink_max_bytes:
            self.shrink()
        return element

    def take(self, count: int, *, left: bool) -> list[bytes]:
        """take(2, left=False) -> up to `count` elements taken out at an end, outermost first. O(count)."""
        items = self.items
        pop = items.popleft if left else items.pop
        taken = [pop() for _ in range(min(count, len(items)))]
        self.size_bytes -= sum(map(entry_bytes, taken))
        self.shrink()
        return taken

    # -- the encoding

    def grow(self, elements: list[bytes]) -> None:
        """grow(elements): they are about to be inserted; counts their size and converts if need be."""
        if self.encoding is LISTPACK and (
            self.size_bytes + sum(map(len, elements)) > List.grow_max_bytes
            or len(self.items) + len(elements) > List.grow_max_entries
        ):
            self.encoding = QUICKLIST
        self.size_bytes += sum(map(entry_bytes, elements))

    def shrink(self) -> None:
        """shrink(): elements went; converts back to a listpack at half the limit. O(1).

        Redis also wants the quicklist to have one node only, which is so if all elements fit one.
        """
        if (
            self.encoding is QUICKLIST
            and self.size_bytes <= List.shrink_max_bytes
            and len(self.items) <= List.shrink_max_entries
            and (self.size_bytes <= _SIZES_BYTES[-1] or len(self.items) == 1)
        ):
            self.encoding = LISTPACK

    # -- by position and by value

    def __getitem__(self, index: int) -> bytes:
        """list[index]: IndexError if out of range. O(1) near the ends, else O(n) in steps of 64."""
        return self.items[index]

    def replace(self, index: int, element: bytes) -> None:
        """replace(index, element): LSET; IndexError if out of range, though the encoding may have changed."""
        if self.encoding is LISTPACK and (
            self.size_bytes + len(element) > List.grow_max_bytes or len(self.items) >= List.grow_max_entries
        ):
            self.encoding = QUICKLIST
        old = self.items[index]
        self.items[index] = element
        self.size_bytes += entry_bytes(element) - entry_bytes(old)
        self.shrink()

    def insert(self, pivot: bytes, element: bytes, *, after: bool) -> bool:
        """insert(pivot, element, after=True) -> whether the pivot was found. O(n).

        Like Redis it converts before it looks for the pivot.
        """
        try:
            index = self.items.index(pivot)
        except ValueError:
            index = -1
        before_bytes = self.size_bytes
        self.grow([element])
        if index < 0:
            self.size_bytes = before_bytes
            return False
        self.items.insert(index + after, element)
        return True

    def remove(self, element: bytes, count: int) -> int:
        """remove(element, count) -> how many equal ones went: all if 0, from the tail if < 0. O(n)."""
        items = self.items
        before = len(items)
        if count == 0:
            self.items = deque([item for item in items if item != element])
        else:
            if count < 0:
                items.reverse()
            if abs(count) <= REMOVE_MAX_SEARCHES:
                _remove_by_search(items, element, abs(count))
            else:
                self.items = _without_first(items, element, abs(count))
            if count < 0:
                self.items.reverse()
        removed = before - len(self.items)
        if removed:
            self.size_bytes -= removed * entry_bytes(element)
            self.shrink()
        return removed

    def trim(self, start: int, stop: int) -> int:
        """trim(start, stop) -> how many went; [start, stop) within the bounds stays. O(removed)."""
        items = self.items
        length = len(items)
        removed = length - (stop - start)
        if removed <= max(REBUILD_MIN_ELEMENTS, length // 2):
            gone = [items.popleft() for _ in range(start)]
            gone += [items.pop() for _ in range(length - stop)]
            self.size_bytes -= sum(map(entry_bytes, gone))
        else:
            self.items = deque(self.slice(start, stop))
            self.size_bytes = _HEADER_BYTES + sum(map(entry_bytes, self.items))
        self.shrink()
        return removed

    def slice(self, start: int, stop: int) -> list[bytes]:
        """slice(start, stop) -> the elements in [start, stop), 0 <= start <= stop <= len.

        O(d + n), d being the distance to the nearer end.
        """
        items = self.items
        if start <= WALK_MAX_ELEMENTS:
            return [*islice(items, start, stop)]
        length = len(items)
        if length - stop <= WALK_MAX_ELEMENTS:
            found = [*islice(reversed(items), length - stop, length - start)]
            found.reverse()
            return found
        items.rotate(-start)
        found = [*islice(items, stop - start)]
        items.rotate(start)
        return found

    def positions(self, element: bytes, *, backward: bool, skip: int, count: int, limit: int) -> list[int]:
        """positions(...) -> at most `count` indexes of equal elements (LPOS), in the order of the search.

        `skip` matches are passed over first; only the first `limit` elements are compared. O(n).
        """
        items = self.items
        length = len(items)
        if backward:
            found = []
            for distance, item in enumerate(islice(reversed(items), limit)):
                if item == element:
                    if skip:
                        skip -= 1
                        continue
                    found.append(length - 1 - distance)
                    if len(found) == count:
                        break
            return found
        found = []
        index = -1
        stop = min(limit, length)
        while len(found) < count:
            try:
                index = items.index(element, index + 1, stop)
            except ValueError:
                break
            if skip:
                skip -= 1
            else:
                found.append(index)
        return found

    def copy(self) -> List:
        """copy() -> an independent list in the same encoding. O(n)."""
        twin = List.__new__(List)
        twin.items = self.items.copy()
        twin.size_bytes = self.size_bytes
        twin.encoding = self.encoding
        return twin

    def _check(self) -> None:
        """Assert the laws; tests call this after each operation."""
        assert self.size_bytes == _HEADER_BYTES + sum(map(entry_bytes, self.items))
        assert self.encoding in (LISTPACK, QUICKLIST)


def _remove_by_search(items: deque[bytes], element: bytes, count: int) -> None:
    for _ in range(count):
        try:
            items.remove(element)
        except ValueError:
            return


def _without_first(items: deque[bytes], element: bytes, count: int) -> deque[bytes]:
    kept: deque[bytes] = deque()
    rest = iter(items)
    for item in rest:
        if item != element:
            kept.append(item)
        elif (count := count - 1) == 0:
            kept.extend(rest)
    return kept
