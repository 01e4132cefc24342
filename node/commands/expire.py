"""The time-to-live commands: the EXPIRE and TTL families and PERSIST (Redis: expire.c).

Law: times are propagated as absolute (PEXPIREAT), and a time that has passed as the deletion that it is.
"""

from __future__ import annotations

from ..client import Client
from ..command import command, key
from ..errors import CommandError
from ..keyspace import ExpiryPolicy
from ..parsing import INT64_MAX, INT64_MIN, parse_integer
from ..reply import MINUS_ONE, MINUS_TWO, ONE, ZERO, integer

_CONDITIONS = frozenset({b"NX", b"XX", b"GT", b"LT"})


def _invalid_time(client: Client) -> CommandError:
    assert client.command is not None
    return CommandError(f"invalid expire time in '{client.command.full_name}' command")


def expiry_ms(client: Client, text: bytes, unit_ms: int, relative: bool) -> int:
    """expiry_ms(client, b"10", 1000, relative=True) -> the Unix time in ms; an error names the command.

    For SET and its kin, which take no time of zero or less (Redis: getExpireMillisecondsOrReply).
    """
    when = parse_integer(text)
    when_ms = when * unit_ms
    if relative and when_ms <= INT64_MAX:
        when_ms += client.server.clock.now_ms
    if when <= 0 or when_ms > INT64_MAX:
        raise _invalid_time(client)
    return when_ms


def expire_at(client: Client, name: bytes, when_ms: int) -> None:
    """expire_at(client, key, when_ms) sets an existing key's time, or deletes it if that has passed.

    Only a primary that serves deletes; a replica and a loading node keep the key and wait for the DEL
    (Redis: checkAlreadyExpired). Propagated as PEXPIREAT, DEL or UNLINK.
    """
    db = client.db
    if when_ms <= client.server.clock.now_ms and db.keyspace.expiry_policy is ExpiryPolicy.DELETE:
        db.drop(name)
        client.propagate_as([b"UNLINK" if client.server.config.lazyfree_lazy_expire else b"DEL", name])
        return
    db.set_expiry(name, when_ms)
    db.modified(name)
    client.propagate_as([b"PEXPIREAT", name, b"%d" % when_ms])


def _parse_conditions(args: list[bytes]) -> set[bytes]:
    conditions = set()
    for arg in args[3:]:
        word = arg.upper()
        if word not in _CONDITIONS:
            raise CommandError(f"Unsupported option {arg.decode('utf-8', 'surrogateescape')}")
        conditions.add(word)
    if b"NX" in conditions and len(conditions) > 1:
        raise CommandError("NX and XX, GT or LT options at the same time are not compatible")
    if b"GT" in conditions and b"LT" in conditions:
        raise CommandError("GT and LT options at the same time are not compatible")
    return conditions


def _permitted(conditions: set[bytes], current_ms: int | None, when_ms: int) -> bool:
    """Whether NX, XX, GT and LT let the new time replace the current one; no time is the longest of all."""
    if current_ms is None:
        return not conditions & {b"XX", b"GT"}
    if b"NX" in conditions:
        return False
    if b"GT" in conditions and when_ms <= current_ms:
        return False
    return not (b"LT" in conditions and when_ms >= current_ms)


def _expire(client: Client, args: list[bytes], unit_ms: int, base_ms: int) -> bytes:
    conditions = _parse_conditions(args) if len(args) > 3 else None
    when_ms = parse_integer(args[2]) * unit_ms
    if not INT64_MIN <= when_ms <= INT64_MAX - base_ms:
        raise _invalid_time(client)
    when_ms += base_ms
    name = args[1]
    db = client.db
    if db.find(name) is None:
        return ZERO
    if conditions and not _permitted(conditions, db.expiry_ms(name), when_ms):
        return ZERO
    expire_at(client, name, when_ms)
    return ONE


@command(
    "expire",
    arity=-3,
    flags="write fast",
    keys=key("RW update"),
    categories="keyspace",
    since="1.0.0",
    group="generic",
)
def expire(client: Client, args: list[bytes]) -> bytes:
    """EXPIRE key seconds [NX | XX | GT | LT] -> 1 | 0

    Sets the expiration time of a key in seconds.
    Complexity: O(1)
    """
    return _expire(client, args, 1000, client.server.clock.now_ms)


