"""Commands on keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE and their kin (Redis: db.c).

Law: a value moves or is copied with its time to live; large values that go are freed in small steps if the
command or a lazyfree directive says so.
"""

from __future__ import annotations

from ..client import Client
from ..command import KeySpec, command, key, keys
from ..errors import CommandError, NoSuchKeyError, SyntaxError_
from ..keyspace import Database
from ..parsing import parse_integer_between
from ..reply import OK, ONE, ZERO, bulk, integer, simple
from ..values.common import copied, type_name

INT_MAX = (1 << 31) - 1
RANDOM_KEY_TRIES_MAX = 100
"""RANDOMKEY draws again when it met an expired key, so many times at most (Redis: dbRandomKey)."""

_TWO_KEYS = (KeySpec("RW access delete", 1), KeySpec("OW update", 2))


@command(
    "del",
    arity=-2,
    flags="write",
    keys=keys("RM delete"),
    categories="keyspace",
    since="1.0.0",
    group="generic",
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
)
def del_(client: Client, args: list[bytes]) -> bytes:
    """DEL key [key ...] -> number of keys that were removed

    Deletes one or more keys.
    Complexity: O(N) where N is the number of keys, and for a key that holds a collection the number of its
    elements.
    """
    if client.server.config.lazyfree_lazy_user_del:
        return unlink(client, args)
    delete = client.db.delete
    deleted = 0
    for name in args[1:]:
        deleted += delete(name)
    return b":%d\r\n" % deleted


@command(
    "unlink",
    arity=-2,
    flags="write fast",
    keys=keys("RM delete"),
    categories="keyspace",
    since="4.0.0",
    group="generic",
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
)
def unlink(client: Client, args: list[bytes]) -> bytes:
    """UNLINK key [key ...] -> number of keys that were removed

    Asynchronously deletes one or more keys.
    Complexity: O(1) for each key removed regardless of its size. Then the node does O(N) work in small steps
    in order to reclaim memory, where N is the number of elements of the deleted values.
    """
    db = client.db
    deleted = 0
    for name in args[1:]:
        if db.find(name) is not None:
            db.drop(name, 1)
            deleted += 1
    return integer(deleted)


@command(
    "exists",
    arity=-2,
    flags="readonly fast",
    keys=keys("RO"),
    categories="keyspace",
    since="1.0.0",
    group="generic",
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
)
def exists(client: Client, args: list[bytes]) -> bytes:
    """EXISTS key [key ...] -> number of keys that exist, a key named twice counted twice

    Determines whether one or more keys exist.
    Complexity: O(N) where N is the number of keys to check.
    """
    read = client.db.read
    found = 0
    for name in args[1:]:
        found += read(name) is not None
    return integer(found)


@command(
    "touch",
    arity=-2,
    flags="readonly fast",
    keys=keys("RO"),
    categories="keyspace",
    since="3.2.1",
    group="generic",
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
)
def touch(client: Client, args: list[bytes]) -> bytes:
    """TOUCH key [key ...] -> number of keys that exist

    Returns the number of existing keys out of those specified after updating the time they were last accessed.
    Complexity: O(N) where N is the number of keys that will be touched.
    """
    return exists(client, args)


@command(
    "type",
    arity=2,
    flags="readonly fast",
    keys=key("RO"),
    categories="keyspace",
    since="1.0.0",
    group="generic",
)
def type_(client: Client, args: list[bytes]) -> bytes:
    """TYPE key -> string | list | set | zset | hash | none

    Determines the type of value stored at a key.
    Complexity: O(1)
    """
    value = client.db.read(args[1])
    return simple(b"none" if value is None else type_name(value))


@command(
    "randomkey",
    arity=1,
    flags="readonly",
    categories="keyspace",
    since="1.0.0",
    group="generic",
    tips=("request_policy:all_shards", "response_policy:special", "nondeterministic_output"),
)
def randomkey(client: Client, args: list[bytes]) -> bytes:
    """RANDOMKEY -> bulk | null

    Returns a random key name from the database.
    Complexity: O(1)
    """
    db = client.db
    for _ in range(RANDOM_KEY_TRIES_MAX):
        name = db.random_key()
        if name is None:
            break
        if db.find(name) is not None:
            return bulk(name)
    return client.resp.null


