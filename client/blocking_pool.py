"""Connection pools for threads: one for each node, bounded, and the exchange with several nodes at once."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterable

from .connection import Connection
from .effects import Batch
from .errors import ClientError, PoolExhaustedError, TransportError
from .options import ClientOptions
from .pool import IdleConnections
from .wire import Address, Wire, poll_timeout


class PooledConnection(Connection):
    """A connection that knows its pool."""

    __slots__ = ("pool",)
    pool: NodePool


class NodePool(IdleConnections[PooledConnection]):
    """The connections to one node; `places` counts how many more may be in use."""

    def __init__(self, address: Address, options: ClientOptions) -> None:
        super().__init__(address)
        self.places = threading.BoundedSemaphore(options.pool_connections_max)


class BlockingPools:
    """The pools of one client, by address. Thread-safe; a forked child starts with none."""

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._handshake = options.handshake()
        self._lock = threading.Lock()
        self._pools: dict[Address, NodePool] = {}
        self._pid = os.getpid()

    def acquire(self, address: Address) -> PooledConnection:
        """acquire(address) -> a connection for the caller alone.

        Raises PoolExhaustedError, TransportError, or the ResponseError with which the node refused it.
        """
        if self._pid != os.getpid():
            self._abandon()
        pool = self._pools.get(address)
        if pool is None:
            pool = self._add_pool(address)
        options = self._options
        if not pool.places.acquire(blocking=False) and not pool.places.acquire(
            timeout=options.pool_wait_ms / 1000
        ):
            raise PoolExhaustedError(
                f"all {options.pool_connections_max} connections to {address[0]}:{address[1]} are in use"
            )
        try:
            connection = pool.take()
            if connection is None:
                connection = self._open(address, pool)
        except BaseException:
            pool.places.release()
            raise
        return connection

    def _open(self, address: Address, pool: NodePool) -> PooledConnection:
        host, port = address
        options = self._options
        try:
            connection = PooledConnection(
                host,
                port,
                options.connect_timeout_ms,
                decode_responses=options.decode_responses,
                handshake=self._handshake,
            )
        except TransportError as error:
            error.maybe_applied = False  # it was the handshake that failed
            raise
        connection.pool = pool
        return connection

    def _add_pool(self, address: Address) -> NodePool:
        with self._lock:
            return self._pools.setdefault(address, NodePool(address, self._options))

    def release(self, connection: PooledConnection) -> None:
        """release(connection): the caller has done with it; a closed one only frees its place."""
        connection.pool.put(connection)
        connection.pool.places.release()

    def retain(self, addresses: Iterable[Address]) -> None:
        """retain(addresses): close the pools of all other nodes."""
        kept = set(addresses)
        with self._lock:
            gone = [pool for address, pool in self._pools.items() if address not in kept]
            self._pools = {address: pool for address, pool in self._pools.items() if address in kept}
        for pool in gone:
            pool.close()

    def close(self) -> None:
        """close(): close all idle connections now, those in use when they are released."""
        self.retain(())

    def _abandon(self) -> None:
        # The sockets belong to the parent process; closing the child's copies leaves them open there.
        self._pid = os.getpid()
        self._lock = threading.Lock()
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()


def exchange_together(pairs: list[tuple[Wire, Batch]]) -> None:
    """exchange_together([(wire, batch)]): send all batches, then gather all replies, as the wires get ready.

    What fails is put into the batch's `error`; its wire is closed then.
    """
    poll = select.poll()
    active: dict[int, tuple[Wire, Batch, float]] = {}
    start = time.monotonic()
    for wire, batch in pairs:
        descriptor = wire.sock.fileno()
        try:
            wire.begin(batch.payload, batch.count)
        except ClientError as error:
            batch.error = error
            continue
        poll.register(descriptor, select.POLLIN | (select.POLLOUT if wire.wants_write else 0))
        active[descriptor] = wire, batch, start + batch.timeout_ms / 1000
    while active:
        now = time.monotonic()
        soonest = min(deadline for _, _, deadline in active.values())
        ready = poll.poll(poll_timeout((soonest - now) * 1000))
        for descriptor, _ in ready:
            wire, batch, _ = active[descriptor]
            if _advance(wire, batch, poll, descriptor):
                poll.unregister(descriptor)
                del active[descriptor]
        if not ready:
            now = time.monotonic()
            for descriptor, (wire, batch, deadline) in list(active.items()):
                if deadline <= now:
                    poll.unregister(descriptor)
                    del active[descriptor]
                    batch.replies = wire.replies
                    batch.error = wire.timed_out(batch.timeout_ms)


def _advance(wire: Wire, batch: Batch, poll: select.poll, descriptor: int) -> bool:
    """Move what bytes can be moved; True once the batch is answered or has failed."""
    try:
        if wire.wants_write:
            wire.on_writable()
            if not wire.wants_write:
                poll.modify(descriptor, select.POLLIN)
        done = wire.on_readable()
    except ClientError as error:
        batch.error = error
        done = True
    if done:
        batch.replies = wire.replies
    return done
