"""Commands on whole databases: KEYS, SCAN, DBSIZE, FLUSHDB, FLUSHALL, SWAPDB (Redis: db.c).

Law: SCAN does bounded work a call and never misses a key that was there all the time; FLUSHDB and FLUSHALL
are always propagated, even when they met no key.
"""

from __future__ import annotations

from ..client import Client
from ..command import command
from ..errors import CommandError, SyntaxError_
from ..glob import matcher
from ..parsing import parse_cursor, parse_integer_between
from ..reply import OK, bulk_array, integer
from ..scan_options import parse_scan_options, scan_reply
from ..values.common import type_name

INT_MAX = (1 << 31) - 1


@command(
    "dbsize",
    arity=1,
    flags="readonly fast",
    categories="keyspace",
    since="1.0.0",
    group="server",
    tips=("request_policy:all_shards", "response_policy:agg_sum"),
)
def dbsize(client: Client, args: list[bytes]) -> bytes:
    """DBSIZE -> number of keys

    Returns the number of keys in the database.
    Complexity: O(1)
    """
    return integer(len(client.db))


@command(
    "keys",
    arity=2,
    flags="readonly",
    categories="keyspace dangerous",
    since="1.0.0",
    group="generic",
    tips=("request_policy:all_shards", "nondeterministic_output_order"),
)
def keys_(client: Client, args: list[bytes]) -> bytes:
    """KEYS pattern -> array of bulk

    Returns all key names that match a pattern.
    Complexity: O(N) with N being the number of keys in the database.
    """
    db = client.db
    if args[1] == b"*":
        names = [*db.keys()]
    else:
        names = [*filter(matcher(args[1]), db.keys())]
    if db.expires.count:
        names = [name for name in names if not db.is_expired(name)]
    return bulk_array(names)


def _take_type(args: list[bytes]) -> tuple[bytes | None, list[bytes]]:
    """SCAN's arguments -> (the type asked for, the arguments without it); other options come in pairs too."""
    wanted = None
    others = args[:2]
    for index in range(2, len(args), 2):
        if args[index].upper() == b"TYPE" and index + 1 < len(args):
            wanted = args[index + 1].lower()
        else:
            others += args[index : index + 2]
    return wanted, others


@command(
    "scan",
    arity=-2,
    flags="readonly",
    categories="keyspace",
    since="2.8.0",
    group="generic",
    tips=("nondeterministic_output", "request_policy:special", "response_policy:special"),
)
def scan(client: Client, args: list[bytes]) -> bytes:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type] -> [cursor, [key, ...]]

    Iterates over the key names in the database.
    Complexity: O(1) for every call. O(N) for a complete iteration, including enough command calls for the
    cursor to return back to 0. N is the number of elements inside the collection.
    """
    db = client.db
    cursor = parse_cursor(args[1])
    wanted, others = _take_type(args)
    count, matches = parse_scan_options(others, 2)
    cursor, items = db.scan(cursor, count)
    if matches is not None:
        items = [item for item in items if matches(item[0])]
    if db.expires.count:
        items = [item for item in items if db.exists(item[0])]
    if wanted is not None:
        items = [item for item in items if type_name(item[1]) == wanted]
    return scan_reply(cursor, [name for name, _ in items])


def _counts_as_lazy(client: Client, args: list[bytes]) -> bool:
    """Whether what FLUSHDB or FLUSHALL removes counts as lazily freed: its option, or the lazyfree directive.

    It is freed in small steps anyway: SYNC must not stop a node for the time that a million keys take.
    """
    if len(args) == 1:
        lazily: bool = client.server.config.lazyfree_lazy_user_flush
        return lazily
    word = args[1].upper()
    if len(args) > 2 or word not in (b"SYNC", b"ASYNC"):
        raise SyntaxError_
    return word == b"ASYNC"


@command(
    "flushdb",
    arity=-1,
    flags="write",
    categories="keyspace dangerous",
    since="1.0.0",
    group="server",
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
)
def flushdb(client: Client, args: list[bytes]) -> bytes:
    """FLUSHDB [ASYNC | SYNC] -> OK

    Remove all keys from the current database.
    Complexity: O(N) where N is the number of keys in the selected database
    """
    client.db.flush(lazily=True, counted=_counts_as_lazy(client, args))
    client.db.keyspace.dirty += 1
    return OK


@command(
    "flushall",
    arity=-1,
    flags="write",
    categories="keyspace dangerous",
    since="1.0.0",
    group="server",
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
)
def flushall(client: Client, args: list[bytes]) -> bytes:
    """FLUSHALL [ASYNC | SYNC] -> OK

    Removes all keys from all databases.
    Complexity: O(N) where N is the total number of keys in all databases
    """
    client.db.keyspace.flush(lazily=True, counted=_counts_as_lazy(client, args))
    client.db.keyspace.dirty += 1
    client.server.persistence.flushed_all()
    return OK


@command(
    "swapdb",
    arity=3,
    flags="write fast",
    categories="keyspace dangerous",
    since="4.0.0",
    group="server",
)
def swapdb(client: Client, args: list[bytes]) -> bytes:
    """SWAPDB index1 index2 -> OK

    Swaps two Redis databases.
    Complexity: O(N) where N is the count of clients watching or blocking on keys from both databases.
    """
    if client.server.config.cluster_enabled:
        raise CommandError("SWAPDB is not allowed in cluster mode")
    keyspace = client.db.keyspace
    first = parse_integer_between(args[1], -INT_MAX - 1, INT_MAX, "invalid first DB index")
    second = parse_integer_between(args[2], -INT_MAX - 1, INT_MAX, "invalid second DB index")
    if not all(0 <= index < len(keyspace.databases) for index in (first, second)):
        raise CommandError("DB index is out of range")
    if first == second:
        keyspace.dirty += 1
    else:
        keyspace.swap(first, second)
    return OK
