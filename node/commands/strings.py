"""String commands without options: GET, MSET, SETEX, APPEND, GETRANGE and their kin (Redis: t_string.c).

Law: a string that was changed in place is a `bytearray`; it never leaves this module's replies as such, and
no command keeps one that another key holds.
"""

from __future__ import annotations

from typing import Any

from ..client import GUARD_PRIMARY, Client
from ..command import command, key, keys
from ..errors import CommandError, WrongTypeError
from ..parsing import parse_integer
from ..reply import EMPTY_BULK, ONE, ZERO, bulk, integer
from .expire import expiry_ms


def _string(value: Any) -> Any:
    """The value if it is a string; WrongTypeError otherwise."""
    if type(value) is bytes or type(value) is bytearray:
        return value
    raise WrongTypeError


@command("get", arity=2, flags="readonly fast", keys=key("RO access"), since="1.0.0", group="string")
def get(client: Client, args: list[bytes]) -> bytes:
    """GET key -> bulk | null

    Returns the string value of a key.
    Complexity: O(1)
    """
    value = client.db.read(args[1])
    if value is None:
        return client.resp.null
    if type(value) is bytes or type(value) is bytearray:
        return bulk(value)
    raise WrongTypeError


@command("getdel", arity=2, flags="write fast", keys=key("RW access delete"), since="6.2.0", group="string")
def getdel(client: Client, args: list[bytes]) -> bytes:
    """GETDEL key -> bulk | null

    Returns the string value of a key after deleting the key.
    Complexity: O(1)
    """
    reply = get(client, args)
    if client.db.delete(args[1]):
        client.propagate_as([b"DEL", args[1]])
    return reply


@command(
    "getset", arity=3, flags="write denyoom fast", keys=key("RW access update"), since="1.0.0", group="string"
)
def getset(client: Client, args: list[bytes]) -> bytes:
    """GETSET key value -> bulk | null

    Returns the previous string value of a key after setting it to a new value.
    Complexity: O(1)
    """
    reply = get(client, args)
    client.db.set(args[1], args[2])
    client.propagate_as([b"SET", args[1], args[2]])
    return reply


@command("setnx", arity=3, flags="write denyoom fast", keys=key("OW insert"), since="1.0.0", group="string")
def setnx(client: Client, args: list[bytes]) -> bytes:
    """SETNX key value -> 1 | 0

    Sets the string value of a key only when the key doesn't exist.
    Complexity: O(1)
    """
    db = client.db
    if db.find(args[1]) is not None:
        return ZERO
    db.set(args[1], args[2])
    return ONE


def _set_expiring(client: Client, args: list[bytes], unit_ms: int) -> bytes:
    _, name, time, value = args
    when_ms = expiry_ms(client, time, unit_ms, relative=True)
    client.db.set(name, value)
    client.db.set_expiry(name, when_ms)
    client.propagate_as([b"SET", name, value, b"PXAT", b"%d" % when_ms])
    return b"+OK\r\n"


@command("setex", arity=4, flags="write denyoom", keys=key("OW update"), since="2.0.0", group="string")
def setex(client: Client, args: list[bytes]) -> bytes:
    """SETEX key seconds value -> OK

    Sets the string value and expiration time of a key. Creates the key if it doesn't exist.
    Complexity: O(1)
    """
    return _set_expiring(client, args, 1000)


@command("psetex", arity=4, flags="write denyoom", keys=key("OW update"), since="2.6.0", group="string")
def psetex(client: Client, args: list[bytes]) -> bytes:
    """PSETEX key milliseconds value -> OK

    Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't
    exist.
    Complexity: O(1)
    """
    return _set_expiring(client, args, 1)


@command(
    "mget",
    arity=-2,
    flags="readonly fast",
    keys=keys("RO access"),
    since="1.0.0",
    group="string",
    tips=("request_policy:multi_shard",),
)
def mget(client: Client, args: list[bytes]) -> bytes:
    """MGET key [key ...] -> array of bulk | null

    Atomically returns the string values of one or more keys.
    Complexity: O(N) where N is the number of keys to retrieve.
    """
    read = client.db.read
    null = client.resp.null
    parts = [b"*%d\r\n" % (len(args) - 1)]
    for name in args[1:]:
        value = read(name)
        if type(value) is bytes or type(value) is bytearray:
            parts.append(bulk(value))
        else:
            parts.append(null)
    return b"".join(parts)


def _require_pairs(client: Client, args: list[bytes]) -> None:
    if len(args) % 2 == 0:
        assert client.command is not None
        raise client.command.arity_error()


