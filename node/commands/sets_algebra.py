"""Set commands on several sets: intersection, union, difference, replied or stored (Redis: t_set.c).

Law: a key that does not exist is an empty set; one of another type is an error, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from ..client import Client
from ..command import command, key, keys, numkeys
from ..errors import CommandError, SyntaxError_
from ..parsing import INT64_MAX, parse_integer_between, parse_non_negative
from ..reply import ZERO, integer
from ..values.set import Set
from .sets import read_set

_TIPS = ("nondeterministic_output_order",)
_STORE_KEYS = key("RW update") + keys("RO access", 2)
_STORE_OVERWRITES = key("OW update") + keys("RO access", 2)


def _sets(client: Client, names: list[bytes]) -> list[Set | None]:
    return [read_set(client, name) for name in names]


def _intersection(found: list[Set | None]) -> list[bytes]:
    """The members of all sets, in the order of the smallest one. O(N*M), N being its size."""
    present = [value for value in found if value is not None]
    if len(present) < len(found):
        return []
    present.sort(key=len)
    members = [*present[0]]
    for other in present[1:]:
        entries = other.entries
        members = [member for member in members if member in entries]
    return members


def _union(found: list[Set | None]) -> dict[bytes, None]:
    members: dict[bytes, None] = {}
    for value in found:
        if value is not None:
            members.update(dict.fromkeys(value))
    return members


def _difference(found: list[Set | None]) -> dict[bytes, None]:
    """The first set without the members of the others. Each costs the lesser of its size and what is left."""
    first = found[0]
    members: dict[bytes, None] = dict.fromkeys(first or ())
    for other in found[1:]:
        if other is None:
            continue
        entries = other.entries
        if len(other) < len(members):
            for member in entries:
                members.pop(member, None)
        else:
            members = {member: None for member in members if member not in entries}
    return members


def _store(client: Client, name: bytes, members: Iterable[bytes]) -> bytes:
    """Store the result, whatever was there; an empty one deletes the key."""
    value = Set.of(members, client.server.config)
    if not len(value):
        client.db.delete(name)
        return ZERO
    client.db.store(name, value)
    return integer(len(value))


@command(
    "sinter",
    arity=-2,
    flags="readonly",
    keys=keys("RO access"),
    since="1.0.0",
    group="set",
    categories="set",
    tips=_TIPS,
)
def sinter(client: Client, args: list[bytes]) -> bytes:
    """SINTER key [key ...] -> set of bulks

    Returns the intersect of multiple sets.
    Complexity: O(N*M) where N is the cardinality of the smallest set and M is the number of sets
    """
    return client.resp.bulk_set(_intersection(_sets(client, args[1:])))


@command(
    "sinterstore",
    arity=-3,
    flags="write denyoom",
    keys=_STORE_KEYS,
    since="1.0.0",
    group="set",
    categories="set",
)
def sinterstore(client: Client, args: list[bytes]) -> bytes:
    """SINTERSTORE destination key [key ...] -> how many members the result has

    Stores the intersect of multiple sets in a key.
    Complexity: O(N*M) where N is the cardinality of the smallest set and M is the number of sets
    """
    return _store(client, args[1], _intersection(_sets(client, args[2:])))


@command(
    "sintercard",
    arity=-3,
    flags="readonly movablekeys",
    keys=numkeys("RO access"),
    since="7.0.0",
    group="set",
    categories="set",
)
def sintercard(client: Client, args: list[bytes]) -> bytes:
    """SINTERCARD numkeys key [key ...] [LIMIT limit] -> how many members the intersect has, at most the limit

    Returns the number of members of the intersect of multiple sets.
    Complexity: O(N*M) where N is the cardinality of the smallest set and M is the number of sets
    """
    number = parse_integer_between(args[1], 1, INT64_MAX, "numkeys should be greater than 0")
    if number > len(args) - 2:
        raise CommandError("Number of keys can't be greater than number of args")
    limit = 0
    options = args[2 + number :]
    for option, text in zip(options[::2], options[1::2], strict=False):
        if option.upper() != b"LIMIT":
            raise SyntaxError_
        limit = parse_non_negative(text, "LIMIT can't be negative")
    if len(options) % 2:
        raise SyntaxError_
    found = _sets(client, args[2 : 2 + number])
    if not limit:
        return integer(len(_intersection(found)))
    present = sorted((value for value in found if value is not None), key=len)
    if len(present) < len(found):
        return ZERO
    others = [value.entries for value in present[1:]]
    common = (1 for member in present[0].entries if all(member in entries for entries in others))
    return integer(sum(islice(common, limit)))


@command(
    "sunion",
    arity=-2,
    flags="readonly",
    keys=keys("RO access"),
    since="1.0.0",
    group="set",
    categories="set",
    tips=_TIPS,
)
def sunion(client: Client, args: list[bytes]) -> bytes:
    """SUNION key [key ...] -> set of bulks

    Returns the union of multiple sets.
    Complexity: O(N) where N is the total number of elements in all given sets
    """
    return client.resp.bulk_set([*_union(_sets(client, args[1:]))])


@command(
    "sunionstore",
    arity=-3,
    flags="write denyoom",
    keys=_STORE_OVERWRITES,
    since="1.0.0",
    group="set",
    categories="set",
)
def sunionstore(client: Client, args: list[bytes]) -> bytes:
    """SUNIONSTORE destination key [key ...] -> how many members the result has

    Stores the union of multiple sets in a key.
    Complexity: O(N) where N is the total number of elements in all given sets
    """
    return _store(client, args[1], _union(_sets(client, args[2:])))


@command(
    "sdiff",
    arity=-2,
    flags="readonly",
    keys=keys("RO access"),
    since="1.0.0",
    group="set",
    categories="set",
    tips=_TIPS,
)
def sdiff(client: Client, args: list[bytes]) -> bytes:
    """SDIFF key [key ...] -> set of bulks

    Returns the difference of multiple sets.
    Complexity: O(N) where N is the total number of elements in all given sets
    """
    return client.resp.bulk_set([*_difference(_sets(client, args[1:]))])


@command(
    "sdiffstore",
    arity=-3,
    flags="write denyoom",
    keys=_STORE_OVERWRITES,
    since="1.0.0",
    group="set",
    categories="set",
)
def sdiffstore(client: Client, args: list[bytes]) -> bytes:
    """SDIFFSTORE destination key [key ...] -> how many members the result has

    Stores the difference of multiple sets in a key.
    Complexity: O(N) where N is the total number of elements in all given sets
    """
    return _store(client, args[1], _difference(_sets(client, args[2:])))
