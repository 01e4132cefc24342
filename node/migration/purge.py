"""Removing the keys of slots that this node does not own, in short turns, propagated to its replicas.

Laws: a key is removed only while its slot's owner is another living node by that node's own word, and no import
fills it; each slot's keys go as DEL commands of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from time import perf_counter_ns
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from ..server import Server

TURN_NS = 2_000_000
KEYS_PER_DEL = 64
UNDECIDED_INTERVAL_SECONDS = 0.05
"""How soon slots are looked at again whose owner has not spoken yet."""


class SlotPurge:
    """`add(slots)`; `run()` is the Trio task that does it. `pending` says whether work is left."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._slots: dict[int, None] = {}
        self._wake = trio.Event()

    def add(self, slots: Iterable[int]) -> None:
        """add(slots): their keys are to go, if the slots are foreign when their turn comes."""
        database = self._server.keyspace.databases[0]
        self._slots.update((slot, None) for slot in slots if len(database.keys_in_slot(slot)))
        if self._slots:
            self._wake.set()

    def discard(self, slots: Iterable[int]) -> None:
        """discard(slots): they are about to be filled; nothing in them is to go any more."""
        for slot in slots:
            self._slots.pop(slot, None)

    def clear(self) -> None:
        """clear(): this node is a replica now, its primary decides."""
        self._slots.clear()

    def pending(self, slots: Iterable[int]) -> bool:
        """pending(slots) -> whether keys of any of them are still to be removed."""
        return bool(self._slots) and any(slot in self._slots for slot in slots)

    def turn(self) -> bool:
        """turn() -> whether keys were removed, for TURN_NS at most."""
        server = self._server
        cluster, keyspace = server.cluster, server.keyspace
        database = keyspace.databases[0]
        ends_ns = perf_counter_ns() + TURN_NS
        removed = False
        for slot in [*self._slots]:
            while keys := [*islice(database.keys_in_slot(slot), KEYS_PER_DEL)]:
                if perf_counter_ns() > ends_ns:
                    return removed
                if not cluster.is_foreign(slot):
                    break
                for key in keys:
                    database.drop(key, 1)
                server.journal.append(0, [b"DEL", *keys])
                removed = True
            if not keys or cluster.is_ours(slot):
                del self._slots[slot]
        return removed

    async def run(self) -> None:
        """run() until cancelled; sleeps while there is nothing to remove."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._slots:
                removed = self._server.reactor.batch(self.turn)
                self._server.migrations.purged()
                await trio.sleep(0 if removed else UNDECIDED_INTERVAL_SECONDS)
