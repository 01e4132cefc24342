"""Hash commands (Redis: t_hash.c).

Law: a hash that lost its last field is gone; HINCRBYFLOAT is propagated as the HSET of its result.
"""

from __future__ import annotations

from ..client import Client
from ..command import command, key
from ..errors import CommandError
from ..long_double import add, format_long_double, overflows, parse_long_double
from ..parsing import INT64_MAX, INT64_MIN, integer_or_none, parse_cursor, parse_integer
from ..reply import EMPTY_ARRAY, ONE, ZERO, bulk, bulk_array, integer
from ..scan_options import parse_scan_options, scan_reply
from ..values.hash import Hash
from ..values.table import scan_step


def read_hash(client: Client, name: bytes) -> Hash | None:
    """read_hash(client, key) -> the hash, for a reading command, or None; WrongTypeError."""
    value = client.db.read(name)
    if value is None or type(value) is Hash:
        return value
    return client.db.opened(name, value, Hash)


def _writable(client: Client, name: bytes) -> Hash:
    """The hash to write to; a new one, not stored yet, if the key doesn't exist."""
    value = client.db.find(name)
    if value is None:
        return Hash()
    if type(value) is not Hash:
        return client.db.opened(name, value, Hash)
    return value


def _set_one(client: Client, name: bytes, field: bytes, text: bytes) -> bool:
    """Set one field of the key's hash -> whether the field is new."""
    db = client.db
    value = db.find(name)
    config = client.server.config
    if type(value) is Hash:
        created = value.set(field, text, config.hash_max_listpack_entries, config.hash_max_listpack_value)
        db.modified(name)
        return created
    if value is not None:
        created = db.opened(name, value, Hash).set(
            field, text, config.hash_max_listpack_entries, config.hash_max_listpack_value
        )
        db.modified(name)
        return created
    value = Hash()
    value.set(field, text, config.hash_max_listpack_entries, config.hash_max_listpack_value)
    db.put(name, value)
    return True


def _set_pairs(client: Client, args: list[bytes]) -> int:
    """HSET and HMSET -> how many fields are new."""
    count = len(args)
    name = args[1]
    if count % 2:
        assert client.command is not None
        raise client.command.arity_error()
    value = _writable(client, name)
    config = client.server.config
    entries_max, value_max_bytes = config.hash_max_listpack_entries, config.hash_max_listpack_value
    is_new_key = not value.fields
    if count // 2 - 1 > entries_max:
        value.convert()
    created = 0
    for index in range(2, count, 2):
        created += value.set(args[index], args[index + 1], entries_max, value_max_bytes)
    if is_new_key:
        client.db.put(name, value)
    else:
        client.db.modified(name)
    client.db.keyspace.dirty += count // 2 - 2
    return created


@command("hset", arity=-4, flags="write denyoom fast", keys=key("RW update"), since="2.0.0", group="hash")
def hset(client: Client, args: list[bytes]) -> bytes:
    """HSET key field value [field value ...] -> number of fields that were added

    Creates or modifies the value of a field in a hash.
    Complexity: O(1) for each field/value pair added.
    """
    if len(args) == 4:
        return ONE if _set_one(client, args[1], args[2], args[3]) else ZERO
    return integer(_set_pairs(client, args))


@command("hmset", arity=-4, flags="write denyoom fast", keys=key("RW update"), since="2.0.0", group="hash")
def hmset(client: Client, args: list[bytes]) -> bytes:
    """HMSET key field value [field value ...] -> OK

    Sets the values of multiple fields.
    Complexity: O(N) where N is the number of fields being set.
    """
    _set_pairs(client, args)
    return b"+OK\r\n"


@command("hsetnx", arity=4, flags="write denyoom fast", keys=key("RW insert"), since="2.0.0", group="hash")
def hsetnx(client: Client, args: list[bytes]) -> bytes:
    """HSETNX key field value -> 1 | 0

    Sets the value of a field in a hash only when the field doesn't exist.
    Complexity: O(1)
    """
    value = _writable(client, args[1])
    if args[2] in value.fields:
        return ZERO
    _set_one(client, args[1], args[2], args[3])
    return ONE


@command("hincrby", arity=4, flags="write denyoom fast", keys=key("RW access update"), since="2.0.0", group="hash")
def hincrby(client: Client, args: list[bytes]) -> bytes:
    """HINCRBY key field increment -> integer

    Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field
    doesn't exist.
    Complexity: O(1)
    """
    delta = parse_integer(args[3])
    value = _writable(client, args[1])
    before = value.fields.get(args[2])
    number = 0 if before is None else integer_or_none(before)
    if number is None:
        raise CommandError("hash value is not an integer")
    number += delta
    if not INT64_MIN <= number <= INT64_MAX:
        raise CommandError("increment or decrement would overflow")
    _set_one(client, args[1], args[2], b"%d" % number)
    return integer(number)


@command(
    "hincrbyfloat",
    arity=4,
    flags="write denyoom fast",
    keys=key("RW access update"),
    since="2.6.0",
    group="hash",
)
def hincrbyfloat(client: Client, args: list[bytes]) -> bytes:
    """HINCRBYFLOAT key field increment -> bulk

    Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't
    exist.
    Complexity: O(1)
    """
    name, field = args[1], args[2]
    delta = parse_long_double(args[3])
    if delta is None:
        raise CommandError("value is NaN or Infinity")
    value = _writable(client, name)
    before = parse_long_double(value.fields.get(field, b"0") or b"", "hash value is not a float")
    if before is None or overflows(total := add(before, delta)):
        raise CommandError("increment would produce NaN or Infinity")
    text = format_long_double(total)
    _set_one(client, name, field, text)
    client.propagate_as([b"HSET", name, field, text])
    return bulk(text)


