"""One full sync: a forked child writes the snapshot, its bytes go to every replica that waits for it.

Laws: all replicas of one full sync get the same bytes; the child's pipe is read only while no replica's
socket is congested, so that nothing piles up here.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..reactor import READABLE
from .replica_link import ReplicaLink, SyncState

if TYPE_CHECKING:
    from ..server import Server

log = logging.getLogger("pyredis")

PIPE_READ_BYTES = 256 * 1024


class FullSync:
    """`start()` forks; `on_end(ok)` is called once, when every byte was passed on or it failed.

    With `marker` (40 bytes) the length is unknown and the payload is `$EOF:<marker>` framed, straight from the
    child's pipe (diskless); without it the child writes the RDB file first, and that is sent with its length.
    """

    def __init__(
        self,
        server: Server,
        links: list[ReplicaLink],
        marker: bytes | None,
        offset: int,
        on_end: Callable[[bool], None],
    ) -> None:
        self._server = server
        self.links = links
        self.marker = marker
        self.offset = offset
        """The journal's offset as of which the snapshot is."""
        self._on_end = on_end
        self._fd = -1
        self._watched = False
        self._pumping = False
        self._child_ok: bool | None = None
        self._at_end = False

    def start(self) -> None:
        """start() begins; a failure to fork ends the full sync with on_end(False)."""
        persistence = self._server.persistence
        try:
            if self.marker is None:
                log.info("Starting BGSAVE for SYNC with target: disk")
                persistence.bgsave(on_end=self._file_written)
                return
            log.info("Starting BGSAVE for SYNC with target: replicas sockets")
            self._fd, write_fd = os.pipe()
            os.set_blocking(self._fd, False)
            try:
                persistence.fork_to_pipe(write_fd, on_end=self._child_ended)
            finally:
                os.close(write_fd)
        except OSError as error:
            log.warning("BGSAVE for replication failed: %s", error)
            self._finish(False)
            return
        for link in self.links:
            link.send_snapshot(b"$EOF:%b\r\n" % self.marker)
        self._watch(True)

    def _file_written(self, ok: bool) -> None:
        self._child_ok = ok
        if not ok:
            log.warning("SYNC failed. BGSAVE child returned an error")
            self._finish(False)
            return
        try:
            self._fd = os.open(self._server.persistence.rdb_path, os.O_RDONLY)
        except OSError as error:
            log.warning("SYNC failed. Can't open the RDB file after saving: %s", error)
            self._finish(False)
            return
        size = os.fstat(self._fd).st_size
        for link in self.links:
            link.state = SyncState.SENDING
            link.send_snapshot(b"$%d\r\n" % size)
        self.drained()

    # -- reading

    def on_readable(self) -> None:
        self._pump()

    def on_writable(self) -> None:
        return None

    def on_fault(self) -> None:
        self._finish(False)

    def drained(self) -> None:
        """drained(): a replica's output was sent; go on if none is congested. Files are read from here."""
        if self._fd < 0 or self._at_end or self._pumping:
            return
        if self.marker is None:
            # One read: what it sends goes out in a later round, and comes back here.
            self._pumping = True
            if not self._congested():
                self._pump()
            self._pumping = False
        elif not self._watched and not self._congested():
            self._watch(True)

    def _congested(self) -> bool:
        return any(link.congested for link in self.links)

    def _pump(self) -> None:
        try:
            data = os.read(self._fd, PIPE_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("Reading the snapshot failed: %s", error)
            self._finish(False)
            return
        if not data:
            self._end_of_data()
            return
        for link in [*self.links]:
            link.send_snapshot(data)
        if self.marker is not None and self._congested():
            self._watch(False)

    def _end_of_data(self) -> None:
        self._at_end = True
        if self.marker is not None:
            log.info("Diskless rdb transfer, done reading from pipe, %d replicas still up.", len(self.links))
        self._close()
        if self._child_ok is not None:
            self._finish(self._child_ok)

    def _child_ended(self, ok: bool) -> None:
        self._child_ok = ok
        if not ok:
            self._finish(False)
        elif self._at_end:
            self._finish(True)

    def _watch(self, on: bool) -> None:
        if on != self._watched:
            self._watched = on
            if on:
                self._server.reactor.add(self._fd, self, READABLE)
            else:
                self._server.reactor.remove(self._fd)

    def _close(self) -> None:
        if self._fd >= 0:
            self._watch(False)
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1

    @property
    def open_to_others(self) -> bool:
        """Whether a replica that comes now can be given this snapshot too: nothing of it was sent so far."""
        return self.marker is None and self._fd < 0 and self._child_ok is None

    def forget(self, link: ReplicaLink) -> None:
        """forget(link): that replica is gone; without any left, the child is of no use, unless save points are set."""
        if link in self.links:
            self.links.remove(link)
        if self.links:
            self.drained()
        elif self.marker is not None:
            log.warning("Diskless rdb transfer, last replica dropped, killing fork child.")
            self._server.persistence.kill_child()
        elif self._fd >= 0:
            self._finish(False)
        elif not self._server.config.save:
            self._server.persistence.kill_child()

    def _finish(self, ok: bool) -> None:
        self._close()
        on_end, self._on_end = self._on_end, lambda ok: None
        if ok and self.marker is not None:
            for link in self.links:
                link.send_snapshot(self.marker)
        on_end(ok)
