"""What a command may cost on its way through the reactor, counted and not timed: calls and bytecode instructions.

Law: a change that adds work to the hot path, of plain Python or of the compiled module, fails here with the
command's name, and with what was called.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyredis_cluster.bench_inprocess import REQUESTS
from pyredis_cluster.node.data_plane import DISABLED_BY, native

COUNTER = Path(__file__).with_name("budget.py")
TIMEOUT_S = 60.0
COUNTED_ON = (3, 11)
"""Each version of CPython compiles to other instructions."""

PLANES = ("python", "c")

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != COUNTED_ON or sys.implementation.name != "cpython", reason="counted on CPython 3.11"
)


@dataclass(frozen=True)
class Allowance:
    """For one round of the reactor: calls of functions, Python's and built-in ones, and instructions of bytecode."""

    calls: int
    instructions: int


ALLOWED = {
    ("python", "PING", 1): Allowance(43, 652),
    ("python", "PING", 16): Allowance(107, 2014),
    ("python", "GET", 1): Allowance(47, 720),
    ("python", "GET", 16): Allowance(202, 3366),
    ("python", "SET", 1): Allowance(49, 777),
    ("python", "SET", 16): Allowance(218, 4214),
    ("python", "INCR", 1): Allowance(56, 881),
    ("python", "INCR", 16): Allowance(346, 5942),
    ("python", "LPUSH", 1): Allowance(53, 820),
    ("python", "LPUSH", 16): Allowance(282, 4902),
    ("python", "RPUSH", 1): Allowance(53, 820),
    ("python", "RPUSH", 16): Allowance(282, 4902),
    ("python", "LPOP", 1): Allowance(52, 804),
    ("python", "LPOP", 16): Allowance(283, 4718),
    ("python", "RPOP", 1): Allowance(52, 804),
    ("python", "RPOP", 16): Allowance(283, 4718),
    ("python", "SADD", 1): Allowance(50, 800),
    ("python", "SADD", 16): Allowance(234, 4582),
    ("python", "SPOP", 1): Allowance(60, 872),
    ("python", "SPOP", 16): Allowance(411, 5806),
    ("python", "HSET", 1): Allowance(64, 898),
    ("python", "HSET", 16): Allowance(298, 4982),
    ("python", "ZADD", 1): Allowance(68, 946),
    ("python", "ZADD", 16): Allowance(362, 5750),
    ("python", "ZPOPMIN", 1): Allowance(68, 946),
    ("python", "ZPOPMIN", 16): Allowance(539, 6990),
    ("c", "PING", 1): Allowance(10, 59),
    ("c", "PING", 16): Allowance(47, 292),
    ("c", "GET", 1): Allowance(11, 73),
    ("c", "GET", 16): Allowance(63, 516),
    ("c", "SET", 1): Allowance(11, 71),
    ("c", "SET", 16): Allowance(63, 484),
    ("c", "INCR", 1): Allowance(16, 132),
    ("c", "INCR", 16): Allowance(143, 1460),
    ("c", "LPUSH", 1): Allowance(17, 152),
    ("c", "LPUSH", 16): Allowance(159, 1780),
    ("c", "RPUSH", 1): Allowance(17, 152),
    ("c", "RPUSH", 16): Allowance(159, 1780),
    ("c", "LPOP", 1): Allowance(16, 135),
    ("c", "LPOP", 16): Allowance(143, 1508),
    ("c", "RPOP", 1): Allowance(16, 135),
    ("c", "RPOP", 16): Allowance(143, 1508),
    ("c", "SADD", 1): Allowance(13, 104),
    ("c", "SADD", 16): Allowance(95, 1012),
    ("c", "SPOP", 1): Allowance(14, 106),
    ("c", "SPOP", 16): Allowance(111, 1044),
    ("c", "HSET", 1): Allowance(14, 113),
    ("c", "HSET", 16): Allowance(111, 1156),
    ("c", "ZADD", 1): Allowance(15, 120),
    ("c", "ZADD", 16): Allowance(127, 1268),
    ("c", "ZPOPMIN", 1): Allowance(16, 114),
    ("c", "ZPOPMIN", 16): Allowance(143, 1172),
}
"""(data plane, command, pipeline depth) -> what CPython 3.11 needs. Raise a number only with a measurement
(`make bench`) that says what the change costs and why it is worth it; lower it when the path got shorter."""

_counts: dict[str, Any] = {}


def counts_of(plane: str) -> dict[str, Any]:
    """counts_of("c") -> what each command did there, counted in a process of its own."""
    if plane == "c" and native is None:
        pytest.skip("the compiled module isn't there")
    if plane not in _counts:
        environment = os.environ | {DISABLED_BY: "1" if plane == "python" else ""}
        done = subprocess.run(
            [sys.executable, COUNTER], env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["plane"] == plane
        _counts[plane] = found["counts"]
    return _counts[plane]  # type: ignore[no-any-return]


@pytest.mark.parametrize("depth", [1, 16])
@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("plane", PLANES)
def test_a_round_keeps_to_its_allowance(plane: str, name: str, depth: int) -> None:
    counted = counts_of(plane)[f"{name} {depth}"]
    called, instructions = Counter(counted["called"]), counted["instructions"]
    allowed = ALLOWED[plane, name, depth]
    listing = "\n".join(f"{times:6} {function}" for function, times in called.most_common())
    assert called.total() <= allowed.calls and instructions <= allowed.instructions, (
        f"{name} at pipeline depth {depth}, data plane {plane}: {called.total()} calls, {instructions} instructions, "
        f"allowed are {allowed.calls} and {allowed.instructions}:\n{listing}"
    )
