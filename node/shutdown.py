"""How the node ends: SHUTDOWN and signals, the wait for replicas, the last save (Redis: prepareForShutdown).

Laws: writes stop before replicas are waited for, so that they can catch up; the wait ends after shutdown-timeout;
a last save that is wanted and fails keeps the node alive unless FORCE was given.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .client import Client
from .errors import CommandError
from .parsing import INT64_MAX
from .pausing import PausePurpose
from .reply import NO_REPLY

if TYPE_CHECKING:
    from .server import Server

log = logging.getLogger("pyredis")

FAILED = CommandError("Errors trying to SHUTDOWN. Check logs.")


@dataclass(frozen=True)
class Options:
    """`save`: True or False as demanded, None as the save points say. `now`: don't wait for replicas."""

    save: bool | None = None
    now: bool = False
    force: bool = False

    @classmethod
    def of(cls, words: tuple[str, ...]) -> Options:
        """of(("nosave", "now")) -> the options that SHUTDOWN's words or shutdown-on-sigterm stand for."""
        save = True if "save" in words else False if "nosave" in words else None
        return cls(save, "now" in words, "force" in words)


class Shutdown:
    """`request(options)` begins it; `abort()` ends the wait for replicas and lets the node go on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._options: Options | None = None
        """What was asked for, while replicas are waited for."""
        self.deadline_ms = 0
        self._waiting: list[Client] = []
        server.cron.append(self._check)

    @property
    def in_progress(self) -> bool:
        """Whether replicas are being waited for."""
        return self._options is not None

    def request(self, options: Options) -> bool:
        """request(options) -> False if it failed at once; else the node ends now, or when its replicas have all."""
        if self.in_progress:
            return True
        server = self._server
        log.info("User requested shutdown...")
        timeout_ms = server.config.shutdown_timeout * 1000
        if options.now or not timeout_ms or self._replicas_have_all():
            return self._finish(options)
        self._options = options
        self.deadline_ms = server.clock.now_ms + timeout_ms
        server.replication.primary.ask_for_acks()
        server.blocking.pause(PausePurpose.SHUTDOWN, INT64_MAX, writes_only=True)
        log.info("Waiting for replicas before shutting down.")
        return True

    def wait(self, client: Client) -> bytes:
        """wait(client) -> no reply: SHUTDOWN's client hears only if it fails or is aborted."""
        if self.in_progress and client.may_block:
            self._waiting.append(client)
            return self._server.blocking.park(client, [], [], 0, lambda _: NO_REPLY, kind="shutdown")
        return NO_REPLY

    def abort(self) -> bool:
        """abort() -> whether there was a shutdown to abort (SHUTDOWN ABORT); clients that asked for it get an error."""
        if self._options is None:
            return False
        self._give_up()
        log.info("Shutdown manually aborted.")
        return True

    def _give_up(self) -> None:
        self._options = None
        self._server.blocking.unpause(PausePurpose.SHUTDOWN)
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            if client.parked is not None:
                self._server.blocking.complete(client, FAILED.encode())

    def _replicas_have_all(self) -> bool:
        offset = self._server.journal.offset
        return all(link.ack_offset >= offset for link in self._server.replication.primary.links.values())

    def _check(self) -> None:
        options = self._options
        if options is None:
            return
        late = self._server.clock.now_ms >= self.deadline_ms
        if not late and not self._replicas_have_all():
            return
        if not self._finish(options):
            self._give_up()

    def _log_replicas(self) -> None:
        links = [*self._server.replication.primary.links.values()]
        offset = self._server.journal.offset
        lagging = [link for link in links if link.ack_offset != offset]
        for link in lagging:
            host, port = link.address
            log.info(
                "Lagging replica %s:%d reported offset %d behind master.",
                host,
                port,
                offset - link.ack_offset,
            )
        if links:
            log.info(
                "%d of %d replicas are in sync when shutting down.", len(links) - len(lagging), len(links)
            )

    def _finish(self, options: Options) -> bool:
        server = self._server
        self._log_replicas()
        save = False if server.loading else options.save
        if not server.persistence.prepare_shutdown(save) and not options.force:
            log.warning("Errors trying to shut down the server. Check the logs for more information.")
            return False
        server.stop(0)
        return True
