"""SCAN over all primaries: one page at a time, shard after shard.

Redis's guarantee holds while no slot changes hands: a key that is there from start to end is returned at
least once. A shard whose primary changes is scanned again from its start, since a cursor is worth nothing
elsewhere. A slot that migrates during the scan may be missed or seen twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .errors import ClientError
from .operations import Operation, Operations
from .resp import Argument, encode_command, to_bytes
from .routing import Request
from .wire import Address


def scan_options(match: Argument | None, count: int | None, type_name: str | None) -> list[bytes]:
    """scan_options(match, count, type_name) -> the arguments of SCAN after the cursor."""
    named = ((b"MATCH", match), (b"COUNT", count), (b"TYPE", type_name))
    return [word for name, value in named if value is not None for word in (name, to_bytes(value))]


class ScanState:
    """Where a scan stands. `done` after the last page."""

    def __init__(self, operations: Operations, options: Sequence[bytes]) -> None:
        self.done = False
        self._operations = operations
        self._options = options
        self._slots: list[int] | None = None
        self._cursor: Any = b"0"
        self._address: Address | None = None

    def next_page(self) -> Operation[list[Any]]:
        """next_page() -> some keys, maybe none. Raises ClientError."""
        operations = self._operations
        if self._slots is None:
            if not operations.router.known:
                yield from operations.connect()
            self._slots = list(reversed(operations.router.slots.one_slot_of_each_shard()))
        if not self._slots:
            self.done = True
            return []
        request = Request(
            encode_command([b"SCAN", self._cursor, *self._options]), slot=self._slots[-1], repeatable=True
        )
        yield from operations.run([request])
        if isinstance(request.reply, ClientError):
            raise request.reply
        cursor, keys = request.reply
        if self._address not in (None, request.target):
            self._address, self._cursor = None, b"0"
            return []
        self._address = request.target
        self._cursor = cursor.encode() if isinstance(cursor, str) else cursor
        if self._cursor == b"0":
            self._address = None
            self._slots.pop()
            self.done = not self._slots
        return list(keys)
