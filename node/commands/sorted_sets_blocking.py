"""Sorted sets as queues: ZPOPMIN, ZPOPMAX, ZMPOP and the blocking BZPOPMIN, BZPOPMAX, BZMPOP.

Law: every pop is propagated as ZPOPMIN or ZPOPMAX of the key it popped from; in a transaction none waits.
"""

from __future__ import annotations

from ..client import Client
from ..command import KeySpec, command, key, keys, numkeys
from ..errors import SyntaxError_
from ..parsing import parse_non_negative, parse_timeout_ms
from ..reply import EMPTY_ARRAY, array, bulk
from ..values.sorted_set import SortedSet
from .lists_moving import parse_multi_pop
from .sorted_sets import find_sorted_set, nested_pairs, pairs_reply

MIN_MAX = (b"min", b"max")


def _take(client: Client, name: bytes, zset: SortedSet, count: int, lowest: bool) -> tuple[list[bytes], list[float]]:
    """Up to `count` members and their scores, taken out; the lowest first, or the highest first."""
    size = len(zset)
    count = min(count, size)
    start, stop = (0, count) if lowest else (size - count, size)
    scores = zset.index.scores(start, stop)
    members = zset.remove_ranks(start, stop)
    if not lowest:
        scores.reverse()
        members.reverse()
    db = client.db
    db.shrunk(name, zset)
    db.keyspace.dirty += count - 1
    return members, scores


def _pop_one(client: Client, name: bytes, lowest: bool) -> bytes:
    """ZPOPMIN and ZPOPMAX without a count."""
    zset = client.db.find(name)
    if type(zset) is not SortedSet:
        if zset is None:
            return EMPTY_ARRAY
        zset = client.db.opened(name, zset, SortedSet)
    member, score = zset.pop_lowest() if lowest else zset.pop_highest()
    client.db.shrunk(name, zset)
    return client.resp.scored(member, score)


def _pop(client: Client, args: list[bytes], lowest: bool) -> bytes:
    """ZPOPMIN and ZPOPMAX with a count (Redis: zpopMinMaxCommand)."""
    if len(args) > 3:
        raise SyntaxError_
    count = parse_non_negative(args[2])
    name = args[1]
    zset = find_sorted_set(client, name)
    if zset is None or count == 0:
        return EMPTY_ARRAY
    return pairs_reply(client, *_take(client, name, zset, count, lowest))


@command(
    "zpopmin",
    arity=-2,
    flags="write fast",
    keys=key("RW access delete"),
    categories="sortedset",
    since="5.0.0",
    group="sorted-set",
)
def zpopmin(client: Client, args: list[bytes]) -> bytes:
    """ZPOPMIN key [count] -> array of member and score

    Returns the lowest-scoring members from a sorted set after removing them. Deletes the sorted set if
    the last member was popped.

    Complexity: O(log(N)*M) with N the size of the sorted set and M the number of members popped
    """
    if len(args) == 2:
        return _pop_one(client, args[1], lowest=True)
    return _pop(client, args, lowest=True)


@command(
    "zpopmax",
    arity=-2,
    flags="write fast",
    keys=key("RW access delete"),
    categories="sortedset",
    since="5.0.0",
    group="sorted-set",
)
def zpopmax(client: Client, args: list[bytes]) -> bytes:
    """ZPOPMAX key [count] -> array of member and score

    Returns the highest-scoring members from a sorted set after removing them. Deletes the sorted set if
    the last member was popped.

    Complexity: O(log(N)*M) with N the size of the sorted set and M the number of members popped
    """
    if len(args) == 2:
        return _pop_one(client, args[1], lowest=False)
    return _pop(client, args, lowest=False)


# -- from the first of several keys


def _first(client: Client, names: list[bytes]) -> tuple[bytes, SortedSet] | None:
    """The first key that exists, with its value; WrongTypeError if that is no sorted set."""
    for name in names:
        zset = find_sorted_set(client, name)
        if zset is not None:
            return name, zset
    return None


def _pop_many(client: Client, found: tuple[bytes, SortedSet], count: int, lowest: bool) -> bytes:
    """The reply of ZMPOP and BZMPOP: [key, [[member, score], ...]]."""
    name, zset = found
    members, scores = _take(client, name, zset, count, lowest)
    client.propagate_as([b"ZPOPMIN" if lowest else b"ZPOPMAX", name, b"%d" % len(members)])
    return array([bulk(name), nested_pairs(client, members, scores)])


