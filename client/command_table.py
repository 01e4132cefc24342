"""What routing must know of a command: where its first key is, who may serve it, if it may be repeated.

A static table covers the commands of Redis 7.2 (request and response policies are those of Redis's command
tips), so that connecting costs no COMMAND round trip; what is not in it is learned from COMMAND INFO, and
commands with movable keys from COMMAND GETKEYS, by `operations`. One key is enough to route by: the node
checks the others itself and answers CROSSSLOT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any


class Keys(Enum):
    """Where the first key of a command is."""

    NONE = auto()
    AT = auto()  # at `position`
    COUNTED = auto()  # after the number of keys, which is at `position`
    STREAMS = auto()  # after the word STREAMS
    ASK = auto()  # only the node knows: COMMAND GETKEYS


class Target(Enum):
    """Who gets the command."""

    SLOT = auto()  # the owner of its key's slot; any primary if it has no key
    SPLIT = auto()  # each slot's owner gets its keys (Redis's request policy multi_shard)
    PRIMARIES = auto()  # all_shards
    NODES = auto()  # all_nodes
    CONTAINER = auto()  # look the subcommand up
    OWN_CONNECTION = auto()  # changes its connection's state, so a pool can't run it


class Combine(Enum):
    """What becomes of several replies (Redis's response policies)."""

    FIRST = auto()  # all_succeeded: one reply stands for all
    SUM = auto()
    MIN = auto()
    AND = auto()  # element by element
    CHAIN = auto()  # arrays, one after the other
    ORDER = auto()  # arrays, in the order of the command's keys
    PICK = auto()  # any that is not null


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command's row. `replica`: a replica may serve it. `repeatable`: sending it twice does no harm.

    `block` is (index of the timeout argument, milliseconds for its unit) of a command that may block.
    `step` is the distance from key to key where the command is split.
    """

    keys: Keys = Keys.NONE
    position: int = 0
    replica: bool = False
    repeatable: bool = False
    target: Target = Target.SLOT
    combine: Combine = Combine.FIRST
    step: int = 1
    block: tuple[int, float] | None = None


READ = CommandSpec(Keys.AT, 1, replica=True, repeatable=True)
# A cursor is worth something only to the node that gave it.
READ_BY_CURSOR = replace(READ, replica=False)
WRITE = CommandSpec(Keys.AT, 1)
SERVER = CommandSpec()
SERVER_READ = CommandSpec(repeatable=True)
_SECONDS, _MILLISECONDS = 1000.0, 1.0


def _all(target: Target, combine: Combine, *, repeatable: bool = True, replica: bool = False) -> CommandSpec:
    return CommandSpec(target=target, combine=combine, repeatable=repeatable, replica=replica)


_ROWS: tuple[tuple[CommandSpec, str], ...] = (
    (
        READ,
        "BITCOUNT BITFIELD_RO BITPOS DUMP EXPIRETIME GEODIST GEOHASH GEOPOS GEORADIUS_RO "
        "GEORADIUSBYMEMBER_RO GEOSEARCH GET GETBIT GETRANGE HEXISTS HGET HGETALL HKEYS HLEN HMGET "
        "HRANDFIELD HSTRLEN HVALS LCS LINDEX LLEN LPOS LRANGE PEXPIRETIME PFCOUNT PTTL SCARD SDIFF SINTER "
        "SISMEMBER SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER STRLEN SUBSTR SUNION TTL TYPE XLEN XPENDING "
        "XRANGE XREVRANGE ZCARD ZCOUNT ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK "
        "ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCORE",
    ),
    (READ_BY_CURSOR, "HSCAN SSCAN ZSCAN"),
    (
        replace(READ, position=2),
        "OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT MEMORY|USAGE DEBUG|OBJECT "
        "XINFO|CONSUMERS XINFO|GROUPS XINFO|STREAM",
    ),
    (replace(READ, keys=Keys.COUNTED), "SINTERCARD ZDIFF ZINTER ZINTERCARD ZUNION"),
    (replace(READ, keys=Keys.COUNTED, position=2), "EVAL_RO EVALSHA_RO FCALL_RO"),
    (replace(READ, keys=Keys.STREAMS), "XREAD"),
    (
        WRITE,
        "APPEND BITFIELD COPY DECR DECRBY EXPIRE EXPIREAT GEOADD GEORADIUS GEORADIUSBYMEMBER GEOSEARCHSTORE "
        "GETDEL GETEX GETSET HDEL HINCRBY HINCRBYFLOAT HMSET HSET HSETNX INCR INCRBY INCRBYFLOAT LINSERT "
        "LMOVE LPOP LPUSH LPUSHX LREM LSET LTRIM MOVE MSETNX PERSIST PEXPIRE PEXPIREAT PFADD PFMERGE PSETEX "
        "RENAME RENAMENX RESTORE-ASKING RESTORE RPOP RPOPLPUSH RPUSH RPUSHX SADD SDIFFSTORE SET SETBIT "
        "SETEX SETNX SETRANGE SINTERSTORE SMOVE SORT SPOP SPUBLISH SREM SUNIONSTORE XACK XADD XAUTOCLAIM "
        "XCLAIM XDEL XSETID XTRIM ZADD ZDIFFSTORE ZINCRBY ZINTERSTORE ZPOPMAX ZPOPMIN ZRANGESTORE ZREM "
        "ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZUNIONSTORE",
    ),
    (
        replace(WRITE, position=2),
        "BITOP PFDEBUG XGROUP|CREATE XGROUP|CREATECONSUMER XGROUP|DELCONSUMER XGROUP|DESTROY XGROUP|SETID",
    ),
    (replace(WRITE, keys=Keys.COUNTED), "LMPOP ZMPOP"),
    (replace(WRITE, keys=Keys.COUNTED, position=2), "EVAL EVALSHA FCALL"),
    (replace(WRITE, keys=Keys.STREAMS), "XREADGROUP"),
    (replace(WRITE, keys=Keys.ASK), "MIGRATE"),
    (replace(WRITE, block=(-1, _SECONDS)), "BLPOP BRPOP BLMOVE BRPOPLPUSH BZPOPMIN BZPOPMAX"),
    (replace(WRITE, keys=Keys.COUNTED, position=2, block=(1, _SECONDS)), "BLMPOP BZMPOP"),
    (replace(WRITE, target=Target.SPLIT, combine=Combine.SUM), "DEL UNLINK"),
    (replace(READ, target=Target.SPLIT, combine=Combine.SUM), "EXISTS TOUCH"),
    (replace(READ, target=Target.SPLIT, combine=Combine.ORDER), "MGET"),
    (replace(WRITE, target=Target.SPLIT, step=2), "MSET"),
    (_all(Target.PRIMARIES, Combine.SUM, replica=True), "DBSIZE"),
    (_all(Target.PRIMARIES, Combine.CHAIN, replica=True), "KEYS"),
    (_all(Target.PRIMARIES, Combine.PICK, replica=True), "RANDOMKEY"),
    (_all(Target.PRIMARIES, Combine.FIRST), "FUNCTION|KILL MEMORY|PURGE SCRIPT|KILL"),
    (
        _all(Target.PRIMARIES, Combine.FIRST, repeatable=False),
        "FLUSHALL FLUSHDB FUNCTION|DELETE FUNCTION|FLUSH FUNCTION|LOAD FUNCTION|RESTORE",
    ),
    (_all(Target.PRIMARIES, Combine.AND), "SCRIPT|EXISTS"),
    (replace(_all(Target.PRIMARIES, Combine.MIN), block=(2, _MILLISECONDS)), "WAIT"),
    (
        _all(Target.NODES, Combine.FIRST),
        "CONFIG|RESETSTAT CONFIG|REWRITE CONFIG|SET SCRIPT|FLUSH SCRIPT|LOAD SLOWLOG|RESET",
    ),
    (_all(Target.NODES, Combine.SUM), "LATENCY|RESET SLOWLOG|LEN"),
    (SERVER, "PUBLISH"),
    (SERVER_READ, "PING ECHO TIME INFO ROLE LASTSAVE COMMAND LOLWUT PUBSUB MODULE ACL"),
    (
        CommandSpec(target=Target.CONTAINER, repeatable=True),
        "CLUSTER CONFIG FUNCTION LATENCY MEMORY OBJECT SCRIPT SLOWLOG XINFO CLIENT",
    ),
    (CommandSpec(target=Target.CONTAINER), "XGROUP DEBUG"),
    (
        CommandSpec(target=Target.OWN_CONNECTION),
        "ASKING AUTH CLIENT|REPLY CLIENT|TRACKING DISCARD EXEC HELLO MONITOR MULTI PSUBSCRIBE PSYNC "
        "PUNSUBSCRIBE QUIT READONLY READWRITE REPLCONF RESET SCAN SELECT SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE "
        "SYNC UNSUBSCRIBE UNWATCH WATCH",
    ),
)

COMMAND_TABLE: dict[bytes, CommandSpec] = {
    name.encode(): spec for spec, names in _ROWS for name in names.split()
}


def find_spec(args: Sequence[bytes], table: dict[bytes, CommandSpec]) -> CommandSpec | None:
    """find_spec([b"GET", b"k"], table) -> its row, or None for a command that the table doesn't know."""
    name = args[0]
    spec = table.get(name) or table.get(name.upper())
    if spec is not None and spec.target is Target.CONTAINER:
        if len(args) > 1:
            subcommand = table.get(b"%b|%b" % (name.upper(), args[1].upper()))
            if subcommand is not None:
                return subcommand
        return SERVER_READ if spec.repeatable else SERVER
    return spec


def first_key(spec: CommandSpec, args: Sequence[bytes]) -> bytes | None:
    """first_key(spec, args) -> the key to route by, or None: no key, or too few arguments for one."""
    position = spec.position
    if spec.keys is Keys.AT:
        return args[position] if len(args) > position else None
    if spec.keys is Keys.COUNTED:
        if len(args) > position + 1 and args[position].isdigit() and int(args[position]) > 0:
            return args[position + 1]
        return None
    if spec.keys is Keys.STREAMS:
        for index in range(1, len(args) - 1):
            if args[index].upper() == b"STREAMS":
                return args[index + 1]
    return None


def block_ms(spec: CommandSpec, args: Sequence[bytes]) -> float:
    """block_ms(spec, args) -> how long the command may wait on the node: 0 for not at all, inf for ever."""
    if spec.keys is Keys.STREAMS:
        for index in range(1, len(args) - 1):
            if args[index].upper() == b"BLOCK":
                return _timeout_ms(args[index + 1], _MILLISECONDS)
        return 0.0
    if spec.block is None or len(args) < 3:
        return 0.0
    index, unit_ms = spec.block
    return _timeout_ms(args[index], unit_ms)


def _timeout_ms(argument: bytes, unit_ms: float) -> float:
    try:
        timeout_ms = float(argument) * unit_ms
    except ValueError:
        return 0.0  # the node will refuse it at once
    return timeout_ms if timeout_ms > 0 else float("inf") if timeout_ms == 0 else 0.0


def spec_from_info(entry: Any) -> CommandSpec | None:
    """spec_from_info(an element of a COMMAND INFO reply) -> its row; None if the node doesn't know it."""
    if not isinstance(entry, list) or len(entry) < 6:
        return None
    flags = {flag.decode() if isinstance(flag, bytes) else str(flag) for flag in entry[2]}
    position = int(entry[3])
    readonly = "readonly" in flags
    if "movablekeys" in flags and position == 0:
        keys = Keys.ASK
    else:
        keys = Keys.AT if position > 0 else Keys.NONE
    return CommandSpec(keys, position, replica=readonly, repeatable=readonly)
