"""Datagrams: what is encoded is decoded, and everything else is dropped for a reason that is counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.gossip.errors import Dropped
from pyredis_cluster.gossip.messages import (
    BODIES,
    DATAGRAM_MAX_BYTES,
    KIND_NAMES,
    PROTOCOL_VERSION,
    TAG_BYTES,
    Keyring,
    Kind,
    Message,
    RumorKind,
    decode,
    encode,
)
from pyredis_cluster.gossip.nodes import NodeRecord, unpack_record

from .cores import record

RING = Keyring([b"secret"])
PING = Message(Kind.PING, "ab" * 20, 7, 2**64 - 1, 123, (9,), ((RumorKind.FAIL, b"x" * 20, 4),))


def reason(data: bytes, ring: Keyring = RING) -> str:
    with pytest.raises(Dropped) as caught:
        decode(data, ring)
    return caught.value.reason


def test_a_message_survives_the_wire() -> None:
    assert decode(encode(PING, RING), RING) == PING


def test_every_kind_has_a_body_and_a_name() -> None:
    assert set(BODIES) == set(KIND_NAMES) == set(Kind)


def test_another_clusters_datagram_is_dropped() -> None:
    assert reason(encode(PING, Keyring([b"other"]))) == "tag"


def test_without_a_secret_a_signed_datagram_is_dropped_too() -> None:
    assert reason(encode(PING, RING), Keyring()) == "tag"
    assert decode(encode(PING, Keyring()), Keyring()) == PING


def test_the_second_secret_is_accepted_but_does_not_sign() -> None:
    old, both, new = Keyring([b"old"]), Keyring([b"new", b"old"]), Keyring([b"new"])
    assert decode(encode(PING, old), both) == PING
    assert decode(encode(PING, both), new) == PING
    assert reason(encode(PING, both), old) == "tag"


def test_a_third_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at most two"):
        Keyring([b"a", b"b", b"c"])


def test_every_flipped_byte_is_noticed() -> None:
    data = encode(PING, RING)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        assert reason(bytes(changed)) in ("tag", "version")


def test_lengths_are_checked_first() -> None:
    assert reason(b"\x01" * (DATAGRAM_MAX_BYTES + 1)) == "oversized"
    assert reason(b"\x01" * (1 + TAG_BYTES)) == "truncated"
    assert reason(b"") == "truncated"


def test_another_version_is_dropped_by_its_first_byte() -> None:
    assert reason(bytes([PROTOCOL_VERSION + 1]) + encode(PING, RING)[1:]) == "version"


@given(st.binary(max_size=200))
def test_signed_rubbish_is_malformed_or_a_message(payload: bytes) -> None:
    data = bytes([PROTOCOL_VERSION]) + RING.tag(payload, b"datagram") + payload
    try:
        message = decode(data, RING)
    except Dropped as dropped:
        assert dropped.reason in ("malformed", "truncated")
    else:
        assert message.kind in BODIES


@given(
    st.builds(
        NodeRecord,
        id=st.binary(min_size=20, max_size=20).map(bytes.hex),
        version=st.integers(0, 2**63),
        ip=st.sampled_from(["", "10.1.2.3", "::1"]),
        port=st.integers(0, 65535),
        bus_port=st.integers(0, 65535),
        hostname=st.text("abc.-", max_size=30),
        shard_id=st.just("0f" * 20),
        primary_id=st.sampled_from(["", "ee" * 20]),
        config_epoch=st.integers(0, 2**63),
        slots=st.integers(0, 2**64),
        flags=st.integers(0, 3),
    )
)
def test_a_record_survives_the_wire(given_record: NodeRecord) -> None:
    assert unpack_record(given_record.packed) == given_record


def test_a_later_version_supersedes_and_equal_versions_are_ordered() -> None:
    first, second = record(1, version=1), record(1, version=2)
    assert second.supersedes(first)
    assert not first.supersedes(second)
    torn = record(1, version=2, hostname="other")
    assert torn.supersedes(second) != second.supersedes(torn)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_record_or_malformed(data: bytes) -> None:
    with pytest.raises(Dropped, match="malformed"):
        unpack_record(data)
