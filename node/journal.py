"""The journal: the ordered stream of effective write commands, with the offset that replication counts in.

Laws: an entry is appended once, after its command took effect and before its reply is sent; subscribers see
entries in order; with no subscriber nothing is encoded and the offset stands still (as in Redis, where the
offset moves only while there is a backlog).
"""

from __future__ import annotations

from typing import Protocol

from pyredis_cluster.client.resp import encode_command

_MULTI = encode_command([b"MULTI"])
_EXEC = encode_command([b"EXEC"])


class Subscriber(Protocol):
    """Whoever follows the journal: the replication backlog, the append-only file, a slot migration."""

    def journal_entry(self, data: bytes, offset: int, database: int, args: list[bytes]) -> None:
        """One entry: its RESP encoding, and the journal's offset after it. Called in order; must not block."""


class Journal:
    """append(database, args) for each effective command; `offset` is in bytes of the encoded stream."""

    __slots__ = ("_frozen", "active", "database", "offset", "subscribers")

    def __init__(self) -> None:
        self.offset = 0
        self.database = -1
        """The database that the stream has selected; -1 forces a SELECT before the next entry."""
        self.subscribers: list[Subscriber] = []
        self.active = False
        self._frozen = False

    @property
    def frozen(self) -> bool:
        """True on a replica: the stream comes from the primary (`append_raw`), nothing is added to it here."""
        return self._frozen

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        self._frozen = frozen
        self.active = bool(self.subscribers) and not frozen

    def subscribe(self, subscriber: Subscriber) -> None:
        """subscribe(subscriber): it gets every entry from now on, beginning with a SELECT."""
        self.subscribers.append(subscriber)
        self.active = not self.frozen
        self.database = -1

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """unsubscribe(subscriber) ends it; unknown ones are ignored."""
        # A new list: who leaves while an entry is handed round doesn't hide it from the next in line.
        self.subscribers = [other for other in self.subscribers if other is not subscriber]
        self.active = bool(self.subscribers) and not self.frozen

    def append(self, database: int, args: list[bytes]) -> None:
        """append(database, args): one command took effect in that database."""
        if not self.active:
            return
        if database != self.database:
            self._select(database)
        # The hot path of every write: `_emit`, written out.
        data = encode_command(args)
        self.offset = offset = self.offset + len(data)
        for subscriber in self.subscribers:
            subscriber.journal_entry(data, offset, database, args)

    def append_transaction(self, effects: list[tuple[int, list[bytes]]]) -> None:
        """append_transaction([(database, args), ...]): they took effect as one; several go as MULTI/EXEC."""
        if not self.active or not effects:
            return
        if len(effects) == 1:
            self.append(*effects[0])
            return
        self._emit(_MULTI, self.database, [b"MULTI"])
        for database, args in effects:
            self._select(database)
            self._emit(encode_command(args), database, args)
        self._emit(_EXEC, self.database, [b"EXEC"])

    def append_control(self, args: list[bytes]) -> None:
        """append_control(args): PING or REPLCONF GETACK, which concern no database."""
        if self.active:
            self._emit(encode_command(args), self.database, args)

    def append_raw(self, data: bytes) -> None:
        """append_raw(data): part of the primary's stream, passed on unchanged to our own replicas."""
        self.database = -1
        self._emit(data, -1, [])

    def _select(self, database: int) -> None:
        if database != self.database:
            self.database = database
            args = [b"SELECT", b"%d" % database]
            self._emit(encode_command(args), database, args)

    def _emit(self, data: bytes, database: int, args: list[bytes]) -> None:
        self.offset += len(data)
        for subscriber in self.subscribers:
            subscriber.journal_entry(data, self.offset, database, args)
