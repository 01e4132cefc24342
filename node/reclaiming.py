"""Background reclaiming, in short slices: keys whose time has come, what was freed lazily, collections to be packed.

Laws: a slice ends after SLICE_NS, so that no request waits longer for it; between slices the node serves.
Only a primary that is neither paused, loading nor importing slots expires keys; each one is propagated as its DEL.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING

import trio

from .keyspace import ExpiryPolicy
from .lazy_free import LazyFree

if TYPE_CHECKING:
    from .server import Server

SLICE_NS = 1_000_000
KEYS_PER_CHECK = 32
"""So many keys are deleted between two looks at the clock."""

COLLECTIONS_PER_CHECK = 16
"""So many collections are packed between two looks at the clock."""

CPU_PERCENT = 25
CPU_PERCENT_PER_EFFORT = 2
"""The share of time spent on it while work remains, by active-expire-effort (Redis: expire.c)."""

PRESSING_CPU_PERCENT = 60
"""The share while collections come faster than they are packed: what waits takes three times its memory."""


def seconds_to_tick(interval_seconds: float) -> float:
    """seconds_to_tick(0.1) -> until the next multiple of that: what is periodic wakes an idle node together."""
    return interval_seconds - trio.current_time() % interval_seconds


class Reclaimer:
    """`slice()` does one slice; `run()` repeats it, at once while work remains and `hz` times a second else."""

    def __init__(self, server: Server, counter_ns: Callable[[], int] = perf_counter_ns) -> None:
        self._server = server
        self._counter_ns = counter_ns
        self._next_database = 0
        self.active_expiry = True
        """False while DEBUG SET-ACTIVE-EXPIRE 0 holds."""
        self.lazy_free = LazyFree()
        server.keyspace.free_later = self.lazy_free.add

    def slice(self) -> bool:
        """slice() -> whether work remains. Takes SLICE_NS, or a little longer, at most."""
        ends_ns = self._counter_ns() + SLICE_NS

        def has_time() -> bool:
            return self._counter_ns() < ends_ns

        expiring = self._expires_keys() and self._server.reactor.batch(lambda: self._expire(has_time))
        freeing = self.lazy_free.step(has_time)
        return self._pack(has_time) or freeing or expiring

    def _expires_keys(self) -> bool:
        server = self._server
        return (
            self.active_expiry
            and server.keyspace.expiry_policy is ExpiryPolicy.DELETE
            and not (server.blocking.pauses.active or server.loading or server.cron_paused)
            and not server.migrations.is_importing
        )

    def _expire(self, has_time: Callable[[], bool]) -> bool:
        """Delete due keys, database after database -> whether more are due."""
        databases = self._server.keyspace.databases
        now_ms = self._server.clock.now_ms
        for _ in databases:
            database = databases[self._next_database]
            while database.expires.count:
                keys = database.expires.due(now_ms, KEYS_PER_CHECK)
                if not keys:
                    break
                for key in keys:
                    database.expire(key)
                if not has_time():
                    return True
            self._next_database = (self._next_database + 1) % len(databases)
        return False

    def _pack(self, has_time: Callable[[], bool]) -> bool:
        """Pack collections that have been unpacked for a while -> whether there are more."""
        now_ms = self._server.clock.now_ms
        for database in self._server.keyspace.databases:
            while keys := database.unpacked.due(now_ms, len(database), COLLECTIONS_PER_CHECK):
                for key in keys:
                    database.pack(key)
                if not has_time():
                    return True
        return False

    async def run(self) -> None:
        """run() until cancelled."""
        config = self._server.config
        while True:
            self._server.clock.update()
            if self.slice():
                percent = CPU_PERCENT + CPU_PERCENT_PER_EFFORT * (config.active_expire_effort - 1)
                if any(each.unpacked.is_pressing(len(each)) for each in self._server.keyspace.databases):
                    percent = max(percent, PRESSING_CPU_PERCENT)
                await trio.sleep(SLICE_NS / 1e9 * (100 - percent) / percent)
            else:
                await trio.sleep(seconds_to_tick(1 / max(1, config.hz)))
