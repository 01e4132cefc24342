"""Sorted sets put together: ZUNION, ZINTER, ZDIFF, their STORE forms, ZINTERCARD; sets are inputs too.

Law: a member of a set has the score 1. A sum or product that is not a number counts as 0, as in Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice, repeat
from typing import Any

from ..client import Client
from ..command import KeySpec, command, key, numkeys
from ..errors import CommandError, SyntaxError_, WrongTypeError
from ..keyspace import Value
from ..parsing import parse_float, parse_integer, parse_non_negative
from ..reply import bulk_array, integer
from ..values.packed import unpacked
from ..values.score_index import ScoreIndex
from ..values.set import Set
from ..values.sorted_set import SortedSet
from ..values.table import Mapping
from .sorted_sets import pairs_reply, store

Combine = Callable[[float, float], float]


def _number(value: float) -> float:
    return value if value == value else 0.0


def _sum(total: float, score: float) -> float:
    return _number(total + score)


def _smaller(least: float, score: float) -> float:
    return score if score < least else least


def _larger(most: float, score: float) -> float:
    return score if score > most else most


_COMBINE: dict[bytes, Combine] = {b"sum": _sum, b"min": _smaller, b"max": _larger}


class _Source:
    """One input: a set, a sorted set or nothing, and its weight."""

    __slots__ = ("entries", "scored", "weight")

    def __init__(self, value: Value | None) -> None:
        value = unpacked(value)
        self.weight = 1.0
        self.scored = type(value) is SortedSet
        self.entries: Mapping[Any] = {}
        if type(value) is SortedSet:
            self.entries = value.scores
        elif type(value) is Set:
            self.entries = value.entries
        elif value is not None:
            raise WrongTypeError

    def __len__(self) -> int:
        return len(self.entries)

    def items(self) -> Iterable[tuple[bytes, float]]:
        """items() -> each member with its weighted score."""
        weight = self.weight
        if not self.scored:
            return zip(self.entries, repeat(weight))
        if weight == 1:
            return self.entries.items()
        return ((member, _number(weight * score)) for member, score in self.entries.items())

    def score(self, member: bytes) -> float:
        """score(member) -> its score without the weight; the member must be there."""
        return float(self.entries[member]) if self.scored else 1.0


class _Request:
    """The inputs and options of one command (Redis: zunionInterDiffGenericCommand)."""

    __slots__ = ("combine", "limit", "sources", "with_scores")

    def __init__(self, client: Client, args: list[bytes], at: int, options: str = "") -> None:
        """`at` is the position of numkeys; `options` names those that the command takes."""
        number = parse_integer(args[at])
        if number < 1:
            assert client.command is not None
            raise CommandError(f"at least 1 input key is needed for '{client.command.full_name}' command")
        if number > len(args) - at - 1:
            raise SyntaxError_
        read = client.db.read
        self.sources = [_Source(read(name)) for name in args[at + 1 : at + 1 + number]]
        self.combine: Combine = _sum
        self.with_scores = False
        self.limit = 0
        allowed = options.encode().split()
        position = at + 1 + number
        while position < len(args):
            word = args[position].lower()
            position += 1
            if word not in allowed or position + _OPTION_ARGUMENTS.get(word, number) > len(args):
                raise SyntaxError_
            position += self._take(word, args[position:])

    def _take(self, word: bytes, rest: list[bytes]) -> int:
        if word == b"withscores":
            self.with_scores = True
            return 0
        if word == b"limit":
            self.limit = parse_non_negative(rest[0], "LIMIT can't be negative")
            return 1
        if word == b"aggregate":
            combine = _COMBINE.get(rest[0].lower())
            if combine is None:
                raise SyntaxError_
            self.combine = combine
            return 1
        for source, text in zip(self.sources, rest, strict=False):
            source.weight = parse_float(text, "weight value is not a float")
        return len(self.sources)

    def union(self) -> dict[bytes, float]:
        """union() -> member -> combined score. O(N)."""
        combine = self.combine
        found: dict[bytes, float] = {}
        for source in sorted(self.sources, key=len):
            if not found:
                found.update(source.items())
                continue
            for member, score in source.items():
                current = found.get(member)
                found[member] = score if current is None else combine(current, score)
        return found

    def common(self) -> Iterable[tuple[bytes, float]]:
        """common() -> the members that all inputs have, with the first one's weighted score. O(N*K)."""
        first, *others = sorted(self.sources, key=len)
        entries = [source.entries for source in others]
        return (pair for pair in first.items() if all(pair[0] in present for present in entries))

    def intersection(self) -> dict[bytes, float]:
        """intersection() -> member -> combined score. O(N*K), N the smallest input."""
        combine = self.combine
        others = sorted(self.sources, key=len)[1:]
        found: dict[bytes, float] = {}
        for member, score in self.common():
            for source in others:
                score = combine(score, source.weight * source.score(member))
            found[member] = score
        return found

    def difference(self) -> dict[bytes, float]:
        """difference() -> what the first input has and no other, with its score. O(N*K) or O(L) at most."""
        left = dict(self.sources[0].items())
        for source in sorted(self.sources[1:], key=len, reverse=True):
            if len(source) < len(left):
                for member in source.entries:
                    left.pop(member, None)
            else:
                entries = source.entries
                left = {member: score for member, score in left.items() if member not in entries}
        return left


