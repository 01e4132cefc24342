"""The connections to one node that are not in use: what both drivers' pools share, without the waiting."""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

from .wire import Address, Wire


class Pooled(Protocol):
    """What a pool holds."""

    wire: Wire


C = TypeVar("C", bound=Pooled)


class IdleConnections(Generic[C]):
    """A stack of idle connections: the last one used is the first to be used again. Thread-safe."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.closed = False
        self._idle: deque[C] = deque()

    def take(self) -> C | None:
        """take() -> an idle connection that is still good, or None: the caller opens one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.wire.is_stale():
                return connection
            connection.wire.close()

    def put(self, connection: C) -> None:
        """put(connection): it is idle now; a closed pool closes it.

        One that broke takes the idle ones with it: a dying process loses its connections one after the other, and
        each write on the next one would be another whose fate is unknown.
        """
        if connection.wire.closed:
            self._drop_idle()
            return
        self._idle.append(connection)
        if self.closed:
            self._drop_idle()

    def close(self) -> None:
        """close(): close the idle connections now, and those in use when they come back."""
        self.closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        while self._idle:
            try:
                self._idle.pop().wire.close()
            except IndexError:
                return
