"""Unexpected exceptions: reported with their traceback, contained, and never a flood."""

from __future__ import annotations

import logging
import socket

import pytest
import trio
import trio.testing
from pyredis_cluster.node import internal_errors
from pyredis_cluster.node.internal_errors import RESTART_DELAY_SECONDS, contained, report, supervised
from pyredis_cluster.node.reactor import READABLE, WRITABLE, Reactor


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    internal_errors._seen.clear()
    monkeypatch.setattr(logging.getLogger("pyredis"), "propagate", True)


def broken() -> None:
    raise RuntimeError("a bug")


def test_a_bug_is_contained_and_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert not contained("cron hook", broken)
    assert "Internal error in cron hook broken" in caplog.text
    assert "RuntimeError: a bug" in caplog.text


def test_what_works_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert contained("cron hook", lambda: None)
    assert not caplog.records


def test_errors_at_one_place_are_logged_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(1000):
        try:
            broken()
        except RuntimeError as error:
            report("one place", error)
    assert len(caplog.records) == 10


async def test_a_task_that_raises_is_started_again(autojump_clock: trio.testing.MockClock) -> None:
    started: list[float] = []

    async def task() -> None:
        started.append(trio.current_time())
        if len(started) < 3:
            broken()

    begin = trio.current_time()
    await supervised(task)
    assert [at - begin for at in started] == [0, RESTART_DELAY_SECONDS, 2 * RESTART_DELAY_SECONDS]


class Echo:
    """Answers what it reads; raises in the method named by `breaks`."""

    def __init__(self, reactor: Reactor, sock: socket.socket, breaks: str = "") -> None:
        self.reactor = reactor
        self.sock = sock
        self.breaks = breaks
        self.faults = 0
        sock.setblocking(False)
        reactor.add(sock.fileno(), self)

    def _may_break(self, method: str) -> None:
        if method == self.breaks:
            broken()

    def on_readable(self) -> None:
        self._may_break("on_readable")
        self.sock.recv(100)
        self.reactor.modify(self.sock.fileno(), READABLE | WRITABLE)

    def on_writable(self) -> None:
        self._may_break("on_writable")
        self.reactor.modify(self.sock.fileno(), READABLE)
        self.reactor.schedule(self)

    def flush(self) -> None:
        self._may_break("flush")
        self.reactor.continue_later(self)

    def on_turn(self) -> None:
        self._may_break("on_turn")
        self.sock.send(b"done")

    def on_fault(self) -> None:
        self.faults += 1
        self.reactor.remove(self.sock.fileno())
        self._may_break("on_fault")


async def exchange(peer: socket.socket) -> bytes:
    peer.setblocking(False)
    peer.send(b"x")
    await trio.lowlevel.wait_readable(peer)
    return peer.recv(100)


@pytest.mark.parametrize("method", ["on_readable", "on_writable", "flush", "on_turn"])
async def test_a_handler_that_raises_is_given_up_and_others_are_served(method: str) -> None:
    pairs = [socket.socketpair(), socket.socketpair()]
    reactor = Reactor(lambda: 0)
    bad = Echo(reactor, pairs[0][0], breaks=method)
    good = Echo(reactor, pairs[1][0])
    try:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reactor.run)
                pairs[0][1].send(b"x")
                for _ in range(3):
                    assert await exchange(pairs[1][1]) == b"done"
                while not bad.faults:
                    await trio.sleep(0.001)
                assert await exchange(pairs[1][1]) == b"done"
                nursery.cancel_scope.cancel()
    finally:
        for sock in (*pairs[0], *pairs[1]):
            sock.close()
    assert (bad.faults, good.faults) == (1, 0)


async def test_a_hook_before_sending_that_raises_keeps_nobody_from_replies() -> None:
    ours, theirs = socket.socketpair()
    reactor = Reactor(lambda: 0)
    reactor.before_send.append(broken)
    Echo(reactor, ours)
    try:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reactor.run)
                assert await exchange(theirs) == b"done"
                nursery.cancel_scope.cancel()
    finally:
        ours.close()
        theirs.close()
