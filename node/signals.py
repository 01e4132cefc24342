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
    """watch_signals(server) -> the task that ends the server on SIGTERM and SIGINT."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ending = False

    async def run() -> None:
        nonlocal ending
        signal.signal(signal.SIGTERM, _too_late)
        signal.signal(signal.SIGINT, _too_late)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            again = signal.getsignal(signal.SIGINT)

            def interrupted(number: int, frame: Any) -> None:
                if ending or server.shutdown.in_progress:
                    _exit_now()
                assert callable(again)
                again(number, frame)

            signal.signal(signal.SIGINT, interrupted)
            async for number in signals:
                log.warning("Received %s scheduling shutdown...", signal.Signals(number).name)
                config = server.config
                ending = True
                ending = server.shutdown_on_signal(
                    config.shutdown_on_sigint if number == signal.SIGINT else config.shutdown_on_sigterm
                )

    return run


def _too_late(number: int, frame: Any) -> None:
    """A signal after the receiver has gone: the node is ending, and in order unless the operator insists."""
    if number == signal.SIGINT:
        _exit_now()


def _exit_now() -> None:
    """Without the last save and without waiting for replicas; an error, for it is not a clean end."""
    log.warning("You insist... exiting now.")
    with contextlib.suppress(OSError):
        os.unlink(temporary_path(os.getpid()))
    os._exit(1)
