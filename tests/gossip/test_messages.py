"""Datagrams: what is encoded is decoded, and everything else is dropped for a reason that is counted."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.gossip.effects import Send
from pyredis_cluster.gossip.errors import Dropped
from pyredis_cluster.gossip.messages import (
    BODIES,
    DATAGRAM_MAX_BYTES,
    KIND_NAMES,
    PING_PADDING,
    PROTOCOL_VERSION,
    TAG_BYTES,
    Keyring,
    Kind,
    Message,
    RumorKind,
    decode,
    encode,
)
from pyredis_cluster.gossip.nodes import COUNTER_MAX, NodeRecord, unpack_record

from .cores import Bench, address, record

RING = Keyring([b"secret"])
SOURCE = address(2)
PING = Message(Kind.PING, "ab" * 20, 2**60, 5, 7, 2**64 - 1, 123, (9, PING_PADDING), ((RumorKind.FAIL, b"x" * 20, 4),))


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
        version=st.integers(0, COUNTER_MAX),
        ip=st.sampled_from(["", "10.1.2.3", "::1"]),
        port=st.integers(0, 65535),
        bus_port=st.integers(0, 65535),
        hostname=st.text("abc.-", max_size=30),
        shard_id=st.just("0f" * 20),
        primary_id=st.sampled_from(["", "ee" * 20]),
        config_epoch=st.integers(0, COUNTER_MAX),
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


HOSTILE = st.recursive(
    st.one_of(
        st.integers(-(2**63), 2**64 - 1),
        st.binary(max_size=25),
        st.text(max_size=5),
        st.booleans(),
        st.none(),
        st.floats(),
        st.just(b"1" * 20),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=8), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
    max_leaves=20,
)


@given(
    st.sampled_from(Kind),
    st.lists(HOSTILE, max_size=4),
    st.lists(st.lists(HOSTILE, max_size=4), max_size=3),
    HOSTILE,
)
def test_a_signed_datagram_with_hostile_fields_is_dropped_or_can_be_worked_with(
    kind: Kind, body: list[object], rumors: list[list[object]], epoch: object
) -> None:
    payload = msgpack.packb([int(kind), b"\x22" * 20, 5, 6, epoch, 7, 7, body, rumors])
    bench = Bench(record(1, slots=3), record(2, slots=4, boot=5))
    try:
        message = decode(bytes([PROTOCOL_VERSION]) + RING.tag(payload, b"datagram") + payload, RING)
        bench.core.receive(message, SOURCE, 1001.0)
    except Dropped:
        return
    for effect in bench.effects():
        if isinstance(effect, Send):
            assert len(encode(effect.message, RING)) <= DATAGRAM_MAX_BYTES


@pytest.mark.parametrize(
    "payload", [b"\x91" * 1300, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x81\x91\x01\x02"]
)
def test_nesting_and_sizes_that_lie_are_malformed(payload: bytes) -> None:
    assert reason(bytes([PROTOCOL_VERSION]) + RING.tag(payload, b"datagram") + payload) == "malformed"


@pytest.mark.parametrize("rumor", [({},), (None,), (1.0,), (True,), ((),)])
def test_a_rumor_is_known_by_an_int(rumor: tuple[object, ...]) -> None:
    payload = msgpack.packb([int(Kind.GOSSIP), b"\x22" * 20, 5, 6, 1, 7, 7, [], [rumor]])
    assert reason(bytes([PROTOCOL_VERSION]) + RING.tag(payload, b"datagram") + payload) == "malformed"


def test_epochs_and_versions_that_leave_no_room_for_the_next_are_malformed() -> None:
    payload = msgpack.packb([int(Kind.GOSSIP), b"\x22" * 20, 5, 6, 2**64 - 1, 7, 7, [], []])
    assert reason(bytes([PROTOCOL_VERSION]) + RING.tag(payload, b"datagram") + payload) == "malformed"
    with pytest.raises(Dropped):
        unpack_record(record(2, config_epoch=2**63).packed)
