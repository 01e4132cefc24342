"""The backlog: a contiguous end of the stream, bounded by its size and by what replicas still need."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pyredis_cluster.node.replication.backlog import BLOCK_MAX_BYTES, SIZE_MIN_BYTES, Backlog

STEP = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 200)),
    st.tuples(st.just("append"), st.integers(10_000, 70_000)),
    st.tuples(st.just("resize"), st.integers(0, 100_000)),
    st.tuples(st.just("pin"), st.integers(0, 100_000)),
    st.tuples(st.just("unpin"), st.just(0)),
)


def stretch(number: int, size: int) -> bytes:
    return (b"%08d" % number) * (size // 8 + 1)


@settings(max_examples=150)
@given(steps=st.lists(STEP, max_size=40), first=st.integers(1, 1 << 40))
def test_it_is_the_end_of_the_stream_and_keeps_what_a_replica_needs(steps: list[tuple[str, int]], first: int) -> None:
    pinned: list[int] = []
    backlog = Backlog(16384, first, lambda: min(pinned, default=None))
    stream = bytearray()
    for number, (step, amount) in enumerate(steps):
        if step == "append":
            data = stretch(number, amount)[:amount]
            stream += data
            backlog.append(data)
        elif step == "resize":
            backlog.resize(amount)
        elif step == "pin":
            pinned = [max(backlog.start, backlog.end - amount)]
        else:
            pinned = []
        backlog._check()
        assert backlog.end == first + len(stream)
        for offset in (backlog.start, (backlog.start + backlog.end) // 2, backlog.end):
            assert backlog.holds(offset)
            assert backlog.read(offset, len(stream) + 1) == stream[offset - first :]
            assert backlog.read(offset, 1000) == stream[offset - first :][:1000]
        assert not backlog.holds(backlog.start - 1)
        assert not backlog.holds(backlog.end + 1)
        if pinned:
            assert backlog.holds(pinned[0])


def test_it_stays_within_its_size_and_two_blocks() -> None:
    backlog = Backlog(1 << 20, 1, lambda: None)
    for _ in range(3000):
        backlog.append(b"x" * 1000)
        assert len(backlog) <= (1 << 20) + 2 * BLOCK_MAX_BYTES


def test_an_entry_larger_than_the_backlog_is_cut_from_too() -> None:
    backlog = Backlog(SIZE_MIN_BYTES, 1, lambda: None)
    backlog.append(b"y" * 1_000_000)
    assert SIZE_MIN_BYTES <= len(backlog) <= 3 * SIZE_MIN_BYTES
    assert not backlog.holds(1)


def test_what_the_slowest_replica_needs_goes_when_the_replica_does() -> None:
    needed = [1]
    backlog = Backlog(SIZE_MIN_BYTES, 1, lambda: min(needed, default=None))
    for _ in range(100):
        backlog.append(b"z" * 10_000)
    assert len(backlog) == 1_000_000
    needed.clear()
    backlog.trim()
    assert len(backlog) <= 3 * SIZE_MIN_BYTES