@command(
    "zmpop",
    arity=-4,
    flags="write movablekeys",
    keys=numkeys("RW access delete"),
    categories="sortedset",
    since="7.0.0",
    group="sorted-set",
)
def zmpop(client: Client, args: list[bytes]) -> bytes:
    """ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count] -> [key, [[member, score], ...]], or null

    Returns the highest- or lowest-scoring members from one or more sorted sets after removing them. Deletes
    the sorted set if the last member was popped.

    Complexity: O(K) + O(M*log(N)) with K the number of keys, N the size of the sorted set, M members popped
    """
    names, lowest, count = parse_multi_pop(args, 1, MIN_MAX)
    found = _first(client, names)
    return client.resp.null_array if found is None else _pop_many(client, found, count, lowest)


# -- waiting


def _timed_out(client: Client) -> bytes:
    return client.resp.null_array


def _wait(client: Client, args: list[bytes], names: list[bytes], timeout_ms: int) -> bytes:
    if not client.may_block:
        return client.resp.null_array
    return client.server.blocking.park(client, args, names, timeout_ms, _timed_out, value_type=SortedSet)


def _blocking_pop(client: Client, args: list[bytes], lowest: bool) -> bytes:
    """BZPOPMIN and BZPOPMAX (Redis: blockingGenericZpopCommand)."""
    timeout_ms = parse_timeout_ms(args[-1], client.server.clock.now_ms)
    names = args[1:-1]
    found = _first(client, names)
    if found is None:
        return _wait(client, args, names, timeout_ms)
    name, zset = found
    member, score = zset.pop_lowest() if lowest else zset.pop_highest()
    client.db.shrunk(name, zset)
    client.propagate_as([b"ZPOPMIN" if lowest else b"ZPOPMAX", name])
    return b"*3\r\n" + bulk(name) + bulk(member) + client.resp.double(score)


@command(
    "bzpopmin",
    arity=-3,
    flags="write fast blocking",
    keys=keys("RW access delete", 1, -2),
    categories="sortedset",
    since="5.0.0",
    group="sorted-set",
)
def bzpopmin(client: Client, args: list[bytes]) -> bytes:
    """BZPOPMIN key [key ...] timeout -> [key, member, score], or null at the timeout

    Removes and returns the member with the lowest score from one or more sorted sets. Blocks until a member
    is available otherwise. Deletes the sorted set if the last element was popped.

    Complexity: O(log(N)) with N the size of the sorted set
    """
    return _blocking_pop(client, args, lowest=True)


@command(
    "bzpopmax",
    arity=-3,
    flags="write fast blocking",
    keys=keys("RW access delete", 1, -2),
    categories="sortedset",
    since="5.0.0",
    group="sorted-set",
)
def bzpopmax(client: Client, args: list[bytes]) -> bytes:
    """BZPOPMAX key [key ...] timeout -> [key, member, score], or null at the timeout

    Removes and returns the member with the highest score from one or more sorted sets. Blocks until a member
    is available otherwise. Deletes the sorted set if the last element was popped.

    Complexity: O(log(N)) with N the size of the sorted set
    """
    return _blocking_pop(client, args, lowest=False)


@command(
    "bzmpop",
    arity=-5,
    flags="write blocking movablekeys",
    keys=(KeySpec("RW access delete", 2, keynum=(0, 1, 1)),),
    categories="sortedset",
    since="7.0.0",
    group="sorted-set",
)
def bzmpop(client: Client, args: list[bytes]) -> bytes:
    """BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count] -> [key, [[member, score], ...]], or null

    Removes and returns a member by score from one or more sorted sets. Blocks until a member is available
    otherwise. Deletes the sorted set if the last element was popped.

    Complexity: O(K) + O(M*log(N)) with K the number of keys, N the size of the sorted set, M members popped
    """
    names, lowest, count = parse_multi_pop(args, 2, MIN_MAX)
    timeout_ms = parse_timeout_ms(args[1], client.server.clock.now_ms)
    found = _first(client, names)
    if found is None:
        return _wait(client, args, names, timeout_ms)
    return _pop_many(client, found, count, lowest)
