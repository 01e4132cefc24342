"""Methods for commands on strings, on keys as such, and on nodes.

Each method only puts the command's arguments in order: what becomes of them is `_issue`'s matter. It returns
the result for the blocking client, an awaitable of it for the Trio client, and queues it in a pipeline.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from .operations import Shape
from .resp import Argument
from .shapes import as_bool, as_float, as_info, as_name


class CommandIssuer(ABC):
    """Something that runs or queues commands."""

    @abstractmethod
    def _issue(self, *args: Argument, shape: Shape | None = None) -> Any:
        """Run or queue the command; `shape` is applied to its reply."""


class StringCommands(CommandIssuer):
    """Commands on strings."""

    def get(self, key: Argument) -> Any:
        """get(key) -> value or None."""
        return self._issue(b"GET", key)

    def set(
        self,
        key: Argument,
        value: Argument,
        *,
        ex: int | None = None,
        px: int | None = None,
        exat: int | None = None,
        pxat: int | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        get: bool = False,
    ) -> Any:
        """set(key, value) -> True, or None if NX or XX kept it from being set; the old value with `get`.

        `ex` and `px` are a time to live in seconds and milliseconds, `exat` and `pxat` a Unix time.
        """
        args: list[Argument] = [b"SET", key, value]
        for word, amount in ((b"EX", ex), (b"PX", px), (b"EXAT", exat), (b"PXAT", pxat)):
            if amount is not None:
                args += (word, amount)
        flags = ((b"NX", nx), (b"XX", xx), (b"KEEPTTL", keepttl), (b"GET", get))
        args += [word for word, wanted in flags if wanted]
        return self._issue(*args, shape=None if get else as_bool)

    def getdel(self, key: Argument) -> Any:
        """getdel(key) -> value or None; the key is gone."""
        return self._issue(b"GETDEL", key)

    def getex(
        self, key: Argument, *, ex: int | None = None, px: int | None = None, persist: bool = False
    ) -> Any:
        """getex(key) -> value or None, with a new time to live (seconds, milliseconds) or none."""
        args: list[Argument] = [b"GETEX", key]
        for word, amount in ((b"EX", ex), (b"PX", px)):
            if amount is not None:
                args += (word, amount)
        if persist:
            args.append(b"PERSIST")
        return self._issue(*args)

    def mget(self, *keys: Argument) -> Any:
        """mget(key, ...) -> values in the keys' order, None for none; keys may be in any slots."""
        return self._issue(b"MGET", *keys)

    def mset(self, mapping: Mapping[Any, Argument]) -> Any:
        """mset({key: value}) -> True. Atomic only among keys of the same slot."""
        return self._issue(b"MSET", *_flat(mapping), shape=as_bool)

    def msetnx(self, mapping: Mapping[Any, Argument]) -> Any:
        """msetnx({key: value}) -> True if none of the keys existed. All in one slot."""
        return self._issue(b"MSETNX", *_flat(mapping), shape=as_bool)

    def append(self, key: Argument, value: Argument) -> Any:
        """append(key, value) -> new length in bytes."""
        return self._issue(b"APPEND", key, value)

    def strlen(self, key: Argument) -> Any:
        """strlen(key) -> length in bytes."""
        return self._issue(b"STRLEN", key)

    def getrange(self, key: Argument, start: int, end: int) -> Any:
        """getrange(key, start, end) -> the bytes from start to end, both inclusive."""
        return self._issue(b"GETRANGE", key, start, end)

    def setrange(self, key: Argument, offset: int, value: Argument) -> Any:
        """setrange(key, offset, value) -> new length in bytes."""
        return self._issue(b"SETRANGE", key, offset, value)

    def incr(self, key: Argument, amount: int = 1) -> Any:
        """incr(key, amount=1) -> new value."""
        return self._issue(b"INCRBY", key, amount)

    def decr(self, key: Argument, amount: int = 1) -> Any:
        """decr(key, amount=1) -> new value."""
        return self._issue(b"DECRBY", key, amount)

    def incrbyfloat(self, key: Argument, amount: float) -> Any:
        """incrbyfloat(key, amount) -> new value, a float."""
        return self._issue(b"INCRBYFLOAT", key, amount, shape=as_float)


