"""The bus's UDP sockets: datagrams out and in, and which addresses answered that nobody listens there.

Linux reports an ICMP error on the error queue of the socket that sent the datagram (IP_RECVERR), with the
address it was sent to; that is how a dead process is noticed within a round trip.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import select
import socket
import sys
from collections.abc import Iterator

from pyredis_cluster.gossip.nodes import Address

DRAIN_MAX = 1024
"""Datagrams taken from a socket before others get their turn: about 3 ms of work if all are forged."""
REFUSALS_MAX = 128
"""Refused addresses taken from a socket's error queue at once."""
RECEIVE_MAX_BYTES = 2048
"""More than a datagram may have, so that a longer one is seen to be too long."""
SOCKET_BUFFER_BYTES = 4 << 20
"""Holds what a flood of 50,000 datagrams a second brings in 100 ms and more; the system may allow less."""
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_MSG_ERRQUEUE = 0x2000
_ANCILLARY_BYTES = 256


class BusSockets:
    """BusSockets(hosts, port): bound on each host. Raises OSError where the port is taken."""

    def __init__(self, hosts: list[str], port: int) -> None:
        self.sockets: list[socket.socket] = []
        self._arrivals = select.poll()
        self.error_seen = False
        """Whether a call since the last `refused` has reported an ICMP error."""
        try:
            for host in hosts:
                self._bind(host, port)
        except OSError:
            self.close()
            raise
        if not self.sockets:
            raise OSError(errno.EADDRNOTAVAIL, "no address to listen on")

    def _bind(self, host: str, port: int) -> None:
        optional = host.startswith("-")
        host = {"*": "0.0.0.0", "::*": "::"}.get(host.removeprefix("-"), host.removeprefix("-"))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError:
            if optional:
                return
            raise
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            if not (optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)):
                raise
        else:
            self.sockets.append(sock)
            self._arrivals.register(sock, select.POLLIN)

    @property
    def has_arrivals(self) -> bool:
        """Whether a datagram or an ICMP error waits at any socket; a tenth of the time that trying to receive takes."""
        return self.error_seen or bool(self._arrivals.poll(0))

    def send(self, address: Address, data: bytes) -> None:
        """send(address, data): loss, a full buffer and unreachable hosts are no errors."""
        sock = self._for(address[0])
        if sock is None:
            return
        for _ in range(2):
            try:
                sock.sendto(data, address)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # A pending ICMP error is reported by the next call, whatever that was about.
                if error.errno != errno.ECONNREFUSED:
                    return
                self.error_seen = True
            else:
                return

    def _for(self, host: str) -> socket.socket | None:
        """The socket that can reach `host`: of its family, and on the loopback exactly where `host` is."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        candidates = [sock for sock in self.sockets if sock.family == family]
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        local = ipaddress.ip_address(host).is_loopback

        def fits(sock: socket.socket) -> bool:
            bound = ipaddress.ip_address(sock.getsockname()[0])
            return bound.is_unspecified or bound.is_loopback == local

        return next(filter(fits, candidates), candidates[0])

    def receive(self, sock: socket.socket) -> Iterator[tuple[bytes, Address]]:
        """receive(sock) -> (datagram, source) pairs that have arrived, at most DRAIN_MAX of them."""
        for _ in range(DRAIN_MAX):
            try:
                data, source = sock.recvfrom(RECEIVE_MAX_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.error_seen = True
                continue  # an ICMP error; `refused` reads it from the error queue
            yield data, (source[0], source[1])

    def refused(self, sock: socket.socket) -> list[Address]:
        """refused(sock) -> the addresses that refused a datagram since the last call, at most REFUSALS_MAX."""
        found: list[Address] = []
        self.error_seen = False
        for _ in range(REFUSALS_MAX):
            try:
                _, ancillary, _, address = sock.recvmsg(0, _ANCILLARY_BYTES, _MSG_ERRQUEUE)
            except OSError:
                break
            for _, _, data in ancillary:
                if int.from_bytes(data[:4], sys.byteorder) == errno.ECONNREFUSED:
                    found.append((address[0], address[1]))
        return found

    def close(self) -> None:
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.close()
