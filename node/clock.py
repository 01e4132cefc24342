"""The node's cached wall clock: read once for each batch of commands, so that a batch sees one time.

Law: nothing in the data plane calls `time.time` itself; tests set `now_ms` by hand.
"""

from __future__ import annotations

from time import time_ns


class Clock:
    """`now_ms`: Unix time in milliseconds as of the last `update()`."""

    __slots__ = ("now_ms",)

    def __init__(self) -> None:
        self.now_ms = time_ns() // 1_000_000

    def update(self) -> int:
        """update() -> the present Unix time in milliseconds, now also in `now_ms`."""
        self.now_ms = now_ms = time_ns() // 1_000_000
        return now_ms

    @staticmethod
    def present_us() -> int:
        """present_us() -> the present Unix time in microseconds, for TIME."""
        return time_ns() // 1000
