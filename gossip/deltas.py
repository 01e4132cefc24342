"""Changes of a record that is too long for a datagram: its other fields, and which slots changed from which version.

A delta holds the last few changes, so that whoever has any of those versions can follow, and a hash of the record
that must come out; who can't follow asks for the whole.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import msgpack

from . import bitmap
from .errors import Dropped
from .messages import RUMOR_RECORD_MAX_BYTES, Rumor, RumorKind
from .nodes import UNPACK_ERRORS, Node, NodeRecord, unpack_record

STEPS_MAX = 16
"""Changes that a delta goes back at most."""


class History:
    """The last changes of this node's own record."""

    def __init__(self, record: NodeRecord) -> None:
        # What the peers know from before a restart is most likely the last that was saved.
        self._steps: deque[tuple[int, int]] = deque([(max(record.version - 1, 0), 0)], STEPS_MAX)
        self._version = record.version

    def changed(self, before: NodeRecord, after: NodeRecord) -> None:
        """changed(before, after): the record is another one now."""
        if before.version != self._version:
            self._steps.clear()
        self._version = after.version
        self._steps.append((before.version, before.slots ^ after.slots))

    def rumor(self, record: NodeRecord) -> Rumor | None:
        """rumor(record) -> the delta that leads to `record` from as far back as a datagram has room for."""
        raw, header = bytes.fromhex(record.id), replace(record, slots=0).packed
        steps = [(version, bitmap.encode(slots)) for version, slots in self._steps]
        while steps:
            packed: bytes = msgpack.packb(steps)
            if len(header) + len(packed) <= RUMOR_RECORD_MAX_BYTES:
                return int(RumorKind.DELTA), raw, header, record.digests[0], packed
            del steps[0]
        return None


def apply_delta(record: NodeRecord, rumor: Rumor) -> NodeRecord | None:
    """apply_delta(record, rumor) -> the record that the delta leads to, or None where it does not start from `record`.

    Raises Dropped("malformed").
    """
    _, _, header, digest, packed = rumor
    slots = record.slots
    known = False
    for version, changed in _steps(packed):
        known = known or version == record.version
        if known:
            slots ^= bitmap.decode(changed)
    found = replace(unpack_record(header), slots=slots)
    return found if known and found.digests[0] == digest else None


def _steps(packed: bytes) -> list[tuple[int, bytes]]:
    try:
        steps: Any = msgpack.unpackb(packed, use_list=False)
    except UNPACK_ERRORS:
        raise Dropped("malformed") from None
    if type(steps) is not tuple or len(steps) > STEPS_MAX:
        raise Dropped("malformed")
    for step in steps:
        if type(step) is not tuple or [type(part) for part in step] != [int, bytes]:
            raise Dropped("malformed")
    return list(steps)


def record_rumor(node: Node) -> Rumor:
    """record_rumor(node) -> its record or, where that is too long for a datagram, what changed, or that it exists."""
    record = node.record
    if len(record.packed) <= RUMOR_RECORD_MAX_BYTES:
        return int(RumorKind.RECORD), record.packed
    if node.delta is not None and node.delta[0] == record.version:
        return node.delta[1]
    return int(RumorKind.NOTICE), bytes.fromhex(record.id), record.version
