"""How many files this process may open, and so how many clients it can take (Redis: adjustOpenFilesLimit).

Law: `maxclients` never promises more than the system's limit allows, with RESERVED descriptors kept for the
node's own files, listeners, children and links.
"""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING

from .config_kinds import ConfigError

if TYPE_CHECKING:
    from .config import Config

log = logging.getLogger("pyredis")

RESERVED = 32
RESERVED_CLUSTER = 128
"""In a cluster there are the bus's sockets and exchanges, and the links of slot migrations and MIGRATE."""


class OpenFilesError(Exception):
    """The limit is too low to start at all."""


def watch_open_files(config: Config) -> None:
    """watch_open_files(config): fit the limit and `maxclients` to each other, now and at each CONFIG SET.

    Raises OpenFilesError where the limit leaves no room for any client.
    """
    _fit(config)

    def changed() -> None:
        wanted = config.maxclients
        _fit(config)
        if config.maxclients != wanted:
            raise ConfigError(
                "The operating system is not able to handle the specified number of clients, "
                f"try with {config.maxclients}"
            )

    config.on_change("maxclients", changed)


def _fit(config: Config) -> None:
    reserved = RESERVED_CLUSTER if config.cluster_enabled else RESERVED
    wanted = config.maxclients + reserved
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    reached, reason = _raise(wanted, soft, hard)
    if reached >= wanted:
        log.info("Increased maximum number of open files to %d (it was originally set to %d).", reached, soft)
        return
    if reached <= reserved:
        raise OpenFilesError(
            f"Your current 'ulimit -n' of {reached} is not enough for the server to start. "
            f"Please increase your open file limit to at least {wanted}. Exiting."
        )
    log.warning("You requested maxclients of %d requiring at least %d max file descriptors.", config.maxclients, wanted)
    log.warning("Server can't set maximum open files to %d because of OS error: %s.", wanted, reason)
    config.maxclients = reached - reserved
    log.warning(
        "Current maximum open files is %d. maxclients has been reduced to %d to compensate for low ulimit. "
        "If you need higher maxclients increase 'ulimit -n'.",
        reached,
        config.maxclients,
    )


def _raise(wanted: int, soft: int, hard: int) -> tuple[int, str]:
    """The limit as it is after trying to raise it to `wanted`, and why it could not go further."""
    reason = ""
    for limit in (wanted, *([hard] if hard != resource.RLIM_INFINITY else [])):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
        except (OSError, ValueError) as error:
            reason = str(error)
        else:
            return limit, reason
    return soft, reason
