"""LCS: the longest common subsequence of two strings (Redis: lcsCommand in t_string.c).

Law: rows are computed on whole machine words as one big integer each (Hyyrö's bit-parallel recurrence), and
the way back takes the same turns as Redis's table, so that ranges come out alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..client import Client
from ..command import command, keys
from ..errors import CommandError, SyntaxError_
from ..parsing import parse_integer
from ..reply import array, bulk, integer

CELL_BYTES = 4
"""What Redis's table takes for a cell; proto-max-bulk-len bounds the table of that size."""


@dataclass(slots=True)
class _Options:
    length_only: bool = False
    indexes: bool = False
    with_match_length: bool = False
    match_length_min: int = 0


def _parse(args: list[bytes]) -> _Options:
    options = _Options()
    index = 3
    while index < len(args):
        word = args[index].upper()
        if word == b"IDX":
            options.indexes = True
        elif word == b"LEN":
            options.length_only = True
        elif word == b"WITHMATCHLEN":
            options.with_match_length = True
        elif word == b"MINMATCHLEN" and index + 1 < len(args):
            index += 1
            options.match_length_min = max(0, parse_integer(args[index]))
        else:
            raise SyntaxError_
        index += 1
    if options.length_only and options.indexes:
        raise CommandError("If you want both the length and indexes, please just use IDX.")
    return options


def _rows(first: bytes, second: bytes) -> list[int]:
    """rows[i]: bit j is clear where LCS(first[:i], second[:j + 1]) exceeds LCS(first[:i], second[:j])."""
    full = (1 << len(second)) - 1
    backwards = second[::-1]
    masks = {
        byte: int(b"0" + backwards.translate(bytes(49 if other == byte else 48 for other in range(256))), 2)
        for byte in set(first)
    }
    row = full
    rows = [row]
    for byte in first:
        matched = row & masks[byte]
        row = (row + matched | row - matched) & full
        rows.append(row)
    return rows


def _walk(first: bytes, second: bytes, rows: list[int]) -> Iterator[tuple[int, int]]:
    """The matched (index in first, index in second) pairs, from the last to the first."""
    i, j = len(first), len(second)
    while i and j:
        if first[i - 1] == second[j - 1]:
            i -= 1
            j -= 1
            yield i, j
        elif rows[i] >> (j - 1) & 1:
            j -= 1
        else:
            i -= 1


def _ranges(pairs: Iterator[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Runs of pairs that touch, as (start in first, start in second, length), the last run first."""
    ranges: list[tuple[int, int, int]] = []
    for i, j in pairs:
        if ranges and ranges[-1][0] == i + 1 and ranges[-1][1] == j + 1:
            ranges[-1] = (i, j, ranges[-1][2] + 1)
        else:
            ranges.append((i, j, 1))
    return ranges


@command("lcs", arity=-3, flags="readonly", keys=keys("RO access", 1, 2), since="7.0.0", group="string")
def lcs(client: Client, args: list[bytes]) -> bytes:
    """LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN] -> bulk | length | map

    Finds the longest common substring.
    Complexity: O(N*M) where N and M are the lengths of s1 and s2, respectively
    """
    values = [client.db.read(name) for name in args[1:3]]
    if any(value is not None and type(value) not in (bytes, bytearray) for value in values):
        raise CommandError("The specified keys must contain string values")
    first, second = (bytes(value or b"") for value in values)
    options = _parse(args)
    if (len(first) + 1) * (len(second) + 1) * CELL_BYTES > client.server.config.proto_max_bulk_len:
        raise CommandError("Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
    rows = _rows(first, second)
    length = len(second) - rows[-1].bit_count()
    if options.length_only:
        return integer(length)
    pairs = _walk(first, second, rows)
    if not options.indexes:
        return bulk(bytes(first[i] for i, _ in pairs)[::-1])
    matches = []
    for start, other, size in _ranges(pairs):
        if size >= options.match_length_min:
            match = [
                array([integer(start), integer(start + size - 1)]),
                array([integer(other), integer(other + size - 1)]),
            ]
            if options.with_match_length:
                match.append(integer(size))
            matches.append(array(match))
    return client.resp.map([bulk(b"matches"), array(matches), bulk(b"len"), integer(length)])
