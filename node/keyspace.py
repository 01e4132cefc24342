"""The databases: 16,384 slot dicts each, expiry, and who is told when a key changes.

Laws: only this module changes a slot dict; every change of a key's value goes through `modified` (or a
method that calls it), which counts `dirty`, fails WATCHers and wakes parked clients; an expired key is
never seen by a reader. A small collection that is not in use may stand packed: that is no change, and who needs its
elements asks `opened`. Nothing here knows clients, sockets or replies.
"""

from __future__ import annotations

import enum
from binascii import crc_hqx
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, TypeVar

from pyredis_cluster.gossip.slots import SLOT_COUNT, hash_tag, key_slot

from .clock import Clock
from .errors import WrongTypeError
from .expiry import ExpiryIndex
from .unpacked import Unpacked
from .values.common import SHARED_MAX_DIGITS, SHARED_STRINGS
from .values.list import List
from .values.packed import COLLECTIONS, Packed, kind_of, packed, unpack
from .values.table import Mapping, Table, random_key, scan_step

Value = Any
"""bytes | bytearray | List | Hash | Set | SortedSet | Packed; a class of values/ for each but strings."""

Collection = TypeVar("Collection")

SLOT_DICT_MAX_ENTRIES = 2048
"""A slot of more keys becomes a `Table`, so that SCAN and RANDOMKEY stay bounded."""

_SLOT_BITS = 14
_NO_KEYS: dict[bytes, Value] = {}
"""Stands in every slot that was never written; it is never written itself."""


class ExpiryPolicy(enum.Enum):
    """What a reader's lookup does with a key whose time has come."""

    DELETE = "delete"
    """A primary deletes it and propagates the deletion."""
    HIDE = "hide"
    """A replica answers as if it were gone and waits for its primary's DEL."""
    LOCAL = "local"
    """A writable replica hides it too, but a writer's lookup deletes it, here alone; and so dies, at its time, a
    key whose time to live was set here."""
    IGNORE = "ignore"
    """Commands of the primary's stream, and loading, see the key as it is."""


class Watch:
    """One client's optimistic lock (WATCH): `failed` once any watched key changed."""

    __slots__ = ("_expired_before", "failed", "keys")

    def __init__(self) -> None:
        self.failed = False
        self.keys: list[tuple[Database, bytes]] = []
        self._expired_before: set[tuple[Database, bytes]] = set()

    def add(self, database: Database, key: bytes) -> None:
        """add(database, key): from now on a change of the key fails the watch."""
        self.keys.append((database, key))
        if database.is_expired(key):
            self._expired_before.add((database, key))

    def touched(self, database: Database, key: bytes) -> None:
        """touched(database, key): the key changed. That an expired key is deleted is no change to who saw it so."""
        if (database, key) in self._expired_before:
            self._expired_before.discard((database, key))
            if database.peek(key) is None:
                return
        self.failed = True

    def replaced(self, database: Database, key: bytes, replacement: Database | None) -> None:
        """replaced(database, key, replacement): all keys go, those of `replacement` come (touchAllWatchedKeysInDb)."""
        was, comes = database.peek(key) is not None, replacement is not None and replacement.peek(key) is not None
        if not was and not comes:
            return
        comes_expired = comes and replacement is not None and replacement.is_expired(key)
        if was and (database, key) in self._expired_before:
            if not comes:
                self._expired_before.discard((database, key))
                return
            if comes_expired:
                return
        elif not was and comes_expired:
            self._expired_before.add((database, key))
            return
        self.failed = True

    def failed_or_expired(self) -> bool:
        """failed_or_expired() -> whether a watched key changed, or expired since it is watched."""
        return self.failed or any(
            database.is_expired(key) and database.peek(key) is not None and (database, key) not in self._expired_before
            for database, key in self.keys
        )


