"""The blobs inside of a snapshot: listpack, ziplist, intset, zipmap, LZF, CRC64."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.node.parsing import INT64_MAX, INT64_MIN, integer_or_none
from pyredis_cluster.node.persistence import intset, listpack, lzf, ziplist, zipmap
from pyredis_cluster.node.persistence.crc64 import crc64, crc64_by_table
from pyredis_cluster.node.persistence.errors import RdbFormatError

INT64 = st.integers(INT64_MIN, INT64_MAX)
TEXT = st.one_of(
    st.binary(max_size=80),
    INT64.map(lambda value: b"%d" % value),
    st.integers(-70_000, 70_000).map(lambda value: b"%d" % value),
    st.sampled_from([b"x" * 63, b"x" * 64, b"x" * 125, b"x" * 126, b"x" * 4095, b"x" * 4096, b"x" * 20_000]),
    st.sampled_from([b"-0", b"+1", b"01", b"-", b" 1", b"1_0", b"9223372036854775808"]),
)


def encode_ziplist(items: list[bytes]) -> bytes:
    """A ziplist as Redis before version 7 wrote it."""
    body = b""
    before = start = 0
    for text in items:
        start = len(body)
        value = integer_or_none(text)
        previous = bytes((before,)) if before < 254 else b"\xfe" + struct.pack("<I", before)
        if value is None:
            length = len(text)
            if length < 64:
                head = bytes((length,))
            elif length < 1 << 14:
                head = (0x4000 | length).to_bytes(2, "big")
            else:
                head = b"\x80" + length.to_bytes(4, "big")
            entry = previous + head + text
        elif 0 <= value <= 12:
            entry = previous + bytes((0xF1 + value,))
        else:
            marker, width = next(
                (m, w)
                for m, w in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8))
                if -(1 << 8 * w - 1) <= value < 1 << 8 * w - 1
            )
            entry = previous + bytes((marker,)) + value.to_bytes(width, "little", signed=True)
        body += entry
        before = len(entry)
    return struct.pack("<IIH", 11 + len(body), 10 + start, len(items)) + body + b"\xff"


def encode_zipmap(items: list[bytes]) -> bytes:
    """A zipmap as Redis before version 2.6 wrote it, with free space after each value."""

    def length(text: bytes) -> bytes:
        return bytes((len(text),)) if len(text) < 254 else b"\xfe" + struct.pack("<I", len(text))

    body = b""
    for field, value in zip(items[::2], items[1::2], strict=True):
        body += length(field) + field + length(value) + b"\x02" + value + b"??"
    return bytes((min(len(items) // 2, 254),)) + body + b"\xff"


@given(st.lists(TEXT))
def test_listpack_gives_back_what_was_put_in(items: list[bytes]) -> None:
    assert listpack.decode(listpack.encode(items)) == items


@given(st.lists(TEXT))
def test_ziplist_is_read(items: list[bytes]) -> None:
    assert ziplist.decode(encode_ziplist(items)) == items


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), min_size=1))
def test_zipmap_is_read(pairs: list[tuple[bytes, bytes]]) -> None:
    items = [text for pair in pairs for text in pair]
    assert zipmap.decode(encode_zipmap(items)) == items


@given(st.sets(st.one_of(INT64, st.integers(-40_000, 40_000)), min_size=1))
def test_intset_gives_back_its_members_in_order(members: set[int]) -> None:
    assert intset.decode(intset.encode(members)) == sorted(members)


@pytest.mark.parametrize("decode", [listpack.decode, ziplist.decode, intset.decode, zipmap.decode])
@given(st.data())
def test_garbage_gives_a_typed_error_or_a_list(
    decode: Callable[[bytes], list[bytes]], data: st.DataObject
) -> None:
    items = data.draw(st.lists(TEXT, min_size=2, max_size=6))
    valid = data.draw(
        st.sampled_from(
            [
                listpack.encode(items),
                encode_ziplist(items),
                encode_zipmap(items[: len(items) // 2 * 2]),
                intset.encode({1, 70_000, -5}),
            ]
        )
    )
    blob = bytearray(valid)
    for position in data.draw(st.lists(st.integers(0, len(blob) - 1), max_size=4)):
        blob[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(blob)))
    for garbled in (bytes(blob), bytes(blob[:cut]), bytes(blob[:cut]) + b"\xff"):
        with contextlib.suppress(RdbFormatError):
            assert isinstance(decode(garbled), list)


def test_lzf_copies_may_overlap_what_they_write() -> None:
    assert lzf.decompress(b"\x00a\xe0\x01\x00", 11) == b"a" * 11
    assert lzf.decompress(b"\x01ab\x40\x01", 6) == b"ababab"


@pytest.mark.parametrize(
    "data", [b"\x05ab", b"\x00a\x20", b"\x00a\xe0", b"\x00a\x20\x05", b"\x00a", b"\x20\x00"]
)
def test_broken_lzf_gives_a_typed_error(data: bytes) -> None:
    with pytest.raises(RdbFormatError):
        lzf.decompress(data, 4)


@given(st.binary(max_size=60), st.integers(0, 1 << 40))
def test_any_lzf_input_gives_a_typed_error_or_the_length_it_claims(data: bytes, size: int) -> None:
    with contextlib.suppress(RdbFormatError):
        assert len(lzf.decompress(data, size)) == size


def test_crc64_is_redis_s_polynomial() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc64(b"") == 0


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_crc64_agrees_with_its_definition_and_continues(first: bytes, second: bytes) -> None:
    assert crc64(memoryview(second), crc64(first)) == crc64_by_table(first + second) == crc64(first + second)
