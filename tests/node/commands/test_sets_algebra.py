"""Intersection, union and difference against Python's sets, their stored forms, and Redis's errors."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.node.conftest import Node


@pytest.mark.parametrize("seed", range(12))
def test_the_algebra_is_that_of_python_sets(node: Node, seed: int) -> None:
    rng = Random(seed)
    universe = [f"{number}" if seed % 2 else f"m{number}" for number in range(rng.choice([5, 60, 1500]))]
    sets: list[set[bytes]] = []
    for name in "abcd":
        chosen = rng.sample(universe, rng.randrange(len(universe)))
        if chosen:
            node.ask("SADD", name, *chosen)
        sets.append({member.encode() for member in chosen})
    names = [*"abcd"]
    intersection, union, difference = set.intersection(*sets), set.union(*sets), sets[0].difference(*sets[1:])
    for word, expected in (("SINTER", intersection), ("SUNION", union), ("SDIFF", difference)):
        reply = node.ask(word, *names)
        assert len(reply) == len(expected)
        assert {*reply} == expected
        assert node.ask(word + "STORE", "to", *names) == len(expected)
        stored = node.client.db.find(b"to")
        assert expected == (set() if stored is None else {*stored})
    assert node.ask("SINTERCARD", 4, *names) == len(intersection)
    for limit in (1, 3, 10_000):
        assert node.ask("SINTERCARD", 4, *names, "LIMIT", limit) == min(limit, len(intersection))


def test_a_stored_result_replaces_any_value_and_its_expiry(node: Node) -> None:
    node.ask("SADD", "a", 1, 2)
    node.client.db.set(b"to", b"text")
    node.client.db.set_expiry(b"to", node.server.clock.now_ms + 1000)
    assert node.ask("SUNIONSTORE", "to", "a", "none") == 2
    assert node.client.db.find(b"to").encoding == b"intset"
    assert node.client.db.expiry_ms(b"to") is None


def test_an_empty_result_deletes_the_destination(node: Node) -> None:
    node.ask("SADD", "a", 1)
    for word in ("SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"):
        node.client.db.set(b"to", b"text")
        node.propagated()
        assert node.ask(word, "to", "none", "none") == 0
        assert node.client.db.find(b"to") is None
        assert node.propagated() == [[word.encode(), b"to", b"none", b"none"]]
        node.ask(word, "to", "none")
        assert node.propagated() == []


def test_the_destination_may_be_a_source(node: Node) -> None:
    node.ask("SADD", "a", "x", "y")
    node.ask("SADD", "b", "y", "z")
    assert node.ask("SINTERSTORE", "a", "a", "b") == 1
    assert node.ask("SMEMBERS", "a") == [b"y"]
    assert node.ask("SDIFFSTORE", "b", "b", "b") == 0


def test_a_set_of_a_hashtable_that_only_holds_integers_is_stored_as_an_intset(node: Node) -> None:
    node.ask("SADD", "a", *range(200), "text")
    node.ask("SADD", "b", *range(190, 300))
    node.ask("SINTERSTORE", "to", "a", "b")
    assert node.client.db.find(b"to").encoding == b"intset"


@pytest.mark.parametrize(
    ("request_line", "error"),
    [
        ("SINTERCARD 0 a", "ERR numkeys should be greater than 0"),
        ("SINTERCARD x a", "ERR numkeys should be greater than 0"),
        ("SINTERCARD 2 a", "ERR Number of keys can't be greater than number of args"),
        ("SINTERCARD 1 a LIMIT", "ERR syntax error"),
        ("SINTERCARD 1 a FOO 1", "ERR syntax error"),
        ("SINTERCARD 1 a LIMIT -1", "ERR LIMIT can't be negative"),
        ("SINTERCARD 1 a LIMIT x", "ERR LIMIT can't be negative"),
    ],
)
def test_intersection_cardinality_refuses_what_redis_refuses(node: Node, request_line: str, error: str) -> None:
    assert node.error(*request_line.split()) == error
