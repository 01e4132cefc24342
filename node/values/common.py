"""What holds for values of every type: its Redis name, its encoding's name, a copy.

Law: a string is `bytes`, or `bytearray` after a change in place; every other type is a class of its own with
`type_name`, `encoding` and `copy()`, or stands packed.
"""

from __future__ import annotations

from typing import Any

from ..data_plane import native
from ..parsing import INT64_MAX_CHARS, integer_or_none
from .packed import Packed, encoding_of, type_name_of

EMBEDDED_STRING_MAX_BYTES = 44
"""Redis: OBJ_ENCODING_EMBSTR_SIZE_LIMIT."""

SHARED_INTEGERS = tuple(b"%d" % number for number in range(10_000))
"""Strings equal to these are stored as these very objects (Redis: OBJ_SHARED_INTEGERS)."""

SHARED_MAX_DIGITS = len(b"%d" % (len(SHARED_INTEGERS) - 1))
SHARED_STRINGS = {text: text for text in SHARED_INTEGERS}
if native is not None:
    native.share_integers(SHARED_INTEGERS)

SHARED_REFERENCES = (1 << 31) - 1
"""What OBJECT REFCOUNT answers for a shared object (Redis: OBJ_SHARED_REFCOUNT)."""


def type_name(value: Any) -> bytes:
    """type_name(value) -> what TYPE answers: b"string", b"list", ..."""
    if type(value) is bytes or type(value) is bytearray:
        return b"string"
    if type(value) is Packed:
        return type_name_of(value)
    name: bytes = value.type_name
    return name


def encoding(value: Any) -> bytes:
    """encoding(value) -> what OBJECT ENCODING answers: b"int", b"embstr", b"raw", b"listpack", ..."""
    if type(value) is bytes:
        if len(value) <= INT64_MAX_CHARS and integer_or_none(value) is not None:
            return b"int"
        return b"embstr" if len(value) <= EMBEDDED_STRING_MAX_BYTES else b"raw"
    if type(value) is bytearray:
        return b"raw"
    if type(value) is Packed:
        return encoding_of(value)
    name: bytes = value.encoding
    return name


def references(value: Any) -> int:
    """references(value) -> what OBJECT REFCOUNT answers: 1, or SHARED_REFERENCES for a shared integer."""
    return SHARED_REFERENCES if type(value) is bytes and SHARED_STRINGS.get(value) is value else 1


def copied(value: Any) -> Any:
    """copied(value) -> an independent value; what never changes in place is shared. O(n)."""
    if type(value) is bytes or type(value) is Packed:
        return value
    return value.copy()
