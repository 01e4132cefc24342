"""The cyclic garbage collector: off, for it stops the data plane as long as it looks through the data.

Law: nothing that the node does over and over leaves a reference cycle behind; reference counts free all there is.
`tests/node/test_garbage.py` counts on a node that has done everything for a while. A full collection over a million
values takes 200 ms, and even one of young objects visits each entry of a young table. An operator who wants to know
asks for a collection: DEBUG COLLECT-GARBAGE.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import perf_counter_ns
from typing import Literal

Fields = dict[str, object]


class Garbage:
    """`switch_off()` once at the start; `collect()` on demand; `info()` for INFO's memory section."""

    def __init__(self, counter_ns: Callable[[], int] = perf_counter_ns) -> None:
        self._counter_ns = counter_ns
        self._started_ns = 0
        self.collections = [0, 0, 0]
        """By generation, whoever asked for them."""
        self.pause_max_ns = 0
        self.found = 0
        """Objects in cycles that collections have freed."""
        self.frozen = 0

    def switch_off(self) -> None:
        """switch_off(): no collection from now on that isn't asked for; what there is, is never looked at."""
        gc.disable()
        gc.freeze()
        self.frozen = gc.get_freeze_count()
        gc.callbacks.append(self._called)

    def collect(self) -> int:
        """collect() -> how many objects in cycles were found, and freed. O(objects): it stops the node meanwhile."""
        gc.unfreeze()
        try:
            return gc.collect()
        finally:
            gc.freeze()
            self.frozen = gc.get_freeze_count()

    def _called(self, phase: Literal["start", "stop"], facts: dict[str, int]) -> None:
        if phase == "start":
            self._started_ns = self._counter_ns()
            return
        self.pause_max_ns = max(self.pause_max_ns, self._counter_ns() - self._started_ns)
        self.collections[facts["generation"]] += 1
        self.found += facts["collected"]

    def info(self) -> Fields:
        """info() -> what INFO tells of it."""
        young, middle, old = self.collections
        return {
            "gc_enabled": int(gc.isenabled()),
            "gc_collections": f"gen0={young},gen1={middle},gen2={old}",
            "gc_pause_max_usec": self.pause_max_ns // 1000,
            "gc_garbage_found": self.found,
            "gc_frozen_objects": self.frozen,
            "gc_new_objects": gc.get_count()[0],
        }
