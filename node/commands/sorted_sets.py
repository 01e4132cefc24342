"""Sorted sets, the basics: adding, removing, scores, ranks, random members and ZSCAN.

Law: what is shared by the four sorted-set modules (lookup, replies of members with scores) lives here.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from ..client import Client
from ..command import command, key
from ..errors import CommandError, SyntaxError_
from ..parsing import INT64_MAX, float_or_none, parse_cursor, parse_float, parse_integer_between, plain_float
from ..reply import EMPTY_ARRAY, ONE, ZERO, array, bulk, bulk_array, format_double, integer
from ..scan_options import parse_scan_options, scan_reply
from ..values.sorted_set import LISTPACK, SKIPLIST, SortedSet

NAN_RESULT = "resulting score is not a number (NaN)"
SAMPLE_ALL_FACTOR = 3
"""ZRANDMEMBER for more than one in so many members draws from a list of them all (Redis: case 3)."""

RANDOM_MEMBER_MIN_BYTES = 6
RANDOM_REPLY_MAX_BYTES = 512 << 20
"""ZRANDMEMBER with a negative count is refused where the reply might become longer (proto-max-bulk-len)."""


def find_sorted_set(client: Client, name: bytes) -> SortedSet | None:
    """find_sorted_set(client, key) -> the sorted set, for a writing command, or None; WrongTypeError."""
    value = client.db.find(name)
    if value is None or type(value) is SortedSet:
        return value
    return client.db.opened(name, value, SortedSet)


def read_sorted_set(client: Client, name: bytes) -> SortedSet | None:
    """read_sorted_set(client, key) -> the sorted set, for a reading command, or None; WrongTypeError."""
    value = client.db.read(name)
    if value is None or type(value) is SortedSet:
        return value
    return client.db.opened(name, value, SortedSet)


def new_sorted_set(client: Client, scores: dict[bytes, float]) -> SortedSet:
    """new_sorted_set(client, scores) -> a set in the encoding that CONFIG allows. O(n log n)."""
    config = client.server.config
    fits = (
        len(scores) <= config.zset_max_listpack_entries
        and max(map(len, scores), default=0) <= config.zset_max_listpack_value
    )
    return SortedSet(scores, LISTPACK if fits else SKIPLIST)


def store(client: Client, destination: bytes, scores: dict[bytes, float]) -> bytes:
    """store(client, destination, scores) -> their number; the key now holds them, or is gone if none."""
    db = client.db
    if scores:
        db.store(destination, new_sorted_set(client, scores))
    else:
        db.delete(destination)
    return integer(len(scores))


def pairs_reply(client: Client, members: Sequence[bytes], scores: Sequence[float]) -> bytes:
    """pairs_reply(client, members, scores) -> flat in RESP2, an array of [member, score] in RESP3."""
    double = client.resp.double
    if client.resp.version == 2:
        parts = [b"$%d\r\n%b\r\n%b" % (len(m), m, double(s)) for m, s in zip(members, scores, strict=True)]
        return b"*%d\r\n%b" % (2 * len(parts), b"".join(parts))
    return nested_pairs(client, members, scores)


def nested_pairs(client: Client, members: Sequence[bytes], scores: Sequence[float]) -> bytes:
    """nested_pairs(client, members, scores) -> an array of [member, score] arrays in either protocol."""
    double = client.resp.double
    return array([b"*2\r\n$%d\r\n%b\r\n%b" % (len(m), m, double(s)) for m, s in zip(members, scores, strict=True)])


# -- ZADD and ZINCRBY


@command(
    "zadd",
    arity=-4,
    flags="write denyoom fast",
    keys=key("RW update"),
    categories="sortedset",
    since="1.2.0",
    group="sorted-set",
)
def zadd(client: Client, args: list[bytes]) -> bytes:
    """ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...] -> added

    Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't exist.

    Complexity: O(log(N)) for each item added to N members
    """
    if len(args) == 4:
        score = plain_float(args[2])
        if score is None:
            score = float_or_none(args[2])
        if score is not None:
            return _add_one(client, args[1], args[3], score)
    return _add(client, args, _AddOptions(args))


def _add_one(client: Client, name: bytes, member: bytes, score: float) -> bytes:
    """The common case: one pair, no options."""
    db = client.db
    found = db.find(name)
    if found is None:
        db.put(name, new_sorted_set(client, {member: score}))
        return ONE
    if type(found) is not SortedSet:
        found = db.opened(name, found, SortedSet)
    before = found.put(member, score)
    if before is None:
        if found.encoding is LISTPACK:
            config = client.server.config
            found.outgrow(config.zset_max_listpack_entries, config.zset_max_listpack_value, len(member))
        db.modified(name)
        return ONE
    if before != score:
        db.modified(name)
    return ZERO


class _AddOptions:
    """ZADD's options, checked; `first` is the position of the first score."""

    __slots__ = ("changed", "first", "gt", "incr", "lt", "nx", "xx")

    def __init__(self, args: list[bytes]) -> None:
        given = set()
        self.first = 2
        while self.first < len(args) and (word := args[self.first].lower()) in _ADD_WORDS:
            given.add(word)
            self.first += 1
        self.nx = b"nx" in given
        self.xx = b"xx" in given
        self.gt = b"gt" in given
        self.lt = b"lt" in given
        self.changed = b"ch" in given
        self.incr = b"incr" in given
        count = len(args) - self.first
        if count % 2 or not count:
            raise SyntaxError_
        if self.nx and self.xx:
            raise CommandError("XX and NX options at the same time are not compatible")
        if (self.gt and self.nx) or (self.lt and self.nx) or (self.gt and self.lt):
            raise CommandError("GT, LT, and/or NX options at the same time are not compatible")
        if self.incr and count > 2:
            raise CommandError("INCR option supports a single increment-element pair")


