"""Anti-entropy: after one exchange both sides know the same, and strangers get nothing."""

from __future__ import annotations

import pytest
from pyredis_cluster.gossip.errors import Dropped
from pyredis_cluster.gossip.messages import Keyring, Kind
from pyredis_cluster.gossip.sync import SyncExchange

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
    with pytest.raises(Dropped, match="unknown_sender"):
        bench.receive(9, Kind.PING, 1)
    with pytest.raises(Dropped, match="unknown_sender"):
        bench.receive(9, Kind.MEET_PONG, 1, "10.0.0.1", record(9).packed)
