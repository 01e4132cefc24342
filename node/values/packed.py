"""Small collections at rest: one compact object each, in place of dozens.

Laws: a packed collection never changes; unpacking it gives a new collection with the same elements in the same order
and the same encoding. Only what Redis would hold in a single listpack or intset is packed, and lists that aren't
long: unpacking takes about a microsecond for ten elements. It is a `str` of Latin-1, which nothing else in the
keyspace is: a character for the form, and the msgpack of the elements. A class of our own, even one of bytes, would
be looked at by the garbage collector, a million times for a million keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgpack import Packer, unpackb

from . import hash as hash_values
from . import list as list_values
from . import set as set_values
from . import sorted_set as sorted_set_values
from .hash import Hash
from .list import List
from .set import Set
from .sorted_set import SortedSet

Packed = str

PACKED_MAX_ELEMENTS: Final = 4096
"""A collection of more elements stays as it is: to unpack so many takes 0.1 ms."""

PACKED_MAX_LIST_BYTES: Final = 1 << 17
"""So does a list of more bytes than this; in other listpacks the thresholds bound the length of elements."""

_pack: Final[Callable[[object], bytes]] = Packer(use_bin_type=False).pack


class _Form(NamedTuple):
    kind: type
    type_name: bytes
    encoding: bytes
    unpack: Callable[[bytes], Any]


def _hash(data: bytes) -> Hash:
    made = Hash.__new__(Hash)
    made.fields = unpackb(data, raw=True, strict_map_key=False)
    made.encoding = hash_values.LISTPACK
    return made


def _set(data: bytes, encoding: bytes) -> Set:
    made = Set.__new__(Set)
    made.entries = dict.fromkeys(unpackb(data, raw=True))
    made.encoding = encoding
    return made


def _sorted_set(data: bytes) -> SortedSet:
    return SortedSet.unordered(unpackb(data, raw=True, strict_map_key=False))


def _list(data: bytes, encoding: bytes) -> List:
    elements = unpackb(data, raw=True)
    size_bytes = elements.pop()
    return List.small(elements, size_bytes, encoding)


_HASH, _SET, _INTSET, _SORTED_SET, _LIST, _QUICKLIST = "hsizlq"
_FORMS: Final[dict[str, _Form]] = {
    _HASH: _Form(Hash, Hash.type_name, hash_values.LISTPACK, _hash),
    _SET: _Form(Set, Set.type_name, set_values.LISTPACK, lambda data: _set(data, set_values.LISTPACK)),
    _INTSET: _Form(Set, Set.type_name, set_values.INTSET, lambda data: _set(data, set_values.INTSET)),
    _SORTED_SET: _Form(SortedSet, SortedSet.type_name, sorted_set_values.LISTPACK, _sorted_set),
    _LIST: _Form(List, List.type_name, list_values.LISTPACK, lambda data: _list(data, list_values.LISTPACK)),
    _QUICKLIST: _Form(List, List.type_name, list_values.QUICKLIST, lambda data: _list(data, list_values.QUICKLIST)),
}


def _of_hash(value: Hash) -> tuple[str, object] | None:
    return (_HASH, value.fields) if value.encoding is hash_values.LISTPACK else None


def _of_set(value: Set) -> tuple[str, object] | None:
    if value.encoding is set_values.HASHTABLE:
        return None
    return _INTSET if value.encoding is set_values.INTSET else _SET, [*value.entries]


def _of_sorted_set(value: SortedSet) -> tuple[str, object] | None:
    return (_SORTED_SET, value.scores) if value.encoding is sorted_set_values.LISTPACK else None


def _of_list(value: List) -> tuple[str, object] | None:
    if value.size_bytes > PACKED_MAX_LIST_BYTES:
        return None
    return _LIST if value.encoding is list_values.LISTPACK else _QUICKLIST, [*value, value.size_bytes]


_CONTENT: Final[dict[type, Callable[[Any], tuple[str, object] | None]]] = {
    Hash: _of_hash,
    Set: _of_set,
    SortedSet: _of_sorted_set,
    List: _of_list,
}
COLLECTIONS: Final = frozenset(_CONTENT)
"""The classes of collections that aren't packed."""


def packed(value: Any) -> Any:
    """packed(value) -> the collection as one object if it is small, else the value itself. O(n), n bounded."""
    content = _CONTENT.get(type(value))
    if content is None or not 0 < len(value) <= PACKED_MAX_ELEMENTS or (found := content(value)) is None:
        return value
    form, elements = found
    return form + _pack(elements).decode("latin-1")


def unpack(value: Packed) -> Any:
    """unpack(value) -> a new collection with those elements. O(n)."""
    return _FORMS[value[0]].unpack(value[1:].encode("latin-1"))


def unpacked(value: Any) -> Any:
    """unpacked(value) -> the value, a packed one as a new collection that the keyspace doesn't hold; to read only."""
    return unpack(value) if type(value) is Packed else value


def kind_of(value: Any) -> type:
    """kind_of(value) -> Hash, List, Set, SortedSet, bytes or bytearray, whether it is packed or not."""
    return _FORMS[value[0]].kind if type(value) is Packed else type(value)


def type_name_of(value: Packed) -> bytes:
    """type_name_of(value) -> what TYPE answers for it."""
    return _FORMS[value[0]].type_name


def encoding_of(value: Packed) -> bytes:
    """encoding_of(value) -> what OBJECT ENCODING answers for it."""
    return _FORMS[value[0]].encoding
