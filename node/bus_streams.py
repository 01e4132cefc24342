"""Whole-state exchanges of the bus over TCP, on the bus's own port number: the I/O around `SyncExchange`.

Few at a time, each with a time limit; a broken one is given up, for the next difference of digests starts another.
Law: whoever has not yet shown that it has the cluster's secret holds a place, and memory, for a moment only, and
gives it up to the next one from its address.
"""

from __future__ import annotations

import errno
import logging
import socket
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio
from pyredis_cluster.gossip.errors import Dropped
from pyredis_cluster.gossip.nodes import Address
from pyredis_cluster.gossip.sync import SyncExchange

from .internal_errors import report, supervised

if TYPE_CHECKING:
    from .bus import Bus

log = logging.getLogger("pyredis")

EXCHANGE_SECONDS_MAX = 5.0
PROOF_SECONDS_MAX = 1.0
"""Within this time an inbound stream must have brought a frame with a right tag."""
INBOUND_MAX = 16
UNPROVED_PER_HOST_MAX = 4
OUTBOUND_MAX = 4
READ_BYTES = 64 * 1024
BACKLOG = 64
LISTEN_RETRY_SECONDS = 0.5


@dataclass(eq=False, slots=True)
class _Guest:
    """An inbound exchange; `proved` once its first frame was genuine."""

    host: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    proved: bool = False


class BusStreams:
    """BusStreams(bus, hosts, port): `serve` listens on each host, `initiate` begins an exchange.

    The UDP socket on the same port is what makes the port ours. A TCP port of that number may for a while be
    some outgoing connection's own, so taking it is tried again and again.
    """

    def __init__(self, bus: Bus, hosts: list[str], port: int) -> None:
        self._bus = bus
        self._hosts = hosts
        self._port = port
        self._listening = 0
        self._inbound: dict[_Guest, None] = {}
        self._outbound = 0

    @property
    def listening(self) -> bool:
        """Whether the port is ours; False while some outgoing connection of this host has that number."""
        return self._listening > 0

    async def serve(self, nursery: trio.Nursery) -> None:
        """serve(nursery): accept exchanges until cancelled."""
        for host in self._hosts:
            nursery.start_soon(supervised, partial(self._serve_host, host.removeprefix("-"), nursery))

    async def _serve_host(self, host: str, nursery: trio.Nursery) -> None:
        host = {"*": "0.0.0.0", "::*": "::"}.get(host, host)
        told = False
        while True:
            try:
                listener = _listen(host, self._port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    return  # an address this host does not have; the UDP socket has judged that already
                if not told:
                    log.warning("The cluster bus's TCP port %d is in use for now; trying on.", self._port)
                    told = True
                await trio.sleep(LISTEN_RETRY_SECONDS)
            else:
                with listener:
                    self._listening += 1
                    try:
                        await self._accept(listener, nursery)
                    finally:
                        self._listening -= 1

    async def _accept(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        listener.setblocking(False)
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                sock, source = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                continue
            except OSError as error:
                log.debug("Accepting a cluster state exchange: %s", error)
                await trio.sleep(LISTEN_RETRY_SECONDS)
                continue
            guest = _Guest(source[0])
            if self._admit(guest):
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
                nursery.start_soon(self._answer, stream, guest)
            else:
                sock.close()

    def _admit(self, guest: _Guest) -> bool:
        """Whether there is a place for it; one that has proved nothing yet makes room for the next."""
        unproved = [other for other in self._inbound if not other.proved]
        same_host = [other for other in unproved if other.host == guest.host]
        if len(same_host) >= UNPROVED_PER_HOST_MAX:
            self._evict(same_host[0])
        elif len(self._inbound) >= INBOUND_MAX:
            if not unproved:
                return False
            self._evict(unproved[0])
        self._inbound[guest] = None
        return True

    def _evict(self, guest: _Guest) -> None:
        del self._inbound[guest]
        guest.scope.cancel()
        self._bus.core.stats.dropped["sync_evicted"] += 1

    async def _answer(self, stream: trio.SocketStream, guest: _Guest) -> None:
        try:
            with guest.scope:
                await self._exchange(stream, guest)
        except Exception as error:
            report("a cluster state exchange", error)
        finally:
            self._inbound.pop(guest, None)

    async def initiate(self, address: Address) -> None:
        """initiate(address): exchange states with the node there; failure is only logged."""
        if self._outbound >= OUTBOUND_MAX:
            return
        self._outbound += 1
        try:
            with trio.move_on_after(EXCHANGE_SECONDS_MAX):
                stream = await trio.open_tcp_stream(*address)
                await self._exchange(stream)
        except OSError as error:
            log.debug("Cluster state exchange with %s:%d failed: %s", *address, error)
        except Exception as error:
            report("a cluster state exchange", error)
        finally:
            self._outbound -= 1

    async def _exchange(self, stream: trio.SocketStream, guest: _Guest | None = None) -> None:
        """With a guest, as the one who answers."""
        bus = self._bus
        stats = bus.core.stats
        exchange = SyncExchange(bus.core, bus.keyring, initiator=guest is None)
        with trio.move_on_after(EXCHANGE_SECONDS_MAX if guest is None else PROOF_SECONDS_MAX) as limit:
            async with stream:
                try:
                    if guest is None:
                        await self._send(stream, exchange.start())
                    while not exchange.done:
                        data = await stream.receive_some(READ_BYTES)
                        if not data:
                            return
                        stats.sync_received_bytes += len(data)
                        answer = exchange.feed(data, bus.now_ms())
                        bus.perform()
                        if guest is not None and exchange.proved and not guest.proved:
                            guest.proved = True
                            limit.deadline += EXCHANGE_SECONDS_MAX
                        if answer:
                            await self._send(stream, answer)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
                except Dropped as dropped:
                    stats.dropped[dropped.reason] += 1
        if guest is not None and limit.cancelled_caught and not guest.proved:
            stats.dropped["sync_unproved"] += 1

    async def _send(self, stream: trio.SocketStream, data: bytes) -> None:
        self._bus.core.stats.sync_sent_bytes += len(data)
        await stream.send_all(data)


def _listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
