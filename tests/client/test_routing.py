"""The routing core, without a network: which node a request goes to, and what each answer means."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.client.errors import (
    ConnectionLostError,
    ProtocolViolationError,
    RequestTimeoutError,
    ResponseError,
    WrongTypeError,
    reply_error,
)
from pyredis_cluster.client.options import ClientOptions
from pyredis_cluster.client.routing import REDIRECTS_AT_ONCE_MAX, SUSPECT_MS, Next, Request, Router
from pyredis_cluster.client.topology import Shard

A, A1, A2, B, X = ("a", 1), ("a1", 1), ("a2", 1), ("b", 2), ("x", 9)
NOW_MS = 1_000_000.0


def make_router(**options: Any) -> Router:
    router = Router([A], ClientOptions(**options), Random(1))
    router.adopt([(0, 9, Shard(A, (A1, A2))), (10, 19, Shard(B))], NOW_MS - 10_000)
    return router


def make_request(**fields: Any) -> Request:
    return Request(b"payload", **fields)


def test_a_request_with_a_slot_goes_to_its_primary() -> None:
    router = make_router()
    assert router.choose(make_request(slot=3), NOW_MS) == A
    assert router.choose(make_request(slot=15), NOW_MS) == B


def test_a_request_without_a_slot_goes_to_any_primary() -> None:
    router = make_router()
    assert {router.choose(make_request(), NOW_MS) for _ in range(50)} == {A, B}


def test_a_slot_that_nobody_serves_is_asked_about_at_any_primary() -> None:
    assert make_router().choose(make_request(slot=500), NOW_MS) in {A, B}


@pytest.mark.parametrize(
    ("policy", "nodes"), [("primary", {A}), ("replica", {A1, A2}), ("any", {A, A1, A2})]
)
def test_reads_go_where_the_policy_says(policy: str, nodes: set[Any]) -> None:
    router = make_router(read_from=policy)
    assert {router.choose(make_request(slot=1, replica=True), NOW_MS) for _ in range(80)} == nodes
    assert router.choose(make_request(slot=1), NOW_MS) == A


def test_moved_corrects_the_slot_and_goes_out_again_at_once() -> None:
    router = make_router()
    request = make_request(slot=3)
    router.choose(request, NOW_MS)
    assert router.on_reply(request, reply_error("MOVED 3 b:2"), NOW_MS) is Next.NOW
    assert request.target == B
    assert not request.asking
    assert router.choose(make_request(slot=3), NOW_MS) == B
    assert router.choose(make_request(slot=4), NOW_MS) == A
    assert router.refresh_due(NOW_MS)


def test_ask_sends_this_request_elsewhere_and_changes_nothing_else() -> None:
    router = make_router()
    request = make_request(slot=3)
    router.choose(request, NOW_MS)
    assert router.on_reply(request, reply_error("ASK 3 b:2"), NOW_MS) is Next.NOW
    assert (request.target, request.asking) == (B, True)
    assert router.choose(make_request(slot=3), NOW_MS) == A
    assert not router.refresh_due(NOW_MS)


def test_a_redirect_without_a_host_means_the_host_that_answered() -> None:
    router = make_router()
    request = make_request(slot=3)
    router.choose(request, NOW_MS)
    router.on_reply(request, reply_error("MOVED 3 :77"), NOW_MS)
    assert request.target == ("a", 77)


def test_redirects_in_a_circle_slow_down_and_end() -> None:
    router = make_router(attempts_max=7)
    request = make_request(slot=3)
    router.choose(request, NOW_MS)
    verdicts = []
    while not verdicts or verdicts[-1] is not Next.DONE:
        verdicts.append(router.on_reply(request, reply_error(f"MOVED 3 n{len(verdicts) % 2}:1"), NOW_MS))
        assert len(verdicts) < 100
    assert verdicts == [Next.NOW] * REDIRECTS_AT_ONCE_MAX + [Next.LATER] * 6 + [Next.DONE]


@pytest.mark.parametrize(
    ("message", "stale"),
    [
        ("TRYAGAIN Multiple keys request during rehashing of slot", False),
        ("CLUSTERDOWN The cluster is down", True),
        ("LOADING Redis is loading the dataset in memory", False),
        ("READONLY You can't write against a read only replica.", True),
    ],
)
def test_a_passing_condition_is_waited_for(message: str, stale: bool) -> None:
    router = make_router()
    request = make_request(slot=3)
    router.choose(request, NOW_MS)
    assert router.on_reply(request, reply_error(message), NOW_MS) is Next.LATER
    assert request.target == A
    assert router.refresh_due(NOW_MS) is stale


def test_tryagain_at_the_importing_node_goes_back_to_the_owner() -> None:
    router = make_router()
    request = make_request(slot=3)
    router.choose(request, NOW_MS)
    router.on_reply(request, reply_error("ASK 3 b:2"), NOW_MS)
    assert router.on_reply(request, reply_error("TRYAGAIN x"), NOW_MS) is Next.LATER
    assert (request.target, request.asking) == (A, False)


@pytest.mark.parametrize("message", ["LOADING x", "MASTERDOWN x"])
def test_a_read_that_a_replica_cannot_serve_goes_to_another_node_at_once(message: str) -> None:
    router = make_router(read_from="replica")
    request = make_request(slot=3, replica=True)
    asked = []
    for _ in range(3):
        asked.append(request.target or router.choose(request, NOW_MS))
        verdict = router.on_reply(request, reply_error(message), NOW_MS)
    assert set(asked[:2]) == {A1, A2}
    assert asked[2] == A
    assert verdict is Next.LATER


@pytest.mark.parametrize("reply", [b"value", None, 5, [], reply_error("ERR x"), WrongTypeError("WRONGTYPE x")])
def test_any_other_reply_is_the_answer(reply: Any) -> None:
    router = make_router()
    request = make_request(slot=3)
    router.choose(request, NOW_MS)
    assert router.on_reply(request, reply, NOW_MS) is Next.DONE
    assert request.reply is reply


def test_a_write_that_may_have_been_applied_is_not_repeated() -> None:
    router = make_router()
    request = make_request(slot=3)
    router.choose(request, NOW_MS)
    error = ConnectionLostError("x", maybe_applied=True)
    assert router.on_failure(request, error, NOW_MS) is Next.DONE
    assert request.reply is error
    assert router.refresh_due(NOW_MS)


@pytest.mark.parametrize(
    ("options", "fields", "maybe_applied"),
    [({}, {}, False), ({"retry_writes": True}, {}, True), ({}, {"repeatable": True}, True)],
)
@pytest.mark.parametrize("kind", [ConnectionLostError, RequestTimeoutError])
def test_what_does_no_harm_is_repeated(kind: Any, options: Any, fields: Any, maybe_applied: bool) -> None:
    router = make_router(**options)
    request = make_request(slot=3, **fields)
    router.choose(request, NOW_MS)
    error = kind("x", maybe_applied=maybe_applied)
    assert router.on_failure(request, error, NOW_MS) is Next.LATER


def test_a_lost_read_goes_to_another_replica_and_then_to_the_primary_at_once() -> None:
    router = make_router(read_from="replica")
    request = make_request(slot=3, replica=True, repeatable=True)
    asked = [router.choose(request, NOW_MS)]
    error = ConnectionLostError("x", maybe_applied=True)
    verdicts = []
    for _ in range(3):
        verdicts.append(router.on_failure(request, error, NOW_MS))
        asked.append(request.target)  # type: ignore[arg-type]
    assert verdicts == [Next.NOW, Next.NOW, Next.LATER]
    assert set(asked[:2]) == {A1, A2}
    assert asked[2] == A


def test_a_request_for_one_node_is_asked_once() -> None:
    router = make_router()
    request = make_request(fixed=X)
    assert router.choose(request, NOW_MS) == X
    assert router.on_failure(request, ConnectionLostError("x"), NOW_MS) is Next.DONE
    assert router.on_reply(request, reply_error("MOVED 3 b:2"), NOW_MS) is Next.DONE
    assert router.on_reply(request, reply_error("LOADING x"), NOW_MS) is Next.DONE


def test_a_protocol_violation_is_the_callers_to_see() -> None:
    router = make_router()
    request = make_request(slot=3, repeatable=True)
    router.choose(request, NOW_MS)
    assert router.on_failure(request, ProtocolViolationError("x"), NOW_MS) is Next.DONE


def test_a_refused_handshake_is_judged_like_a_reply() -> None:
    router = make_router()
    request = make_request(slot=3)
    router.choose(request, NOW_MS)
    assert router.on_failure(request, ResponseError("WRONGPASS x"), NOW_MS) is Next.DONE
    assert router.on_failure(request, reply_error("LOADING x"), NOW_MS) is Next.LATER


def test_a_suspect_comes_last_until_its_time_is_over() -> None:
    router = make_router()
    router.suspect(A, NOW_MS)
    assert {router.choose(make_request(), NOW_MS) for _ in range(50)} == {B}
    assert router.refresh_candidates(NOW_MS)[-1] == A
    later_ms = NOW_MS + SUSPECT_MS
    assert {router.choose(make_request(), later_ms) for _ in range(50)} == {A, B}


def test_one_caller_in_each_interval_refreshes() -> None:
    router = make_router(refresh_interval_ms=100)
    assert not router.refresh_due(NOW_MS)
    request = make_request(slot=3)
    router.choose(request, NOW_MS)
    router.on_reply(request, reply_error("MOVED 3 b:2"), NOW_MS)
    assert router.refresh_due(NOW_MS)
    assert not router.refresh_due(NOW_MS + 99)
    assert router.refresh_due(NOW_MS + 100)


def test_the_node_that_moved_named_is_asked_first_for_the_slots() -> None:
    router = make_router()
    request = make_request(slot=3)
    router.choose(request, NOW_MS)
    router.on_reply(request, reply_error("MOVED 3 x:9"), NOW_MS)
    assert router.refresh_candidates(NOW_MS)[0] == X


@given(st.integers(1, 10_000), st.integers(0, 2**32))
def test_backoff_is_bounded_and_jittered(failures: int, seed: int) -> None:
    router = Router([A], ClientOptions(backoff_base_ms=8, backoff_max_ms=250), Random(seed))
    ceiling_ms = min(250, 8 * 2 ** min(failures - 1, 32))
    assert ceiling_ms / 2 <= router.backoff_ms(failures) <= ceiling_ms
