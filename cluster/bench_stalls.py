"""The worst stall: how long a PING, sent every millisecond, had to wait while something big went on beside it.

Law: one thread sends the big command and the PINGs and reads both, so that nothing of ours waits for anything
but the server; how long a PING waits on an idle server is in the table too.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from pyredis_cluster.client.resp import encode_command

from .bench_measure import Repeats
from .bench_operations import SETTINGS, populate
from .bench_results import Figure, Section
from .bench_servers import HOST, OURS, BenchServer
from .bench_site import Scale, Site
from .errors import OperatorError

CADENCE_S = 0.001
REPLY_TIMEOUT_S = 120.0
RECEIVE_BYTES = 1 << 20
SCHEDSTAT_BYTES = 128
REPLY_KEPT_BYTES = 8192
OBSERVED_AFTER_S = 1.0
"""So long PINGs go on when the command has answered: what it left is being freed."""

QUESTION_INTERVAL_S = 0.05
IDLE_S = 2.0
STORM_S = 1.0
"""All keys of the expiry storm die within that time."""

FILL_TRIAL_DIVISOR = 50
FILL_SLOWER_MAX = 2
"""The fill before the storm may be slower than a trial of one in FILL_TRIAL_DIVISOR of it by that factor."""

FILL_MARGIN_S = 1.0
FILL_BATCH = 500
WRITES_S = 5.0
WRITES_PER_PING = 16
STALL_MAX_MS = 5.0
"""The aim for the server's own work while a PING waits."""

KEYS_RATIO_MAX = 3.0
MARK = b"the end of it"
NOTES = (
    "The longest that one of the PINGs had to wait which were sent every millisecond while that went on, and until "
    "what it left was freed; and the most CPU time that the server's main thread used while one of them waited: what "
    "a machine that others use too adds to a wait is not in it. Standalone servers, not pinned to a core, since a "
    "forked child has one of its own in real life too."
)

Command = list[bytes]


class Busy:
    """The connection beside the PINGs: sends a command, and knows when it has been answered."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting = False
        self.reply = b""
        """The end of what has been answered since the last `send`, up to REPLY_KEPT_BYTES."""

    def send(self, *commands: Command) -> None:
        """send(command, ...) without waiting for the replies."""
        self.reply = b""
        self._waiting = True
        self._sock.setblocking(True)
        self._sock.sendall(b"".join(map(encode_command, commands)) + encode_command([b"ECHO", MARK]))
        self._sock.setblocking(False)

    def answered(self) -> bool:
        """answered() -> whether all replies have come; reads what is there."""
        if self._waiting:
            try:
                data = self._sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return False
            if not data:
                raise OperatorError("the connection beside the PINGs was closed")
            self.reply = (self.reply + data)[-REPLY_KEPT_BYTES:]
            self._waiting = not self.reply.endswith(MARK + b"\r\n")
        return not self._waiting


@contextmanager
def _connected(server: BenchServer) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, server.port), REPLY_TIMEOUT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


GoingOn = Callable[[Busy], bool]


@dataclass(frozen=True, slots=True)
class Stall:
    """The longest that a PING waited, and the most CPU time that the server's main thread used while one did, in ms."""

    wait_ms: float
    work_ms: float


class _Work:
    """The CPU time of a process's main thread. The scheduler adds it up when the thread sleeps, and at its ticks."""

    def __init__(self, pid: int) -> None:
        self._file = open(f"/proc/{pid}/task/{pid}/schedstat", "rb", buffering=0)  # noqa: SIM115

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def ns(self) -> int:
        return int(os.pread(self._file.fileno(), SCHEDSTAT_BYTES, 0).split()[0])