@command(
    "mset",
    arity=-3,
    flags="write denyoom",
    keys=keys("OW update", 1, -1, 2),
    since="1.0.1",
    group="string",
    tips=("request_policy:multi_shard", "response_policy:all_succeeded"),
)
def mset(client: Client, args: list[bytes]) -> bytes:
    """MSET key value [key value ...] -> OK

    Atomically creates or modifies the string values of one or more keys.
    Complexity: O(N) where N is the number of keys to set.
    """
    _require_pairs(client, args)
    store = client.db.set
    for index in range(1, len(args), 2):
        store(args[index], args[index + 1])
    return b"+OK\r\n"


@command(
    "msetnx",
    arity=-3,
    flags="write denyoom",
    keys=keys("OW insert", 1, -1, 2),
    since="1.0.1",
    group="string",
)
def msetnx(client: Client, args: list[bytes]) -> bytes:
    """MSETNX key value [key value ...] -> 1 | 0

    Atomically modifies the string values of one or more keys only when all keys don't exist.
    Complexity: O(N) where N is the number of keys to set.
    """
    _require_pairs(client, args)
    find = client.db.find
    for name in args[1::2]:
        if find(name) is not None:
            return ZERO
    mset(client, args)
    return ONE


@command("strlen", arity=2, flags="readonly fast", keys=key("RO"), since="2.2.0", group="string")
def strlen(client: Client, args: list[bytes]) -> bytes:
    """STRLEN key -> length

    Returns the length of a string value.
    Complexity: O(1)
    """
    value = client.db.read(args[1])
    return ZERO if value is None else integer(len(_string(value)))


def _check_length(client: Client, length: int) -> None:
    if length > client.server.config.proto_max_bulk_len and not client.guard & GUARD_PRIMARY:
        raise CommandError("string exceeds maximum allowed size (proto-max-bulk-len)")


@command("append", arity=3, flags="write denyoom fast", keys=key("RW insert"), since="2.0.0", group="string")
def append(client: Client, args: list[bytes]) -> bytes:
    """APPEND key value -> length

    Appends a string to the value of a key. Creates the key if it doesn't exist.
    Complexity: O(1) amortized for small values.
    """
    name, added = args[1], args[2]
    db = client.db
    value = db.find(name)
    if value is None:
        db.put(name, added)
        return integer(len(added))
    _check_length(client, len(_string(value)) + len(added))
    if type(value) is bytearray:
        value += added
        db.modified(name)
    else:
        value = bytearray(value)
        value += added
        db.put(name, value)
    return integer(len(value))


@command("setrange", arity=4, flags="write denyoom", keys=key("RW update"), since="2.2.0", group="string")
def setrange(client: Client, args: list[bytes]) -> bytes:
    """SETRANGE key offset value -> length

    Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.
    Complexity: O(1), not counting the time taken to copy the new string in place.
    """
    name, part = args[1], args[3]
    offset = parse_integer(args[2])
    if offset < 0:
        raise CommandError("offset is out of range")
    db = client.db
    value = db.find(name)
    if value is not None:
        _string(value)
    if not part:
        return integer(len(value)) if value is not None else ZERO
    end = offset + len(part)
    _check_length(client, end)
    if type(value) is not bytearray:
        value = bytearray(value or b"")
        db.put(name, value)
    else:
        db.modified(name)
    if len(value) < offset:
        value += bytes(offset - len(value))
    value[offset:end] = part
    return integer(len(value))


@command("getrange", arity=4, flags="readonly", keys=key("RO access"), since="2.4.0", group="string")
def getrange(client: Client, args: list[bytes]) -> bytes:
    """GETRANGE key start end -> bulk

    Returns a substring of the string stored at a key.
    Complexity: O(N) where N is the length of the returned string.
    """
    start = parse_integer(args[2])
    end = parse_integer(args[3])
    value = client.db.read(args[1])
    if value is None:
        return EMPTY_BULK
    length = len(_string(value))
    if start < 0 and end < 0 and start > end:
        return EMPTY_BULK
    start = max(0, start + length) if start < 0 else start
    end = max(0, end + length) if end < 0 else end
    part = value[start : end + 1]
    return bulk(part)


@command("substr", arity=4, flags="readonly", keys=key("RO access"), since="1.0.0", group="string")
def substr(client: Client, args: list[bytes]) -> bytes:
    """SUBSTR key start end -> bulk

    Returns a substring from a string value.
    Complexity: O(N) where N is the length of the returned string.
    """
    return getrange(client, args)
