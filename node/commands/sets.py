"""Set commands on members: adding, removing, testing, random choice, iteration (Redis: t_set.c).

Law: a set is never empty: the command that takes its last member deletes the key.
"""

from __future__ import annotations

from ..client import Client
from ..command import command, key
from ..errors import CommandError, SyntaxError_
from ..parsing import INT64_MAX, parse_cursor, parse_integer_between, parse_non_negative
from ..reply import EMPTY_ARRAY, ONE, ZERO, array, bulk, bulk_array, integer
from ..scan_options import parse_scan_options
from ..values.set import Set

POP_BATCH_MEMBERS = 1024
"""SPOP with a count is propagated as SREMs of no more members than this."""

RANDOM_COUNT_MAX = 10_000_000
"""SRANDMEMBER with a negative count repeats members; more than this would be a reply without bound."""


def find_set(client: Client, name: bytes) -> Set | None:
    """find_set(client, key) -> the set for a writing command, or None; WrongTypeError for another type."""
    value = client.db.find(name)
    if value is None or type(value) is Set:
        return value
    return client.db.opened(name, value, Set)


def read_set(client: Client, name: bytes) -> Set | None:
    """read_set(client, key) -> the set for a reading command, or None; WrongTypeError for another type."""
    value = client.db.read(name)
    if value is None or type(value) is Set:
        return value
    return client.db.opened(name, value, Set)


@command(
    "sadd",
    arity=-3,
    flags="write denyoom fast",
    keys=key("RW insert"),
    since="1.0.0",
    group="set",
    categories="set",
)
def sadd(client: Client, args: list[bytes]) -> bytes:
    """SADD key member [member ...] -> how many are new

    Adds one or more members to a set. Creates the key if it doesn't exist.
    Complexity: O(1) for each element added
    """
    db = client.db
    name = args[1]
    value = db.find(name)
    limits = client.server.config
    count = len(args) - 2
    if value is None:
        value = Set.for_adding(args[2], count, limits)
        db.put(name, value)
        db.keyspace.dirty -= 1
    elif type(value) is not Set:
        value = db.opened(name, value, Set)
    if count == 1:
        if not value.add(args[2], limits):
            return ZERO
        db.modified(name)
        return ONE
    value.expect(count, limits)
    added = 0
    for member in args[2:]:
        added += value.add(member, limits)
    if added:
        db.modified(name)
        db.keyspace.dirty += added - 1
    return integer(added)


@command(
    "srem", arity=-3, flags="write fast", keys=key("RW delete"), since="1.0.0", group="set", categories="set"
)
def srem(client: Client, args: list[bytes]) -> bytes:
    """SREM key member [member ...] -> how many were removed

    Removes one or more members from a set. Deletes the set if the last member was removed.
    Complexity: O(N) where N is the number of members to be removed
    """
    value = find_set(client, args[1])
    if value is None:
        return ZERO
    removed = 0
    for member in args[2:]:
        removed += value.remove(member)
    if removed:
        client.db.shrunk(args[1], value)
        client.db.keyspace.dirty += removed - 1
    return integer(removed)


@command(
    "smove",
    arity=4,
    flags="write fast",
    keys=key("RW access delete") + key("RW insert", 2),
    since="1.0.0",
    group="set",
    categories="set",
)
def smove(client: Client, args: list[bytes]) -> bytes:
    """SMOVE source destination member -> 1 if it was moved, 0 if it was not in the source

    Moves a member from one set to another.
    Complexity: O(1)
    """
    _, source, destination, member = args
    db = client.db
    if db.find(source) is None:
        return ZERO
    origin, target = find_set(client, source), find_set(client, destination)
    assert origin is not None
    if member not in origin:
        return ZERO
    if origin is target:
        return ONE
    origin.remove(member)
    db.shrunk(source, origin)
    limits = client.server.config
    if target is None:
        target = Set.for_adding(member, 1, limits)
        target.add(member, limits)
        db.put(destination, target)
    elif target.add(member, limits):
        db.modified(destination)
    return ONE


@command(
    "sismember", arity=3, flags="readonly fast", keys=key("RO"), since="1.0.0", group="set", categories="set"
)
def sismember(client: Client, args: list[bytes]) -> bytes:
    """SISMEMBER key member -> 1 or 0

    Determines whether a member belongs to a set.
    Complexity: O(1)
    """
    value = read_set(client, args[1])
    return ONE if value is not None and args[2] in value.entries else ZERO


@command(
    "smismember",
    arity=-3,
    flags="readonly fast",
    keys=key("RO"),
    since="6.2.0",
    group="set",
    categories="set",
)
def smismember(client: Client, args: list[bytes]) -> bytes:
    """SMISMEMBER key member [member ...] -> array of 1 and 0

    Determines whether multiple members belong to a set.
    Complexity: O(N) where N is the number of elements being checked for membership
    """
    value = read_set(client, args[1])
    entries = {} if value is None else value.entries
    return array([ONE if member in entries else ZERO for member in args[2:]])


