"""Whole-state exchanges of the bus over TCP, on the bus's own port number: the I/O around `SyncExchange`.

Few at a time, each with a time limit; a broken one is given up, for the next difference of digests starts another.
"""

from __future__ import annotations

import errno
import logging
import socket
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
INBOUND_MAX = 16
OUTBOUND_MAX = 4
READ_BYTES = 64 * 1024
BACKLOG = 64
LISTEN_RETRY_SECONDS = 0.5


class BusStreams:
    """BusStreams(bus, hosts, port): `serve` listens on each host, `initiate` begins an exchange.

    The UDP socket on the same port is what makes the port ours. A TCP port of that number may for a while be
    some outgoing connection's own, so taking it is tried again and again.
    """

    def __init__(self, bus: Bus, hosts: list[str], port: int) -> None:
        self._bus = bus
        self._hosts = hosts
        self._port = port
        self._inbound = 0
        self._outbound = 0

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
                    await self._accept(listener, nursery)

    async def _accept(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        listener.setblocking(False)
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                continue
            except OSError as error:
                log.debug("Accepting a cluster state exchange: %s", error)
                await trio.sleep(LISTEN_RETRY_SECONDS)
                continue
            if self._inbound < INBOUND_MAX:
                self._inbound += 1
                nursery.start_soon(self._answer, trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
            else:
                sock.close()

    async def _answer(self, stream: trio.SocketStream) -> None:
        try:
            await self._exchange(stream, initiator=False)
        except Exception:
            report("a cluster state exchange")
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
        except Exception:
            report("a cluster state exchange")
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
