"""The `pyredis-node` program: configuration, logging, signals, and the exit status."""

from __future__ import annotations

import logging
import os
import signal
import sys

import trio

from .config import Config, ConfigFileError
from .listeners import ListenError
from .logging import configure_logging
from .persistence.errors import LoadError
from .server import Server

log = logging.getLogger("pyredis")


async def _serve(server: Server) -> int:
    async def stop_on_signal() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                log.warning("Received %s scheduling shutdown...", signal.Signals(number).name)
                config = server.config
                server.shutdown_on_signal(
                    config.shutdown_on_sigint if number == signal.SIGINT else config.shutdown_on_sigterm
                )

    server.tasks.append(stop_on_signal)
    log.info("Server initialized")
    return await server.run(on_ready=lambda: log.info("Ready to accept connections tcp"))


def main(argv: list[str] | None = None) -> None:
    """pyredis-node [redis.conf] [--name value ...]: runs one node in the foreground until SIGTERM or SHUTDOWN."""
    arguments = sys.argv[1:] if argv is None else argv
    config = Config()
    try:
        config.load_args(arguments)
    except ConfigFileError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    if config.dir:
        os.chdir(config.dir)
    configure_logging(config)
    log.info("oO0OoO0OoO0Oo pyredis-node is starting oO0OoO0OoO0Oo")
    log.info("Configuration loaded. PID: %d", os.getpid())
    try:
        server = Server(config)
        status = trio.run(_serve, server, strict_exception_groups=True)
    except (ConfigFileError, ListenError, LoadError) as error:
        log.warning("%s", error)
        sys.exit(1)
    sys.exit(status)


if __name__ == "__main__":
    main()
