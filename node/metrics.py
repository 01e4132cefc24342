"""Rates that INFO shows as instantaneous_*: the mean over the last samples of a counter.

Law: sampled by cron only; asking costs nothing that depends on the traffic.
"""

from __future__ import annotations

SAMPLES = 16


class Rate:
    """The mean increase per second of a counter over the last SAMPLES samples."""

    __slots__ = ("_at", "_rates", "_value", "_when_ms")

    def __init__(self) -> None:
        self._rates = [0.0] * SAMPLES
        self._at = 0
        self._when_ms = 0
        self._value = 0

    def sample(self, now_ms: int, value: int) -> None:
        """sample(now_ms, counter): called at each cron tick."""
        elapsed_ms = now_ms - self._when_ms
        if self._when_ms and elapsed_ms > 0:
            # A counter that was reset counts from zero.
            self._rates[self._at] = max(0, value - self._value) * 1000 / elapsed_ms
            self._at = (self._at + 1) % SAMPLES
        self._when_ms = now_ms
        self._value = value

    def per_second(self) -> float:
        """per_second() -> the mean rate over the samples."""
        return sum(self._rates) / SAMPLES