@command(
    "scard", arity=2, flags="readonly fast", keys=key("RO"), since="1.0.0", group="set", categories="set"
)
def scard(client: Client, args: list[bytes]) -> bytes:
    """SCARD key -> how many members the set has

    Returns the number of members in a set.
    Complexity: O(1)
    """
    value = read_set(client, args[1])
    return ZERO if value is None else integer(len(value.entries))


@command(
    "smembers",
    arity=2,
    flags="readonly",
    keys=key("RO access"),
    since="1.0.0",
    group="set",
    categories="set",
    tips=("nondeterministic_output_order",),
)
def smembers(client: Client, args: list[bytes]) -> bytes:
    """SMEMBERS key -> set of bulks

    Returns all members of a set.
    Complexity: O(N) where N is the set cardinality
    """
    value = read_set(client, args[1])
    return client.resp.bulk_set([] if value is None else [*value])


@command(
    "spop",
    arity=-2,
    flags="write fast",
    keys=key("RW access delete"),
    since="1.0.0",
    group="set",
    categories="set",
    tips=("nondeterministic_output",),
)
def spop(client: Client, args: list[bytes]) -> bytes:
    """SPOP key [count] -> bulk or null; with a count, a set of bulks

    Returns one or more random members from a set after removing them. Deletes the set with the last member.
    Complexity: Without the count argument O(1), otherwise O(N) where N is the value of the passed count
    """
    if len(args) != 2:
        return _pop_count(client, args)
    db = client.db
    name = args[1]
    value = db.find(name)
    if value is None:
        return client.resp.null
    if type(value) is not Set:
        value = db.opened(name, value, Set)
    member = value.pop(db.keyspace.rng)
    db.shrunk(name, value)
    client.propagated = [[b"SREM", name, member]]
    return bulk(member)


def _pop_count(client: Client, args: list[bytes]) -> bytes:
    if len(args) > 3:
        raise SyntaxError_
    count = parse_non_negative(args[2])
    name = args[1]
    value = find_set(client, name)
    if value is None or count == 0:
        return client.resp.bulk_set([])
    db = client.db
    if count >= len(value):
        members = [*value]
        db.drop(name)
        word = b"UNLINK" if client.server.config.lazyfree_lazy_server_del else b"DEL"
        client.propagate_as([word, name])
    else:
        members = value.sample(count, db.keyspace.rng)
        for member in members:
            value.remove(member)
        db.modified(name)
        batches = range(0, count, POP_BATCH_MEMBERS)
        client.propagate_as(*([b"SREM", name, *members[at : at + POP_BATCH_MEMBERS]] for at in batches))
    db.keyspace.dirty += len(members) - 1
    return client.resp.bulk_set(members)


@command(
    "srandmember",
    arity=-2,
    flags="readonly",
    keys=key("RO access"),
    since="1.0.0",
    group="set",
    categories="set",
    tips=("nondeterministic_output",),
)
def srandmember(client: Client, args: list[bytes]) -> bytes:
    """SRANDMEMBER key [count] -> bulk or null; with a count, an array of bulks, which repeats if negative

    Get one or multiple random members from a set.
    Complexity: Without the count argument O(1), otherwise O(N) where N is its absolute value
    """
    rng = client.db.keyspace.rng
    if len(args) == 2:
        value = read_set(client, args[1])
        return client.resp.null if value is None else bulk(value.random(rng))
    if len(args) > 3:
        raise SyntaxError_
    count = parse_integer_between(args[2], -INT64_MAX, INT64_MAX)
    value = read_set(client, args[1])
    if value is None or count == 0:
        return EMPTY_ARRAY
    if count >= len(value):
        return bulk_array([*value])
    if count > 0:
        return bulk_array(value.sample(count, rng))
    if -count > RANDOM_COUNT_MAX:
        raise CommandError("value is out of range")
    return bulk_array(value.choices(-count, rng))


@command(
    "sscan",
    arity=-3,
    flags="readonly",
    keys=key("RO access"),
    since="2.8.0",
    group="set",
    categories="set",
    tips=("nondeterministic_output",),
)
def sscan(client: Client, args: list[bytes]) -> bytes:
    """SSCAN key cursor [MATCH pattern] [COUNT count] -> [cursor, [member ...]]

    Iterates over members of a set.
    Complexity: O(1) for every call. O(N) for a complete iteration
    """
    cursor = parse_cursor(args[2])
    value = read_set(client, args[1])
    if value is None:
        return array([bulk(b"0"), EMPTY_ARRAY])
    count, matches = parse_scan_options(args, 3)
    cursor, members = value.scan(cursor, count)
    if matches is not None:
        members = [member for member in members if matches(member)]
    return array([bulk(b"%d" % cursor), bulk_array(members)])
