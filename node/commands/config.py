"""The CONFIG container: GET, SET, REWRITE, RESETSTAT over the one registry (Redis: config.c)."""

from __future__ import annotations

import logging

from ..client import Client
from ..command import command
from ..command_docs import container_help
from ..config_rewrite import rewrite
from ..errors import CommandError
from ..protected import is_allowed
from ..reply import OK

log = logging.getLogger("pyredis")

ADMIN = "admin noscript loading stale"
GROUP = "server"
ALL_NODES = ("request_policy:all_nodes", "response_policy:all_succeeded")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


@command("config|get", arity=-3, flags=ADMIN, since="2.0.0", group=GROUP)
def config_get(client: Client, args: list[bytes]) -> bytes:
    """CONFIG GET parameter [parameter ...] -> map

    Returns the values of the directives whose names match; parameters may be glob patterns.
    Complexity: O(N) where N is the number of parameters
    """
    found = client.server.config.get(*map(_text, args[2:]))
    return client.resp.bulk_map([_bytes(part) for pair in found.items() for part in pair])


@command("config|set", arity=-4, flags=ADMIN, since="2.0.0", group=GROUP, tips=ALL_NODES)
def config_set(client: Client, args: list[bytes]) -> bytes:
    """CONFIG SET parameter value [parameter value ...] -> OK

    Changes directives at run time; all of them or none.
    Complexity: O(N) where N is the number of parameters
    """
    config = client.server.config
    config.set_pairs(
        [_text(arg) for arg in args[2:]],
        protected=is_allowed(client, config.enable_protected_configs),
        loading=client.server.loading or client.server.replication.async_loading,
    )
    return OK


@command("config|rewrite", arity=2, flags=ADMIN, since="2.8.0", group=GROUP, tips=ALL_NODES)
def config_rewrite(client: Client, args: list[bytes]) -> bytes:
    """CONFIG REWRITE -> OK

    Writes the present configuration into the config file, keeping its comments and order.
    Complexity: O(1)
    """
    config = client.server.config
    if config.path is None:
        raise CommandError("The server is running without a config file")
    try:
        rewrite(config, config.path)
    except OSError as error:
        log.warning("CONFIG REWRITE failed: %s", error.strerror)
        raise CommandError(f"Rewriting config file: {error.strerror}") from error
    log.info("CONFIG REWRITE executed with success.")
    return OK


@command("config|resetstat", arity=2, flags=ADMIN, since="2.0.0", group=GROUP, tips=ALL_NODES)
def config_resetstat(client: Client, args: list[bytes]) -> bytes:
    """CONFIG RESETSTAT -> OK

    Sets the counters that INFO shows to zero.
    Complexity: O(1)
    """
    client.server.info.reset()
    return OK


@command("config|help", arity=2, flags="loading stale", since="5.0.0", group=GROUP)
def config_help(client: Client, args: list[bytes]) -> bytes:
    """CONFIG HELP -> array

    Returns a text about the subcommands.
    Complexity: O(1)
    """
    return container_help(client)
