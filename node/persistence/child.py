"""A forked child that works on a frozen copy of the keyspace and reports through a pipe.

Laws: the child touches neither Trio nor the reactor, keeps no descriptor but those it was given, and leaves
by `os._exit`; the parent learns of its end from the pipe, whatever killed it, and reaps it then.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import warnings
from collections.abc import Callable, Iterable
from time import perf_counter_ns

from ..reactor import Reactor

KILL_SIGNAL = signal.SIGUSR1
"""Ends a child on purpose: it then counts as neither a success nor a failure (Redis: killRDBChild)."""
REPORT_MAX_BYTES = 4096
_READ_BYTES = 65536

Report = Callable[[int], None]
"""Called by the child's work with the number of keys done so far."""


class Child:
    """A running child. `on_end(child)` is called once; then `error` is None, or what went wrong.

    `killed` is whether it was ended with `kill`. `cow_bytes` and `keys_done` are what it reported last.
    """

    def __init__(self, reactor: Reactor, pid: int, fd: int, fork_us: int, on_end: Callable[[Child], None]) -> None:
        self.pid = pid
        self.fork_us = fork_us
        self.error: str | None = None
        self.killed = False
        self.cow_bytes = 0
        self.keys_done = 0
        self._reactor = reactor
        self._fd = fd
        self._on_end = on_end
        self._report = b""
        reactor.add(fd, self)

    def on_readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        *lines, rest = (self._report + data).split(b"\n")
        self._report = rest[-REPORT_MAX_BYTES:]
        for line in lines:
            self._take(line)
        if not data:
            self._reap()

    def on_writable(self) -> None:
        return None

    def on_fault(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def _take(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        if word == b"error":
            self.error = rest.decode("utf-8", "replace")
        elif word == b"progress":
            keys, cow = rest.split()
            self.keys_done = int(keys)
            self.cow_bytes = int(cow)

    def kill(self) -> None:
        """kill(): end it; `on_end` is called when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, KILL_SIGNAL)

    def wait(self) -> None:
        """wait(): block until it has ended, and call `on_end`. After `kill`, or where blocking is right."""
        os.set_blocking(self._fd, True)
        while self._fd >= 0:
            self.on_readable()

    def _reap(self) -> None:
        self._reactor.remove(self._fd)
        os.close(self._fd)
        self._fd = -1
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            self.killed = number == KILL_SIGNAL
            self.error = f"terminated by signal {number}"
        elif os.WEXITSTATUS(status) and self.error is None:
            self.error = f"exit status {os.WEXITSTATUS(status)}"
        self._on_end(self)


def fork(
    reactor: Reactor, work: Callable[[Report], None], on_end: Callable[[Child], None], keep: Iterable[int] = ()
) -> Child:
    """fork(reactor, work, on_end, keep=[fd]) -> the child, which runs `work` and ends. Raises OSError.

    `work` sees the process as it is now. An exception in it is the child's error.
    """
    read_fd, write_fd = os.pipe()
    started_ns = perf_counter_ns()
    try:
        with warnings.catch_warnings():
            # Python warns of threads here; the child starts none and takes no lock that one may hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    except OSError:
        os.close(read_fd)
        os.close(write_fd)
        raise
    if pid == 0:
        _run_child(work, write_fd, {write_fd, *keep})
    fork_us = (perf_counter_ns() - started_ns) // 1000
    os.close(write_fd)
    os.set_blocking(read_fd, False)
    return Child(reactor, pid, read_fd, fork_us, on_end)


def _run_child(work: Callable[[Report], None], report_fd: int, keep: set[int]) -> None:
    status = 1
    try:
        gc.disable()  # a collection would write to every object, and so copy every page
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, KILL_SIGNAL):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        _close_others(keep)

        def report(keys_done: int) -> None:
            os.write(report_fd, b"progress %d %d\n" % (keys_done, private_dirty_bytes()))

        work(report)
        status = 0
    except BaseException as error:
        text = f"{type(error).__name__}: {error}".replace("\n", " ")[: REPORT_MAX_BYTES // 4]
        with contextlib.suppress(OSError):
            os.write(report_fd, b"error %b\n" % text.encode("utf-8", "replace"))
    finally:
        os._exit(status)


def _close_others(keep: set[int]) -> None:
    """Close inherited sockets: a client that the parent closes must see that before this child ends."""
    try:
        opened = {int(name) for name in os.listdir("/proc/self/fd")}
    except OSError:
        opened = set(range(os.sysconf("SC_OPEN_MAX")))
    for fd in opened - keep - {0, 1, 2}:
        with contextlib.suppress(OSError):
            os.close(fd)


def private_dirty_bytes() -> int:
    """private_dirty_bytes() -> memory of this process that it shares with no other; 0 if unknown."""
    try:
        with open("/proc/self/smaps_rollup", "rb") as smaps:
            return sum(int(line.split()[1]) for line in smaps if line.startswith(b"Private_Dirty:")) * 1024
    except OSError:
        return 0
