"""Methods for commands on hashes, lists, sets and sorted sets; see `server_commands` for how they are run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .resp import Argument
from .server_commands import CommandIssuer
from .shapes import (
    as_bool,
    as_bools,
    as_cursor_page,
    as_dict,
    as_float,
    as_floats,
    as_pair,
    as_popped,
    as_scored,
    as_set,
)


def _count(count: int | None) -> list[Argument]:
    return [] if count is None else [count]


def _page_options(match: Argument | None, count: int | None) -> list[Argument]:
    options: list[Argument] = []
    if match is not None:
        options += (b"MATCH", match)
    if count is not None:
        options += (b"COUNT", count)
    return options


class HashCommands(CommandIssuer):
    """Commands on hashes."""

    def hset(
        self,
        key: Argument,
        field: Argument | None = None,
        value: Argument | None = None,
        mapping: Mapping[Any, Argument] | None = None,
    ) -> Any:
        """hset(key, field, value) or hset(key, mapping={field: value}) -> how many fields are new."""
        args: list[Argument] = [b"HSET", key]
        if field is not None and value is not None:
            args += (field, value)
        for name, item in (mapping or {}).items():
            args += (name, item)
        return self._issue(*args)

    def hsetnx(self, key: Argument, field: Argument, value: Argument) -> Any:
        """hsetnx(key, field, value) -> True if the field was not there."""
        return self._issue(b"HSETNX", key, field, value, shape=as_bool)

    def hget(self, key: Argument, field: Argument) -> Any:
        """hget(key, field) -> value or None."""
        return self._issue(b"HGET", key, field)

    def hmget(self, key: Argument, *fields: Argument) -> Any:
        """hmget(key, field, ...) -> values in the fields' order, None for none."""
        return self._issue(b"HMGET", key, *fields)

    def hgetall(self, key: Argument) -> Any:
        """hgetall(key) -> {field: value}."""
        return self._issue(b"HGETALL", key, shape=as_dict)

    def hdel(self, key: Argument, *fields: Argument) -> Any:
        """hdel(key, field, ...) -> how many were there."""
        return self._issue(b"HDEL", key, *fields)

    def hexists(self, key: Argument, field: Argument) -> Any:
        """hexists(key, field) -> bool."""
        return self._issue(b"HEXISTS", key, field, shape=as_bool)

    def hlen(self, key: Argument) -> Any:
        """hlen(key) -> number of fields."""
        return self._issue(b"HLEN", key)

    def hkeys(self, key: Argument) -> Any:
        """hkeys(key) -> list of fields."""
        return self._issue(b"HKEYS", key)

    def hvals(self, key: Argument) -> Any:
        """hvals(key) -> list of values."""
        return self._issue(b"HVALS", key)

    def hincrby(self, key: Argument, field: Argument, amount: int = 1) -> Any:
        """hincrby(key, field, amount) -> new value."""
        return self._issue(b"HINCRBY", key, field, amount)

    def hincrbyfloat(self, key: Argument, field: Argument, amount: float) -> Any:
        """hincrbyfloat(key, field, amount) -> new value, a float."""
        return self._issue(b"HINCRBYFLOAT", key, field, amount, shape=as_float)

    def hscan(
        self, key: Argument, cursor: int = 0, *, match: Argument | None = None, count: int | None = None
    ) -> Any:
        """hscan(key, cursor) -> (next cursor, flat list of fields and values); cursor 0 starts and ends."""
        return self._issue(b"HSCAN", key, cursor, *_page_options(match, count), shape=as_cursor_page)