@command(
    "pexpire",
    arity=-3,
    flags="write fast",
    keys=key("RW update"),
    categories="keyspace",
    since="2.6.0",
    group="generic",
)
def pexpire(client: Client, args: list[bytes]) -> bytes:
    """PEXPIRE key milliseconds [NX | XX | GT | LT] -> 1 | 0

    Sets the expiration time of a key in milliseconds.
    Complexity: O(1)
    """
    return _expire(client, args, 1, client.server.clock.now_ms)


@command(
    "expireat",
    arity=-3,
    flags="write fast",
    keys=key("RW update"),
    categories="keyspace",
    since="1.2.0",
    group="generic",
)
def expireat(client: Client, args: list[bytes]) -> bytes:
    """EXPIREAT key unix-time-seconds [NX | XX | GT | LT] -> 1 | 0

    Sets the expiration time of a key to a Unix timestamp.
    Complexity: O(1)
    """
    return _expire(client, args, 1000, 0)


@command(
    "pexpireat",
    arity=-3,
    flags="write fast",
    keys=key("RW update"),
    categories="keyspace",
    since="2.6.0",
    group="generic",
)
def pexpireat(client: Client, args: list[bytes]) -> bytes:
    """PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] -> 1 | 0

    Sets the expiration time of a key to a Unix milliseconds timestamp.
    Complexity: O(1)
    """
    return _expire(client, args, 1, 0)


def _time_left(client: Client, name: bytes, unit_ms: int, since_ms: int) -> bytes:
    db = client.db
    if db.read(name) is None:
        return MINUS_TWO
    when_ms = db.expiry_ms(name)
    if when_ms is None:
        return MINUS_ONE
    left_ms = max(0, when_ms - since_ms)
    return integer(left_ms if unit_ms == 1 else (left_ms + 500) // 1000)


@command(
    "ttl",
    arity=2,
    flags="readonly fast",
    keys=key("RO access"),
    categories="keyspace",
    since="1.0.0",
    group="generic",
    tips=("nondeterministic_output",),
)
def ttl(client: Client, args: list[bytes]) -> bytes:
    """TTL key -> seconds | -1 | -2

    Returns the expiration time in seconds of a key.
    Complexity: O(1)
    """
    return _time_left(client, args[1], 1000, client.server.clock.now_ms)


@command(
    "pttl",
    arity=2,
    flags="readonly fast",
    keys=key("RO access"),
    categories="keyspace",
    since="2.6.0",
    group="generic",
    tips=("nondeterministic_output",),
)
def pttl(client: Client, args: list[bytes]) -> bytes:
    """PTTL key -> milliseconds | -1 | -2

    Returns the expiration time in milliseconds of a key.
    Complexity: O(1)
    """
    return _time_left(client, args[1], 1, client.server.clock.now_ms)


@command(
    "expiretime",
    arity=2,
    flags="readonly fast",
    keys=key("RO access"),
    categories="keyspace",
    since="7.0.0",
    group="generic",
)
def expiretime(client: Client, args: list[bytes]) -> bytes:
    """EXPIRETIME key -> unix-time-seconds | -1 | -2

    Returns the expiration time of a key as a Unix timestamp.
    Complexity: O(1)
    """
    return _time_left(client, args[1], 1000, 0)


@command(
    "pexpiretime",
    arity=2,
    flags="readonly fast",
    keys=key("RO access"),
    categories="keyspace",
    since="7.0.0",
    group="generic",
)
def pexpiretime(client: Client, args: list[bytes]) -> bytes:
    """PEXPIRETIME key -> unix-time-milliseconds | -1 | -2

    Returns the expiration time of a key as a Unix milliseconds timestamp.
    Complexity: O(1)
    """
    return _time_left(client, args[1], 1, 0)


@command(
    "persist",
    arity=2,
    flags="write fast",
    keys=key("RW update"),
    categories="keyspace",
    since="2.2.0",
    group="generic",
)
def persist(client: Client, args: list[bytes]) -> bytes:
    """PERSIST key -> 1 | 0

    Removes the expiration time of a key.
    Complexity: O(1)
    """
    db = client.db
    if db.find(args[1]) is None or not db.clear_expiry(args[1]):
        return ZERO
    db.modified(args[1])
    return ONE