_ADD_WORDS = frozenset((b"nx", b"xx", b"gt", b"lt", b"ch", b"incr"))


def _add(client: Client, args: list[bytes], options: _AddOptions) -> bytes:
    """All of ZADD (Redis: zaddGenericCommand). All scores are parsed before any is set."""
    scores = [parse_float(text) for text in args[options.first :: 2]]
    members = args[options.first + 1 :: 2]
    db = client.db
    config = client.server.config
    entries_max, value_max = config.zset_max_listpack_entries, config.zset_max_listpack_value
    found = find_sorted_set(client, args[1])
    if found is None and options.xx:
        return client.resp.null if options.incr else ZERO
    zset = SortedSet() if found is None else found
    added = updated = 0
    result: float | None = None
    for member, score in zip(members, scores, strict=True):
        current = zset.scores.get(member)
        if current is None:
            if options.xx:
                continue
            zset.put(member, score)
            zset.outgrow(entries_max, value_max, len(member))
            added += 1
            result = score
            continue
        if options.nx:
            continue
        if options.incr:
            score += current
            if isnan(score):
                raise CommandError(NAN_RESULT)
        if (options.lt and score >= current) or (options.gt and score <= current):
            continue
        result = score
        if score != current:
            zset.put(member, score)
            updated += 1
    if len(members) > entries_max or (found is None and len(members[0]) > value_max):
        zset.encoding = SKIPLIST
    if found is None:
        db.put(args[1], zset)
    elif added or updated:
        db.modified(args[1])
    if added + updated > 1:
        db.keyspace.dirty += added + updated - 1
    if options.incr:
        return client.resp.null if result is None else client.resp.double(result)
    return integer(added + updated if options.changed else added)