class Keyspace:
    """All databases of a node, and what they share: clock, change counter, expiry policy, listeners."""

    __slots__ = (
        "clock",
        "databases",
        "dirty",
        "expired_keys",
        "expiring_here",
        "expiry_policy",
        "free_later",
        "hits",
        "misses",
        "on_expired",
        "ready",
        "rng",
    )

    def __init__(self, database_count: int, clock: Clock, rng: Random) -> None:
        self.clock = clock
        self.rng = rng
        self.dirty = 0
        """Changes since the start; a command that did not raise it is not propagated."""
        self.hits = 0
        self.misses = 0
        self.expired_keys = 0
        self.expiry_policy = ExpiryPolicy.DELETE
        self.ready: dict[tuple[int, bytes], None] = {}
        """(database index, key) of changed keys that parked clients wait for, in order."""
        self.expiring_here: dict[tuple[int, bytes], None] = {}
        """(database index, key) of keys whose time to live was set under the policy LOCAL."""
        self.on_expired: Callable[[Database, bytes], None] = lambda database, key: None
        """Called when a primary deleted an expired key: propagates the deletion."""
        self.free_later: Callable[[object, int], None] | None = None
        """Called with what was removed and may be large, and as how many values it counts, to be freed in small
        steps; None frees it at once."""
        self.databases = [Database(self, index) for index in range(database_count)]

    def flush(self, lazily: bool = False, counted: bool = True) -> int:
        """flush() -> how many keys there were in all databases; none are left. The options are Database.flush's."""
        return sum(database.flush(lazily, counted) for database in self.databases)

    def swap(self, first: int, second: int) -> None:
        """swap(0, 1) exchanges two databases' contents (SWAPDB); clients keep their database numbers."""
        self.databases[first].swap_contents(self.databases[second])


