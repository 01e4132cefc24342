"""The stream of a slot migration: the keys of some slots and the journal's entries about them, as commands.

Laws: a slot is in one of three states. Not begun: its entries are left out. Under way: a key's whole state goes
out once, when the walk comes to it or an entry names it, and entries about keys that went out follow as they
stand in the journal. Done: every entry goes out. So whoever runs the stream on empty slots has, at each point,
a part of the source's data, and at the end all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pyredis_cluster.client.resp import encode_command
from pyredis_cluster.gossip.slots import SLOT_COUNT, key_slot

from ..keyspace import Database, Value
from ..values.packed import COLLECTIONS
from ..values.table import scan_step
from .rebuild import rebuild

if TYPE_CHECKING:
    from ..command import CommandTable

BATCH_MAX_KEYS = 64
"""Strings without a time to live go out in MSETs of so many keys,"""

BATCH_MAX_BYTES = 16 * 1024
"""or of one more key than fills this."""

LARGE_MIN_ELEMENTS = 4096
"""A collection of so many elements goes out in several steps, unless it is written meanwhile."""

SCAN_COUNT = 64
FLUSHES = frozenset({b"FLUSHALL", b"FLUSHDB"})


class SlotStream:
    """SlotStream(database, slots, table, put): `step` walks on, `entry` takes the journal; both `put` commands.

    `on_flush` is called when the database was flushed, which ends the stream.
    """

    def __init__(
        self,
        database: Database,
        slots: Sequence[int],
        table: CommandTable,
        put: Callable[[bytes], None],
        on_flush: Callable[[], None],
    ) -> None:
        self.keys_sent = 0
        """Keys that the walk came to."""
        self._database = database
        self._table = table
        self._put = put
        self._on_flush = on_flush
        self._done = bytearray(SLOT_COUNT)
        self._slot = -1
        self._sent: set[bytes] = set()
        """Keys of the slot under way whose state went out."""
        self._large: bytes | None = None
        """The key under way, of which a part went out."""
        self._fresh: set[bytes] | None = None
        """Inside a transaction: the keys whose state, which is that after it, went out."""
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._walk = self._steps(slots)

    def step(self) -> bool:
        """step() -> whether more is to come; sends about BATCH_MAX_KEYS keys, or a piece of a large one."""
        return next(self._walk, None) is not None

    # -- the walk

    def _steps(self, slots: Sequence[int]) -> Iterator[bool]:
        for slot in slots:
            self._slot = slot
            cursor = 0
            while True:
                cursor, items = scan_step(self._database.keys_in_slot(slot), cursor, SCAN_COUNT)
                for key, _ in items:
                    if key not in self._sent:
                        yield from self._visit(key)
                if cursor == 0:
                    break
                self._send_batch()
                yield True
            self._send_batch()
            self._done[slot] = 1
            self._slot = -1
            self._sent = set()
            yield True

    def _visit(self, key: bytes) -> Iterator[bool]:
        value = self._database.peek(key)
        assert value is not None, "a key that went away without an entry in the journal"
        self._sent.add(key)
        self.keys_sent += 1
        expiry_ms = self._database.expiry_ms(key)
        if type(value) is bytes and expiry_ms is None:
            self._batch += (key, value)
            self._batch_bytes += len(value)
            if len(self._batch) >= 2 * BATCH_MAX_KEYS or self._batch_bytes >= BATCH_MAX_BYTES:
                self._send_batch()
                yield True
        elif type(value) in COLLECTIONS and len(value) >= LARGE_MIN_ELEMENTS:
            self._send_batch()
            yield from self._visit_large(key, value, expiry_ms)
        else:
            for args in rebuild(key, value, expiry_ms):
                self._put(encode_command(args))
            if self.keys_sent % BATCH_MAX_KEYS == 0:
                self._send_batch()
                yield True

    def _visit_large(self, key: bytes, value: Value, expiry_ms: int | None) -> Iterator[bool]:
        self._large = key
        commands = rebuild(key, value, expiry_ms)
        # An entry about the key sends it whole and clears `_large`; the value is not looked at again then.
        while self._large == key:
            args = next(commands, None)
            if args is None:
                self._large = None
                return
            self._put(encode_command(args))
            yield True

    def _send_batch(self) -> None:
        if self._batch:
            self._put(encode_command([b"MSET", *self._batch]))
            self._batch = []
            self._batch_bytes = 0

    # -- the journal

    def entry(self, data: bytes, args: list[bytes]) -> None:
        """entry(data, args): a journal entry, `data` its encoding, after it took effect."""
        name = args[0]
        if name == b"MULTI":
            self._fresh = set()
            return
        if name == b"EXEC":
            self._fresh = None
            return
        command = self._table.get(name)
        positions = command.key_positions(args) if command is not None else ()
        if not positions:
            if name.upper() in FLUSHES:
                self._on_flush()
            return
        slot = key_slot(args[positions[0]])
        if self._done[slot]:
            self._put(data)
        elif slot == self._slot:
            self._entry_under_way(data, {args[position]: None for position in positions})

    def _entry_under_way(self, data: bytes, keys: dict[bytes, None]) -> None:
        large, fresh = self._large, self._fresh
        if fresh and not fresh.isdisjoint(keys):
            # The transaction is over, and what went out of its keys is their state after it.
            keys = {key: None for key in keys if key not in fresh}
        elif keys.keys() <= self._sent and large not in keys:
            self._put(data)
            return
        for key in keys:
            self._send_state(key)
        if fresh is not None:
            fresh.update(keys)

    def _send_state(self, key: bytes) -> None:
        """The key as it is now, in place of whatever went out of it before."""
        if key == self._large:
            self._large = None
        if key in self._sent:
            self._put(encode_command([b"DEL", key]))
        self._sent.add(key)
        value = self._database.peek(key)
        if value is not None:
            for args in rebuild(key, value, self._database.expiry_ms(key)):
                self._put(encode_command(args))
