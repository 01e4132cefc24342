"""The hash value: field -> value, with the encoding name that Redis would report.

Law: `listpack` turns into `hashtable` at the first entry that passes a threshold and never back. The
thresholds (hash-max-listpack-entries, hash-max-listpack-value) are the caller's, they may change.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from .table import DICT_MAX_ENTRIES, Mapping, Table, grown

LISTPACK = b"listpack"
HASHTABLE = b"hashtable"


class Hash:
    """Hash() -> an empty hash. `fields` maps field to value; read it freely, insert through `set`."""

    __slots__ = ("encoding", "fields")

    type_name = b"hash"

    def __init__(self) -> None:
        self.fields: Mapping[bytes] = {}
        self.encoding = LISTPACK

    @classmethod
    def of(cls, items: Iterable[tuple[bytes, bytes]], entries_max: int, value_max_bytes: int) -> Hash:
        """of(items, 128, 64) -> a hash of those fields, as a loader builds it. O(n)."""
        made = cls()
        fields = dict(items)
        made.fields = grown(fields)
        longest = max(chain(map(len, fields), map(len, fields.values())), default=0)
        if len(fields) > entries_max or longest > value_max_bytes:
            made.encoding = HASHTABLE
        return made

    def __len__(self) -> int:
        return len(self.fields)

    def set(self, name: bytes, value: bytes, entries_max: int, value_max_bytes: int) -> bool:
        """set(field, value, 128, 64) -> whether the field is new. O(1)."""
        fields = self.fields
        before = len(fields)
        fields[name] = value
        size = len(fields)
        if self.encoding is LISTPACK and (
            size > entries_max or len(value) > value_max_bytes or len(name) > value_max_bytes
        ):
            self.encoding = HASHTABLE
        if size > DICT_MAX_ENTRIES and type(fields) is dict:
            self.fields = Table(fields)
        return size != before

    def convert(self) -> None:
        """convert(): it is a hashtable from now on, whatever its size (a command that brings many fields)."""
        self.encoding = HASHTABLE

    def copy(self) -> Hash:
        """copy() -> an independent hash of the same fields and encoding. O(n)."""
        made = Hash()
        made.encoding = self.encoding
        fields = self.fields
        made.fields = dict(fields) if type(fields) is dict else Table(dict(fields.items()))
        return made

    def _check(self) -> None:
        """Assert the laws; tests call this after each operation."""
        assert self.encoding in (LISTPACK, HASHTABLE)
        if isinstance(self.fields, Table):
            self.fields._check()
        else:
            assert len(self.fields) <= DICT_MAX_ENTRIES
        assert all(type(k) is bytes and type(v) is bytes for k, v in self.fields.items())
