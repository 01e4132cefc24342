"""Why a figure is over its aim, where that is known: beside each such figure of the report.

Law: a reason is about the design and was measured; what the machine adds in one run is no reason.
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


REASONS = (
    Reason(
        "commands",
        "P=1,",
        "CPU",
        "without pipelining 85 % of it is the kernel's work on the sockets, for both; what is left over is the call of "
        "a Python function for each command",
    ),
    Reason("commands", "", "CPU", "the command's function is Python: 0.3 to 0.6 µs for a call that does little else"),
    Reason(
        "values",
        "",
        "CPU",
        "a value is copied once more than in Redis: out of the buffer that it was read into, into an object of its own",
    ),
    Reason("lone", "", "CPU", "a round of the reactor for each request: epoll, recv, send, and a Python function"),
    Reason("lone", "", "p50", "it is the CPU time of a round, which nothing else can hide from a lone client"),
    Reason(
        "clients",
        "",
        "CPU",
        "a round for each few requests, and a Python function for each of them",
    ),
    Reason(
        "",
        "",
        "p99",
        "on a machine that others use too a p99 is as much theirs: over runs of the same server it differs by more",
    ),
    Reason(
        "memory",
        "",
        "",
        "every key and value is an object with a header of 33 bytes, and 16,384 slots have a table each: with few "
        "keys the tables show",
    ),
    Reason(
        "stalls",
        "",
        "",
        "a slice of background work takes 1 ms, a round of commands as long as they take; what is above that is the "
        "scheduling of two processes on the machine's cores",
    ),
)


def reason_for(section: str, what: str, over: str) -> str:
    """reason_for("commands", "P=1, SET", "CPU 1.12 > 1") -> the first reason that holds, or UNKNOWN."""
    for reason in REASONS:
        if reason.section in ("", section) and what.startswith(reason.what) and over.startswith(reason.over):
            return reason.text
    return UNKNOWN
