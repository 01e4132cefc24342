"""Signals: SIGTERM and SIGINT end the node in order, a second SIGINT at once; a hang-up is nothing to it.

Law: a signal only asks; what is asked for happens in the Trio thread, but for the operator who insists (Redis:
sigShutdownHandler).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from .persistence.files import temporary_path

if TYPE_CHECKING:
    from .server import Server

log = logging.getLogger("pyredis")


def watch_signals(server: Server) -> Callable[[], Awaitable[None]]:
    """watch_signals(server) -> the task that ends the server on SIGTERM and SIGINT, also those from before it ran."""
    early: list[int] = []
    ending = False

    def outside(number: int, frame: Any) -> None:
        """Before the receiver is there a signal is kept for it; after it, only who insists is heard."""
        if not ending:
            early.append(number)
        elif number == signal.SIGINT:
            _exit_now()

    def handle(number: int) -> None:
        nonlocal ending
        log.warning("Received %s scheduling shutdown...", signal.Signals(number).name)
        config = server.config
        ending = True
        ending = server.shutdown_on_signal(
            config.shutdown_on_sigint if number == signal.SIGINT else config.shutdown_on_sigterm
        )

    async def run() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            receive = signal.getsignal(signal.SIGINT)

            def interrupted(number: int, frame: Any) -> None:
                if ending or server.shutdown.in_progress:
                    _exit_now()
                assert callable(receive)
                receive(number, frame)

            signal.signal(signal.SIGINT, interrupted)
            for number in early:
                handle(number)
            async for number in signals:
                handle(number)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, outside)
    return run


def _exit_now() -> None:
    """Without the last save and without waiting for replicas; an error, for it is not a clean end."""
    log.warning("You insist... exiting now.")
    with contextlib.suppress(OSError):
        os.unlink(temporary_path(os.getpid()))
    os._exit(1)
