"""DUMP, RESTORE and RESTORE-ASKING: one key's value as a payload that any Redis node takes."""

from __future__ import annotations

import logging

from ..client import Client
from ..command import command, key
from ..errors import CommandError, SyntaxError_
from ..keyspace import ExpiryPolicy
from ..logging import VERBOSE
from ..parsing import INT64_MAX, parse_integer
from ..persistence.encode import PayloadFooterError, dump_value, load_value
from ..persistence.errors import RdbFormatError
from ..reply import OK, bulk
from ..values.packed import packed

log = logging.getLogger("pyredis")

_FREQUENCY_MAX = 255


@command(
    "dump",
    arity=2,
    flags="readonly",
    keys=key("RO access"),
    categories="keyspace",
    since="2.6.0",
    group="generic",
    tips=("nondeterministic_output",),
)
def dump(client: Client, args: list[bytes]) -> bytes:
    """DUMP key -> bulk or null

    Returns the value in a form that RESTORE takes, with a version and a checksum.

    Complexity: O(n) in the size of the value.
    """
    value = client.db.read(args[1])
    return client.resp.null if value is None else bulk(dump_value(value))


def _options(args: list[bytes]) -> tuple[bool, bool]:
    """RESTORE's options from the fifth argument -> (replace, ttl is absolute); IDLETIME and FREQ are checked."""
    replace = absolute = idle_given = frequency_given = False
    rest = iter(args[4:])
    for option in map(bytes.upper, rest):
        if option == b"REPLACE":
            replace = True
        elif option == b"ABSTTL":
            absolute = True
        elif option == b"IDLETIME" and not frequency_given and (text := next(rest, None)) is not None:
            if parse_integer(text) < 0:
                raise CommandError("Invalid IDLETIME value, must be >= 0")
            idle_given = True
        elif option == b"FREQ" and not idle_given and (text := next(rest, None)) is not None:
            if not 0 <= parse_integer(text) <= _FREQUENCY_MAX:
                raise CommandError("Invalid FREQ value, must be >= 0 and <= 255")
            frequency_given = True
        else:
            raise SyntaxError_
    return replace, absolute


def _restore(client: Client, args: list[bytes]) -> bytes:
    database = client.db
    name = args[1]
    replace, absolute = _options(args) if len(args) > 4 else (False, False)
    if not replace and database.find(name) is not None:
        raise CommandError("Target key name already exists.", "BUSYKEY")
    ttl_ms = parse_integer(args[2])
    if ttl_ms < 0:
        raise CommandError("Invalid TTL value, must be >= 0")
    try:
        server = client.server
        value = load_value(args[3], server.config, verify_checksum=server.persistence.verify_checksums)
    except PayloadFooterError:
        raise CommandError("DUMP payload version or checksum are wrong") from None
    except RdbFormatError as error:
        log.log(VERBOSE, "RESTORE: the payload's integrity check failed: %s", error)
        raise CommandError("Bad data format") from None
    if not ttl_ms:
        database.store(name, packed(value))
        return OK
    now_ms = client.server.clock.now_ms
    when_ms = ttl_ms if absolute else min(ttl_ms + now_ms, INT64_MAX)
    if when_ms <= now_ms and database.keyspace.expiry_policy is ExpiryPolicy.DELETE:
        if replace and database.delete(name):
            client.propagate_as([b"UNLINK" if client.server.config.lazyfree_lazy_server_del else b"DEL", name])
        return OK
    database.store(name, packed(value))
    database.set_expiry(name, when_ms)
    if not absolute:
        client.propagate_as([*args[:2], b"%d" % when_ms, *args[3:], b"ABSTTL"])
    return OK


@command(
    "restore",
    arity=-4,
    flags="write denyoom",
    keys=key("OW update"),
    categories="keyspace dangerous",
    since="2.6.0",
    group="generic",
)
def restore(client: Client, args: list[bytes]) -> bytes:
    """RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency] -> OK

    Creates a key from what DUMP returned. `ttl` is in milliseconds, or with ABSTTL the Unix time of its end; 0 is
    none.

    Complexity: O(n) in the size of the value, O(n log n) for sorted sets.
    """
    return _restore(client, args)


@command(
    "restore-asking",
    arity=-4,
    flags="write denyoom asking",
    keys=key("OW update"),
    categories="keyspace dangerous",
    since="3.0.0",
    group="server",
)
def restore_asking(client: Client, args: list[bytes]) -> bytes:
    """RESTORE-ASKING key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency] -> OK

    RESTORE into a slot that is being imported: what MIGRATE sends between the nodes of a cluster.

    Complexity: O(n) in the size of the value, O(n log n) for sorted sets.
    """
    return _restore(client, args)