@command(
    "zincrby",
    arity=4,
    flags="write denyoom fast",
    keys=key("RW access update"),
    categories="sortedset",
    since="1.2.0",
    group="sorted-set",
)
def zincrby(client: Client, args: list[bytes]) -> bytes:
    """ZINCRBY key increment member -> the new score

    Increments the score of a member in a sorted set.

    Complexity: O(log(N)) for N members
    """
    increment = parse_float(args[2])
    db = client.db
    zset = find_sorted_set(client, args[1])
    current = None if zset is None else zset.scores.get(args[3])
    if zset is None or current is None:
        _add_one(client, args[1], args[3], increment)
        return client.resp.double(increment)
    score = current + increment
    if isnan(score):
        raise CommandError(NAN_RESULT)
    if score != current:
        zset.put(args[3], score)
        db.modified(args[1])
    return client.resp.double(score)


@command(
    "zrem",
    arity=-3,
    flags="write fast",
    keys=key("RW delete"),
    categories="sortedset",
    since="1.2.0",
    group="sorted-set",
)
def zrem(client: Client, args: list[bytes]) -> bytes:
    """ZREM key member [member ...] -> how many were removed

    Removes one or more members from a sorted set. Deletes the sorted set if all members were removed.

    Complexity: O(M*log(N)), N members and M to be removed
    """
    db = client.db
    zset = find_sorted_set(client, args[1])
    if zset is None:
        return ZERO
    removed = sum(map(zset.remove, args[2:]))
    if removed:
        db.shrunk(args[1], zset)
        db.keyspace.dirty += removed - 1
    return integer(removed)


# -- reading one member or a few


@command(
    "zcard",
    arity=2,
    flags="readonly fast",
    keys=key("RO"),
    categories="sortedset",
    since="1.2.0",
    group="sorted-set",
)
def zcard(client: Client, args: list[bytes]) -> bytes:
    """ZCARD key -> how many members

    Returns the number of members in a sorted set.

    Complexity: O(1)
    """
    zset = read_sorted_set(client, args[1])
    return ZERO if zset is None else integer(len(zset))


@command(
    "zscore",
    arity=3,
    flags="readonly fast",
    keys=key("RO access"),
    categories="sortedset",
    since="1.2.0",
    group="sorted-set",
)
def zscore(client: Client, args: list[bytes]) -> bytes:
    """ZSCORE key member -> the score or null

    Returns the score of a member in a sorted set.

    Complexity: O(1)
    """
    zset = read_sorted_set(client, args[1])
    score = None if zset is None else zset.scores.get(args[2])
    return client.resp.null if score is None else client.resp.double(score)


@command(
    "zmscore",
    arity=-3,
    flags="readonly fast",
    keys=key("RO access"),
    categories="sortedset",
    since="6.2.0",
    group="sorted-set",
)
def zmscore(client: Client, args: list[bytes]) -> bytes:
    """ZMSCORE key member [member ...] -> an array of scores and nulls

    Returns the score of one or more members in a sorted set.

    Complexity: O(N) where N is the number of members being requested.
    """
    zset = read_sorted_set(client, args[1])
    resp = client.resp
    if zset is None:
        return array([resp.null] * (len(args) - 2))
    scores = map(zset.scores.get, args[2:])
    return array([resp.null if score is None else resp.double(score) for score in scores])


def _rank(client: Client, args: list[bytes], reverse: bool) -> bytes:
    """ZRANK and ZREVRANK (Redis: zrankGenericCommand)."""
    resp = client.resp
    with_score = len(args) == 4
    if len(args) > 4:
        assert client.command is not None
        raise client.command.arity_error()
    if with_score and args[3].lower() != b"withscore":
        raise SyntaxError_
    zset = read_sorted_set(client, args[1])
    rank = None if zset is None else zset.rank(args[2])
    if zset is None or rank is None:
        return resp.null_array if with_score else resp.null
    if reverse:
        rank = len(zset) - 1 - rank
    if with_score:
        return array([integer(rank), resp.double(zset.scores[args[2]])])
    return integer(rank)


@command(
    "zrank",
    arity=-3,
    flags="readonly fast",
    keys=key("RO access"),
    categories="sortedset",
    since="2.0.0",
    group="sorted-set",
)
def zrank(client: Client, args: list[bytes]) -> bytes:
    """ZRANK key member [WITHSCORE] -> the position from 0, or null

    Returns the index of a member in a sorted set ordered by ascending scores.

    Complexity: O(log(N))
    """
    return _rank(client, args, reverse=False)


