"""Whole-state exchange between two members over a stream, sans IO: three frames, then both know the same.

The initiator sends a summary of all it knows, the other answers with what the initiator lacks and the ids it
wants, and the initiator sends those. A frame is a 4-byte length, a tag under the cluster's secret and
msgpack. Each side chooses a nonce, which the other's next frame must repeat: a recorded exchange teaches nobody
anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from .errors import Dropped
from .messages import ID_BYTES, TAG_BYTES, Keyring
from .nodes import COUNTER_MAX, UNPACK_ERRORS, NodeRecord, unpack_record

if TYPE_CHECKING:
    from .core import ClusterCore

FRAME_MAX_BYTES = 4 * 1024 * 1024
MEMBERS_MAX = 16_384
SUMMARY_MAX_BYTES = MEMBERS_MAX * 48
"""What is kept of a peer that has not yet shown that it has the secret: the first frame of an exchange."""
_PURPOSE = b"sync"


class SyncExchange:
    """SyncExchange(core, keyring, initiator): one side of an exchange.

    `start()` gives the initiator's first bytes; `feed(data, now_ms)` takes what was read and gives what to
    write; `done` says that the connection can be closed. Both raise Dropped for bytes that are no such
    exchange. After each `feed` the core's effects are due.
    """

    def __init__(self, core: ClusterCore, keyring: Keyring, *, initiator: bool) -> None:
        self.core = core
        self._keyring = keyring
        self._initiator = initiator
        self._buffer = bytearray()
        self._frames = 0
        self._nonce = core.rng.getrandbits(62)
        self._their_nonce = 0
        self.proved = False
        """Whether a frame with a right tag has come from the other side."""
        self.done = False

    def start(self) -> bytes:
        return self._frame([self.core.membership.summary()])

    def feed(self, data: bytes, now_ms: float) -> bytes:
        self._buffer += data
        payload = self._take_frame()
        if payload is None:
            return b""
        self._frames += 1
        epoch, body = self._open(payload)
        self.core.advance(now_ms)
        if self._initiator:
            return self._on_answer(epoch, body)
        if self._frames == 1:
            return self._on_summary(body)
        self._merge(epoch, body[0])
        self.done = True
        return b""

    def _on_summary(self, body: list[Any]) -> bytes:
        summary = _checked_list(body[0])
        for entry in summary:
            types = [type(part) for part in _checked_list(entry)]
            if types != [bytes, int, bool, int] or len(entry[0]) != ID_BYTES:
                raise Dropped("malformed")
        lacking, wanted = self.core.membership.answer_summary(summary)
        self.done = not wanted
        return self._frame([lacking, wanted])

    def _on_answer(self, epoch: int, body: list[Any]) -> bytes:
        if len(body) != 2:
            raise Dropped("malformed")
        wanted = _checked_list(body[1])
        if not all(isinstance(raw, bytes) and len(raw) == ID_BYTES for raw in wanted):
            raise Dropped("malformed")
        # What the other asked for is from before its answer is merged; newer than that can only be better.
        self._merge(epoch, body[0])
        self.done = True
        return self._frame([self.core.membership.records(wanted)]) if wanted else b""

    def _merge(self, epoch: int, packed: Any) -> None:
        records: list[tuple[NodeRecord, bool]] = []
        for entry in _checked_list(packed):
            if [type(part) for part in _checked_list(entry)] != [bytes, bool]:
                raise Dropped("malformed")
            records.append((unpack_record(entry[0]), entry[1]))
        self.core.membership.merge_all(epoch, records)

    def _frame(self, body: list[Any]) -> bytes:
        core = self.core
        header = [bytes.fromhex(core.myself.id), core.current_epoch, self._nonce, self._their_nonce]
        payload: bytes = msgpack.packb([*header, body])
        tag = self._keyring.tag(payload, _PURPOSE)
        return (len(payload) + TAG_BYTES).to_bytes(4, "big") + tag + payload

    def _take_frame(self) -> bytes | None:
        if len(self._buffer) < 4:
            return None
        size = int.from_bytes(self._buffer[:4], "big")
        limit = FRAME_MAX_BYTES if self.proved or self._initiator else SUMMARY_MAX_BYTES
        if not TAG_BYTES < size <= limit:
            raise Dropped("oversized")
        if len(self._buffer) < 4 + size:
            return None
        frame = bytes(self._buffer[4 : 4 + size])
        del self._buffer[: 4 + size]
        return frame

    def _open(self, frame: bytes) -> tuple[int, list[Any]]:
        payload = frame[TAG_BYTES:]
        if not self._keyring.verify(payload, frame[:TAG_BYTES], _PURPOSE):
            raise Dropped("tag")
        try:
            fields: Any = msgpack.unpackb(payload)
        except UNPACK_ERRORS:
            raise Dropped("malformed") from None
        if type(fields) is not list or [type(part) for part in fields] != [bytes, int, int, int, list]:
            raise Dropped("malformed")
        sender, epoch, theirs, ours, body = fields
        if not 0 <= epoch <= COUNTER_MAX or not 0 <= theirs <= COUNTER_MAX or not body:
            raise Dropped("malformed")
        if sender.hex() not in self.core.nodes:
            raise Dropped("unknown_sender")
        if (self._initiator or self._frames > 1) and ours != self._nonce:
            raise Dropped("replayed")
        self._their_nonce = theirs
        self.proved = True
        return epoch, body


def _checked_list(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > MEMBERS_MAX:
        raise Dropped("malformed")
    return value
