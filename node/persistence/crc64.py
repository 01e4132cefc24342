"""CRC-64/REDIS, the checksum of RDB files and DUMP payloads.

Jones' polynomial 0xad93d23594c935a9, reflected in and out, initial value 0, no final xor (Redis: crc64.c).
`anycrc` computes it at memory speed; `crc64_by_table` is the definition that tests hold it to.
"""

from __future__ import annotations

from typing import Final

import anycrc

POLYNOMIAL: Final = 0xAD93D23594C935A9
_REFLECTED: Final = int(f"{POLYNOMIAL:064b}"[::-1], 2)
_model = anycrc.CRC(64, POLYNOMIAL, 0, True, True, 0)


def crc64(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """crc64(b"123456789") -> 0xe9c6d914c4b8d9ca. `crc` is the checksum of what came before `data`."""
    return int(_model.calc(data, crc)) if len(data) else crc


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_REFLECTED if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE: Final = _table()


def crc64_by_table(data: bytes, crc: int = 0) -> int:
    """crc64_by_table(data, crc) -> the same as `crc64`, a byte at a time."""
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc
