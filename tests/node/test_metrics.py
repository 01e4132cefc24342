"""Rates of counters."""

from __future__ import annotations

from pyredis_cluster.node.metrics import SAMPLES, Rate
from pyredis_cluster.node.process import human_bytes, resident_bytes, used_bytes


def test_a_steady_counter_has_a_steady_rate() -> None:
    rate = Rate()
    for step in range(SAMPLES + 1):
        rate.sample(1000 + step * 100, step * 7)
    assert rate.per_second() == 70


def test_a_counter_that_stands_still_falls_to_zero() -> None:
    rate = Rate()
    for step in range(2 * SAMPLES + 2):
        rate.sample(1000 + step * 100, min(step, SAMPLES) * 7)
    assert rate.per_second() == 0


def test_a_counter_that_was_reset_gives_no_negative_rate() -> None:
    rate = Rate()
    rate.sample(1000, 1000)
    rate.sample(1100, 5)
    assert rate.per_second() == 0


def test_sizes_are_written_for_people() -> None:
    assert [human_bytes(size) for size in (0, 1023, 1536, 5 << 20, 3 << 30)] == [
        "0B",
        "1023B",
        "1.50K",
        "5.00M",
        "3.00G",
    ]


def test_used_memory_is_part_of_the_resident_memory() -> None:
    assert 0 < used_bytes() <= resident_bytes()
