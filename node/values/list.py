"""The list value: a deque of elements, O(1) at both ends, and Redis's rules for its two encodings.

Laws: inside a long list the deque's entries are blocks of elements (`list_blocks`). `encoding` follows Redis 7.2
(t_list.c): a listpack becomes a quicklist when it grows past list-max-listpack-size, and turns back once it shrank to
half of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice

from .list_blocks import (
    BLOCK_ELEMENTS,
    BLOCK_MAX_BYTES,
    END_ELEMENTS,
    PACKED_AT_ONCE_MAX,
    RUN_ELEMENTS,
    Block,
    Entries,
    between,
    blocked,
    count_hidden,
    elements_in,
    elements_of,
    find,
    locate,
    pack_behind_end,
    pack_from,
    reversed_elements_of,
    without,
)

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
_NO_BLOCK = (0, 0, b"")
_UNTIL_BLOCKS_BYTES = 1 << 16
_UNTIL_BLOCKS_ELEMENTS = PACKED_AT_ONCE_MAX - RUN_ELEMENTS
"""When a quicklist has grown by so much, what came to its inside goes into blocks: all of it, in one step. (When a
quarter of it came to one end while blocks were opened at the other, that does.)"""


def entry_bytes(element: bytes) -> int:
    """entry_bytes(b"abc") -> 5: what a string takes in a listpack, with its header and back length."""
    length = len(element)
    return length + 2 if length < 64 else length + 4


class List:
    """List() -> an empty list, which counts as a listpack until it outgrows its limit.

    `fill` arguments are list-max-listpack-size: a number of entries (0 counts as 1), or a negative size
    class (-1: 4 KB to -5: 64 KB). `size_bytes` is the size as one listpack, integers taken as strings.
    `hidden` is how many more elements there are than entries in `items`, 0 for a list without blocks.
    """

    __slots__ = ("_first_block", "_look_at_bytes", "_pack_from", "encoding", "hidden", "items", "size_bytes")

    type_name = b"list"

    def __init__(self) -> None:
        self.items: Entries = deque()
        self.hidden = 0
        self.size_bytes = _HEADER_BYTES
        self.encoding = LISTPACK
        self._look_at_bytes = _ANY_SIZE_BYTES
        self._first_block = _NO_BLOCK
        self._pack_from = 0

    @classmethod
    def of(cls, elements: Iterable[bytes], fill: int) -> List:
        """of(elements, -2) -> a list of those elements, in the encoding that a loader gives it. O(n)."""
        made = cls()
        made.items.extend(elements)
        made.size_bytes += sum(map(entry_bytes, made.items))
        if _exceeds(fill, made.size_bytes, len(made.items)):
            made.encoding = QUICKLIST
            if made._may_be_packed():
                inside = blocked(islice(made.items, END_ELEMENTS, len(made.items) - END_ELEMENTS))
                ends = made.slice(0, END_ELEMENTS), made.slice(len(made) - END_ELEMENTS, len(made))
                made.items = deque(chain(ends[0], inside, ends[1]))
                made.hidden = count_hidden(made.items)
            made._look_at_bytes = made.size_bytes + made._until_blocks_bytes()
        return made

    @classmethod
    def small(cls, elements: list[bytes], size_bytes: int, encoding: bytes) -> List:
        """small(elements, size_bytes, encoding) -> a list that was one before. O(n)."""
        made = cls()
        made.items.extend(elements)
        made.size_bytes = size_bytes
        made.encoding = encoding
        return made

    def __len__(self) -> int:
        return len(self.items) + self.hidden

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(map(elements_of, self.items)) if self.hidden else iter(self.items)

    def present_elements(self) -> Iterator[bytes]:
        """present_elements() -> an iterator over the elements as they are now, whatever becomes of the list. O(n)."""
        return chain.from_iterable(map(elements_of, [*self.items]))

    def __reversed__(self) -> Iterator[bytes]:
        entries = reversed(self.items)
        return chain.from_iterable(map(reversed_elements_of, entries)) if self.hidden else entries

    # -- the ends

    def append(self, element: bytes, fill: int) -> None:
        """append(element, fill) at the tail. O(1)."""
        length = len(element)
        if self.size_bytes + length > self._look_at_bytes or fill >= 0:
            self._make_room(length, 1, fill)
        self.items.append(element)
        self.size_bytes += length + 2 if length < 64 else length + 4

    def appendleft(self, element: bytes, fill: int) -> None:
        """appendleft(element, fill) at the head. O(1)."""
        length = len(element)
        if self.size_bytes + length > self._look_at_bytes or fill >= 0:
            self._make_room(length, 1, fill)
        self.items.appendleft(element)
        self.size_bytes += length + 2 if length < 64 else length + 4

    def extend(self, elements: list[bytes], fill: int) -> None:
        """extend(elements, fill) pushes them one after the other at the tail. O(len(elements))."""
        self._make_room(sum(map(len, elements)), len(elements), fill)
        for run in _runs(elements):
            self.items.extend(run)
            self._grown_by(run)

    def extendleft(self, elements: list[bytes], fill: int) -> None:
        """extendleft(elements, fill) pushes them one after the other at the head. O(len(elements))."""
        self._make_room(sum(map(len, elements)), len(elements), fill)
        for run in _runs(elements):
            self.items.extendleft(run)
            self._grown_by(run)

    def pop(self, fill: int) -> bytes:
        """pop(fill) -> the tail, taken out; IndexError if the list is empty. O(1)."""
        element: bytes = self.items.pop()
        length = len(element)
        if length < 64:
            self.size_bytes -= length + 2
        else:
            if isinstance(element, Block):
                element = self._open_end(element, left=False)
                length = len(element)
            self.size_bytes -= length + 2 if length < 64 else length + 4
        if self.encoding is QUICKLIST and (fill >= 0 or self.size_bytes <= _SHRINK_ANY_BYTES):
            self._shrunk(fill)
        return element

    def popleft(self, fill: int) -> bytes:
        """popleft(fill) -> the head, taken out; IndexError if the list is empty. O(1)."""
        element: bytes = self.items.popleft()
        length = len(element)
        if length < 64:
            self.size_bytes -= length + 2
        else:
            if isinstance(element, Block):
                element = self._open_end(element, left=True)
                length = len(element)
            self.size_bytes -= length + 2 if length < 64 else length + 4
        if self.encoding is QUICKLIST and (fill >= 0 or self.size_bytes <= _SHRINK_ANY_BYTES):
            self._shrunk(fill)
        return element

    def take(self, count: int, fill: int, *, left: bool) -> list[bytes]:
        """take(2, fill, left=False) -> up to `count` elements taken off one end in turn. O(count)."""
        items = self.items
        if self.hidden:
            pop_one = self.popleft if left else self.pop
            return [pop_one(fill) for _ in range(min(count, len(self)))]
        pop = items.popleft if left else items.pop
        taken = [pop() for _ in range(min(count, len(items)))]
        self.size_bytes -= sum(map(entry_bytes, taken))
        self._shrunk(fill)
        return taken

    # -- the encoding

    def _make_room(self, more_bytes: int, more_entries: int, fill: int) -> None:
        """Before elements are inserted (listTypeTryConvertListpack); their headers don't count there."""
        if self.encoding is QUICKLIST:
            if self.size_bytes + more_bytes > self._look_at_bytes:
                self._pack_behind_ends()
        elif _exceeds(fill, self.size_bytes + more_bytes, len(self) + more_entries):
            self.encoding = QUICKLIST
            self._look_at_bytes = self.size_bytes + self._until_blocks_bytes()

    def _grown_by(self, run: list[bytes]) -> None:
        self.size_bytes += sum(map(entry_bytes, run))
        if self.encoding is QUICKLIST and self.size_bytes > self._look_at_bytes:
            self._pack_behind_ends()

    def _shrunk(self, fill: int) -> None:
        """After elements went (listTypeTryConvertQuicklist): a listpack again at half the limit.

        Redis also asks that the quicklist be a single node; so it is taken to be if one node could hold it.
        """
        if self.encoding is LISTPACK:
            return
        if fill < 0:
            fits = self.size_bytes <= _size_class_bytes(fill) // 2
        else:
            count = len(self)
            fits = count <= max(1, fill) // 2 and (count == 1 or self.size_bytes <= _SAFETY_BYTES)
        if fits:
            self.encoding = LISTPACK
            self._look_at_bytes = _ANY_SIZE_BYTES

    # -- the blocks

    def pack_more(self) -> bool:
        """pack_more() -> whether to go on: puts some of the elements far from the ends into blocks, from the head on.

        Bounded. For a list that is at rest; one that grows packs itself.
        """
        if not self._may_be_packed():
            return False
        made, self._pack_from = pack_from(self.items, self._pack_from)
        self.hidden += made * (BLOCK_ELEMENTS - 1)
        self._look_for_block(END_ELEMENTS + RUN_ELEMENTS)
        return self._pack_from > 0

    def _may_be_packed(self) -> bool:
        """The inside is at least as long as both ends, and its elements are not too long for blocks."""
        enough = self.encoding is QUICKLIST and len(self.items) >= 4 * END_ELEMENTS
        return enough and self.size_bytes * BLOCK_ELEMENTS <= len(self) * BLOCK_MAX_BYTES

    def _until_blocks_bytes(self) -> int:
        """How much it may grow before what came is packed."""
        return min(_UNTIL_BLOCKS_BYTES, _UNTIL_BLOCKS_ELEMENTS * self.size_bytes // max(1, len(self)))

    def _pack_behind_ends(self) -> None:
        """What came to the ends goes into blocks, where there is enough for a run. Bounded."""
        self._look_at_bytes = self.size_bytes + self._until_blocks_bytes()
        if self._may_be_packed():
            made = sum(pack_behind_end(self.items, left=left) for left in (False, True))
            self.hidden += made * (BLOCK_ELEMENTS - 1)
            self._look_for_block(END_ELEMENTS + RUN_ELEMENTS)

    def _open_end(self, block: Block, *, left: bool) -> bytes:
        """A block came to an end of the list -> its outermost element; the others stand there now."""
        elements = elements_in(block)
        self.hidden -= BLOCK_ELEMENTS - 1
        if left:
            self.items.extendleft(elements[:0:-1])
        else:
            self.items.extend(elements[:-1])
        if self.encoding is QUICKLIST:
            # A list may be filled at the other end as fast as it is emptied at this one: then it doesn't grow. What
            # the block held doesn't count, so that a list that is only emptied is not packed meanwhile.
            self._look_at_bytes -= len(block) + BLOCK_ELEMENTS
            until_bytes = self._until_blocks_bytes()
            if self.size_bytes + until_bytes - self._look_at_bytes > until_bytes // 4:
                self.hidden += pack_behind_end(self.items, left=not left) * (BLOCK_ELEMENTS - 1)
                self._look_at_bytes = self.size_bytes + until_bytes
        self._look_for_block(BLOCK_ELEMENTS)
        return elements[0 if left else -1]

    def _open_at(self, position: int, offset: int) -> int:
        """The element there, in an entry of `items`, stands in no block from now on -> its position. O(blocks)."""
        items = self.items
        if type(items[position]) is Block:
            items.rotate(-position)
            items.extendleft(reversed_elements_of(items.popleft()))
            items.rotate(position)
            self.hidden -= BLOCK_ELEMENTS - 1
        return position + offset

    def _leading_elements(self, stop: int) -> int:
        """How many elements stand before the first block; `stop` if so many do. O(1) if one end stayed as it was."""
        items = self.items
        found, length, block = self._first_block
        for position in (found, found + len(items) - length):
            if 0 <= position < len(items) and items[position] is block:
                return position
        return min(stop, self._look_for_block(max(stop, END_ELEMENTS + RUN_ELEMENTS)))

    def _look_for_block(self, stop: int) -> int:
        """The position of the first block, if it is less than `stop`, else `stop`; it is remembered. O(stop)."""
        items = self.items
        kinds = [*map(type, islice(items, stop))]
        if Block not in kinds:
            self._first_block = _NO_BLOCK
            return stop
        position = kinds.index(Block)
        self._first_block = position, len(items), items[position]
        return position

    # -- by position and by value

    def __getitem__(self, index: int) -> bytes:
        """list[index]: IndexError if out of range. O(1) near the ends, else O(n) in steps of 64."""
        if not self.hidden:
            found: bytes = self.items[index]
            return found
        position, offset = locate(self.items, len(self), index)
        entry = self.items[position]
        return elements_in(entry)[offset] if isinstance(entry, Block) else entry

    def replace(self, index: int, element: bytes, fill: int) -> None:
        """replace(index, element, fill): LSET. IndexError if out of range, the encoding may have changed."""
        self._make_room(len(element), 1, fill)
        if self.hidden:
            index = self._open_at(*locate(self.items, len(self), index))
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
            index = self._open_at(*find(self.items, pivot)) if self.hidden else self.items.index(pivot)
        except ValueError:
            return False
        self.items.insert(index + after, element)
        self.size_bytes += entry_bytes(element)
        return True

    def remove(self, element: bytes, count: int, fill: int) -> int:
        """remove(element, count, fill) -> how many equal ones went: from the tail if < 0, all if 0. O(n)."""
        items = self.items
        before = len(self)
        if self.hidden:
            self.items = without(items, element, count)
            self.hidden = count_hidden(self.items)
        elif count == 0:
            self.items = deque([item for item in items if item != element])
        else:
            if count < 0:
                items.reverse()
            if abs(count) <= REMOVE_MAX_SEARCHES:
                with suppress(ValueError):
                    for _ in range(abs(count)):
                        items.remove(element)
            else:
                self.items = without(items, element, abs(count))
            if count < 0:
                self.items.reverse()
        removed = before - len(self)
        if removed:
            self.size_bytes -= removed * entry_bytes(element)
            self._shrunk(fill)
        return removed

    def trim(self, start: int, stop: int, fill: int) -> int:
        """trim(start, stop, fill) -> how many went; [start, stop) within the bounds stays. O(removed)."""
        items = self.items
        length = len(self)
        removed = length - (stop - start)
        if self.hidden:
            self._drop(start, left=True)
            self._drop(length - stop, left=False)
        elif removed <= max(REBUILD_MIN_ELEMENTS, length // 2):
            gone = [items.popleft() for _ in range(start)]
            gone += [items.pop() for _ in range(length - stop)]
            self.size_bytes -= sum(map(entry_bytes, gone))
        else:
            self.items = deque(self.slice(start, stop))
            self.size_bytes = _HEADER_BYTES + sum(map(entry_bytes, self.items))
        self._shrunk(fill)
        return removed

    def _drop(self, count: int, *, left: bool) -> None:
        pop, push = (self.items.popleft, self.items.extendleft) if left else (self.items.pop, self.items.extend)
        while count:
            entry = pop()
            elements = [*(elements_of(entry) if left else reversed_elements_of(entry))]
            gone = elements[:count]
            push(reversed(elements[count:]))
            self.hidden -= len(elements) - 1
            self.size_bytes -= sum(map(entry_bytes, gone))
            count -= len(gone)

    def slice(self, start: int, stop: int) -> list[bytes]:
        """slice(start, stop) -> the elements in [start, stop), 0 <= start <= stop <= len.

        O(d + n), d being the distance to the nearer end.
        """
        items = self.items
        if self.hidden and stop > (leading := self._leading_elements(stop)):
            if stop <= END_ELEMENTS:
                # Blocks came close to the head as elements were popped. Who reads it is likely to do so again.
                while leading < stop:
                    self._open_at(leading, 0)
                    leading = self._leading_elements(stop)
                return [*islice(items, start, stop)]
            if start < leading:
                return [*islice(items, start, leading), *between(items, leading, 0, stop - leading)]
            return between(items, *locate(items, len(self), start), stop - start) if start < stop else []
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
        length = len(self)
        found = []
        if backward or self.hidden:
            for distance, item in enumerate(islice(reversed(self) if backward else self, limit)):
                if item == element:
                    if skip:
                        skip -= 1
                        continue
                    found.append(length - 1 - distance if backward else distance)
                    if len(found) == count:
                        break
            return found
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
        twin = List()
        twin.items = self.items.copy()
        twin.hidden = self.hidden
        twin.size_bytes = self.size_bytes
        twin.encoding = self.encoding
        twin._look_at_bytes = self._look_at_bytes
        return twin

    def _check(self) -> None:
        """Assert the laws; tests call this after each operation."""
        elements = [*self]
        assert len(self) == len(elements)
        assert elements == [*reversed(self)][::-1]
        assert self.size_bytes == _HEADER_BYTES + sum(map(entry_bytes, elements))
        assert self.hidden == count_hidden(self.items)
        assert self.encoding is QUICKLIST or self._look_at_bytes == _ANY_SIZE_BYTES
        assert self.encoding in (LISTPACK, QUICKLIST)


def _runs(elements: list[bytes]) -> Iterable[list[bytes]]:
    if len(elements) <= RUN_ELEMENTS:
        return (elements,)
    return (elements[start : start + RUN_ELEMENTS] for start in range(0, len(elements), RUN_ELEMENTS))


def _size_class_bytes(fill: int) -> int:
    return _SIZES_BYTES[min(-fill, len(_SIZES_BYTES)) - 1]


def _exceeds(fill: int, size_bytes: int, entries: int) -> bool:
    """Whether a listpack of that size is over the limit (Redis: quicklistNodeExceedsLimit)."""
    if fill < 0:
        return size_bytes > _size_class_bytes(fill)
    return size_bytes > _SAFETY_BYTES or entries > max(1, fill)