def _move(source: Database, name: bytes, target: Database, new_name: bytes) -> None:
    """Move an existing key's value and time to live, in place of what the target held. Counts as one change."""
    keyspace = source.keyspace
    before = keyspace.dirty
    when_ms = source.expiry_ms(name)
    value = source.remove(name)
    target.store(new_name, value)
    if when_ms is not None:
        target.set_expiry(new_name, when_ms)
    keyspace.dirty = before + 1


@command(
    "rename",
    arity=3,
    flags="write",
    keys=_TWO_KEYS,
    categories="keyspace",
    since="1.0.0",
    group="generic",
)
def rename(client: Client, args: list[bytes]) -> bytes:
    """RENAME key newkey -> OK

    Renames a key and overwrites the destination.
    Complexity: O(1)
    """
    db = client.db
    if db.find(args[1]) is None:
        raise NoSuchKeyError
    if args[1] != args[2]:
        _move(db, args[1], db, args[2])
    return OK


@command(
    "renamenx",
    arity=3,
    flags="write fast",
    keys=(KeySpec("RW access delete", 1), KeySpec("OW insert", 2)),
    categories="keyspace",
    since="1.0.0",
    group="generic",
)
def renamenx(client: Client, args: list[bytes]) -> bytes:
    """RENAMENX key newkey -> 1 | 0

    Renames a key only when the target key name doesn't exist.
    Complexity: O(1)
    """
    db = client.db
    if db.find(args[1]) is None:
        raise NoSuchKeyError
    if db.find(args[2]) is not None:
        return ZERO
    _move(db, args[1], db, args[2])
    return ONE


def _database(client: Client, text: bytes) -> Database:
    """The database of that number; CommandError with Redis's texts."""
    index = parse_integer_between(text, -INT_MAX - 1, INT_MAX)
    databases = client.db.keyspace.databases
    if not 0 <= index < len(databases):
        raise CommandError("DB index is out of range")
    return databases[index]


@command(
    "move",
    arity=3,
    flags="write fast",
    keys=key("RW access update"),
    categories="keyspace",
    since="1.0.0",
    group="generic",
)
def move(client: Client, args: list[bytes]) -> bytes:
    """MOVE key db -> 1 | 0

    Moves a key to another database.
    Complexity: O(1)
    """
    if client.server.config.cluster_enabled:
        raise CommandError("MOVE is not allowed in cluster mode")
    target = _database(client, args[2])
    if target is client.db:
        raise CommandError("source and destination objects are the same")
    if client.db.find(args[1]) is None or target.find(args[1]) is not None:
        return ZERO
    _move(client.db, args[1], target, args[1])
    return ONE


@command(
    "copy",
    arity=-3,
    flags="write denyoom",
    keys=(KeySpec("RO access", 1), KeySpec("OW update", 2)),
    categories="keyspace",
    since="6.2.0",
    group="generic",
)
def copy(client: Client, args: list[bytes]) -> bytes:
    """COPY source destination [DB destination-db] [REPLACE] -> 1 | 0

    Copies the value of a key to a new key.
    Complexity: O(N) worst case for collections, where N is the number of nested items. O(1) for strings.
    """
    db = target = client.db
    replace = False
    index = 3
    while index < len(args):
        word = args[index].upper()
        if word == b"REPLACE":
            replace = True
        elif word == b"DB" and index + 1 < len(args):
            index += 1
            if client.server.config.cluster_enabled and args[index] != b"0":
                parse_integer_between(args[index], -INT_MAX - 1, INT_MAX)
                raise CommandError("DB index is out of range")
            target = _database(client, args[index])
        else:
            raise SyntaxError_
        index += 1
    name, new_name = args[1], args[2]
    if target is db and name == new_name:
        raise CommandError("source and destination objects are the same")
    value = db.read(name)
    if value is None or (target.find(new_name) is not None and not replace):
        return ZERO
    when_ms = db.expiry_ms(name)
    target.store(new_name, copied(value))
    if when_ms is not None:
        target.set_expiry(new_name, when_ms)
    return ONE
