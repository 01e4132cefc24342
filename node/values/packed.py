"""Small collections at rest: one compact bytes object each, in place of hundreds of objects.

Laws: a packed collection never changes; `unpack()` gives a new collection with the same elements in the same order
and the same encoding, and changes nothing. Only what Redis would hold in a single listpack or intset is packed, and
lists of no more elements than that may have: unpacking takes about a microsecond for ten elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from msgpack import Packer, unpackb

from . import hash as hash_values
from . import list as list_values
from . import set as set_values
from . import sorted_set as sorted_set_values
from .hash import Hash
from .list import List
from .set import Set
from .sorted_set import SortedSet

PACKED_MAX_ELEMENTS: Final = 4096
"""A collection of more elements stays as it is: to unpack so many takes 0.1 ms."""

PACKED_MAX_LIST_BYTES: Final = 1 << 17
"""So does a list of more bytes than this; in other listpacks the thresholds bound the length of elements."""

_pack: Final[Callable[[object], bytes]] = Packer(use_bin_type=False).pack


class Packed(bytes):
    """A packed collection: the msgpack of what it holds. `kind` is the collection's class; its names are the same."""

    __slots__ = ()

    kind: ClassVar[type]
    type_name: ClassVar[bytes]
    encoding: ClassVar[bytes]

    def unpack(self) -> Any:
        """unpack() -> a new collection of that kind. O(n)."""
        raise NotImplementedError

    def copy(self) -> Packed:
        """copy() -> itself: it never changes."""
        return self


class PackedHash(Packed):
    """A hash of Redis's encoding listpack."""

    __slots__ = ()

    kind = Hash
    type_name = Hash.type_name
    encoding = hash_values.LISTPACK

    def unpack(self) -> Hash:
        """unpack() -> the hash. O(n)."""
        made = Hash.__new__(Hash)
        made.fields = unpackb(self, raw=True, strict_map_key=False)
        made.encoding = hash_values.LISTPACK
        return made


class PackedSet(Packed):
    """A set of Redis's encoding listpack."""

    __slots__ = ()

    kind = Set
    type_name = Set.type_name
    encoding = set_values.LISTPACK

    def unpack(self) -> Set:
        """unpack() -> the set. O(n)."""
        made = Set.__new__(Set)
        made.entries = dict.fromkeys(unpackb(self, raw=True))
        made.encoding = self.encoding
        return made


class PackedIntset(PackedSet):
    """A set of Redis's encoding intset."""

    __slots__ = ()

    encoding = set_values.INTSET


class PackedSortedSet(Packed):
    """A sorted set of Redis's encoding listpack; its order is built anew when it is asked for."""

    __slots__ = ()

    kind = SortedSet
    type_name = SortedSet.type_name
    encoding = sorted_set_values.LISTPACK

    def unpack(self) -> SortedSet:
        """unpack() -> the sorted set. O(n)."""
        return SortedSet.unordered(unpackb(self, raw=True, strict_map_key=False))


class PackedList(Packed):
    """A list of Redis's encoding listpack."""

    __slots__ = ()

    kind = List
    type_name = List.type_name
    encoding = list_values.LISTPACK

    def unpack(self) -> List:
        """unpack() -> the list. O(n)."""
        elements = unpackb(self, raw=True)
        size_bytes = elements.pop()
        return List.small(elements, size_bytes, self.encoding)


class PackedQuicklist(PackedList):
    """A list of Redis's encoding quicklist that is not long."""

    __slots__ = ()

    encoding = list_values.QUICKLIST


def _packed_hash(value: Hash) -> Packed | None:
    return PackedHash(_pack(value.fields)) if value.encoding is hash_values.LISTPACK else None


def _packed_set(value: Set) -> Packed | None:
    if value.encoding is set_values.HASHTABLE:
        return None
    return (PackedIntset if value.encoding is set_values.INTSET else PackedSet)(_pack([*value.entries]))


def _packed_sorted_set(value: SortedSet) -> Packed | None:
    return PackedSortedSet(_pack(value.scores)) if value.encoding is sorted_set_values.LISTPACK else None


def _packed_list(value: List) -> Packed | None:
    if value.size_bytes > PACKED_MAX_LIST_BYTES:
        return None
    made = PackedList if value.encoding is list_values.LISTPACK else PackedQuicklist
    return made(_pack([*value, value.size_bytes]))


_PACKED_BY: Final[dict[type, Callable[[Any], Packed | None]]] = {
    Hash: _packed_hash,
    Set: _packed_set,
    SortedSet: _packed_sorted_set,
    List: _packed_list,
}

COLLECTIONS: Final = frozenset(_PACKED_BY)
"""The classes of collections that aren't packed."""


def packed(value: Any) -> Any:
    """packed(value) -> the collection as one `Packed` object if it is small, else the value itself. O(n), n bounded."""
    by = _PACKED_BY.get(type(value))
    if by is None or not 0 < len(value) <= PACKED_MAX_ELEMENTS:
        return value
    made = by(value)
    return value if made is None else made


def unpacked(value: Any) -> Any:
    """unpacked(value) -> the value, a packed one as a new collection that the keyspace doesn't hold; to read only."""
    return value.unpack() if isinstance(value, Packed) else value


def kind_of(value: Any) -> type:
    """kind_of(value) -> Hash, List, Set, SortedSet, bytes or bytearray, whether it is packed or not."""
    return value.kind if isinstance(value, Packed) else type(value)
