"""Anti-entropy: after one exchange both sides know the same, and strangers get nothing."""

from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.gossip.errors import Dropped
from pyredis_cluster.gossip.messages import TAG_BYTES, Keyring, Kind
from pyredis_cluster.gossip.sync import SUMMARY_MAX_BYTES, SyncExchange

from .cores import Bench, record

RING = Keyring([b"secret"])


def exchange(one: Bench, other: Bench, chunk: int = 1 << 20) -> None:
    """Run an exchange to its end, handing over `chunk` bytes at a time."""
    sides = [SyncExchange(one.core, RING, initiator=True), SyncExchange(other.core, RING, initiator=False)]
    data, reader = sides[0].start(), 1
    while data:
        answer = b""
        for start in range(0, len(data), chunk):
            answer += sides[reader].feed(data[start : start + chunk], 1000.0)
        data, reader = answer, 1 - reader
    assert all(side.done for side in sides)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_both_sides_know_the_same_afterwards(chunk: int) -> None:
    one = Bench(record(1), record(2), record(3, version=5, slots=1), record(5))
    other = Bench(record(2), record(1), record(3, version=4), record(4, slots=2))
    other.core.current_epoch = 9
    other.core.mark_failed(other.core.nodes["4" * 40], origin=False)
    exchange(one, other, chunk)
    assert one.core.digest == other.core.digest
    assert set(one.core.nodes) == set(other.core.nodes) == {f"{number}" * 40 for number in range(1, 6)}
    assert one.core.nodes["4" * 40].failed
    assert one.core.current_epoch >= 9


def test_two_contents_of_one_version_become_one() -> None:
    one = Bench(record(1), record(2), record(3, hostname="a"))
    other = Bench(record(2), record(1), record(3, hostname="b"))
    exchange(one, other)
    assert one.core.digest == other.core.digest


def test_a_recorded_exchange_teaches_nobody_anything() -> None:
    def talk(one: Bench, other: Bench) -> list[bytes]:
        near, far = SyncExchange(one.core, RING, initiator=True), SyncExchange(other.core, RING, initiator=False)
        frames = [near.start()]
        frames.append(far.feed(frames[0], 1000.0))
        frames.append(near.feed(frames[1], 1000.0))
        far.feed(frames[2], 1000.0)
        return frames

    one, other = Bench(record(1), record(2), record(3)), Bench(record(2), record(1), record(4))
    frames = talk(one, other)
    for bench in (one, other):
        for number in (3, 4):
            bench.core.remove_node(bench.core.nodes[f"{number}" * 40])
    near = SyncExchange(one.core, RING, initiator=True)
    near.start()
    with pytest.raises(Dropped, match="replayed"):
        near.feed(frames[1], 1000.0)
    far = SyncExchange(other.core, RING, initiator=False)
    far.feed(frames[0], 1000.0)
    with pytest.raises(Dropped, match="replayed"):
        far.feed(frames[2], 1000.0)
    assert len(one.core.nodes) == len(other.core.nodes) == 2


def test_a_stranger_and_a_wrong_secret_are_refused() -> None:
    one, stranger = Bench(record(1), record(2)), Bench(record(7), record(1))
    with pytest.raises(Dropped, match="unknown_sender"):
        SyncExchange(one.core, RING, initiator=False).feed(
            SyncExchange(stranger.core, RING, initiator=True).start(), 0
        )
    foreign = SyncExchange(one.core, Keyring([b"other"]), initiator=True).start()
    with pytest.raises(Dropped, match="tag"):
        SyncExchange(stranger.core, RING, initiator=False).feed(foreign, 0)


def test_a_frame_that_promises_too_much_is_refused_by_its_header() -> None:
    side = SyncExchange(Bench(record(1)).core, RING, initiator=False)
    with pytest.raises(Dropped, match="oversized"):
        side.feed(b"\xff\xff\xff\xff", 0)


def test_differing_digests_lead_to_a_sync_and_equal_ones_to_none() -> None:
    bench = Bench(record(1), record(2))
    bench.hear_from(2)
    assert not bench.core.stats.syncs
    for _ in range(2):
        bench.core.membership.compare_digest(bench.core.nodes["2" * 40], 12345)
    assert bench.core.stats.syncs == 1


def test_a_datagram_of_a_stranger_is_dropped() -> None:
    bench = Bench(record(1), record(2))
    bench.receive(9, Kind.PING, 1, b"")
    assert bench.core.stats.dropped["unknown_sender"] == 1
    assert not bench.sent(Kind.PONG)
    with pytest.raises(Dropped, match="unknown_sender"):
        bench.receive(9, Kind.MEET_PONG, 1, "10.0.0.1", record(9).packed, 0)


@given(st.binary(max_size=120), st.booleans(), st.integers(1, 40))
def test_a_signed_frame_of_rubbish_is_dropped(payload: bytes, initiator: bool, chunk: int) -> None:
    side = SyncExchange(Bench(record(1), record(2)).core, RING, initiator=initiator)
    frame = (len(payload) + TAG_BYTES).to_bytes(4, "big") + RING.tag(payload, b"sync") + payload
    try:
        for start in range(0, len(frame), chunk):
            side.feed(frame[start : start + chunk], 1000.0)
    except Dropped as dropped:
        assert dropped.reason in ("malformed", "oversized", "unknown_sender")


@given(st.lists(st.one_of(st.integers(), st.binary(max_size=20), st.lists(st.booleans(), max_size=3)), max_size=3))
def test_a_frame_of_a_member_with_the_wrong_fields_is_dropped(body: list[object]) -> None:
    try:
        payload = msgpack.packb([b"\x22" * 20, 1, 5, 6, body])
    except OverflowError:
        return
    for initiator in (False, True):
        side = SyncExchange(Bench(record(1), record(2)).core, RING, initiator=initiator)
        with contextlib.suppress(Dropped):
            side.feed((len(payload) + TAG_BYTES).to_bytes(4, "big") + RING.tag(payload, b"sync") + payload, 1000.0)


def test_who_has_proved_nothing_may_not_announce_a_large_frame() -> None:
    side = SyncExchange(Bench(record(1), record(2)).core, RING, initiator=False)
    with pytest.raises(Dropped) as caught:
        side.feed((SUMMARY_MAX_BYTES + 1).to_bytes(4, "big"), 1000.0)
    assert caught.value.reason == "oversized"
    assert not side.proved
