"""The bus's datagrams: their fields, their encoding in msgpack, and the tag that proves the sender has the
secret.

A datagram is one version byte, a 16-byte keyed BLAKE2b tag and a msgpack array, together at most
DATAGRAM_MAX_BYTES. Whatever is not exactly that is dropped for a counted reason, before anything acts on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from hmac import compare_digest
from typing import Any

import msgpack

from .errors import Dropped
from .nodes import COUNTER_MAX, UNPACK_ERRORS

PROTOCOL_VERSION = 3
DATAGRAM_MAX_BYTES = 1400
TAG_BYTES = 16
RUMORS_MAX_BYTES = 1150
"""What rumors may take of a datagram: the rest is for the frame, the header and the longest body."""
MEET_RECORD_MAX_BYTES = 1000
PING_PADDING = bytes(16)
MEET_PADDED_BYTES = MEET_RECORD_MAX_BYTES + 80
"""What record and padding of a MEET have together: it is answered before its sender's address has proved to be
real, and no such answer may be longer than the request.
"""
RUMOR_RECORD_MAX_BYTES = 1000
"""A record longer than this (a badly fragmented slot map) travels as what changed in it, or is fetched by a Sync."""

ID_BYTES = 20


class Kind(IntEnum):
    """Datagram types. The names in CLUSTER INFO are Redis's where Redis has the message."""

    PING = 0
    PONG = 1
    MEET = 2
    MEET_PONG = 3
    PING_REQ = 4
    RELAY = 5
    GOSSIP = 6
    REPORT = 7
    AUTH_REQUEST = 8
    AUTH_ACK = 9
    AUTH_NACK = 10
    MF_START = 11
    MF_OFFSET = 12
    MF_CANCEL = 13
    CHALLENGE = 14
    PROOF = 15


KIND_NAMES = {
    Kind.PING: "ping",
    Kind.PONG: "pong",
    Kind.MEET: "meet",
    Kind.MEET_PONG: "meet-pong",
    Kind.PING_REQ: "ping-req",
    Kind.RELAY: "relay",
    Kind.GOSSIP: "update",
    Kind.REPORT: "fail-report",
    Kind.AUTH_REQUEST: "auth-req",
    Kind.AUTH_ACK: "auth-ack",
    Kind.AUTH_NACK: "auth-nack",
    Kind.MF_START: "mfstart",
    Kind.MF_OFFSET: "mfoffset",
    Kind.MF_CANCEL: "mfcancel",
    Kind.CHALLENGE: "challenge",
    Kind.PROOF: "proof",
}

BODIES: dict[int, tuple[type, ...]] = {
    Kind.PING: (int, bytes),  # sequence, padding: the answer must not be longer
    Kind.PONG: (int, int),  # sequence, a challenge to who sent the ping, or 0
    Kind.MEET: (int, str, bytes, bytes),  # nonce, the address that was dialled, the sender's record, padding
    Kind.MEET_PONG: (int, str, bytes, int),  # nonce, the address the MEET came from, the sender's record, challenge
    Kind.PING_REQ: (int, bytes),  # sequence, subject
    Kind.RELAY: (int, bytes, bool),  # sequence, subject, answered (or refused)
    Kind.GOSSIP: (),
    Kind.REPORT: (bytes, int, int),  # subject, its version, Evidence
    # election epoch, primary, epoch of its slots, digest of the slots, manual
    Kind.AUTH_REQUEST: (int, bytes, int, int, bool),
    Kind.AUTH_ACK: (int,),  # election epoch
    Kind.AUTH_NACK: (int, int, bool),  # election epoch, no votes up to this epoch, the slots are others
    Kind.MF_START: (int,),  # nonce
    Kind.MF_OFFSET: (int, int),  # nonce, the primary's offset while paused
    Kind.MF_CANCEL: (int,),  # nonce
    Kind.CHALLENGE: (int, bool),  # nonce, whether the node is not known either
    Kind.PROOF: (int,),  # nonce
}


class Evidence(IntEnum):
    """Grades of a failure report."""

    CLEAR = 0
    SILENT = 1
    REFUSED = 2


class RumorKind(IntEnum):
    """What a datagram can carry besides its own purpose; all of it may be lost and repeated."""

    RECORD = 0  # packed record
    NOTICE = 1  # id, version: a record too long for a datagram exists
    SUSPECT = 2  # id, version, Evidence: please look for yourself
    FAIL = 3  # id, version
    FORGET = 4  # id, milliseconds for which it is not to be taken back
    DELTA = 5  # id, record without slots, digest of the record with them, steps (see `deltas`)


_RUMOR_FIELDS: dict[int, tuple[type, ...]] = {
    RumorKind.RECORD: (bytes,),
    RumorKind.NOTICE: (bytes, int),
    RumorKind.SUSPECT: (bytes, int, int),
    RumorKind.FAIL: (bytes, int),
    RumorKind.FORGET: (bytes, int),
    RumorKind.DELTA: (bytes, bytes, int, bytes),
}
Rumor = tuple[Any, ...]
"""(RumorKind, *fields); ids are 20 raw bytes."""

