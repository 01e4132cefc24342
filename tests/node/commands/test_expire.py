"""EXPIRE, TTL and PERSIST: times, conditions, what is propagated, and what a replica may not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyredis_cluster.node.keyspace import ExpiryPolicy

if TYPE_CHECKING:
    from tests.node.conftest import Node


def test_the_four_forms_set_the_same_time(node: Node) -> None:
    now_ms = node.server.clock.now_ms
    expected = []
    for command, time in (
        ("EXPIRE", 10),
        ("PEXPIRE", 10_000),
        ("EXPIREAT", now_ms // 1000 + 10),
        ("PEXPIREAT", now_ms + 10_000),
    ):
        node.ask("SET", "k", "v")
        assert node.ask(command, "k", time) == 1
        assert node.ask("PTTL", "k") == 10_000
        assert node.ask("TTL", "k") == 10
        assert node.ask("EXPIRETIME", "k") == now_ms // 1000 + 10
        assert node.ask("PEXPIRETIME", "k") == now_ms + 10_000
        expected += [[b"SET", b"k", b"v"], [b"PEXPIREAT", b"k", b"%d" % (now_ms + 10_000)]]
    assert node.propagated() == expected


@pytest.mark.parametrize("command", ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"])
def test_no_key_is_minus_two_and_no_time_minus_one(node: Node, command: str) -> None:
    assert node.ask(command, "k") == -2
    node.ask("SET", "k", "v")
    assert node.ask(command, "k") == -1


def test_seconds_are_rounded_to_the_nearest(node: Node) -> None:
    node.ask("SET", "k", "v", "PX", 1499)
    assert node.ask("TTL", "k") == 1
    node.ask("SET", "k", "v", "PX", 1500)
    assert node.ask("TTL", "k") == 2


@pytest.mark.parametrize("command", ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "PERSIST"])
def test_a_missing_key_answers_zero(node: Node, command: str) -> None:
    args = [] if command == "PERSIST" else [10]
    assert node.ask(command, "none", *args) == 0
    assert node.propagated() == []


def test_a_time_that_has_passed_deletes_and_propagates_the_deletion(node: Node) -> None:
    for command, time in (("EXPIRE", 0), ("PEXPIRE", -5), ("EXPIREAT", 1), ("PEXPIREAT", 1)):
        node.ask("SET", "k", "v")
        node.propagated()
        assert node.ask(command, "k", time) == 1
        assert node.ask("EXISTS", "k") == 0
        assert node.propagated() == [[b"DEL", b"k"]]
    node.server.config.lazyfree_lazy_expire = True
    node.ask("SET", "k", "v")
    node.ask("EXPIRE", "k", -1)
    assert node.propagated()[-1] == [b"UNLINK", b"k"]


@pytest.mark.parametrize("policy", [ExpiryPolicy.HIDE, ExpiryPolicy.IGNORE])
def test_a_replica_never_deletes_on_its_own(node: Node, policy: ExpiryPolicy) -> None:
    node.ask("SET", "k", "v")
    node.server.keyspace.expiry_policy = policy
    assert node.ask("PEXPIREAT", "k", 1) == 1
    assert node.client.db.peek(b"k") == b"v"
    assert node.client.db.expiry_ms(b"k") == 1
    assert node.ask("GET", "k") == (None if policy is ExpiryPolicy.HIDE else b"v")
    assert node.client.db.peek(b"k") == b"v"


def test_an_expired_key_is_deleted_by_who_meets_it_and_propagated_once(node: Node) -> None:
    node.ask("SET", "k", "v", "PX", 100)
    node.advance(99)
    assert node.ask("GET", "k") == b"v"
    node.propagated()
    node.advance(1)
    assert node.ask("GET", "k") is None
    assert node.ask("DBSIZE") == 0
    assert node.propagated() == [[b"DEL", b"k"]]
    assert node.server.keyspace.expired_keys == 1


@pytest.mark.parametrize(
    ("before", "options", "seconds", "changes"),
    [
        (None, ["NX"], 10, True),
        (100, ["NX"], 10, False),
        (None, ["XX"], 10, False),
        (100, ["xx"], 10, True),
        (None, ["GT"], 10, False),
        (100, ["GT"], 100, False),
        (100, ["GT"], 101, True),
        (None, ["LT"], 10, True),
        (100, ["LT"], 100, False),
        (100, ["lt"], 99, True),
        (None, ["XX", "LT"], 10, False),
        (100, ["XX", "GT"], 200, True),
        (100, ["XX", "XX"], 200, True),
    ],
)
def test_conditions(node: Node, before: int | None, options: list[str], seconds: int, changes: bool) -> None:
    node.ask("SET", "k", "v")
    if before is not None:
        node.ask("EXPIRE", "k", before)
    assert node.ask("EXPIRE", "k", seconds, *options) == changes
    assert node.ask("TTL", "k") == (seconds if changes else before or -1)


def test_bad_options(node: Node) -> None:
    nx = "ERR NX and XX, GT or LT options at the same time are not compatible"
    assert node.error("EXPIRE", "k", 1, "NX", "XX") == nx
    assert node.error("EXPIRE", "k", 1, "LT", "NX") == nx
    assert node.error("EXPIRE", "k", 1, "GT", "LT") == "ERR GT and LT options at the same time are not compatible"
    assert node.error("EXPIRE", "k", 1, "AB") == "ERR Unsupported option AB"


@pytest.mark.parametrize(
    ("command", "time"),
    [("EXPIRE", 2**63 - 1), ("EXPIRE", -(2**63)), ("PEXPIRE", 2**63 - 1), ("EXPIREAT", 2**61)],
)
def test_times_out_of_range_name_the_command(node: Node, command: str, time: int) -> None:
    node.ask("SET", "k", "v")
    assert node.error(command, "k", time) == f"ERR invalid expire time in '{command.lower()}' command"
    assert node.error(command, "k", "x") == "ERR value is not an integer or out of range"
    assert node.ask("TTL", "k") == -1


def test_persist_drops_the_time(node: Node) -> None:
    node.ask("SET", "k", "v", "EX", 10)
    node.propagated()
    assert node.ask("PERSIST", "k") == 1
    assert node.ask("PERSIST", "k") == 0
    assert node.ask("TTL", "k") == -1
    assert node.propagated() == [[b"PERSIST", b"k"]]


def test_a_changed_time_fails_a_watch(node: Node) -> None:
    node.ask("SET", "k", "v")
    node.ask("WATCH", "k")
    node.ask("EXPIRE", "k", 10, client=node.connect())
    node.ask("MULTI")
    node.ask("GET", "k")
    assert node.ask("EXEC") is None
