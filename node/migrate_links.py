"""The connections that MIGRATE keeps to other nodes, so that a batch of keys costs one round trip.

Laws: one exchange at a time on a link; after any failure a link is closed and forgotten. At most
LINKS_MAX links, each dropped LINK_IDLE_MAX_MS after its last use.
"""

from __future__ import annotations

from typing import Any, Final

from pyredis_cluster.client.connection import open_socket
from pyredis_cluster.client.wire import Wire

LINKS_MAX: Final = 64
LINK_IDLE_MAX_MS: Final = 10_000

Target = tuple[str, int]


class Link:
    """A connection to one node, and the database that is selected on it (-1: unknown)."""

    __slots__ = ("database", "last_used_ms", "wire")

    def __init__(self, target: Target, timeout_ms: int) -> None:
        self.wire = Wire(open_socket(*target, timeout_ms), target)
        self.database = -1
        self.last_used_ms = 0

    def exchange(self, payload: bytes, count: int, timeout_ms: int) -> list[Any]:
        """exchange(payload, count, timeout_ms) -> `count` replies. Raises TransportError.

        `timeout_ms` bounds each wait for the socket, as MIGRATE's does. After an error, `replies` has
        those that came before it.
        """
        wire = self.wire
        wire.begin(payload, count)
        while True:
            if wire.wants_write:
                ready = wire.wait_any(timeout_ms)
                wire.on_writable()
            else:
                ready = wire.wait_readable(timeout_ms)
            if not ready:
                raise wire.timed_out(timeout_ms)
            if wire.on_readable():
                return wire.replies

    @property
    def replies(self) -> list[Any]:
        """The replies of the last exchange."""
        return self.wire.replies


class MigrateLinks:
    """get(target) -> a link, cached or new."""

    def __init__(self) -> None:
        self._links: dict[Target, Link] = {}

    def __len__(self) -> int:
        return len(self._links)

    def get(self, target: Target, timeout_ms: int, now_ms: int) -> Link:
        """get(target, timeout_ms, now_ms) -> a link. Raises TransportError if it can't connect. May block."""
        link = self._links.get(target)
        if link is not None and link.wire.is_stale():
            self.drop(target)
            link = None
        if link is None:
            if len(self._links) >= LINKS_MAX:
                self.drop(min(self._links, key=lambda name: self._links[name].last_used_ms))
            link = self._links[target] = Link(target, timeout_ms)
        link.last_used_ms = now_ms
        return link

    def drop(self, target: Target) -> None:
        """drop(target) closes and forgets its link."""
        link = self._links.pop(target, None)
        if link is not None:
            link.wire.close()

    def drop_idle(self, now_ms: int) -> None:
        """drop_idle(now_ms) closes the links that weren't used for LINK_IDLE_MAX_MS."""
        for target, link in [*self._links.items()]:
            if now_ms - link.last_used_ms > LINK_IDLE_MAX_MS:
                self.drop(target)

    def close(self) -> None:
        """close() closes all."""
        for target in [*self._links]:
            self.drop(target)
