"""Counts what a command's way through the reactor calls and executes; a program that prints that for each command.

Law: the same source gives the same numbers in each run, on any machine. Which data plane is counted says the
environment, as for a node.
"""

from __future__ import annotations

import gc
import json
import sys
from collections import Counter
from types import FrameType
from typing import Any

from pyredis_cluster.bench_inprocess import REQUESTS, InProcessNode, in_process_node
from pyredis_cluster.node import connection
from pyredis_cluster.node.data_plane import NAME

PIPELINES = (1, 16)
WARM_UP_ROUNDS = 3
FOREVER_NS = 1 << 62


def count(node: InProcessNode) -> tuple[Counter[str], int]:
    """count(node) -> the functions that the reactor's next round calls, and how many instructions it executes."""
    called: Counter[str] = Counter()
    instructions = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            called[f"{frame.f_globals['__name__']}.{frame.f_code.co_name}"] += 1
        elif event == "c_call":
            called[f"built-in {getattr(argument, '__qualname__', argument)}"] += 1

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal instructions
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            instructions += 1
        return trace

    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        node.round()
    finally:
        sys.setprofile(None)
        sys.settrace(None)
    del called["built-in setprofile"]
    return called, instructions


def count_command(name: str, depth: int) -> tuple[Counter[str], int]:
    """count_command("GET", 16) -> what a round of 16 GETs does, once the node and its caches are warm."""
    request = REQUESTS[name]
    with in_process_node() as node:
        node.fill(request)
        for number in range(WARM_UP_ROUNDS):
            node.exchange(request.encoded(number * depth, depth))
        node.socket.sendall(request.encoded(WARM_UP_ROUNDS * depth, depth))
        counted = count(node)
        replies = node.socket.recv(1 << 16)
        assert replies.count(b"\r\n") >= depth, replies
        assert b"-ERR" not in replies, replies
        return counted


def main() -> None:
    """budget.py: {"plane": "c", "counts": {"GET 16": {"called": {...}, "instructions": 3267}, ...}}"""
    gc.disable()
    # Counting makes everything slow, but no slice or turn may end early for it.
    vars(connection).update(SLICE_NS=FOREVER_NS, TURN_NS=FOREVER_NS)
    counts = {}
    for name in REQUESTS:
        for depth in PIPELINES:
            called, instructions = count_command(name, depth)
            counts[f"{name} {depth}"] = {"called": called, "instructions": instructions}
    print(json.dumps({"plane": NAME, "counts": counts}))


if __name__ == "__main__":
    main()
