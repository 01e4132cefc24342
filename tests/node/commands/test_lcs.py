"""LCS agrees with the textbook's table, in length, string and ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.node.conftest import Node

TEXTS = st.text("abc", max_size=9)


def textbook(a: str, b: str) -> tuple[str, list[list[object]]]:
    """(the subsequence, IDX's matches with their lengths) from the full table, as t_string.c walks it."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if x == y else max(table[i - 1][j], table[i][j - 1])
    i, j, text = len(a), len(b), ""
    matches: list[list[object]] = []
    run: list[int] = []
    while i and j:
        if a[i - 1] == b[j - 1]:
            text = a[i - 1] + text
            if run and (run[0], run[2]) == (i, j):
                run = [i - 1, run[1], j - 1, run[3]]
            else:
                if run:
                    matches.append([run[:2], run[2:], run[1] - run[0] + 1])
                run = [i - 1, i - 1, j - 1, j - 1]
            i, j = i - 1, j - 1
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    if run:
        matches.append([run[:2], run[2:], run[1] - run[0] + 1])
    return text, matches


@given(a=TEXTS, b=TEXTS, at_least=st.integers(0, 3))
def test_all_forms_agree_with_the_table(make_node: type[Node], a: str, b: str, at_least: int) -> None:
    node = make_node()
    node.ask("MSET", "a", a, "b", b)
    text, matches = textbook(a, b)
    assert node.ask("LCS", "a", "b") == text.encode()
    assert node.ask("LCS", "a", "b", "LEN") == len(text)
    expected = [match for match in matches if match[2] >= at_least]
    reply = node.ask("LCS", "a", "b", "IDX", "MINMATCHLEN", at_least, "WITHMATCHLEN")
    assert reply == [b"matches", expected, b"len", len(text)]
    reply = node.ask("LCS", "a", "b", "IDX")
    assert reply == [b"matches", [match[:2] for match in matches], b"len", len(text)]


def test_a_missing_key_is_an_empty_string(node: Node) -> None:
    node.ask("SET", "a", "x")
    assert node.ask("LCS", "a", "none") == b""
    assert node.ask("LCS", "none", "a", "LEN") == 0


def test_errors(node: Node) -> None:
    node.ask("HSET", "h", "f", "v")
    assert node.error("LCS", "h", "a") == "ERR The specified keys must contain string values"
    both = "ERR If you want both the length and indexes, please just use IDX."
    assert node.error("LCS", "a", "b", "LEN", "IDX") == both
    assert node.error("LCS", "a", "b", "FOO") == "ERR syntax error"
    assert node.error("LCS", "a", "b", "MINMATCHLEN") == "ERR syntax error"


def test_the_table_is_bounded_by_proto_max_bulk_len(node: Node) -> None:
    node.ask("MSET", "a", "x" * 20_000, "b", "y" * 20_000)
    assert node.error("LCS", "a", "b").startswith("ERR Insufficient memory, transient memory for LCS")


def test_long_strings_are_compared_quickly(node: Node) -> None:
    node.ask("MSET", "a", "ab" * 2500, "b", "ba" * 2500)
    assert node.ask("LCS", "a", "b", "LEN") == 4999
