"""Globs match what Redis's stringmatchlen matches; the oracle here is that function's loop, written in Python."""

from __future__ import annotations

from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.node.errors import CommandError
from pyredis_cluster.node.glob import PATTERN_MAX_BYTES, matches


def _class_takes(pattern: bytes, at: int, byte: int, fold: bool) -> tuple[bool, int]:
    """Whether the class after `[` takes the byte, and where the pattern goes on."""

    def folded(value: int) -> int:
        return value + 32 if fold and 65 <= value <= 90 else value

    def signed(value: int) -> int:
        return value - 256 if value > 127 else value

    negated = pattern[at : at + 1] == b"^"
    at += negated
    found = False
    while at < len(pattern):
        if pattern[at] == 92 and len(pattern) - at >= 2:
            at += 1
            found |= pattern[at] == byte
        elif pattern[at] == 93:
            break
        elif len(pattern) - at >= 3 and pattern[at + 1] == 45:
            low, high = sorted((signed(pattern[at]), signed(pattern[at + 2])))
            found |= folded(low) <= signed(folded(byte)) <= folded(high)
            at += 2
        else:
            found |= folded(pattern[at]) == folded(byte)
        at += 1
    return found != negated, at + 1


def oracle(pattern: bytes, text: bytes, fold: bool) -> bool:
    """Redis's rules by recursion, without its short cuts."""

    def match(at: int, rest: int) -> bool:
        if at == len(pattern):
            return rest == len(text)
        if pattern[at] == 42:
            return any(match(at + 1, more) for more in range(rest, len(text) + 1))
        if rest == len(text):
            return False
        if pattern[at] == 63:
            return match(at + 1, rest + 1)
        if pattern[at] == 91:
            taken, after = _class_takes(pattern, at + 1, text[rest], fold)
            return taken and match(min(after, len(pattern)), rest + 1)
        if pattern[at] == 92 and len(pattern) - at >= 2:
            at += 1
        mine, theirs = pattern[at : at + 1], text[rest : rest + 1]
        return (mine.lower() == theirs.lower() if fold else mine == theirs) and match(at + 1, rest + 1)

    return match(0, 0) if text else not pattern


@given(
    st.lists(st.sampled_from([*b"*?[]^-\\abAZz\xe9\x7f"]), max_size=9).map(bytes),
    st.lists(st.sampled_from([*b"abAZz*[]-\\^\xe9\x7f\x90"]), max_size=7).map(bytes),
    st.booleans(),
)
def test_matching_agrees_with_the_rules(pattern: bytes, text: bytes, nocase: bool) -> None:
    assert matches(pattern, text, nocase) == oracle(pattern, text, nocase)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (b"*", b"anything", True),
        (b"*", b"", False),
        (b"h?llo", b"hello", True),
        (b"h*llo", b"hllo", True),
        (b"h[^e]llo", b"hello", False),
        (b"h[a-b]llo", b"hbllo", True),
        (b"h[b-a]llo", b"hallo", True),
        (b"a\\*c", b"a*c", True),
        (b"a\\", b"a\\", True),
        (b"[abc", b"c", True),
        (b"[", b"[", False),
        (b"[^", b"x", True),
        (b"*\n*", b"a\nb", True),
        (b"user:*", b"user:1", True),
        (b"user:*", b"User:1", False),
        (b"foo{t}*", b"foo{t}bar", True),
    ],
)
def test_documented_examples(pattern: bytes, text: bytes, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_case_is_folded_on_demand() -> None:
    assert matches(b"MAX*[A-C]", b"maxmemoryb", nocase=True)
    assert not matches(b"MAX*[A-C]", b"maxmemoryb")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [(b"a*" * 1000 + b"b", b"a" * 20_000), (b"*a" * 2000 + b"b", b"a" * 5000), (b"*?" * 50_000, b"a" * 49_999)],
)
def test_hostile_patterns_take_bounded_time(pattern: bytes, text: bytes) -> None:
    started = thread_time()
    assert not matches(pattern, text)
    assert thread_time() - started < 5


def test_a_pattern_that_is_too_long_is_refused() -> None:
    with pytest.raises(CommandError, match="pattern is too long"):
        matches(b"*" * (PATTERN_MAX_BYTES + 1), b"a")