_HEADER_TYPES = (int, bytes, int, int, int, int)
_HEADER_FIELDS = 9


@dataclass(slots=True, init=False)
class Message:
    """A decoded datagram.

    Every one carries the sender's boot id, the datagram's number under it, and the sender's epoch, state digest and
    replication offset.
    """

    kind: int
    sender: str
    boot: int
    sequence: int
    epoch: int
    digest: int
    offset: int
    body: tuple[Any, ...]
    rumors: tuple[Rumor, ...]

    # Written out, because mypyc compiles it then, and every datagram makes one.
    def __init__(
        self,
        kind: int,
        sender: str,
        boot: int,
        sequence: int,
        epoch: int,
        digest: int,
        offset: int,
        body: tuple[Any, ...],
        rumors: tuple[Rumor, ...] = (),
    ) -> None:
        self.kind = kind
        self.sender = sender
        self.boot = boot
        self.sequence = sequence
        self.epoch = epoch
        self.digest = digest
        self.offset = offset
        self.body = body
        self.rumors = rumors


def rumor_size(rumor: Rumor) -> int:
    """rumor_size(rumor) -> int: an upper bound of its bytes in a datagram."""
    return 4 + sum(len(part) + 3 if isinstance(part, bytes) else 9 for part in rumor)


class Keyring:
    """Keyring(secrets): the cluster's secrets. The first signs; each of at most two is accepted.

    With two, a secret can be replaced while the cluster runs: accept the new, use the new, drop the old.
    Without any, the tag is a mere checksum and anybody who reaches the port may speak.
    """

    SECRETS_MAX = 2

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        given = [bytes(secret) for secret in secrets] or [b""]
        if len(given) > self.SECRETS_MAX:
            raise ValueError("at most two cluster secrets")
        self._keys = [_key(secret) for secret in given]
        self.has_secret = all(given)

    def tag(self, data: bytes, purpose: bytes) -> bytes:
        return blake2b(data, digest_size=TAG_BYTES, key=self._keys[0], person=purpose).digest()

    def verify(self, data: bytes, tag: bytes, purpose: bytes) -> bool:
        return any(
            compare_digest(blake2b(data, digest_size=TAG_BYTES, key=key, person=purpose).digest(), tag)
            for key in self._keys
        )


def _key(secret: bytes) -> bytes:
    return blake2b(secret, digest_size=32, person=b"bus key").digest() if secret else b""


_PURPOSE = b"datagram"


def encode(message: Message, keyring: Keyring) -> bytes:
    """encode(message, keyring) -> bytes: one datagram."""
    payload: bytes = msgpack.packb(
        (
            int(message.kind),
            bytes.fromhex(message.sender),
            message.boot,
            message.sequence,
            message.epoch,
            message.digest,
            message.offset,
            message.body,
            message.rumors,
        )
    )
    data = bytes([PROTOCOL_VERSION]) + keyring.tag(payload, _PURPOSE) + payload
    assert len(data) <= DATAGRAM_MAX_BYTES, f"datagram of {len(data)} bytes"
    return data


def decode(data: bytes, keyring: Keyring) -> Message:
    """decode(data, keyring) -> Message. Raises Dropped with the reason for anything but a well-formed
    datagram.
    """
    if len(data) > DATAGRAM_MAX_BYTES:
        raise Dropped("oversized")
    if len(data) <= 1 + TAG_BYTES:
        raise Dropped("truncated")
    if data[0] != PROTOCOL_VERSION:
        raise Dropped("version")
    payload = data[1 + TAG_BYTES :]
    if not keyring.verify(payload, data[1 : 1 + TAG_BYTES], _PURPOSE):
        raise Dropped("tag")
    try:
        fields: Any = msgpack.unpackb(payload, use_list=False)
    except UNPACK_ERRORS:
        raise Dropped("malformed") from None
    if not isinstance(fields, tuple) or len(fields) != _HEADER_FIELDS:
        raise Dropped("malformed")
    kind, sender, boot, sequence, epoch, digest, offset, body, rumors = fields
    _check_fields((kind, sender, boot, sequence, epoch, offset), _HEADER_TYPES)
    if type(digest) is not int or digest < 0 or epoch > COUNTER_MAX or offset > COUNTER_MAX:
        raise Dropped("malformed")
    if kind not in BODIES or type(body) is not tuple or type(rumors) is not tuple or len(sender) != ID_BYTES:
        raise Dropped("malformed")
    _check_fields(body, BODIES[kind])
    for rumor in rumors:
        if not isinstance(rumor, tuple) or not rumor or type(rumor[0]) is not int:
            raise Dropped("malformed")
        if rumor[0] not in _RUMOR_FIELDS:
            raise Dropped("malformed")
        _check_fields(rumor[1:], _RUMOR_FIELDS[rumor[0]])
    return Message(kind, sender.hex(), boot, sequence, epoch, digest, offset, body, rumors)


def _check_fields(values: tuple[Any, ...], types: tuple[type, ...]) -> None:
    if len(values) != len(types):
        raise Dropped("malformed")
    for value, kind in zip(values, types, strict=True):
        if type(value) is not kind or (isinstance(value, int) and value < 0):
            raise Dropped("malformed")
