"""The node's log: Redis's line format on standard output, in `logfile` or to syslog, at `loglevel`.

Law: every module logs through `logging.getLogger("pyredis")`, with the levels debug, VERBOSE, info (Redis's
notice) and warning; only this module knows where lines go.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from logging.handlers import SysLogHandler, WatchedFileHandler
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import Config

VERBOSE = 15
NOTHING = logging.CRITICAL + 10
LEVELS = {
    "debug": logging.DEBUG,
    "verbose": VERBOSE,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "nothing": NOTHING,
}

PRIMARY, REPLICA, CHILD = "M", "S", "C"
"""The role letters of a line: who wrote it."""


class LineFormatter(logging.Formatter):
    """`pid:role date time level text`, e.g. `71:M 20 Nov 2026 20:38:49.012 * Ready` (Redis: serverLogRaw)."""

    role = PRIMARY

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%d %b %Y %H:%M:%S", time.localtime(record.created))
        mark = "#" if record.levelno >= logging.WARNING else "*" if record.levelno >= logging.INFO else "-"
        if record.levelno < VERBOSE:
            mark = "."
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{os.getpid()}:{self.role} {when}.{int(record.msecs):03d} {mark} {text}"


_formatter = LineFormatter()


def set_role(letter: str) -> None:
    """set_role(REPLICA): the role letter of this process's lines from now on."""
    _formatter.role = letter


def configure_logging(config: Config) -> None:
    """configure_logging(config): lines go where the configuration says; CONFIG SET loglevel takes effect."""
    logger = logging.getLogger("pyredis")
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    target = WatchedFileHandler(config.logfile) if config.logfile else logging.StreamHandler(sys.stdout)
    target.setFormatter(_formatter)
    logger.addHandler(target)
    if config.syslog_enabled:
        logger.addHandler(_syslog(config.syslog_ident, config.syslog_facility))
    logger.propagate = False

    def apply_level() -> None:
        logger.setLevel(LEVELS[config.loglevel])

    apply_level()
    config.on_change("loglevel", apply_level)


def _syslog(ident: str, facility: str) -> SysLogHandler:
    handler = SysLogHandler("/dev/log", SysLogHandler.facility_names[facility])
    handler.ident = f"{ident}[{os.getpid()}]: "
    return handler
