"""Why a figure is over its aim, where that is known: beside each such figure of the report.

Law: a reason is about the design and was measured, or says that it was not; what the machine adds in one run is none.
"""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN = "no reason is known: look at the samples in the JSON file, and measure again"


@dataclass(frozen=True, slots=True)
class Reason:
    """Holds for what begins with `what` in `section` ("" for any), and for the figure that `over` begins with."""

    section: str
    what: str
    over: str
    text: str


SOCKETS = (
    "without pipelining nearly all of it is the kernel's work on the sockets, for both (with 16 requests in one go it "
    "is a small part of that); what is left over is a round of the reactor and the call of a Python function"
)
BLOCKS = (
    "a list that grows long puts its inside into compact blocks, which is part of each push; that is why it takes "
    "about as much memory as Redis's"
)
SHARED = (
    "six nodes share a core. Supposed, not measured apart: what a node does by the clock (the bus, cron, a look at its "
    "tasks each millisecond) is spread over fewer operations, and each write is journalled and applied by a replica too"
)
FREEING = (
    "what the test before it left, a set or hash of a million entries, is still being freed beside it, in steps of a "
    "millisecond: redis-server stood still for that before"
)
REASONS = (
    Reason("commands", "P=1, HSET", "p99", FREEING),
    Reason("commands", "P=1, SPOP", "p99", FREEING),
    Reason("commands", "P=16, HSET", "p99", FREEING),
    Reason("commands", "P=1,", "CPU", SOCKETS),
    Reason("commands", "P=16, LPUSH", "CPU", BLOCKS),
    Reason("commands", "P=16, RPUSH", "CPU", BLOCKS),
    Reason("commands", "P=64, LPUSH", "CPU", BLOCKS),
    Reason("commands", "P=64, RPUSH", "CPU", BLOCKS),
    Reason("commands", "", "CPU", "the command's function is Python"),
    Reason("lone", "", "CPU", SOCKETS),
    Reason("clients", "P=1,", "CPU", SOCKETS),
    Reason("values", "P=1,", "CPU", SOCKETS),
    Reason("cluster", "P=1,", "CPU", SHARED),
    Reason("cluster", "", "CPU", SHARED + "; the command's function is Python"),
    Reason("lone", "", "p50", "it is the CPU time of one request, which nothing hides from a lone client"),
    Reason("", "", "p99", "on a machine that others use too a p99 is theirs as much: see how far the samples spread"),
    Reason(
        "memory",
        "",
        "",
        "every key and value is an object with a header of 33 bytes, and each of 16,384 slots has a table: with few "
        "keys the tables show",
    ),
)


def reason_for(section: str, what: str, over: str) -> str:
    """reason_for("commands", "P=1, SET", "CPU 1.12 > 1") -> the first reason that holds, or UNKNOWN."""
    for reason in REASONS:
        if reason.section in ("", section) and what.startswith(reason.what) and over.startswith(reason.over):
            return reason.text
    return UNKNOWN
