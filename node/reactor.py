"""The reactor: one Trio task that owns an epoll set with every data-plane socket and drains it in plain calls.

Laws: no await, task or exception handler for each command; a handler does a bounded amount of work for each
event; replies go out after all ready sockets were drained, one send each; other Trio tasks get their turn at
least every `YIELD_INTERVAL_NS` of work. Handlers may be added, changed and removed from any Trio task. An
exception out of a handler is a bug; it ends that handler (`on_fault`) and nothing else.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from time import perf_counter_ns
from typing import Protocol, TypeVar

import trio

from .internal_errors import contained, report

T = TypeVar("T")

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
EVENTS_PER_POLL = 256
EVENTS_PER_POLL_MIN = 4
DRAIN_TARGET_NS = 1_000_000
"""Ready sockets are taken fewer at a time while a round of them takes longer than this."""
URGENT_INTERVAL_NS = 1_000_000
"""How much work may pass before `Reactor.urgent` is called. On a busy host that much work takes many times longer."""
YIELD_INTERVAL_NS = 5_000_000
LINGER_SECONDS = 0.001
"""How long an idle reactor waits in epoll itself before it parks in Trio: a lone client's next request is
met without a Trio round trip, and an idle node spends nothing. Whole milliseconds, which is what epoll takes."""


class Faultable(Protocol):
    """What every object that the reactor calls can do."""

    def on_fault(self) -> None:
        """One of its other methods raised: give up what it was about, and the descriptor, unless that can go on."""


class Handler(Faultable, Protocol):
    """What the reactor calls for a file descriptor."""

    def on_readable(self) -> None:
        """The descriptor has input, an end of file or an error. Must not raise, must not block."""

    def on_writable(self) -> None:
        """The descriptor takes output again. Must not raise, must not block."""


class Flushable(Faultable, Protocol):
    """A handler with pending output."""

    def flush(self) -> None:
        """Send what is pending; ask for WRITABLE if the socket did not take it all. Must not raise."""


class Resumable(Faultable, Protocol):
    """A handler with work left over from a turn that was cut off."""

    def on_turn(self) -> None:
        """Do a bounded part of the work, if it is still to be done; `continue_later` again if more is left."""


class _Leftovers:
    """The handlers with work left over. A handler itself: its eventfd is readable while there are any."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._handlers: dict[Resumable, None] = {}
        self._fd = -1

    def add(self, handler: Resumable) -> None:
        """add(handler): its turn comes in the next round."""
        if self._fd < 0:
            self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._reactor.add(self._fd, self)
        if not self._handlers:
            os.eventfd_write(self._fd, 1)
        self._handlers[handler] = None

    def close(self) -> None:
        """close() gives the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def on_readable(self) -> None:
        os.eventfd_read(self._fd)
        handlers, self._handlers = self._handlers, {}
        for handler in handlers:
            try:
                handler.on_turn()
            except Exception as error:
                self._reactor.fault(handler, error)

    def on_writable(self) -> None:
        return None

    def on_fault(self) -> None:
        return None


def _nothing() -> None:
    return None


class Reactor:
    """add/modify/remove descriptors; `run()` until cancelled."""

    __slots__ = (
        "_epoll",
        "_epoll_fd",
        "_handlers",
        "_leftovers",
        "_pending",
        "_working",
        "before_send",
        "busy_ns",
        "cycles",
        "update_clock",
        "urgent",
    )

    def __init__(self, update_clock: Callable[[], int]) -> None:
        self._epoll = select.epoll()
        self._epoll_fd = self._epoll.fileno()
        self._handlers: dict[int, Handler] = {}
        self._pending: dict[Flushable, None] = {}
        self._working = False
        self._leftovers = _Leftovers(self)
        self.update_clock = update_clock
        self.cycles = 0
        """How often ready sockets were drained, or cron ran."""
        self.busy_ns = 0
        """The time that took."""
        self.urgent: Callable[[], None] = _nothing
        """What can't wait for the other Trio tasks' turn (the cluster bus). Must not raise."""
        self.before_send: list[Callable[[], None]] = []
        """Called after the ready sockets were drained and before any reply is sent."""

    def add(self, fd: int, handler: Handler, events: int = READABLE) -> None:
        """add(fd, handler) begins to watch a non-blocking descriptor."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def modify(self, fd: int, events: int) -> None:
        """modify(fd, READABLE | WRITABLE) changes what is watched. Also after `run` has ended."""
        if not self._epoll.closed:
            self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """remove(fd) ends it; call it before the descriptor is closed. Also after `run` has ended."""
        if self._handlers.pop(fd, None) is not None and not self._epoll.closed:
            self._epoll.unregister(fd)

    def schedule(self, handler: Flushable) -> None:
        """schedule(handler): it has output; `flush` is called once before the reactor waits again."""
        self._pending[handler] = None
        if not self._working:
            self._flush()

    def continue_later(self, handler: Resumable) -> None:
        """continue_later(handler): its `on_turn` is called in the next round, after what the sockets bring."""
        self._leftovers.add(handler)

    def batch(self, work: Callable[[], T]) -> T:
        """batch(work) -> its result; what it writes to a client is sent once, after it. Called between rounds."""
        self._working = True
        try:
            return work()
        finally:
            if self._pending:
                self._flush()
            self._working = False

    def unschedule(self, handler: Flushable) -> None:
        """unschedule(handler): it is gone."""
        self._pending.pop(handler, None)

    def _before_send(self) -> None:
        for hook in self.before_send:
            contained("hook", hook)

    def _flush(self) -> None:
        self._before_send()
        while self._pending:
            pending, self._pending = self._pending, {}
            for handler in pending:
                try:
                    handler.flush()
                except Exception as error:
                    self.fault(handler, error)

    @staticmethod
    def fault(handler: Faultable, error: Exception) -> None:
        """fault(handler, error): one of its methods raised that."""
        report(f"{type(handler).__name__}, which is given up", error)
        contained("end", handler.on_fault)

    def _drain(self, events: list[tuple[int, int]]) -> None:
        self._working = True
        self.update_clock()
        handlers = self._handlers
        for fd, mask in events:
            handler = handlers.get(fd)
            if handler is None:
                continue
            try:
                if mask & WRITABLE:
                    handler.on_writable()
                if mask & ~WRITABLE and fd in handlers:
                    handler.on_readable()
            except Exception as error:
                self.fault(handler, error)
        if self._pending:
            self._flush()
        self._working = False

    def _round(self, events_max: int) -> int:
        """Wait LINGER_SECONDS for ready sockets and drain them: the nanoseconds that took, or 0 if there were none."""
        events = self._epoll.poll(LINGER_SECONDS, events_max)
        if not events:
            return 0
        started_ns = perf_counter_ns()
        self._drain(events)
        took_ns = perf_counter_ns() - started_ns
        self.cycles += 1
        self.busy_ns += took_ns
        return took_ns

    async def run(self) -> None:
        """run() serves until it is cancelled; the epoll set is closed then."""
        try:
            turn_ends_ns = perf_counter_ns() + YIELD_INTERVAL_NS
            urgent_at_ns, events_max = 0, EVENTS_PER_POLL
            while True:
                took_ns = self._round(events_max)
                if not took_ns:
                    await trio.lowlevel.wait_readable(self._epoll_fd)
                    turn_ends_ns = perf_counter_ns() + YIELD_INTERVAL_NS
                    continue
                now_ns = perf_counter_ns()
                if took_ns > DRAIN_TARGET_NS:
                    events_max = max(EVENTS_PER_POLL_MIN, events_max // 2)
                elif events_max < EVENTS_PER_POLL:
                    events_max *= 2
                if now_ns > urgent_at_ns:
                    self.urgent()
                    urgent_at_ns = now_ns + URGENT_INTERVAL_NS
                if now_ns > turn_ends_ns:
                    await trio.lowlevel.checkpoint()
                    turn_ends_ns = perf_counter_ns() + YIELD_INTERVAL_NS
        finally:
            self._epoll.close()
            self._leftovers.close()
