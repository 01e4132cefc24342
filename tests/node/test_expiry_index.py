"""The expiry index agrees with a dict of times, and finds what is due without looking at what is not."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pyredis_cluster.node.expiry import BUCKET_SHIFT, ExpiryIndex

KEYS = st.integers(0, 40).map(lambda number: b"key:%d" % number)
START_MS = 1_700_000_000_000


class ExpiryMachine(RuleBasedStateMachine):
    """An index and a dict under the same operations."""

    def __init__(self) -> None:
        super().__init__()
        self.index = ExpiryIndex()
        self.model: dict[bytes, int] = {}
        self.now_ms = START_MS

    @rule(key=KEYS, in_ms=st.one_of(st.integers(-600, 600), st.integers(-(10**6), 10**6)))
    def set_time(self, key: bytes, in_ms: int) -> None:
        self.index.set(key, self.now_ms + in_ms)
        self.model[key] = self.now_ms + in_ms

    @rule(count=st.integers(500, 700), in_ms=st.integers(0, 300))
    def set_many_at_once(self, count: int, in_ms: int) -> None:
        for number in range(count):
            key = b"many:%d" % number
            self.index.set(key, self.now_ms + in_ms)
            self.model[key] = self.now_ms + in_ms

    @rule(key=KEYS)
    def drop_time(self, key: bytes) -> None:
        assert self.index.get(key) == self.model.get(key)
        assert (key in self.index) == (key in self.model)
        assert self.index.discard(key) == (self.model.pop(key, None) is not None)

    @rule(by_ms=st.integers(0, 2000))
    def time_passes(self, by_ms: int) -> None:
        self.now_ms += by_ms

    @rule(limit=st.integers(1, 50))
    def take_due(self, limit: int) -> None:
        keys = self.index.due(self.now_ms, limit)
        assert len(set(keys)) == len(keys)
        for key in keys:
            assert self.model.pop(key) <= self.now_ms
            assert self.index.discard(key)

    @rule(limit=st.integers(1, 50))
    def take_all_due(self, limit: int) -> None:
        while keys := self.index.due(self.now_ms, limit):
            for key in keys:
                assert self.model.pop(key) <= self.now_ms
                self.index.discard(key)
        passed_ms = self.now_ms >> BUCKET_SHIFT << BUCKET_SHIFT
        assert all(when_ms >= passed_ms for when_ms in self.model.values())

    @invariant()
    def laws_hold(self) -> None:
        self.index._check()
        assert {key: self.index.get(key) for key in self.index} == self.model
        assert len(self.index) == self.index.count == len(self.model)
        assert bool(self.model) or self.index.mean_ttl_ms(self.now_ms) == 0


TestExpiryIndex = ExpiryMachine.TestCase
TestExpiryIndex.settings = settings(max_examples=60, stateful_step_count=30)


def test_the_mean_time_to_live_is_told() -> None:
    index = ExpiryIndex()
    index.set(b"a", 1500)
    index.set(b"b", 2500)
    assert index.mean_ttl_ms(1000) == 1000
    assert index.mean_ttl_ms(99_000) == 0


def test_moving_a_time_over_and_over_leaves_no_waste_behind() -> None:
    index = ExpiryIndex()
    for step in range(100_000):
        index.set(b"k", START_MS + step * 1000)
    index._check()
    assert len(index._heap) < 1000