@command("hget", arity=3, flags="readonly fast", keys=key("RO access"), since="2.0.0", group="hash")
def hget(client: Client, args: list[bytes]) -> bytes:
    """HGET key field -> bulk | null

    Returns the value of a field in a hash.
    Complexity: O(1)
    """
    value = read_hash(client, args[1])
    text = None if value is None else value.fields.get(args[2])
    if text is None:
        return client.resp.null
    return bulk(text)


@command("hmget", arity=-3, flags="readonly fast", keys=key("RO access"), since="2.0.0", group="hash")
def hmget(client: Client, args: list[bytes]) -> bytes:
    """HMGET key field [field ...] -> array of bulk | null

    Returns the values of all fields in a hash.
    Complexity: O(N) where N is the number of fields being requested.
    """
    value = read_hash(client, args[1])
    if value is None:
        return client.resp.bulks([None] * (len(args) - 2))
    get = value.fields.get
    return client.resp.bulks([get(field) for field in args[2:]])


@command("hdel", arity=-3, flags="write fast", keys=key("RW delete"), since="2.0.0", group="hash")
def hdel(client: Client, args: list[bytes]) -> bytes:
    """HDEL key field [field ...] -> number of fields that were removed

    Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain.
    Complexity: O(N) where N is the number of fields to be removed.
    """
    value = client.db.find(args[1])
    if value is None:
        return ZERO
    if type(value) is not Hash:
        value = client.db.opened(args[1], value, Hash)
    pop = value.fields.pop
    deleted = 0
    for field in args[2:]:
        deleted += pop(field, None) is not None
    if deleted:
        client.db.shrunk(args[1], value)
        client.db.keyspace.dirty += deleted - 1
    return integer(deleted)


@command("hlen", arity=2, flags="readonly fast", keys=key("RO"), since="2.0.0", group="hash")
def hlen(client: Client, args: list[bytes]) -> bytes:
    """HLEN key -> number of fields

    Returns the number of fields in a hash.
    Complexity: O(1)
    """
    value = read_hash(client, args[1])
    return ZERO if value is None else integer(len(value))


@command("hstrlen", arity=3, flags="readonly fast", keys=key("RO"), since="3.2.0", group="hash")
def hstrlen(client: Client, args: list[bytes]) -> bytes:
    """HSTRLEN key field -> length

    Returns the length of the value of a field.
    Complexity: O(1)
    """
    value = read_hash(client, args[1])
    return ZERO if value is None else integer(len(value.fields.get(args[2]) or b""))


@command("hexists", arity=3, flags="readonly fast", keys=key("RO access"), since="2.0.0", group="hash")
def hexists(client: Client, args: list[bytes]) -> bytes:
    """HEXISTS key field -> 1 | 0

    Determines whether a field exists in a hash.
    Complexity: O(1)
    """
    value = read_hash(client, args[1])
    return ONE if value is not None and args[2] in value.fields else ZERO


@command(
    "hkeys",
    arity=2,
    flags="readonly",
    keys=key("RO access"),
    since="2.0.0",
    group="hash",
    tips=("nondeterministic_output_order",),
)
def hkeys(client: Client, args: list[bytes]) -> bytes:
    """HKEYS key -> array of bulk

    Returns all fields in a hash.
    Complexity: O(N) where N is the size of the hash.
    """
    value = read_hash(client, args[1])
    return EMPTY_ARRAY if value is None else bulk_array([*value.fields])


@command(
    "hvals",
    arity=2,
    flags="readonly",
    keys=key("RO access"),
    since="2.0.0",
    group="hash",
    tips=("nondeterministic_output_order",),
)
def hvals(client: Client, args: list[bytes]) -> bytes:
    """HVALS key -> array of bulk

    Returns all values in a hash.
    Complexity: O(N) where N is the size of the hash.
    """
    value = read_hash(client, args[1])
    return EMPTY_ARRAY if value is None else bulk_array([*value.fields.values()])


@command(
    "hgetall",
    arity=2,
    flags="readonly",
    keys=key("RO access"),
    since="2.0.0",
    group="hash",
    tips=("nondeterministic_output_order",),
)
def hgetall(client: Client, args: list[bytes]) -> bytes:
    """HGETALL key -> map of bulk to bulk

    Returns all fields and values in a hash.
    Complexity: O(N) where N is the size of the hash.
    """
    value = read_hash(client, args[1])
    if value is None:
        return client.resp.map([])
    return client.resp.bulk_map([text for item in value.fields.items() for text in item])


@command(
    "hscan",
    arity=-3,
    flags="readonly",
    keys=key("RO access"),
    since="2.8.0",
    group="hash",
    tips=("nondeterministic_output",),
)
def hscan(client: Client, args: list[bytes]) -> bytes:
    """HSCAN key cursor [MATCH pattern] [COUNT count] -> [cursor, [field, value, ...]]

    Iterates over fields and values of a hash.
    Complexity: O(1) for every call. O(N) for a complete iteration, including enough command calls for the
    cursor to return back to 0. N is the number of elements inside the collection.
    """
    cursor = parse_cursor(args[2])
    value = read_hash(client, args[1])
    if value is None:
        return scan_reply(0, [])
    count, matches = parse_scan_options(args, 3)
    cursor, items = scan_step(value.fields, cursor, count)
    return scan_reply(cursor, [text for item in items if matches is None or matches(item[0]) for text in item])
