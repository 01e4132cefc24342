"""What a command may cost on its way through the reactor, counted and not timed: calls and bytecode instructions.

Law: the same source gives the same numbers in each run, on any machine. A change that adds work to the hot path
fails here with the command's name, and with what was called.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest
from pyredis_cluster.bench_inprocess import REQUESTS, InProcessNode, in_process_node
from pyredis_cluster.node import connection

PIPELINE = 16
COUNTED_ON = (3, 11)
"""Each version of CPython compiles to other instructions."""

WARM_UP_ROUNDS = 3
FOREVER_NS = 1 << 62


@dataclass(frozen=True)
class Allowance:
    """For one round of the reactor: calls of functions, Python's and built-in ones, and instructions of bytecode."""

    calls: int
    instructions: int


ALLOWED = {
    ("PING", 1): Allowance(40, 633),
    ("PING", 16): Allowance(104, 1995),
    ("GET", 1): Allowance(43, 696),
    ("GET", 16): Allowance(183, 3267),
    ("SET", 1): Allowance(46, 737),
    ("SET", 16): Allowance(215, 3859),
    ("INCR", 1): Allowance(51, 823),
    ("INCR", 16): Allowance(311, 5299),
    ("LPUSH", 1): Allowance(49, 798),
    ("LPUSH", 16): Allowance(263, 4835),
    ("LPOP", 1): Allowance(48, 780),
    ("LPOP", 16): Allowance(264, 4619),
    ("SADD", 1): Allowance(47, 781),
    ("SADD", 16): Allowance(231, 4563),
    ("HSET", 1): Allowance(61, 879),
    ("HSET", 16): Allowance(295, 4963),
    ("ZADD", 1): Allowance(66, 930),
    ("ZADD", 16): Allowance(375, 5779),
}
"""(command, pipeline depth) -> what CPython 3.11 needs. Raise a number only with a measurement (`make bench`) that
says what the change costs and why it is worth it; lower it when the path got shorter."""


@dataclass
class Count:
    """What one round did."""

    called: Counter[str] = field(default_factory=Counter)
    instructions: int = 0

    @property
    def calls(self) -> int:
        return self.called.total()

    def __str__(self) -> str:
        lines = [f"{times:6} {name}" for name, times in self.called.most_common()]
        return "\n".join([f"{self.calls} calls, {self.instructions} instructions", *lines])


def count(node: InProcessNode) -> Count:
    """count(node) -> what the reactor's next round calls and executes."""
    made = Count()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            made.called[f"{frame.f_globals['__name__']}.{frame.f_code.co_name}"] += 1
        elif event == "c_call":
            made.called[f"built-in {getattr(argument, '__qualname__', argument)}"] += 1

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            made.instructions += 1
        return trace

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        node.round()
    finally:
        sys.setprofile(before[1])
        sys.settrace(before[0])
    del made.called["built-in setprofile"]
    return made


def count_command(name: str, depth: int) -> Count:
    """count_command("GET", 16) -> what a round of 16 GETs does, once the node and its caches are warm."""
    request = REQUESTS[name]
    with in_process_node() as node:
        node.fill(request)
        for number in range(WARM_UP_ROUNDS):
            node.exchange(request.encoded(number * depth, depth))
        node.socket.sendall(request.encoded(WARM_UP_ROUNDS * depth, depth))
        counted = count(node)
        replies = node.socket.recv(1 << 16)
        assert replies.count(b"\r\n") >= depth
        assert b"-ERR" not in replies
        return counted


pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != COUNTED_ON or sys.implementation.name != "cpython", reason="counted on CPython 3.11"
)


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Counting makes everything slow, but no slice or turn may end early for it; and no collector runs between."""
    monkeypatch.setattr(connection, "SLICE_NS", FOREVER_NS)
    monkeypatch.setattr(connection, "TURN_NS", FOREVER_NS)
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("depth", [1, PIPELINE])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_round_keeps_to_its_allowance(name: str, depth: int) -> None:
    counted = count_command(name, depth)
    allowed = ALLOWED[name, depth]
    assert counted.calls <= allowed.calls and counted.instructions <= allowed.instructions, (
        f"{name} at pipeline depth {depth} does more than {allowed}: {counted}"
    )


def test_counting_gives_the_same_numbers_again() -> None:
    first, second = count_command("SET", PIPELINE), count_command("SET", PIPELINE)
    assert (first.called, first.instructions) == (second.called, second.instructions)
