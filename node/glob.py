"""Glob patterns as Redis matches them (util.c, stringmatchlen): KEYS, SCAN MATCH, CONFIG GET, COMMAND LIST.

Law: matching costs O(pattern * text) at most, whatever the pattern. Between two stars every atom takes
exactly one byte, so the leftmost place of such a segment is never wrong and an atomic group may keep it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from .errors import CommandError

PATTERN_MAX_BYTES = 256 * 1024
"""A longer pattern is refused: it would have to be compiled, and matches no key of a sane length."""

CACHED_PATTERN_MAX_BYTES = 1024
CACHED_PATTERNS_MAX = 256

Matcher = Callable[[bytes], object]
"""Takes a text; the result is true if it matches."""

_TOKEN = re.compile(rb"[^*?\[\\]+|[*?]+|\[|\\.?", re.DOTALL)
_SPECIAL = re.compile(rb"[*?\[\\]")


def matcher(pattern: bytes, nocase: bool = False) -> Matcher:
    """matcher(b"user:*") -> a function that tells whether a text matches; short patterns are cached.

    `*` any run, `?` any byte, `[a-z]`, `[^a-z]`, `\\x` the byte x. As in Redis, an empty text matches only
    the empty pattern (callers that take `*` for everything say so themselves), an unclosed class ends with
    the pattern, and bytes over 127 count as negative in ranges. With `nocase`, ASCII letters match any case.
    """
    if len(pattern) > PATTERN_MAX_BYTES:
        raise CommandError("pattern is too long")
    if len(pattern) <= CACHED_PATTERN_MAX_BYTES:
        return _cached(pattern, nocase)
    return _compile(pattern, nocase)


def matches(pattern: bytes, text: bytes, nocase: bool = False) -> bool:
    """matches(b"a*", b"abc") -> True. O(len(pattern) * len(text))."""
    return bool(matcher(pattern, nocase)(text))


def _compile(pattern: bytes, nocase: bool) -> Matcher:
    if not nocase and _SPECIAL.search(pattern) is None:
        return lambda text: text == pattern
    if not nocase and pattern[-1:] == b"*" and len(pattern) > 1 and _SPECIAL.search(pattern[:-1]) is None:
        prefix = pattern[:-1]
        return lambda text: text.startswith(prefix)
    return re.compile(_translate(pattern, nocase), re.DOTALL).fullmatch


_cached = lru_cache(CACHED_PATTERNS_MAX)(_compile)


def _translate(pattern: bytes, nocase: bool) -> bytes:
    """The regular expression: the segments before the first star and after the last one are anchored, each
    segment in the middle is an atomic group that takes the leftmost place.
    """
    segments: list[tuple[int, list[bytes]]] = [(-1, [])]
    """(bytes to skip at least, or -1 for an anchored start; atoms)"""
    position = 0
    while position < len(pattern):
        found = _TOKEN.match(pattern, position)
        assert found is not None
        token = found.group()
        position = found.end()
        if token[0] in b"*?":
            skipped = token.count(b"?")
            if b"*" in token:
                segments.append((skipped, []))
            else:
                segments[-1][1].append(b".{%d}" % skipped)
        elif token == b"[":
            atom, position = _character_class(pattern, position, nocase)
            segments[-1][1].append(atom)
        else:
            literal = token[1:] if token[0] == 0x5C and len(token) == 2 else token
            segments[-1][1].append(b"(?i:%b)" % re.escape(literal) if nocase else re.escape(literal))
    parts = [b"(?!\\Z)" if pattern else b"", *segments[0][1]]
    for skipped, atoms in segments[1:-1]:
        parts.append(b"(?>.{%d,}?%b)" % (skipped, b"".join(atoms)))
    if len(segments) > 1:
        skipped, atoms = segments[-1]
        parts.append(b".{%d,}%b" % (skipped, b"".join(atoms)))
    return b"".join(parts)


def _folded(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _character_class(pattern: bytes, position: int, nocase: bool) -> tuple[bytes, int]:
    """The class that starts after `[` at `position` -> (its expression, the position after its `]`)."""
    end = len(pattern)
    negated = pattern[position : position + 1] == b"^"
    position += negated
    members: set[int] = set()
    while position < end:
        byte = pattern[position]
        if byte == 0x5C and end - position >= 2:
            position += 1
            members.add(pattern[position])
        elif byte == 0x5D:
            break
        elif end - position >= 3 and pattern[position + 1] == 0x2D:
            low, high = sorted((_signed(byte), _signed(pattern[position + 2])))
            if nocase:
                low, high = _folded(low), _folded(high)
            members.update(b for b in range(256) if low <= _signed(_folded(b) if nocase else b) <= high)
            position += 2
        elif nocase:
            members.update(b for b in range(256) if _folded(b) == _folded(byte))
        else:
            members.add(byte)
        position += 1
    if negated:
        members = set(range(256)) - members
    expression = b"[%b]" % b"".join(b"\\x%02x" % byte for byte in sorted(members)) if members else b"(?!)"
    return expression, position + 1
