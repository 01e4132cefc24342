"""The list value: a deque of elements, O(1) at both ends, and Redis's rules for its two encodings.

Law: `encoding` follows Redis 7.2 (t_list.c): a listpack becomes a quicklist when it grows past
list-max-listpack-size, and turns back once it shrank to half of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

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
_ANY_SIZE_BYTES = _SIZES_BYTES[0]
"""A listpack of no more than this fits every negative limit."""
_SHRINK_ANY_BYTES = _SIZES_BYTES[-1] // 2
"""A quicklist of more than this is over half of every negative limit."""
_SAFETY_BYTES = 8192


def entry_bytes(element: bytes) -> int:
    """entry_bytes(b"abc") -> 5: what a string takes in a listpack, with its header and back length."""
    length = len(element)
    return length + 2 if length < 64 else length + 4


class List:
    """List() -> an empty list, which counts as a listpack until it outgrows its limit.

    `fill` arguments are list-max-listpack-size: a number of entries (0 counts as 1), or a negative size
    class (-1: 4 KB to -5: 64 KB). `size_bytes` is the size as one listpack, integers taken as strings.
    """

    __slots__ = ("encoding", "items", "size_bytes")

    type_name = b"list"

    def __init__(self) -> None:
        self.items: deque[bytes] = deque()
        self.size_bytes = _HEADER_BYTES
        self.encoding = LISTPACK

    @classmethod
    def of(cls, elements: Iterable[bytes], fill: int) -> List:
        """of(elements, -2) -> a list of those elements, in the encoding that a loader gives it. O(n)."""
        made = cls()
        made.items.extend(elements)
        made.size_bytes += sum(map(entry_bytes, made.items))
        if _exceeds(fill, made.size_bytes, len(made.items)):
            made.encoding = QUICKLIST
        return made

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.items)

    def __reversed__(self) -> Iterator[bytes]:
        return reversed(self.items)

    # -- the ends

    def append(self, element: bytes, fill: int) -> None:
        """append(element, fill) at the tail. O(1)."""
        length = len(element)
        if self.encoding is LISTPACK and (fill >= 0 or self.size_bytes + length > _ANY_SIZE_BYTES):
            self._make_room(length, 1, fill)
        self.items.append(element)
        self.size_bytes += length + 2 if length < 64 else length + 4

    def appendleft(self, element: bytes, fill: int) -> None:
        """appendleft(element, fill) at the head. O(1)."""
        length = len(element)
        if self.encoding is LISTPACK and (fill >= 0 or self.size_bytes + length > _ANY_SIZE_BYTES):
            self._make_room(length, 1, fill)
        self.items.appendleft(element)
        self.size_bytes += length + 2 if length < 64 else length + 4

    def extend(self, elements: list[bytes], fill: int) -> None:
        """extend(elements, fill) pushes them one after the other at the tail. O(len(elements))."""
        self._make_room(sum(map(len, elements)), len(elements), fill)
        self.items.extend(elements)
        self.size_bytes += sum(map(entry_bytes, elements))

    def extendleft(self, elements: list[bytes], fill: int) -> None:
        """extendleft(elements, fill) pushes them one after the other at the head. O(len(elements))."""
        self._make_room(sum(map(len, elements)), len(elements), fill)
        self.items.extendleft(elements)
        self.size_bytes += sum(map(entry_bytes, elements))

    def pop(self, fill: int) -> bytes:
        """pop(fill) -> the tail, taken out; IndexError if the list is empty. O(1)."""
        element = self.items.pop()
        length = len(element)
        self.size_bytes -= length + 2 if length < 64 else length + 4
        if self.encoding is QUICKLIST and (fill >= 0 or self.size_bytes <= _SHRINK_ANY_BYTES):
            self._shrunk(fill)
        return element

    def popleft(self, fill: int) -> bytes:
        """popleft(fill) -> the head, taken out; IndexError if the list is empty. O(1)."""
        element = self.items.popleft()
        length = len(element)
        self.size_bytes -= length + 2 if length < 64 else length + 4
        if self.encoding is QUICKLIST and (fill >= 0 or self.size_bytes <= _SHRINK_ANY_BYTES):
            self._shrunk(fill)
        return element

    def take(self, count: int, fill: int, *, left: bool) -> list[bytes]:
        """take(2, fill, left=False) -> up to `count` elements taken off one end in turn. O(count)."""
        items = self.items
        pop = items.popleft if left else items.pop
        taken = [pop() for _ in range(min(count, len(items)))]
        self.size_bytes -= sum(map(entry_bytes, taken))
        self._shrunk(fill)
        return taken

    # -- the encoding

    def _make_room(self, more_bytes: int, more_entries: int, fill: int) -> None:
        """Before elements are inserted (listTypeTryConvertListpack); their headers don't count there."""
        if _exceeds(fill, self.size_bytes + more_bytes, len(self.items) + more_entries):
            self.encoding = QUICKLIST

    def _shrunk(self, fill: int) -> None:
        """After elements went (listTypeTryConvertQuicklist): a listpack again at half the limit.

        Redis also asks that the quicklist be a single node; so it is taken to be if one node could hold it.
        """
        if self.encoding is LISTPACK:
            return
        if fill < 0:
            fits = self.size_bytes <= _size_class_bytes(fill) // 2
        else:
            count = len(self.items)
            fits = count <= max(1, fill) // 2 and (count == 1 or self.size_bytes <= _SAFETY_BYTES)
        if fits:
            self.encoding = LISTPACK

    # -- by position and by value

    def __getitem__(self, index: int) -> bytes:
        """list[index]: IndexError if out of range. O(1) near the ends, else O(n) in steps of 64."""
        return self.items[index]

    def replace(self, index: int, element: bytes, fill: int) -> None:
        """replace(index, element, fill): LSET. IndexError if out of range, the encoding may have changed."""
        self._make_room(len(element), 1, fill)
        old = self.items[index]
        self.items[index] = element
        self.size_bytes += entry_bytes(element) - entry_bytes(old)
        self._shrunk(fill)

    def insert(self, pivot: bytes, element: bytes, fill: int, *, after: bool) -> bool:
        """insert(pivot, element, fill, after=True) -> whether the pivot was found. O(n).

        Like Redis it converts before it looks for the pivot.
        """
        self._make_room(len(element), 1, fill)
        try:
            index = self.items.index(pivot)
        except ValueError:
            return False
        self.items.insert(index + after, element)
        self.size_bytes += entry_bytes(element)
        return True

    def remove(self, element: bytes, count: int, fill: int) -> int:
        """remove(element, count, fill) -> how many equal ones went: from the tail if < 0, all if 0. O(n)."""
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
            self._shrunk(fill)
        return removed

    def trim(self, start: int, stop: int, fill: int) -> int:
        """trim(start, stop, fill) -> how many went; [start, stop) within the bounds stays. O(removed)."""
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
        self._shrunk(fill)
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


def _size_class_bytes(fill: int) -> int:
    return _SIZES_BYTES[min(-fill, len(_SIZES_BYTES)) - 1]


def _exceeds(fill: int, size_bytes: int, entries: int) -> bool:
    """Whether a listpack of that size is over the limit (Redis: quicklistNodeExceedsLimit)."""
    if fill < 0:
        return size_bytes > _size_class_bytes(fill)
    return size_bytes > _SAFETY_BYTES or entries > max(1, fill)


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
