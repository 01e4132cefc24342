"""Splitting a line into arguments and quoting a value back, as redis.conf and inline commands do.

Law: `split_args(quote(value)) == [value]` for any bytes.
"""

from __future__ import annotations

_ESCAPES = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("b"): 8, ord("a"): 7}
_SHORT = {10: b"\\n", 13: b"\\r", 9: b"\\t", 8: b"\\b", 7: b"\\a", 34: b'\\"', 92: b"\\\\"}
_BLANKS = b" \t\n\v\f\r"
_PLAIN_ENDS = b" \n\r\t\0"
_HEX = b"0123456789abcdefABCDEF"
_DOUBLE, _SINGLE, _BACKSLASH = b"\"'\\"


def split_args(line: bytes) -> list[bytes] | None:
    r"""split_args(b'set k "a\x00b"') -> [b"set", b"k", b"a\0b"]; None if quotes are unbalanced.

    Double quotes take \n \r \t \b \a \xHH; single quotes only \'. Source: sdssplitargs. O(len(line)).
    """
    if not (b'"' in line or b"'" in line or b"\0" in line):
        return line.split()
    args: list[bytes] = []
    at, end = 0, len(line)
    while True:
        while at < end and line[at] in _BLANKS:
            at += 1
        if at >= end or line[at] == 0:
            return args
        current = bytearray()
        while at < end and line[at] not in _PLAIN_ENDS:
            if line[at] in b"\"'":
                closing = _quoted(line, at, current)
                if closing is None:
                    return None
                at = closing
                break
            current.append(line[at])
            at += 1
        args.append(bytes(current))


def _quoted(line: bytes, start: int, into: bytearray) -> int | None:
    """The index after the quoted text at `start`; None if it isn't closed right before a blank or the end."""
    quote_mark, end = line[start], len(line)
    at = start + 1
    while at < end and line[at]:
        byte = line[at]
        if byte == quote_mark:
            return at + 1 if at + 1 >= end or line[at + 1] in _BLANKS or not line[at + 1] else None
        if byte == _BACKSLASH and at + 1 < end and quote_mark == _DOUBLE:
            digits = line[at + 2 : at + 4]
            if line[at + 1] == ord("x") and len(digits) == 2 and digits[0] in _HEX and digits[1] in _HEX:
                into.append(int(digits, 16))
                at += 4
                continue
            into.append(_ESCAPES.get(line[at + 1], line[at + 1]))
            at += 2
            continue
        if byte == _BACKSLASH and line[at + 1 : at + 2] == b"'":
            into.append(_SINGLE)
            at += 2
            continue
        into.append(byte)
        at += 1
    return None


def quote(value: bytes) -> bytes:
    r"""quote(b'a"b\0') -> b'"a\"b\x00"': printable, and read back by split_args. Source: sdscatrepr."""
    parts = [_SHORT.get(byte) or (b"%c" % byte if 32 <= byte < 127 else b"\\x%02x" % byte) for byte in value]
    return b'"%b"' % b"".join(parts)
