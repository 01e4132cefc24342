"""OBJECT: how a value is represented (Redis: objectCommand in object.c).

Law: it tells what is true of this node. Access times and frequencies aren't tracked, and it says so.
"""

from __future__ import annotations

from typing import Any

from ..client import Client
from ..command import command, key
from ..command_docs import container_help
from ..errors import CommandError
from ..reply import bulk, integer
from ..values.common import encoding, references


def _value(client: Client, args: list[bytes]) -> Any:
    return client.db.read(args[2])


@command("object", arity=-2, flags="", since="2.2.3", group="generic")
def object_(client: Client, args: list[bytes]) -> bytes:
    """OBJECT subcommand [arg ...] -> depends on the subcommand

    A container for object introspection commands.
    Complexity: Depends on subcommand.
    """
    raise AssertionError("a container is not run")


@command(
    "object|encoding",
    arity=3,
    flags="readonly",
    keys=key("RO", 2),
    categories="keyspace",
    since="2.2.3",
    group="generic",
    tips=("nondeterministic_output",),
)
def object_encoding(client: Client, args: list[bytes]) -> bytes:
    """OBJECT ENCODING key -> bulk | null

    Returns the internal encoding of a Redis object.
    Complexity: O(1)
    """
    value = _value(client, args)
    return client.resp.null if value is None else bulk(encoding(value))


@command(
    "object|refcount",
    arity=3,
    flags="readonly",
    keys=key("RO", 2),
    categories="keyspace",
    since="2.2.3",
    group="generic",
    tips=("nondeterministic_output",),
)
def object_refcount(client: Client, args: list[bytes]) -> bytes:
    """OBJECT REFCOUNT key -> integer | null

    Returns the reference count of a value of a key. It is 1, or 2147483647 for a small integer that keys
    share.
    Complexity: O(1)
    """
    value = _value(client, args)
    return client.resp.null if value is None else integer(references(value))


@command(
    "object|idletime",
    arity=3,
    flags="readonly",
    keys=key("RO", 2),
    categories="keyspace",
    since="2.2.3",
    group="generic",
    tips=("nondeterministic_output",),
)
def object_idletime(client: Client, args: list[bytes]) -> bytes:
    """OBJECT IDLETIME key -> null | error

    Returns the time since the last access to a Redis object. This node doesn't track it and answers an error
    for a key that exists.
    Complexity: O(1)
    """
    if _value(client, args) is None:
        return client.resp.null
    raise CommandError("Idle time is not tracked by this server.")


@command(
    "object|freq",
    arity=3,
    flags="readonly",
    keys=key("RO", 2),
    categories="keyspace",
    since="4.0.0",
    group="generic",
    tips=("nondeterministic_output",),
)
def object_freq(client: Client, args: list[bytes]) -> bytes:
    """OBJECT FREQ key -> null | error

    Returns the logarithmic access frequency counter of a Redis object. This node doesn't track it and answers
    an error for a key that exists.
    Complexity: O(1)
    """
    if _value(client, args) is None:
        return client.resp.null
    raise CommandError(
        "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
        "between policies at runtime LRU and LFU data will take some time to adjust."
    )


@command("object|help", arity=2, flags="loading stale", categories="keyspace", since="6.2.0", group="generic")
def object_help(client: Client, args: list[bytes]) -> bytes:
    """OBJECT HELP -> array of simple strings

    Returns helpful text about the different subcommands.
    Complexity: O(1)
    """
    return container_help(client)
