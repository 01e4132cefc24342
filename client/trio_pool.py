"""Connections and their pools for Trio tasks: one pool for each node, bounded."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import trio

from .connection import check_handshake
from .errors import ClientError, ConnectionLostError, PoolExhaustedError, RequestTimeoutError, TransportError
from .options import ClientOptions
from .pool import IdleConnections
from .wire import Address, Wire


class TrioWire(Wire):
    """A wire that tells Trio before its socket is closed."""

    __slots__ = ()

    def close(self) -> None:
        """close(): wake a task that waits for the socket, and close it. May be called again."""
        if not self.closed:
            trio.lowlevel.notify_closing(self.sock)
        super().close()


async def open_wire(address: Address, options: ClientOptions) -> TrioWire:
    """open_wire(address, options) -> a connected wire. Raises RequestTimeoutError, ConnectionLostError."""
    host, port = address
    try:
        with trio.fail_after(options.connect_timeout_ms / 1000):
            stream = await trio.open_tcp_stream(host, port)
    except trio.TooSlowError as error:
        raise RequestTimeoutError(
            f"no connection to {host}:{port} within {options.connect_timeout_ms:.0f} ms"
        ) from error
    except OSError as error:
        raise ConnectionLostError(f"can't connect to {host}:{port}: {error.strerror or error}") from error
    return TrioWire(
        socket.socket(fileno=stream.socket.detach()), address, decode_responses=options.decode_responses
    )


class TrioConnection:
    """A connection to one node, of one pool."""

    __slots__ = ("pool", "wire")

    def __init__(self, wire: TrioWire, pool: TrioNodePool) -> None:
        self.wire: Wire = wire
        self.pool = pool

    async def exchange(self, payload: bytes, count: int, timeout_ms: float) -> list[object]:
        """exchange(payload, count, timeout_ms) -> `count` replies. Raises TransportError.

        A large payload is sent while replies are received, so that both sides can't block for ever.
        """
        wire = self.wire
        wire.begin(payload, count)
        with trio.move_on_after(timeout_ms / 1000):
            if wire.wants_write:
                await self._send_and_receive()
            else:
                await self._receive()
            return wire.replies
        raise wire.timed_out(timeout_ms)

    async def _receive(self) -> None:
        wire = self.wire
        while True:
            await trio.lowlevel.wait_readable(wire.sock)
            if wire.on_readable():
                return

    async def _send_and_receive(self) -> None:
        failures: list[ClientError] = []

        async def send_rest() -> None:
            try:
                while self.wire.wants_write:
                    await trio.lowlevel.wait_writable(self.wire.sock)
                    self.wire.on_writable()
            except ClientError as error:
                failures.append(error)
            except trio.ClosedResourceError:
                return  # the receiving side has met the failure

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_rest)
            try:
                await self._receive()
            except ClientError as error:
                failures.append(error)
            except trio.ClosedResourceError:
                pass  # the sending side has met the failure
            nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]


class TrioNodePool(IdleConnections[TrioConnection]):
    """The connections to one node; `places` counts how many more may be in use."""

    def __init__(self, address: Address, options: ClientOptions) -> None:
        super().__init__(address)
        self.places = trio.Semaphore(options.pool_connections_max, max_value=options.pool_connections_max)


class TrioPools:
    """The pools of one client, by address."""

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._handshake = options.handshake()
        self._pools: dict[Address, TrioNodePool] = {}

    async def acquire(self, address: Address) -> TrioConnection:
        """acquire(address) -> a connection for the caller alone.

        Raises PoolExhaustedError, TransportError, or the ResponseError with which the node refused it.
        """
        options = self._options
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = TrioNodePool(address, options)
        try:
            pool.places.acquire_nowait()
        except trio.WouldBlock:
            with trio.move_on_after(options.pool_wait_ms / 1000) as scope:
                await pool.places.acquire()
            if scope.cancelled_caught:
                raise PoolExhaustedError(
                    f"all {options.pool_connections_max} connections to {address[0]}:{address[1]} are in use"
                ) from None
        try:
            return pool.take() or await self._open(address, pool)
        except BaseException:
            pool.places.release()
            raise

    async def _open(self, address: Address, pool: TrioNodePool) -> TrioConnection:
        connection = TrioConnection(await open_wire(address, self._options), pool)
        payload, count = self._handshake
        if count:
            try:
                check_handshake(await connection.exchange(payload, count, self._options.connect_timeout_ms))
            except TransportError as error:
                error.maybe_applied = False  # it was the handshake that failed
                raise
            except BaseException:
                connection.wire.close()
                raise
        return connection

    def release(self, connection: TrioConnection) -> None:
        """release(connection): the caller has done with it; a closed one only frees its place."""
        connection.pool.put(connection)
        connection.pool.places.release()

    def retain(self, addresses: Iterable[Address]) -> None:
        """retain(addresses): close the pools of all other nodes."""
        kept = set(addresses)
        for address in [address for address in self._pools if address not in kept]:
            self._pools.pop(address).close()

    def close(self) -> None:
        """close(): close all idle connections now, those in use when they are released."""
        self.retain(())
