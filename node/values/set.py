"""The set value: a mapping of members, uniform random choice, and Redis's rules for its three encodings.

Law: `encoding` follows Redis 7.2 (t_set.c) and never turns back: intset to listpack or hashtable, listpack
to hashtable. An intset is iterated in the order of its integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import Protocol

from .table import DICT_MAX_ENTRIES, Mapping, Table, grown, random_key, scan_step

INTSET = b"intset"
LISTPACK = b"listpack"
HASHTABLE = b"hashtable"
_ENCODINGS = {name: name for name in (INTSET, LISTPACK, HASHTABLE)}

SAMPLE_ALL_FACTOR = 3
"""Asked for more than one in so many members, a sample is drawn from a copy of them all."""

_INT64_MAX = (1 << 63) - 1
_INT64_MIN = -(1 << 63)


def is_integer(member: bytes) -> bool:
    """is_integer(b"-12") -> whether it is exactly the text of a signed 64-bit integer (Redis: string2ll)."""
    if member.isdigit():
        return (member[0] != 48 or len(member) == 1) and (len(member) < 19 or int(member[:20]) <= _INT64_MAX)
    return (
        1 < len(member) < 21
        and member[0] == 45
        and member[1:].isdigit()
        and member[1] != 48
        and int(member) >= _INT64_MIN
    )


class SetLimits(Protocol):
    """The directives that rule a set's encoding; `Config` has them."""

    set_max_intset_entries: int
    set_max_listpack_entries: int
    set_max_listpack_value: int


class Set:
    """Set() -> an empty set, or one of distinct members, in the encoding given."""

    __slots__ = ("encoding", "entries")

    type_name = b"set"

    def __init__(self, members: Iterable[bytes] = (), encoding: bytes = INTSET) -> None:
        self.entries: Mapping[None] = grown(dict.fromkeys(members))
        self.encoding = _ENCODINGS[encoding]

    @classmethod
    def of(cls, members: Iterable[bytes], limits: SetLimits) -> Set:
        """of(members, limits) -> a set in the encoding that a loader gives it. O(n)."""
        made = cls(members)
        count = len(made)
        if all(map(is_integer, made.entries)):
            fits = count <= limits.set_max_intset_entries
        else:
            fits = count <= limits.set_max_listpack_entries
            fits = fits and max(map(len, made.entries)) <= limits.set_max_listpack_value
            made.encoding = LISTPACK
        if not fits:
            made.encoding = HASHTABLE
        return made

    @classmethod
    def for_adding(cls, first: bytes, count: int, limits: SetLimits) -> Set:
        """for_adding(member, count, limits) -> an empty set in the encoding for `count` such members."""
        if count <= limits.set_max_intset_entries and is_integer(first):
            return cls((), INTSET)
        return cls((), LISTPACK if count <= limits.set_max_listpack_entries else HASHTABLE)

    def expect(self, count: int, limits: SetLimits) -> None:
        """expect(count, limits): so many are to be added; converts at once if they alone are too many."""
        if (self.encoding is LISTPACK and count > limits.set_max_listpack_entries) or (
            self.encoding is INTSET and count > limits.set_max_intset_entries
        ):
            self.encoding = HASHTABLE

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, member: object) -> bool:
        return member in self.entries

    def __iter__(self) -> Iterator[bytes]:
        if self.encoding is INTSET:
            return iter(sorted(self.entries, key=int))
        return iter(self.entries)

    def add(self, member: bytes, limits: SetLimits) -> bool:
        """add(member, limits) -> whether it was new. O(1)."""
        entries = self.entries
        if member in entries:
            return False
        if self.encoding is not HASHTABLE:
            self._convert_for(member, limits)
        entries[member] = None
        if type(entries) is dict and len(entries) > DICT_MAX_ENTRIES:
            self.entries = Table(entries)
        return True

    def _convert_for(self, member: bytes, limits: SetLimits) -> None:
        """Before a new member goes in (setTypeAddAux). A full intset becomes a hashtable at once."""
        count = len(self.entries)
        longest = len(member)
        if self.encoding is INTSET:
            if is_integer(member):
                if count >= limits.set_max_intset_entries:
                    self.encoding = HASHTABLE
                return
            longest = max(longest, *map(len, self.entries)) if count else longest
        fits = count < limits.set_max_listpack_entries and longest <= limits.set_max_listpack_value
        self.encoding = LISTPACK if fits else HASHTABLE

    def remove(self, member: bytes) -> bool:
        """remove(member) -> whether it was there. O(1)."""
        entries = self.entries
        if member not in entries:
            return False
        del entries[member]
        return True

    def random(self, rng: Random) -> bytes:
        """random(rng) -> a member, each with the same probability; KeyError if empty. O(1) expected."""
        return random_key(self.entries, rng)

    def pop(self, rng: Random) -> bytes:
        """pop(rng) -> a member, each equally probable, now gone; KeyError if empty. O(1) expected."""
        entries = self.entries
        member = random_key(entries, rng)
        del entries[member]
        return member

    def sample(self, count: int, rng: Random) -> list[bytes]:
        """sample(count, rng) -> distinct members, each choice of `count` <= len as likely. O(count)."""
        entries = self.entries
        if type(entries) is dict or count * SAMPLE_ALL_FACTOR > len(entries):
            return rng.sample([*entries], count)
        chosen: dict[bytes, None] = {}
        while len(chosen) < count:
            chosen[random_key(entries, rng)] = None
        return [*chosen]

    def choices(self, count: int, rng: Random) -> list[bytes]:
        """choices(count, rng) -> `count` members, each drawn from the whole set. O(count)."""
        entries = self.entries
        if type(entries) is dict or count * SAMPLE_ALL_FACTOR > len(entries):
            return rng.choices([*entries], k=count)
        return [random_key(entries, rng) for _ in range(count)]

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """scan(cursor, count) -> (next cursor, or 0 at the end, members): see `values.table.scan_step`."""
        if self.encoding is INTSET and type(self.entries) is dict:
            return 0, [*self]
        cursor, items = scan_step(self.entries, cursor, count)
        return cursor, [member for member, _ in items]

    def copy(self) -> Set:
        """copy() -> an independent set in the same encoding. O(n)."""
        return Set(self.entries, self.encoding)

    def _check(self) -> None:
        """Assert the laws; tests call this after each operation."""
        if isinstance(self.entries, Table):
            self.entries._check()
        else:
            assert len(self.entries) <= DICT_MAX_ENTRIES
        assert self.encoding in (INTSET, LISTPACK, HASHTABLE)
        if self.encoding is INTSET:
            assert all(map(is_integer, self.entries))