_OPTION_ARGUMENTS = {b"withscores": 0, b"limit": 1, b"aggregate": 1}
"""How many arguments follow an option; WEIGHTS has one for each key."""


def _reply(client: Client, scores: dict[bytes, float], with_scores: bool) -> bytes:
    """The members in order, perhaps with their scores."""
    index = ScoreIndex(scores.items())
    members = index.members(0, len(scores))
    if with_scores:
        return pairs_reply(client, members, index.scores(0, len(scores)))
    return bulk_array(members)


_INPUTS = numkeys("RO access")
_STORED = (*key("OW update"), KeySpec("RO access", 2, keynum=(0, 1, 1)))


@command(
    "zunion",
    arity=-3,
    flags="readonly movablekeys",
    keys=_INPUTS,
    categories="sortedset",
    since="6.2.0",
    group="sorted-set",
)
def zunion(client: Client, args: list[bytes]) -> bytes:
    """ZUNION numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES] -> array

    Returns the union of multiple sorted sets.

    Complexity: O(N)+O(M*log(M)) with N the sum of the sizes of the inputs and M the size of the result
    """
    request = _Request(client, args, 1, "weights aggregate withscores")
    return _reply(client, request.union(), request.with_scores)


@command(
    "zinter",
    arity=-3,
    flags="readonly movablekeys",
    keys=_INPUTS,
    categories="sortedset",
    since="6.2.0",
    group="sorted-set",
)
def zinter(client: Client, args: list[bytes]) -> bytes:
    """ZINTER numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES] -> array

    Returns the intersect of multiple sorted sets.

    Complexity: O(N*K)+O(M*log(M)) with N the size of the smallest of K inputs and M that of the result
    """
    request = _Request(client, args, 1, "weights aggregate withscores")
    return _reply(client, request.intersection(), request.with_scores)


@command(
    "zdiff",
    arity=-3,
    flags="readonly movablekeys",
    keys=_INPUTS,
    categories="sortedset",
    since="6.2.0",
    group="sorted-set",
)
def zdiff(client: Client, args: list[bytes]) -> bytes:
    """ZDIFF numkeys key [key ...] [WITHSCORES] -> array of members

    Returns the difference between multiple sorted sets.

    Complexity: O(L + K*log(K)) with L the sum of the sizes of the inputs and K the size of the result
    """
    request = _Request(client, args, 1, "withscores")
    return _reply(client, request.difference(), request.with_scores)


@command(
    "zintercard",
    arity=-3,
    flags="readonly movablekeys",
    keys=_INPUTS,
    categories="sortedset",
    since="7.0.0",
    group="sorted-set",
)
def zintercard(client: Client, args: list[bytes]) -> bytes:
    """ZINTERCARD numkeys key [key ...] [LIMIT limit] -> how many members

    Returns the number of members of the intersect of multiple sorted sets.

    Complexity: O(N*K) with N the size of the smallest of K inputs
    """
    request = _Request(client, args, 1, "limit")
    common = request.common()
    return integer(sum(1 for _ in (islice(common, request.limit) if request.limit else common)))


@command(
    "zunionstore",
    arity=-4,
    flags="write denyoom movablekeys",
    keys=_STORED,
    categories="sortedset",
    since="2.0.0",
    group="sorted-set",
)
def zunionstore(client: Client, args: list[bytes]) -> bytes:
    """ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE <SUM | MIN | MAX>] -> size

    Stores the union of multiple sorted sets in a key.

    Complexity: O(N)+O(M*log(M)) with N the sum of the sizes of the inputs and M the size of the result
    """
    return store(client, args[1], _Request(client, args, 2, "weights aggregate").union())


@command(
    "zinterstore",
    arity=-4,
    flags="write denyoom movablekeys",
    keys=_STORED,
    categories="sortedset",
    since="2.0.0",
    group="sorted-set",
)
def zinterstore(client: Client, args: list[bytes]) -> bytes:
    """ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE <SUM | MIN | MAX>] -> size

    Stores the intersect of multiple sorted sets in a key.

    Complexity: O(N*K)+O(M*log(M)) with N the size of the smallest of K inputs and M that of the result
    """
    return store(client, args[1], _Request(client, args, 2, "weights aggregate").intersection())


@command(
    "zdiffstore",
    arity=-4,
    flags="write denyoom movablekeys",
    keys=_STORED,
    categories="sortedset",
    since="6.2.0",
    group="sorted-set",
)
def zdiffstore(client: Client, args: list[bytes]) -> bytes:
    """ZDIFFSTORE destination numkeys key [key ...] -> size

    Stores the difference of multiple sorted sets in a key.

    Complexity: O(L + K*log(K)) with L the sum of the sizes of the inputs and K the size of the result
    """
    return store(client, args[1], _Request(client, args, 2).difference())
