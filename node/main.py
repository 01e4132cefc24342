"""The `pyredis-node` program: configuration, logging, signals, and the exit status."""

from __future__ import annotations

import logging
import sys

import trio

from .config import Config, ConfigFileError
from .listeners import ListenError
from .logging import configure_logging
from .open_files import OpenFilesError, watch_open_files
from .persistence.errors import LoadError
from .server import Server
from .signals import watch_signals
from .version import REDIS_VERSION

log = logging.getLogger("pyredis")

USAGE = """Usage: pyredis-node [redis.conf] [--name value ...] [-]
       pyredis-node --version | --help

Directives are redis.conf's; `-` reads more of them from standard input.
Examples:
       pyredis-node
       pyredis-node redis.conf --port 7777
       pyredis-node --port 7000 --cluster-enabled yes --save ''"""


async def _serve(server: Server) -> int:
    server.tasks.append(watch_signals(server))
    return await server.run(on_ready=lambda: log.info("Ready to accept connections tcp"))


def main(argv: list[str] | None = None) -> None:
    """pyredis-node [redis.conf] [--name value ...]: runs one node in the foreground until SIGTERM or SHUTDOWN."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] in (["-v"], ["--version"]):
        print(f"Redis server v={REDIS_VERSION} sha=00000000:0 malloc=python bits=64 build=0")
        return
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return
    config = Config()
    try:
        config.load_args(arguments)
    except ConfigFileError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    configure_logging(config)
    log.info("oO0OoO0OoO0Oo pyredis-node is starting oO0OoO0OoO0Oo")
    log.info("Configuration loaded")
    if config.appendonly:
        log.warning("appendonly is set, but there is no append-only file yet: only save points protect the data.")
    try:
        watch_open_files(config)
        server = Server(config)
        server.garbage.switch_off()
        status = trio.run(_serve, server, strict_exception_groups=True)
    except (ConfigFileError, ListenError, LoadError, OpenFilesError) as error:
        log.warning("%s", error)
        sys.exit(1)
    except Exception:
        log.critical("Internal error. This is a bug in pyredis-node, and it can't go on.", exc_info=True)
        sys.exit(1)
    sys.exit(status)


if __name__ == "__main__":
    main()