class ListCommands(CommandIssuer):
    """Commands on lists."""

    def lpush(self, key: Argument, *values: Argument) -> Any:
        """lpush(key, value, ...) -> new length."""
        return self._issue(b"LPUSH", key, *values)

    def rpush(self, key: Argument, *values: Argument) -> Any:
        """rpush(key, value, ...) -> new length."""
        return self._issue(b"RPUSH", key, *values)

    def lpop(self, key: Argument, count: int | None = None) -> Any:
        """lpop(key) -> value or None; lpop(key, count) -> list or None."""
        return self._issue(b"LPOP", key, *_count(count))

    def rpop(self, key: Argument, count: int | None = None) -> Any:
        """rpop(key) -> value or None; rpop(key, count) -> list or None."""
        return self._issue(b"RPOP", key, *_count(count))

    def blpop(self, *keys: Argument, timeout_s: float = 0) -> Any:
        """blpop(key, ..., timeout_s=0) -> (key, value) or None after the time; 0 is for ever. One slot."""
        return self._issue(b"BLPOP", *keys, timeout_s, shape=as_pair)

    def brpop(self, *keys: Argument, timeout_s: float = 0) -> Any:
        """brpop(key, ..., timeout_s=0) -> (key, value) or None after the time; 0 is for ever. One slot."""
        return self._issue(b"BRPOP", *keys, timeout_s, shape=as_pair)

    def lmove(
        self, source: Argument, destination: Argument, wherefrom: str = "LEFT", whereto: str = "RIGHT"
    ) -> Any:
        """lmove(source, destination, "LEFT", "RIGHT") -> the value or None. Both in one slot."""
        return self._issue(b"LMOVE", source, destination, wherefrom, whereto)

    def llen(self, key: Argument) -> Any:
        """llen(key) -> length."""
        return self._issue(b"LLEN", key)

    def lrange(self, key: Argument, start: int, stop: int) -> Any:
        """lrange(key, start, stop) -> values from start to stop, both inclusive."""
        return self._issue(b"LRANGE", key, start, stop)

    def lindex(self, key: Argument, index: int) -> Any:
        """lindex(key, index) -> value or None."""
        return self._issue(b"LINDEX", key, index)

    def lset(self, key: Argument, index: int, value: Argument) -> Any:
        """lset(key, index, value) -> True."""
        return self._issue(b"LSET", key, index, value, shape=as_bool)

    def lrem(self, key: Argument, count: int, value: Argument) -> Any:
        """lrem(key, count, value) -> how many were removed; a negative count starts at the end."""
        return self._issue(b"LREM", key, count, value)

    def ltrim(self, key: Argument, start: int, stop: int) -> Any:
        """ltrim(key, start, stop) -> True; only values from start to stop stay."""
        return self._issue(b"LTRIM", key, start, stop, shape=as_bool)


class SetCommands(CommandIssuer):
    """Commands on sets; those with several keys want them in one slot."""

    def sadd(self, key: Argument, *members: Argument) -> Any:
        """sadd(key, member, ...) -> how many are new."""
        return self._issue(b"SADD", key, *members)

    def srem(self, key: Argument, *members: Argument) -> Any:
        """srem(key, member, ...) -> how many were there."""
        return self._issue(b"SREM", key, *members)

    def smembers(self, key: Argument) -> Any:
        """smembers(key) -> set."""
        return self._issue(b"SMEMBERS", key, shape=as_set)

    def sismember(self, key: Argument, member: Argument) -> Any:
        """sismember(key, member) -> bool."""
        return self._issue(b"SISMEMBER", key, member, shape=as_bool)

    def smismember(self, key: Argument, *members: Argument) -> Any:
        """smismember(key, member, ...) -> list of bool."""
        return self._issue(b"SMISMEMBER", key, *members, shape=as_bools)

    def scard(self, key: Argument) -> Any:
        """scard(key) -> number of members."""
        return self._issue(b"SCARD", key)

    def spop(self, key: Argument, count: int | None = None) -> Any:
        """spop(key) -> a member or None; spop(key, count) -> list."""
        return self._issue(b"SPOP", key, *_count(count))

    def srandmember(self, key: Argument, count: int | None = None) -> Any:
        """srandmember(key) -> a member or None; srandmember(key, count) -> list."""
        return self._issue(b"SRANDMEMBER", key, *_count(count))

    def sinter(self, *keys: Argument) -> Any:
        """sinter(key, ...) -> set."""
        return self._issue(b"SINTER", *keys, shape=as_set)

    def sunion(self, *keys: Argument) -> Any:
        """sunion(key, ...) -> set."""
        return self._issue(b"SUNION", *keys, shape=as_set)

    def sdiff(self, *keys: Argument) -> Any:
        """sdiff(key, ...) -> set."""
        return self._issue(b"SDIFF", *keys, shape=as_set)

    def sscan(
        self, key: Argument, cursor: int = 0, *, match: Argument | None = None, count: int | None = None
    ) -> Any:
        """sscan(key, cursor) -> (next cursor, list of members); cursor 0 starts and ends."""
        return self._issue(b"SSCAN", key, cursor, *_page_options(match, count), shape=as_cursor_page)