class Database:
    """One numbered database. Keys are bytes; a value's type is its class; strings are bytes or bytearray."""

    __slots__ = ("blocked", "expires", "index", "keyspace", "size", "slots", "unpacked", "watched")

    def __init__(self, keyspace: Keyspace, index: int) -> None:
        self.keyspace = keyspace
        self.index = index
        self.slots: list[Mapping[Value]] = [_NO_KEYS] * SLOT_COUNT
        self.expires = ExpiryIndex()
        self.unpacked = Unpacked()
        self.size = 0
        self.watched: dict[bytes, list[Watch]] = {}
        self.blocked: dict[bytes, dict[Any, None]] = {}
        """key -> the parked clients waiting for it, first come first served (kept by `blocking`)."""

    def __len__(self) -> int:
        return self.size

    # -- reading

    def read(self, key: bytes) -> Value | None:
        """read(key) -> the value for a reading command, or None; counts a keyspace hit or miss. O(1)."""
        # 123 is `{`; to look for it as a number takes a tenth of the time that `b"{" in key` takes.
        slot = crc_hqx(hash_tag(key) if 123 in key else key, 0) & 16383
        value = self.slots[slot].get(key)
        if value is not None and not (self.expires.count and self._expire_if_due(key)):
            self.keyspace.hits += 1
            return value
        self.keyspace.misses += 1
        return None

    def find(self, key: bytes) -> Value | None:
        """find(key) -> the value for a writing command, or None; no statistics. O(1)."""
        slot = crc_hqx(hash_tag(key) if 123 in key else key, 0) & 16383
        value = self.slots[slot].get(key)
        if value is None or (self.expires.count and self._expire_if_due(key)):
            if value is not None and self.keyspace.expiry_policy is ExpiryPolicy.LOCAL:
                self.expire(key)
            return None
        return value

    def exists(self, key: bytes) -> bool:
        """exists(key) -> whether the key is there and not expired. O(1)."""
        return key in self.slots[key_slot(key)] and not (self.expires.count and self._expire_if_due(key))

    def peek(self, key: bytes) -> Value | None:
        """peek(key) -> the stored value even if expired; for introspection, snapshots and the stream."""
        return self.slots[key_slot(key)].get(key)

    def _expire_if_due(self, key: bytes) -> bool:
        keyspace = self.keyspace
        when_ms = self.expires.get(key)
        if when_ms is None or when_ms > keyspace.clock.now_ms or keyspace.expiry_policy is ExpiryPolicy.IGNORE:
            return False
        if keyspace.expiry_policy is ExpiryPolicy.DELETE:
            self.expire(key)
        return True

    # -- writing

    def modified(self, key: bytes) -> None:
        """modified(key): the key's value was changed in place (or inserted). O(1)."""
        self.keyspace.dirty += 1
        if self.watched or self.blocked:
            self._tell(key)

    def _tell(self, key: bytes) -> None:
        for watch in self.watched.get(key, ()):
            watch.touched(self, key)
        if key in self.blocked:
            self.keyspace.ready[self.index, key] = None

    def set(self, key: bytes, value: Value) -> None:
        """set(key, value) stores a value, whatever was there, and drops its time to live. O(1)."""
        if self.expires.count:
            self.expires.discard(key)
        self.put(key, value)

    def put(self, key: bytes, value: Value) -> None:
        """put(key, value) stores a value and keeps the key's time to live.

        O(1): a large value in whose place it comes is freed in small steps.
        """
        slot = crc_hqx(hash_tag(key) if 123 in key else key, 0) & 16383
        keys = self.slots[slot]
        if keys is _NO_KEYS:
            self.slots[slot] = keys = {}
        before = keys.get(key)
        if type(value) is bytes and len(value) <= SHARED_MAX_DIGITS and value in SHARED_STRINGS:
            value = SHARED_STRINGS[value]
        keys[key] = value
        if before is None:
            self.size += 1
            if type(value) in COLLECTIONS:
                self.unpacked.noted[key] = None
            if type(keys) is dict and len(keys) > SLOT_DICT_MAX_ENTRIES:
                self.slots[slot] = Table(keys)
        elif type(before) in COLLECTIONS and before is not value and self.keyspace.free_later is not None:
            self.keyspace.free_later(before, 0)
        self.keyspace.dirty += 1
        if self.watched or self.blocked:
            self._tell(key)

    def store(self, key: bytes, value: Value) -> None:
        """store(key, value): as `set`, for a value of any type that may come in the place of another one. O(1)."""
        self.set(key, value)
        if type(value) in COLLECTIONS:
            self.unpacked.noted[key] = None

    def delete(self, key: bytes) -> bool:
        """delete(key) -> whether a living key was removed (DEL's count). O(1): a large one is freed in small steps."""
        if self.find(key) is None:
            return False
        self.drop(key)
        return True

    def drop(self, key: bytes, counted: int = 0) -> None:
        """drop(key) takes the key out, expired or not; no other reference to its value is left in use.

        O(1): a large value is freed in small steps, and counts as so many lazily freed objects.
        """
        value = self.remove(key)
        if type(value) is not bytes and self.keyspace.free_later is not None:
            self.keyspace.free_later(value, counted)

    def remove(self, key: bytes) -> Value | None:
        """remove(key) -> the value taken out, expired or not, with its time to live; None if not there."""
        value = self.slots[key_slot(key)].pop(key, None)
        if value is None:
            return None
        self.size -= 1
        if self.expires.count:
            self.expires.discard(key)
        self.modified(key)
        return value

    def shrunk(self, key: bytes, value: Any) -> None:
        """shrunk(key, collection): entries were taken out in place; an empty collection's key goes. O(1)."""
        if len(value) == 0:
            self.remove(key)
        else:
            self.modified(key)

    def expire(self, key: bytes) -> None:
        """expire(key) deletes a key whose time has come, counts it, and propagates the deletion.

        O(1): a large value is freed in small steps.
        """
        keyspace = self.keyspace
        self.drop(key, 1)
        keyspace.dirty -= 1  # a lazy deletion is propagated by itself, not with the command that met it
        keyspace.expired_keys += 1
        keyspace.on_expired(self, key)

    def flush(self, lazily: bool = False, counted: bool = True) -> int:
        """flush() -> how many keys there were; the database is empty now. WATCHed keys fail, as in FLUSHDB.

        O(n), or O(slots) with `lazily`, which leaves the freeing to `Keyspace.free_later`; `counted`: as lazily
        freed objects.
        """
        removed = self.size
        for key, watches in self.watched.items():
            for watch in watches:
                watch.replaced(self, key, None)
        if lazily and removed and self.keyspace.free_later is not None:
            self.keyspace.free_later([*filter(None, self.slots)], removed if counted else 0)
            self.keyspace.free_later(self.expires, 0)
        self.slots = [_NO_KEYS] * SLOT_COUNT
        self.expires = ExpiryIndex()
        self.unpacked = Unpacked()
        self.size = 0
        self.keyspace.dirty += removed
        return removed

    def swap_contents(self, other: Database) -> None:
        """swap_contents(other) exchanges keys and times; watchers of keys that exist on either side fail."""
        for database, replacement in ((self, other), (other, self)):
            for key, watches in database.watched.items():
                for watch in watches:
                    watch.replaced(database, key, replacement)
        self.slots, other.slots = other.slots, self.slots
        self.expires, other.expires = other.expires, self.expires
        self.unpacked, other.unpacked = other.unpacked, self.unpacked
        self.size, other.size = other.size, self.size
        self.keyspace.dirty += 1
        for database in (self, other):
            for key in database.blocked:
                if database.peek(key) is not None:
                    self.keyspace.ready[database.index, key] = None

    # -- packing

    def opened(self, key: bytes, value: Value, kind: type[Collection]) -> Collection:
        """opened(key, value, Hash) -> the key's value unpacked, which takes its place; WrongTypeError if it's no Hash.

        For a value of `read` or `find` that is not of the class wanted: a packed one, or one of another type. O(n).
        """
        if type(value) is not Packed or kind_of(value) is not kind:
            raise WrongTypeError
        collection: Collection = unpack(value)
        self.slots[key_slot(key)][key] = collection
        self.unpacked.noted[key] = None
        return collection

    def pack(self, key: bytes) -> None:
        """pack(key) packs the key's value if it is a small collection, or a part of a long list. Bounded.

        Not while a command holds the value.
        """
        keys = self.slots[key_slot(key)]
        value = keys.get(key)
        if type(value) in COLLECTIONS:
            made = keys[key] = packed(value)
            if type(made) is List and made.pack_more():
                self.unpacked.again(key)

    # -- time to live

    def expiry_ms(self, key: bytes) -> int | None:
        """expiry_ms(key) -> Unix time in milliseconds at which the key dies, or None."""
        return self.expires.get(key)

    def set_expiry(self, key: bytes, when_ms: int) -> None:
        """set_expiry(key, when_ms) sets the time of a key that exists. Callers call `modified` themselves."""
        self.expires.set(key, when_ms)
        if self.keyspace.expiry_policy is ExpiryPolicy.LOCAL:
            self.keyspace.expiring_here[self.index, key] = None

    def clear_expiry(self, key: bytes) -> bool:
        """clear_expiry(key) -> whether there was a time to drop (PERSIST). Callers call `modified`."""
        return self.expires.discard(key)

    # -- WATCH

    def watch(self, key: bytes, watch: Watch) -> None:
        """watch(key, watch): any later change of the key sets `watch.failed`. O(1)."""
        if (self, key) not in watch.keys:
            watch.add(self, key)
            self.watched.setdefault(key, []).append(watch)

    def unwatch(self, key: bytes, watch: Watch) -> None:
        """unwatch(key, watch) undoes `watch`."""
        watches = self.watched[key]
        watches.remove(watch)
        if not watches:
            del self.watched[key]

    # -- iteration

    def keys(self) -> Iterator[bytes]:
        """keys() -> every stored key, expired ones included; the database must not change meanwhile. O(n)."""
        for slot in self.slots:
            if slot:
                yield from slot

    def keys_in_slot(self, slot: int) -> Mapping[Value]:
        """keys_in_slot(slot) -> the slot's mapping, read-only to the caller; its len() is O(1)."""
        return self.slots[slot]

    def is_expired(self, key: bytes) -> bool:
        """is_expired(key) -> whether its time has come; deletes nothing."""
        when_ms = self.expires.get(key)
        return when_ms is not None and when_ms <= self.keyspace.clock.now_ms

    def scan(self, cursor: int, count: int) -> tuple[int, list[tuple[bytes, Value]]]:
        """scan(cursor, count) -> (next cursor or 0, items): about `count` stored items, expired ones included.

        The cursor is a slot number in its low 14 bits and a `Table` position above them. Each slot is
        returned whole if it is a dict (at most SLOT_DICT_MAX_ENTRIES), in steps if it is a `Table`.
        """
        slot = cursor & (SLOT_COUNT - 1)
        inner = cursor >> _SLOT_BITS
        found: list[tuple[bytes, Value]] = []
        slots = self.slots
        while slot < SLOT_COUNT:
            if slots[slot]:
                inner, items = scan_step(slots[slot], inner, count - len(found))
                found += items
                if inner:
                    return inner << _SLOT_BITS | slot, found
            slot += 1
            inner = 0
            if len(found) >= count:
                break
        return (slot if slot < SLOT_COUNT else 0), found

    def random_key(self) -> bytes | None:
        """random_key() -> a uniformly random stored key, or None. O(slots)."""
        if not self.size:
            return None
        rng = self.keyspace.rng
        position = rng.randrange(self.size)
        for keys in self.slots:
            position -= len(keys)
            if position < 0:
                return random_key(keys, rng)
        raise AssertionError("size counts more keys than the slots hold")

    def _check(self) -> None:
        """Assert the laws; tests call this after each operation."""
        assert self.size == sum(map(len, self.slots))
        assert not _NO_KEYS
        for key in self.expires:
            assert self.peek(key) is not None
        for slot, keys in enumerate(self.slots):
            assert all(key_slot(key) == slot for key in keys)
            assert all(packed(value) is value or key in self.unpacked for key, value in keys.items())