@command(
    "zrevrank",
    arity=-3,
    flags="readonly fast",
    keys=key("RO access"),
    categories="sortedset",
    since="2.0.0",
    group="sorted-set",
)
def zrevrank(client: Client, args: list[bytes]) -> bytes:
    """ZREVRANK key member [WITHSCORE] -> the position from 0, or null

    Returns the index of a member in a sorted set ordered by descending scores.

    Complexity: O(log(N))
    """
    return _rank(client, args, reverse=True)


# -- random members and ZSCAN


def _sample(client: Client, zset: SortedSet, count: int) -> list[bytes]:
    """The members that ZRANDMEMBER answers: distinct ones if `count` >= 0, drawn anew each time if not."""
    rng = client.server.keyspace.rng
    size = len(zset)
    if count < 0:
        if -count > size:
            return rng.choices(list(zset.scores), k=-count)
        return [zset.random_member(rng) for _ in range(-count)]
    if count >= size:
        return zset.members()
    if count * SAMPLE_ALL_FACTOR > size or zset.encoding is LISTPACK:
        return rng.sample(list(zset.scores), count)
    found: dict[bytes, None] = {}
    while len(found) < count:
        found[zset.random_member(rng)] = None
    return list(found)


@command(
    "zrandmember",
    arity=-2,
    flags="readonly",
    keys=key("RO access"),
    categories="sortedset",
    since="6.2.0",
    group="sorted-set",
    tips=("nondeterministic_output",),
)
def zrandmember(client: Client, args: list[bytes]) -> bytes:
    """ZRANDMEMBER key [count [WITHSCORES]] -> a member or null, or an array of members

    Returns one or more random members from a sorted set.

    Complexity: O(N) where N is the number of members returned
    """
    count = 1
    with_scores = len(args) == 4
    if len(args) > 2:
        count = parse_integer_between(args[2], -INT64_MAX, INT64_MAX)
        if len(args) > 4 or (with_scores and args[3].lower() != b"withscores"):
            raise SyntaxError_
        if with_scores and abs(count) > INT64_MAX // 2:
            raise CommandError("value is out of range")
    zset = read_sorted_set(client, args[1])
    if zset is None:
        return client.resp.null if len(args) == 2 else EMPTY_ARRAY
    if len(args) == 2:
        return bulk(zset.random_member(client.server.keyspace.rng))
    if -count * RANDOM_MEMBER_MIN_BYTES > RANDOM_REPLY_MAX_BYTES:
        raise CommandError("value is out of range")
    members = _sample(client, zset, count)
    if with_scores:
        return pairs_reply(client, members, [zset.scores[member] for member in members])
    return bulk_array(members)


@command(
    "zscan",
    arity=-3,
    flags="readonly",
    keys=key("RO access"),
    categories="sortedset",
    since="2.8.0",
    group="sorted-set",
    tips=("nondeterministic_output",),
)
def zscan(client: Client, args: list[bytes]) -> bytes:
    """ZSCAN key cursor [MATCH pattern] [COUNT count] -> the next cursor, and members with their scores

    Iterates over members and scores of a sorted set.

    Complexity: O(1) for every call, O(N) for a complete iteration over N members
    """
    cursor = parse_cursor(args[2])
    zset = read_sorted_set(client, args[1])
    if zset is None:
        return scan_reply(0, [])
    count, match = parse_scan_options(args, 3)
    if zset.encoding is LISTPACK:
        cursor, pairs = 0, zset.items()
    else:
        cursor, pairs = zset.scan(cursor, count)
    flat: list[bytes] = []
    for member, score in pairs:
        if match is None or match(member):
            flat.append(member)
            # A skiplist's scores come with 17 digits (ld2string), a listpack's as they are stored (d2string).
            flat.append(format_double(score) if zset.encoding is LISTPACK else b"%.17g" % score)
    return scan_reply(cursor, flat)
