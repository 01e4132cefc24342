"""The options that HSCAN, SSCAN, ZSCAN and SCAN share: MATCH and COUNT (Redis: scanGenericCommand).

Law: options are checked before the key is looked up; a cursor comes from `parsing.parse_cursor`.
"""

from __future__ import annotations

from .errors import SyntaxError_
from .glob import Matcher, matcher
from .parsing import parse_integer
from .reply import bulk_array

SCAN_COUNT_DEFAULT = 10


def parse_scan_options(args: list[bytes], first: int) -> tuple[int, Matcher | None]:
    """parse_scan_options(args, 3) -> (count, matcher or None if everything matches).

    SyntaxError_ for an unknown word, a word without its value, or a count below 1.
    """
    count = SCAN_COUNT_DEFAULT
    match: Matcher | None = None
    rest = iter(args[first:])
    for word in rest:
        value = next(rest, None)
        if value is None:
            raise SyntaxError_
        option = word.lower()
        if option == b"count":
            count = parse_integer(value)
            if count < 1:
                raise SyntaxError_
        elif option == b"match":
            match = None if value == b"*" else matcher(value)
        else:
            raise SyntaxError_
    return count, match


def scan_reply(cursor: int, texts: list[bytes]) -> bytes:
    """scan_reply(7, [b"a", ...]) -> the reply of every SCAN command: the next cursor, and the elements."""
    position = b"%d" % cursor
    return b"*2\r\n$%d\r\n%b\r\n%b" % (len(position), position, bulk_array(texts))