def ping_while(server: BenchServer, going_on: GoingOn, *commands: Command) -> Stall:
    """ping_while(server, going_on, command, ...) -> the worst Stall; PINGs go on while `going_on(busy)` says so.

    The commands are sent on another connection, `busy`, between the first PINGs. OperatorError.
    """
    request = encode_command([b"PING"])
    server.settle()
    try:
        with _connected(server) as pings, _connected(server) as beside, _Work(server.pid) as work:
            busy = Busy(beside)
            pings.sendall(request)
            pings.recv(RECEIVE_BYTES)
            busy.send(*commands)
            worst_s, worst_ns = 0.0, 0
            while going_on(busy):
                worked_ns, sent = work.ns(), time.perf_counter()
                pings.sendall(request)
                if not pings.recv(RECEIVE_BYTES):
                    raise OperatorError(f"{server.name} closed the connection of the PINGs")
                now = time.perf_counter()
                worst_s, worst_ns = max(worst_s, now - sent), max(worst_ns, work.ns() - worked_ns)
                time.sleep(max(0.0, CADENCE_S - (now - sent)))
            return Stall(worst_s * 1000, worst_ns / 1e6)
    except OSError as error:
        raise OperatorError(f"{server.name} did not answer a PING: {error}") from error


def seconds(duration_s: float) -> GoingOn:
    """seconds(2.0) -> go on for so long."""
    ends: float | None = None

    def going_on(busy: Busy) -> bool:
        nonlocal ends
        busy.answered()
        now = time.perf_counter()
        ends = ends or now + duration_s
        return now < ends

    return going_on


def until_answered(observed_after_s: float | None = None) -> GoingOn:
    """until_answered() -> go on until the commands have been answered, and for a while after that."""
    ends = float("inf")

    def going_on(busy: Busy) -> bool:
        nonlocal ends
        now = time.perf_counter()
        if ends == float("inf") and busy.answered():
            ends = now + (OBSERVED_AFTER_S if observed_after_s is None else observed_after_s)
        return now < ends

    return going_on


def until_says(question: Command, answer: bytes) -> GoingOn:
    """until_says(question, answer) -> go on until the question, asked again and again, is answered like that."""
    ask_at = 0.0
    asked = False
    gives_up_at = time.perf_counter() + REPLY_TIMEOUT_S

    def going_on(busy: Busy) -> bool:
        nonlocal ask_at, asked
        if not busy.answered():
            return True
        if asked and answer in busy.reply:
            return False
        now = time.perf_counter()
        if now > gives_up_at:
            raise OperatorError(f"{question[0].decode()} did not say {answer.decode()} in time")
        if now >= ask_at:
            ask_at, asked = now + QUESTION_INTERVAL_S, True
            busy.send(question)
        return True

    return going_on


def writing(duration_s: float) -> GoingOn:
    """writing(5.0) -> go on for so long, and write new hashes meanwhile as fast as PINGs are sent."""
    numbers = itertools.count()
    going_on = seconds(duration_s)

    def write_and_go_on(busy: Busy) -> bool:
        if busy.answered():
            busy.send(*([b"HSET", b"new:%d" % number, b"field", b"x"] for number in islice(numbers, WRITES_PER_PING)))
        return going_on(busy)

    return write_and_go_on


def _fill_set(server: BenchServer, keys: int) -> None:
    server.link.pipeline(
        [b"SADD", b"set", *(b"element:%012d" % number for number in range(first, first + FILL_BATCH))]
        for first in range(0, keys, FILL_BATCH)
    )


