"""The string commands that count: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT (Redis: t_string.c)."""

from __future__ import annotations

from ..client import Client
from ..command import command, key
from ..errors import CommandError, WrongTypeError
from ..long_double import add, format_long_double, overflows, parse_long_double
from ..parsing import INT64_MAX, INT64_MIN, parse_integer
from ..reply import bulk, integer
from ..values.common import SHARED_INTEGERS


def _increment(client: Client, name: bytes, delta: int) -> bytes:
    db = client.db
    value = db.find(name)
    if value is None:
        number = delta
    else:
        if type(value) is not bytes and type(value) is not bytearray:
            raise WrongTypeError
        number = parse_integer(value) + delta
        if not INT64_MIN <= number <= INT64_MAX:
            raise CommandError("increment or decrement would overflow")
    text = SHARED_INTEGERS[number] if 0 <= number < len(SHARED_INTEGERS) else b"%d" % number
    db.put(name, text)
    return integer(number)


@command(
    "incr", arity=2, flags="write denyoom fast", keys=key("RW access update"), since="1.0.0", group="string"
)
def incr(client: Client, args: list[bytes]) -> bytes:
    """INCR key -> integer

    Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.
    Complexity: O(1)
    """
    return _increment(client, args[1], 1)


@command(
    "decr", arity=2, flags="write denyoom fast", keys=key("RW access update"), since="1.0.0", group="string"
)
def decr(client: Client, args: list[bytes]) -> bytes:
    """DECR key -> integer

    Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.
    Complexity: O(1)
    """
    return _increment(client, args[1], -1)


@command(
    "incrby", arity=3, flags="write denyoom fast", keys=key("RW access update"), since="1.0.0", group="string"
)
def incrby(client: Client, args: list[bytes]) -> bytes:
    """INCRBY key increment -> integer

    Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.
    Complexity: O(1)
    """
    return _increment(client, args[1], parse_integer(args[2]))


@command(
    "decrby", arity=3, flags="write denyoom fast", keys=key("RW access update"), since="1.0.0", group="string"
)
def decrby(client: Client, args: list[bytes]) -> bytes:
    """DECRBY key decrement -> integer

    Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.
    Complexity: O(1)
    """
    delta = parse_integer(args[2])
    if delta == INT64_MIN:
        raise CommandError("decrement would overflow")
    return _increment(client, args[1], -delta)


@command(
    "incrbyfloat",
    arity=3,
    flags="write denyoom fast",
    keys=key("RW access update"),
    since="2.6.0",
    group="string",
)
def incrbyfloat(client: Client, args: list[bytes]) -> bytes:
    """INCRBYFLOAT key increment -> bulk

    Increment the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist.
    Complexity: O(1)
    """
    db = client.db
    value = db.find(args[1])
    if value is not None and type(value) is not bytes and type(value) is not bytearray:
        raise WrongTypeError
    before = parse_long_double(b"0" if value is None else value)
    delta = parse_long_double(args[2])
    if before is None or delta is None or overflows(total := add(before, delta)):
        raise CommandError("increment would produce NaN or Infinity")
    text = format_long_double(total)
    db.put(args[1], text)
    client.propagate_as([b"SET", args[1], text, b"KEEPTTL"])
    return bulk(text)