class SortedSetCommands(CommandIssuer):
    """Commands on sorted sets."""

    def zadd(self, key: Argument, mapping: Mapping[Any, float], *flags: str) -> Any:
        """zadd(key, {member: score}, [NX | XX | GT | LT | CH]) -> how many are new (with CH: changed)."""
        args: list[Argument] = [b"ZADD", key, *flags]
        for member, score in mapping.items():
            args += (score, member)
        return self._issue(*args)

    def zrem(self, key: Argument, *members: Argument) -> Any:
        """zrem(key, member, ...) -> how many were there."""
        return self._issue(b"ZREM", key, *members)

    def zscore(self, key: Argument, member: Argument) -> Any:
        """zscore(key, member) -> score or None."""
        return self._issue(b"ZSCORE", key, member, shape=as_float)

    def zmscore(self, key: Argument, *members: Argument) -> Any:
        """zmscore(key, member, ...) -> scores in the members' order, None for none."""
        return self._issue(b"ZMSCORE", key, *members, shape=as_floats)

    def zincrby(self, key: Argument, amount: float, member: Argument) -> Any:
        """zincrby(key, amount, member) -> new score."""
        return self._issue(b"ZINCRBY", key, amount, member, shape=as_float)

    def zcard(self, key: Argument) -> Any:
        """zcard(key) -> number of members."""
        return self._issue(b"ZCARD", key)

    def zcount(self, key: Argument, minimum: Argument, maximum: Argument) -> Any:
        """zcount(key, minimum, maximum) -> members with scores in between; "(5" excludes 5."""
        return self._issue(b"ZCOUNT", key, minimum, maximum)

    def zrank(self, key: Argument, member: Argument) -> Any:
        """zrank(key, member) -> its place from the lowest score on, or None."""
        return self._issue(b"ZRANK", key, member)

    def zrevrank(self, key: Argument, member: Argument) -> Any:
        """zrevrank(key, member) -> its place from the highest score on, or None."""
        return self._issue(b"ZREVRANK", key, member)

    def zrange(
        self,
        key: Argument,
        start: Argument,
        stop: Argument,
        *,
        by: str | None = None,
        rev: bool = False,
        limit: tuple[int, int] | None = None,
        withscores: bool = False,
    ) -> Any:
        """zrange(key, start, stop) -> members, or [(member, score)] with `withscores`.

        `by` is None for ranks, "BYSCORE" or "BYLEX"; `limit` is (offset, count).
        """
        args: list[Argument] = [b"ZRANGE", key, start, stop]
        if by is not None:
            args.append(by)
        if rev:
            args.append(b"REV")
        if limit is not None:
            args += (b"LIMIT", *limit)
        if withscores:
            args.append(b"WITHSCORES")
        return self._issue(*args, shape=as_scored if withscores else None)

    def zpopmin(self, key: Argument, count: int = 1) -> Any:
        """zpopmin(key, count=1) -> [(member, score)]."""
        return self._issue(b"ZPOPMIN", key, count, shape=as_scored)

    def zpopmax(self, key: Argument, count: int = 1) -> Any:
        """zpopmax(key, count=1) -> [(member, score)]."""
        return self._issue(b"ZPOPMAX", key, count, shape=as_scored)

    def bzpopmin(self, *keys: Argument, timeout_s: float = 0) -> Any:
        """bzpopmin(key, ..., timeout_s=0) -> (key, member, score) or None after the time. One slot."""
        return self._issue(b"BZPOPMIN", *keys, timeout_s, shape=as_popped)

    def bzpopmax(self, *keys: Argument, timeout_s: float = 0) -> Any:
        """bzpopmax(key, ..., timeout_s=0) -> (key, member, score) or None after the time. One slot."""
        return self._issue(b"BZPOPMAX", *keys, timeout_s, shape=as_popped)

    def zremrangebyscore(self, key: Argument, minimum: Argument, maximum: Argument) -> Any:
        """zremrangebyscore(key, minimum, maximum) -> how many were removed."""
        return self._issue(b"ZREMRANGEBYSCORE", key, minimum, maximum)

    def zremrangebyrank(self, key: Argument, start: int, stop: int) -> Any:
        """zremrangebyrank(key, start, stop) -> how many were removed."""
        return self._issue(b"ZREMRANGEBYRANK", key, start, stop)

    def zscan(
        self, key: Argument, cursor: int = 0, *, match: Argument | None = None, count: int | None = None
    ) -> Any:
        """zscan(key, cursor) -> (next cursor, flat list of members and scores); cursor 0 starts and ends."""
        return self._issue(b"ZSCAN", key, cursor, *_page_options(match, count), shape=as_cursor_page)