def _storm(server: BenchServer, keys: int) -> Stall:
    trial = max(keys // FILL_TRIAL_DIVISOR, 1)
    began = time.time()
    server.link.pipeline([b"SET", b"key:%d" % number, b"x", b"PX", b"1000000"] for number in range(trial))
    fill_s = (time.time() - began) / trial * keys * FILL_SLOWER_MAX + FILL_MARGIN_S
    dies_ms = (time.time() + fill_s) * 1000
    step_ms = STORM_S * 1000 / keys
    server.link.pipeline(
        [b"SET", b"key:%d" % number, b"x", b"PXAT", b"%d" % (dies_ms + number * step_ms)] for number in range(keys)
    )
    left_s = dies_ms / 1000 - time.time()
    if left_s < 0:
        raise OperatorError(f"{server.name} took over {fill_s:.0f} s to be filled: the keys have expired meanwhile")
    time.sleep(left_s)
    return ping_while(server, until_says([b"DBSIZE"], b":0\r\n"))


def _populated(going_on: Callable[[], GoingOn], *commands: Command) -> Callable[[BenchServer, int], Stall]:
    def measure(server: BenchServer, keys: int) -> Stall:
        populate(server, keys)
        return ping_while(server, going_on(), *commands)

    return measure


def _with_set(*commands: Command) -> Callable[[BenchServer, int], Stall]:
    def measure(server: BenchServer, keys: int) -> Stall:
        _fill_set(server, keys)
        return ping_while(server, until_answered(), *commands)

    return measure


@dataclass(frozen=True, slots=True)
class Case:
    """What goes on beside the PINGs; `measure(server, keys)` on a server that was flushed before."""

    what: str
    measure: Callable[[BenchServer, int], Stall]
    many: bool = False
    """Whether it is about as many keys as can be had."""

    ours_max_ms: float | None = STALL_MAX_MS
    ratio_max: float | None = None


CASES = (
    Case("nothing", lambda server, keys: ping_while(server, seconds(IDLE_S)), ours_max_ms=None),
    Case("FLUSHALL of {keys} keys", _populated(until_answered, [b"FLUSHALL"])),
    Case("DEL of a set of {keys}", _with_set([b"DEL", b"set"])),
    Case("UNLINK of a set of {keys}", _with_set([b"UNLINK", b"set"])),
    Case("SET over a set of {keys}", _with_set([b"SET", b"set", b"x"])),
    Case("RENAME over a set of {keys}", _with_set([b"SET", b"other", b"x"], [b"RENAME", b"other", b"set"])),
    Case("{keys} keys expire within a second", _storm),
    Case(
        "KEYS * on {keys} keys", _populated(until_answered, [b"KEYS", b"*"]), ours_max_ms=None, ratio_max=KEYS_RATIO_MAX
    ),
    Case(
        "BGSAVE of {keys} keys",
        _populated(lambda: until_says([b"INFO", b"persistence"], b"rdb_bgsave_in_progress:0"), [b"BGSAVE"]),
        ours_max_ms=None,
    ),
    Case("writes of new hashes, with {keys} keys loaded", _populated(lambda: writing(WRITES_S)), many=True),
)


def measure_stalls(site: Site, scale: Scale, repeats: Repeats) -> Section:
    """measure_stalls(site, scale, repeats) -> Section with the worst of each run. OperatorError."""
    section = Section("stalls", "Stalls", NOTES)
    cases = [(case, scale.keys_many if case.many else scale.keys) for case in CASES]
    pause = Figure("longest pause of the garbage collector, over all of that", "ms", ours_max=STALL_MAX_MS)
    waits, works = [], []
    for case, keys in cases:
        what = case.what.format(keys=f"{keys:,}")
        waits.append(Figure(f"worst PING: {what}", "ms", ratio_max=case.ratio_max))
        works.append(Figure(f"server's work meanwhile: {what}", "ms", ours_max=case.ours_max_ms))
    section.figures = [*(figure for pair in zip(waits, works, strict=True) for figure in pair), pause]
    for repeat in range(repeats.count):
        for (case, keys), wait, work in zip(cases, waits, works, strict=True):
            for name, _ in site.programs.servers():
                if not repeats.go_on(repeat):
                    return section
                site.tell(f"{wait.what}: {name}")
                with site.server(name, settings=SETTINGS, anywhere=True) as server:
                    stall = case.measure(server, keys)
                    paused_ms = int(server.info("memory").get("gc_pause_max_usec", "0")) / 1000
                ours = name == OURS
                for figure, value in ((wait, stall.wait_ms), (work, stall.work_ms)):
                    (figure.ours if ours else figure.redis).append(value)
                found = pause.ours if ours else pause.redis
                found[:] = [max(paused_ms, *found)] if found else [paused_ms]
    return section
