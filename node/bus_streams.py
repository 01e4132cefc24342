"""Whole-state exchanges of the bus over TCP, on the bus's own port number: the I/O around `SyncExchange`.

Few at a time, each with a time limit; a broken one is given up, for the next difference of digests starts another.
"""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING

import trio
from pyredis_cluster.gossip.errors import Dropped
from pyredis_cluster.gossip.nodes import Address
from pyredis_cluster.gossip.sync import SyncExchange

if TYPE_CHECKING:
    from .bus import Bus

log = logging.getLogger("pyredis")

EXCHANGE_SECONDS_MAX = 5.0
INBOUND_MAX = 16
OUTBOUND_MAX = 4
READ_BYTES = 64 * 1024
BACKLOG = 64


class BusStreams:
    """BusStreams(bus, hosts, port): listens on each host. Raises OSError where the port is taken."""

    def __init__(self, bus: Bus, hosts: list[str], port: int) -> None:
        self._bus = bus
        self._listeners: list[socket.socket] = []
        self._inbound = 0
        self._outbound = 0
        try:
            for host in hosts:
                self._listen(host, port)
        except OSError:
            self.close()
            raise

    def _listen(self, host: str, port: int) -> None:
        optional = host.startswith("-")
        host = {"*": "0.0.0.0", "::*": "::"}.get(host.removeprefix("-"), host.removeprefix("-"))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            if optional:
                return
            raise
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            if not (optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)):
                raise
        else:
            self._listeners.append(sock)

    async def serve(self, nursery: trio.Nursery) -> None:
        """serve(nursery): accept exchanges until cancelled."""
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in self._listeners]
        await trio.serve_listeners(self._accept, listeners, handler_nursery=nursery)

    async def _accept(self, stream: trio.SocketStream) -> None:
        if self._inbound >= INBOUND_MAX:
            await trio.aclose_forcefully(stream)
            return
        self._inbound += 1
        try:
            await self._exchange(stream, initiator=False)
        finally:
            self._inbound -= 1

    async def initiate(self, address: Address) -> None:
        """initiate(address): exchange states with the node there; failure is only logged."""
        if self._outbound >= OUTBOUND_MAX:
            return
        self._outbound += 1
        try:
            with trio.move_on_after(EXCHANGE_SECONDS_MAX):
                stream = await trio.open_tcp_stream(*address)
                await self._exchange(stream, initiator=True)
        except OSError as error:
            log.debug("Cluster state exchange with %s:%d failed: %s", *address, error)
        finally:
            self._outbound -= 1

    async def _exchange(self, stream: trio.SocketStream, *, initiator: bool) -> None:
        bus = self._bus
        exchange = SyncExchange(bus.core, bus.keyring, initiator=initiator)
        with trio.move_on_after(EXCHANGE_SECONDS_MAX):
            async with stream:
                try:
                    if initiator:
                        await stream.send_all(exchange.start())
                    while not exchange.done:
                        data = await stream.receive_some(READ_BYTES)
                        if not data:
                            return
                        answer = exchange.feed(data, bus.now_ms())
                        bus.perform()
                        if answer:
                            await stream.send_all(answer)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
                except Dropped as dropped:
                    bus.core.stats.dropped[dropped.reason] += 1

    def close(self) -> None:
        for sock in self._listeners:
            sock.close()
