"""DEBUG DIGEST: one SHA-1 signature of the data set, the same as Redis's for the same data (Redis: debug.c).

Law: the signature depends on keys, values, databases and on whether a key expires; not on order in collections
without one, on encodings or on times to live. Sorted-set scores are taken as Redis 7.2 prints them.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha1
from struct import pack
from typing import TYPE_CHECKING, Any

from .reply import format_shortest
from .values.common import type_name
from .values.hash import Hash
from .values.list import List
from .values.packed import unpacked
from .values.set import Set
from .values.sorted_set import SortedSet

if TYPE_CHECKING:
    from .keyspace import Database, Keyspace

DIGEST_BYTES = 20
_TYPE_NUMBERS = {b"string": 0, b"list": 1, b"set": 2, b"zset": 3, b"hash": 4, b"stream": 6}


def _hash(data: bytes | bytearray) -> int:
    return int.from_bytes(sha1(data, usedforsecurity=False).digest())


def _mix(digest: int, data: bytes | bytearray) -> int:
    """The order of mixed parts counts: SHA1(digest xor SHA1(data))."""
    return _hash((digest ^ _hash(data)).to_bytes(DIGEST_BYTES))


def _pair(first: bytes, second: bytes) -> int:
    """A field and its value, or a member and its score, as one element without an order among its like."""
    element = _mix(_mix(0, first), second)
    return _hash(element.to_bytes(DIGEST_BYTES))


def _elements(value: Any) -> Iterable[int]:
    """The digests of the elements of a collection without an order, each to be xored."""
    if type(value) is Set:
        return (_hash(member) for member in value)
    if type(value) is Hash:
        return (_pair(field, text) for field, text in value.fields.items())
    assert type(value) is SortedSet
    return (_pair(member, format_shortest(score)) for member, score in value.scores.items())


def value_digest(database: Database, key: bytes, digest: int = 0) -> int:
    """value_digest(database, key) -> the digest of the key's value, mixed into `digest`; 0 if there is no value."""
    value = unpacked(database.peek(key))
    if value is None:
        return digest
    digest = _mix(digest, pack(">I", _TYPE_NUMBERS[type_name(value)]))
    if isinstance(value, (bytes, bytearray)):
        digest = _mix(digest, value)
    elif type(value) is List:
        for element in value:
            digest = _mix(digest, element)
    else:
        for element_digest in _elements(value):
            digest ^= element_digest
    if database.expiry_ms(key) is not None:
        digest ^= _hash(b"!!expire!!")
    return digest


def dataset_digest(keyspace: Keyspace) -> int:
    """dataset_digest(keyspace) -> the digest of all databases. O(N) in keys and elements."""
    final = 0
    for database in keyspace.databases:
        if not len(database):
            continue
        final = _mix(final, pack(">I", database.index))
        for key in database.keys():  # noqa: SIM118 - a database isn't a mapping
            entry = value_digest(database, key, _mix(0, key))
            final ^= _hash(entry.to_bytes(DIGEST_BYTES))
    return final


def hexadecimal(digest: int) -> bytes:
    """hexadecimal(digest) -> its 40 hex digits."""
    return b"%040x" % digest
