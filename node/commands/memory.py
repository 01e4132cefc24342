"""The MEMORY container: USAGE and STATS (Redis: object.c, memoryCommand)."""

from __future__ import annotations

from ..client import Client
from ..command import command, key
from ..command_docs import container_help
from ..errors import SyntaxError_
from ..info_sections import memory_overhead
from ..parsing import parse_integer
from ..process import resident_bytes
from ..reply import bulk, integer
from ..sizes import key_bytes, value_bytes

GROUP = "server"
SAMPLES_DEFAULT = 5
FROM_EACH_SHARD = ("nondeterministic_output", "request_policy:all_shards", "response_policy:special")


@command("memory|usage", arity=-3, flags="readonly", keys=key("RO", 2), categories="read", since="4.0.0", group=GROUP)
def memory_usage(client: Client, args: list[bytes]) -> bytes:
    """MEMORY USAGE key [SAMPLES count] -> integer | null

    Estimates the bytes that a key and its value occupy; elements of a collection are sampled, all of them for 0.
    Complexity: O(N) where N is the number of samples
    """
    samples = SAMPLES_DEFAULT
    options = args[3:]
    while options:
        if options[0].lower() != b"samples" or len(options) < 2:
            raise SyntaxError_
        samples = parse_integer(options[1])
        if samples < 0:
            raise SyntaxError_
        options = options[2:]
    database = client.db
    value = database.peek(args[2])
    if value is None or database.is_expired(args[2]):
        return client.resp.null
    return integer(key_bytes(args[2], database.expiry_ms(args[2]) is not None) + value_bytes(value, samples))


@command("memory|stats", arity=2, flags="", since="4.0.0", group=GROUP, tips=FROM_EACH_SHARD)
def memory_stats(client: Client, args: list[bytes]) -> bytes:
    """MEMORY STATS -> map

    Returns where the server's memory goes.
    Complexity: O(N) where N is the number of connections
    """
    server, resp = client.server, client.resp
    used = server.info.note_peak()
    peak = server.info.peak_bytes
    resident = resident_bytes()
    overhead = memory_overhead(server)
    backlog = server.replication.primary.backlog
    keys = sum(map(len, server.keyspace.databases))
    dataset = max(0, used - overhead["total"])
    above_startup = max(1, used - overhead["startup"])
    fields: list[tuple[str, int | float]] = [
        ("peak.allocated", peak),
        ("total.allocated", used),
        ("startup.allocated", overhead["startup"]),
        ("replication.backlog", len(backlog) if backlog is not None else 0),
        ("clients.slaves", overhead["replica"]),
        ("clients.normal", overhead["normal"]),
        ("overhead.total", overhead["total"]),
        ("keys.count", keys),
        ("keys.bytes-per-key", dataset // keys if keys else 0),
        ("dataset.bytes", dataset),
        ("dataset.percentage", min(100.0, dataset * 100 / above_startup)),
        ("peak.percentage", used * 100 / peak),
        ("rss-overhead.ratio", resident / used),
        ("rss-overhead.bytes", resident - used),
        ("fragmentation", resident / used),
        ("fragmentation.bytes", resident - used),
    ]
    parts = []
    for name, value in fields:
        parts += [bulk(name.encode()), integer(value) if isinstance(value, int) else resp.double(value)]
    return resp.map(parts)


@command("memory|help", arity=2, flags="loading stale", since="4.0.0", group=GROUP)
def memory_help(client: Client, args: list[bytes]) -> bytes:
    """MEMORY HELP -> array

    Returns a text about the subcommands.
    Complexity: O(1)
    """
    return container_help(client)
