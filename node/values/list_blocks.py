"""Blocks: what the inside of a long list is held in, one compact object for each BLOCK_ELEMENTS elements.

Laws: a block never changes; it is at least BLOCK_ELEMENTS long, so that who takes a short entry off a list
knows that it is an element. The ends of a list stand in no blocks: pushing and popping there is what lists are for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby, islice
from typing import Any, Final

from msgpack import Packer, unpackb

BLOCK_ELEMENTS: Final = 128
BLOCK_MAX_BYTES: Final = 1 << 16
"""Elements that would make a larger block stay as they are: there is little to be saved."""

END_ELEMENTS: Final = 512
"""So many elements at each end stand in no block."""

PACKED_AT_ONCE_MAX: Final = 4096
"""So many elements of each end are put into blocks in one step, which takes 0.2 ms."""

RUN_ELEMENTS: Final = 1024
"""A list that grows makes blocks when it has so many elements for them: the end may be taken off meanwhile."""

_pack: Final[Callable[[object], bytes]] = Packer(use_bin_type=False).pack


Block = str
"""The msgpack of BLOCK_ELEMENTS elements as Latin-1. (Objects of a class of ours are work for the collector.)"""

Entry = Any
"""bytes | Block: an element, or a block of them."""
Entries = deque[Entry]


def elements_in(block: Block) -> list[bytes]:
    """elements_in(block) -> its elements, in order."""
    found: list[bytes] = unpackb(block.encode("latin-1"), raw=True)
    return found


def elements_of(entry: Entry) -> Iterable[bytes]:
    """elements_of(entry) -> the elements that an entry stands for."""
    return elements_in(entry) if isinstance(entry, Block) else (entry,)


def reversed_elements_of(entry: Entry) -> Iterable[bytes]:
    """reversed_elements_of(entry) -> the elements that an entry stands for, the last one first."""
    return reversed(elements_in(entry)) if isinstance(entry, Block) else (entry,)


def pack_behind_end(entries: Entries, *, left: bool) -> int:
    """pack_behind_end(entries, left=True) -> how many blocks it made of the elements next to END_ELEMENTS at that end.

    They go into blocks up to the next block; nothing is done unless they are RUN_ELEMENTS. O(PACKED_AT_ONCE_MAX).
    """
    least = END_ELEMENTS + RUN_ELEMENTS
    if len(entries) < least or type(entries[least - 1 if left else -least]) is Block:
        return 0
    pop, push = (entries.popleft, entries.extendleft) if left else (entries.pop, entries.extend)
    entries.rotate(-END_ELEMENTS if left else END_ELEMENTS)
    run = [pop() for _ in range(min(PACKED_AT_ONCE_MAX, len(entries) - END_ELEMENTS))]
    kinds = [*map(type, run)]
    if Block in kinds:
        inner = kinds.index(Block)
        push(reversed(run[inner:]))
        del run[inner:]
    made: list[Entry] = []
    outer = len(run) % BLOCK_ELEMENTS
    for stop in range(len(run), outer, -BLOCK_ELEMENTS):
        elements = run[stop - BLOCK_ELEMENTS : stop]
        if not left:
            elements.reverse()
        block = _pack(elements).decode("latin-1")
        if len(block) > BLOCK_MAX_BYTES:
            outer = stop
            break
        made.append(block)
    push(made)
    push(reversed(run[:outer]))
    entries.rotate(END_ELEMENTS if left else -END_ELEMENTS)
    return len(made)


def blocked(entries: Iterable[Entry]) -> list[Entry]:
    """blocked(entries) -> the same elements, BLOCK_ELEMENTS neighbours in a block. O(n).

    What is left over before a block or at the end, and what is too large for one, stays as it is.
    """
    made: list[Entry] = []
    for kind, group in groupby(entries, type):
        elements = [*group]
        whole = 0 if kind is Block else len(elements) - len(elements) % BLOCK_ELEMENTS
        for start in range(0, whole, BLOCK_ELEMENTS):
            run = elements[start : start + BLOCK_ELEMENTS]
            block = _pack(run).decode("latin-1")
            made += run if len(block) > BLOCK_MAX_BYTES else (block,)
        made += elements[whole:]
    return made


def pack_from(entries: Entries, start: int) -> tuple[int, int]:
    """pack_from(entries, 512) -> (how many blocks were made, where to go on, or 0 at the end).

    Of the next PACKED_AT_ONCE_MAX entries those go into blocks that don't stand near an end. O(1), but for the deque's
    rotation to that place and back.
    """
    start = max(start, END_ELEMENTS)
    count = min(PACKED_AT_ONCE_MAX, len(entries) - END_ELEMENTS - start)
    if count < BLOCK_ELEMENTS:
        return 0, 0
    entries.rotate(-start)
    run = [entries.popleft() for _ in range(count)]
    made = blocked(run)
    entries.extendleft(reversed(made))
    entries.rotate(start)
    return (count - len(made)) // (BLOCK_ELEMENTS - 1), start + len(made)


def count_hidden(entries: Entries) -> int:
    """count_hidden(entries) -> how many more elements there are than entries. O(n)."""
    return (BLOCK_ELEMENTS - 1) * [*map(type, entries)].count(Block)


def locate(entries: Entries, length: int, index: int) -> tuple[int, int]:
    """locate(entries, length, index) -> (the position of the element's entry, offset in it). IndexError. O(n)."""
    if index < 0:
        index += length
    if not 0 <= index < length:
        raise IndexError(index)
    before = 0
    if 2 * index < length:
        for position, entry in enumerate(entries):
            after = before + (BLOCK_ELEMENTS if type(entry) is Block else 1)
            if index < after:
                return position, index - before
            before = after
    for position, entry in enumerate(reversed(entries), 1):
        length -= BLOCK_ELEMENTS if type(entry) is Block else 1
        if index >= length:
            return len(entries) - position, index - length
    raise AssertionError("fewer elements than counted")


def find(entries: Entries, element: bytes) -> tuple[int, int]:
    """find(entries, element) -> (position of the entry, offset in it) of the first equal one. ValueError. O(n)."""
    text = element.decode("latin-1")
    for position, entry in enumerate(entries):
        if not isinstance(entry, Block):
            if entry == element:
                return position, 0
        # A block's bytes hold those of its elements: few others are unpacked.
        elif text in entry and element in (elements := elements_in(entry)):
            return position, elements.index(element)
    raise ValueError(element)


def between(entries: Entries, position: int, offset: int, count: int) -> list[bytes]:
    """between(entries, position, offset, count) -> so many elements from that one on. O(n)."""
    if position > len(entries) // 2:
        # Walked from the right end and turned round: an islice would walk all that stands before.
        rest: Iterator[Entry] = reversed([*islice(reversed(entries), len(entries) - position)])
    else:
        rest = islice(entries, position, None)
    stop = offset + count
    return [*islice(chain.from_iterable(map(elements_of, rest)), offset, stop)]


def without(entries: Entries, element: bytes, count: int) -> Entries:
    """without(entries, element, 2) -> entries without the first equal ones: the last if < 0, all if 0. O(n)."""
    left = abs(count) or len(entries) * BLOCK_ELEMENTS
    backward = count < 0
    text = element.decode("latin-1")
    kept: list[Entry] = []
    for entry in reversed(entries) if backward else entries:
        if not isinstance(entry, Block):
            if left and entry == element:
                left -= 1
            else:
                kept.append(entry)
            continue
        equal = min(left, elements_in(entry).count(element)) if left and text in entry else 0
        if not equal:
            kept.append(entry)
            continue
        left -= equal
        elements = [*(reversed_elements_of(entry) if backward else elements_of(entry))]
        for _ in range(equal):
            elements.remove(element)
        kept += elements
    if backward:
        kept.reverse()
    return deque(kept)
