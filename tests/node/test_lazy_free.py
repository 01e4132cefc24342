"""Lazy freeing empties anything in bounded steps, and leaves small values alone."""

from __future__ import annotations

from time import thread_time
from typing import Any

import pytest
from pyredis_cluster.node.lazy_free import FREED_AT_ONCE_MAX_ELEMENTS, LazyFree
from pyredis_cluster.node.values.hash import Hash
from pyredis_cluster.node.values.list import List
from pyredis_cluster.node.values.set import Set
from pyredis_cluster.node.values.sorted_set import SortedSet


def large_values(count: int) -> list[Hash | List | Set | SortedSet]:
    texts = [b"%d" % number for number in range(count)]
    zset = SortedSet({text: float(number) for number, text in enumerate(texts)})
    return [
        Hash.of([(text, text) for text in texts], 512, 64),
        List.of(texts, -2),
        Set(texts),
        zset,
    ]


def test_small_values_are_not_queued() -> None:
    lazy_free = LazyFree()
    for value in (b"string", bytearray(b"raw"), *large_values(FREED_AT_ONCE_MAX_ELEMENTS)):
        lazy_free.add(value)
    assert lazy_free.pending == 0
    assert not lazy_free.step(lambda: False)


def test_each_type_is_taken_apart_step_by_step() -> None:
    for value in large_values(20_000):
        lazy_free = LazyFree()
        lazy_free.add(value)
        assert lazy_free.pending == 1
        steps = 1
        while lazy_free.step(lambda: False):
            steps += 1
        assert steps > 5, type(value)
        assert lazy_free.pending == 0
        assert lazy_free.freed == 1


def test_a_step_goes_on_while_there_is_time() -> None:
    lazy_free = LazyFree()
    for value in large_values(20_000):
        lazy_free.add(value)
    assert not lazy_free.step(lambda: True)
    assert lazy_free.freed == 4


@pytest.mark.parametrize(
    ("command", "counted"),
    [(b"DEL set", 0), (b"FLUSHALL SYNC", 0), (b"FLUSHDB", 0), (b"UNLINK set", 1), (b"FLUSHALL ASYNC", 1)],
)
def test_commands_leave_large_values_to_the_reclaimer_and_count_as_in_redis(
    node: Any, command: bytes, counted: int
) -> None:
    lazy_free = node.server.reclaimer.lazy_free
    members = [b"%d" % number for number in range(5_000)]
    node.run(b"SADD", b"set", *members)
    partitions = node.server.keyspace.databases[0].peek(b"set").entries._partitions
    node.run(*command.split())
    assert node.ask("DBSIZE") == 0
    assert lazy_free.pending == counted
    steps = 0
    while lazy_free.step(lambda: False):
        steps += 1
    assert steps > 5
    assert lazy_free.freed == counted
    assert not partitions


@pytest.mark.parametrize(
    "command", [b"SET set v", b"MSET set v", b"RENAME other set", b"SUNIONSTORE set other", b"PEXPIRE set -1"]
)
def test_what_replaces_a_large_value_leaves_it_to_the_reclaimer(node: Any, command: bytes) -> None:
    node.run(b"SADD", b"set", *(b"%d" % number for number in range(5_000)))
    node.ask("SADD", "other", "m")
    partitions = node.server.keyspace.databases[0].peek(b"set").entries._partitions
    node.run(*command.split())
    lazy_free = node.server.reclaimer.lazy_free
    assert sum(map(len, {id(each): each for each in partitions}.values())) == 5_000
    while lazy_free.step(lambda: False):
        pass
    assert not partitions
    assert lazy_free.freed == 0
    node.server.keyspace.databases[0]._check()


def test_no_step_is_long() -> None:
    lazy_free = LazyFree()
    lazy_free.add([{b"%d" % key: value for key, value in enumerate(large_values(100_000))} for _ in range(2)])
    worst = 0.0
    more = True
    while more:
        started = thread_time()
        more = lazy_free.step(lambda: False)
        worst = max(worst, thread_time() - started)
    assert worst < 0.02