class KeyCommands(CommandIssuer):
    """Commands on keys of any type; those with several keys take them in any slots."""

    def delete(self, *keys: Argument) -> Any:
        """delete(key, ...) -> how many existed."""
        return self._issue(b"DEL", *keys)

    def unlink(self, *keys: Argument) -> Any:
        """unlink(key, ...) -> how many existed; memory is reclaimed later."""
        return self._issue(b"UNLINK", *keys)

    def exists(self, *keys: Argument) -> Any:
        """exists(key, ...) -> how many exist, each counted as often as it is named."""
        return self._issue(b"EXISTS", *keys)

    def touch(self, *keys: Argument) -> Any:
        """touch(key, ...) -> how many exist."""
        return self._issue(b"TOUCH", *keys)

    def type(self, key: Argument) -> Any:
        """type(key) -> "string", "list", "set", "zset", "hash", "stream" or "none"."""
        return self._issue(b"TYPE", key, shape=as_name)

    def expire(self, key: Argument, seconds: int, *condition: str) -> Any:
        """expire(key, seconds, ["NX" | "XX" | "GT" | "LT"]) -> True if it was set."""
        return self._issue(b"EXPIRE", key, seconds, *condition, shape=as_bool)

    def pexpire(self, key: Argument, milliseconds: int, *condition: str) -> Any:
        """pexpire(key, milliseconds, ["NX" | "XX" | "GT" | "LT"]) -> True if it was set."""
        return self._issue(b"PEXPIRE", key, milliseconds, *condition, shape=as_bool)

    def expireat(self, key: Argument, unix_time_s: int, *condition: str) -> Any:
        """expireat(key, Unix time in seconds) -> True if it was set."""
        return self._issue(b"EXPIREAT", key, unix_time_s, *condition, shape=as_bool)

    def pexpireat(self, key: Argument, unix_time_ms: int, *condition: str) -> Any:
        """pexpireat(key, Unix time in milliseconds) -> True if it was set."""
        return self._issue(b"PEXPIREAT", key, unix_time_ms, *condition, shape=as_bool)

    def ttl(self, key: Argument) -> Any:
        """ttl(key) -> seconds left, -1 without expiry, -2 without key."""
        return self._issue(b"TTL", key)

    def pttl(self, key: Argument) -> Any:
        """pttl(key) -> milliseconds left, -1 without expiry, -2 without key."""
        return self._issue(b"PTTL", key)

    def persist(self, key: Argument) -> Any:
        """persist(key) -> True if an expiry was removed."""
        return self._issue(b"PERSIST", key, shape=as_bool)

    def rename(self, source: Argument, destination: Argument) -> Any:
        """rename(source, destination) -> True. Both in one slot."""
        return self._issue(b"RENAME", source, destination, shape=as_bool)

    def copy(self, source: Argument, destination: Argument, *, replace: bool = False) -> Any:
        """copy(source, destination) -> True if it was copied. Both in one slot."""
        return self._issue(b"COPY", source, destination, *([b"REPLACE"] if replace else []), shape=as_bool)

    def dump(self, key: Argument) -> Any:
        """dump(key) -> its serialised value or None. Needs a client without `decode_responses`."""
        return self._issue(b"DUMP", key)

    def restore(self, key: Argument, ttl_ms: int, payload: bytes, *, replace: bool = False) -> Any:
        """restore(key, ttl_ms, payload of DUMP) -> True; ttl 0 is no expiry."""
        extra = [b"REPLACE"] if replace else []
        return self._issue(b"RESTORE", key, ttl_ms, payload, *extra, shape=as_bool)

    def object_encoding(self, key: Argument) -> Any:
        """object_encoding(key) -> such as "listpack", or None."""
        return self._issue(b"OBJECT", b"ENCODING", key, shape=as_name)


class ServerCommands(CommandIssuer):
    """Commands that concern nodes or the whole cluster."""

    def ping(self) -> Any:
        """ping() -> True if one primary answers."""
        return self._issue(b"PING", shape=as_bool)

    def echo(self, message: Argument) -> Any:
        """echo(message) -> message, by way of one primary."""
        return self._issue(b"ECHO", message)

    def info(self, *sections: str) -> Any:
        """info(section, ...) -> {field: value} of one primary; `execute` asks a given node."""
        return self._issue(b"INFO", *sections, shape=as_info)

    def dbsize(self) -> Any:
        """dbsize() -> keys in the cluster, summed over the primaries."""
        return self._issue(b"DBSIZE")

    def keys(self, pattern: Argument = b"*") -> Any:
        """keys(pattern) -> all matching keys, of all primaries. O(keys): rather use scan_iter."""
        return self._issue(b"KEYS", pattern)

    def randomkey(self) -> Any:
        """randomkey() -> a key of a random primary that has keys, or None."""
        return self._issue(b"RANDOMKEY")

    def flushall(self) -> Any:
        """flushall() -> True; all primaries are empty."""
        return self._issue(b"FLUSHALL", shape=as_bool)

    def publish(self, channel: Argument, message: Argument) -> Any:
        """publish(channel, message) -> receivers at the node that took it."""
        return self._issue(b"PUBLISH", channel, message)

    def eval(self, script: Argument, keys: Sequence[Argument] = (), args: Sequence[Argument] = ()) -> Any:
        """eval(script, keys, args) -> its result. Runs on the node that owns the keys' slot."""
        return self._issue(b"EVAL", script, len(keys), *keys, *args)

    def evalsha(self, sha1: Argument, keys: Sequence[Argument] = (), args: Sequence[Argument] = ()) -> Any:
        """evalsha(sha1, keys, args) -> its result. Raises NoScriptError."""
        return self._issue(b"EVALSHA", sha1, len(keys), *keys, *args)

    def script_load(self, script: Argument) -> Any:
        """script_load(script) -> its SHA1; all nodes have it."""
        return self._issue(b"SCRIPT", b"LOAD", script, shape=as_name)


def _flat(mapping: Mapping[Any, Argument]) -> list[Argument]:
    return [item for pair in mapping.items() for item in pair]
