"""What becomes of an exception that nobody expected: a bug in a handler, a cron hook or a Trio task.

Law: it is logged with its traceback, ends what it happened in (a connection, a link, a child, one datagram) and
nothing else; a task is started again. A log can't be flooded: of the errors at one place the first, second,
fourth, eighth ... are logged.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import trio

log = logging.getLogger("pyredis")

RESTART_DELAY_SECONDS = 1.0

_seen: Counter[str] = Counter()


def report(place: str, error: BaseException) -> None:
    """report("cron hook _check_clients", error): logs what was caught there, with its traceback."""
    _seen[place] += 1
    count = _seen[place]
    if count & (count - 1) == 0:
        text = "Internal error in %s (time %d). This is a bug in pyredis-node; it goes on."
        log.error(text, place, count, exc_info=error)


def contained(kind: str, work: Callable[[], object]) -> bool:
    """contained("cron hook", hook) -> whether it ended without an unexpected exception; one is reported."""
    try:
        work()
    except Exception as error:
        report(f"{kind} {_name(work)}", error)
        return False
    return True


async def supervised(task: Callable[[], Awaitable[None]]) -> None:
    """supervised(task): runs the task; after an unexpected exception again, RESTART_DELAY_SECONDS later."""
    while True:
        try:
            await task()
        except Exception as error:
            report(f"task {_name(task)}", error)
            await trio.sleep(RESTART_DELAY_SECONDS)
        else:
            return


def _name(work: object) -> str:
    return str(getattr(work, "__qualname__", work))
