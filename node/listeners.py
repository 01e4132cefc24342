"""The listening sockets: TCP on each bind address, and the unix socket; accepting within maxclients.

Laws: one event accepts a bounded number of connections; a refused one gets Redis's error line; a listener that
can't accept (no descriptor is left) rests until the next cron, so that it doesn't keep the reactor busy.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import socket
from typing import TYPE_CHECKING

from .connection import Connection
from .reactor import READABLE, Reactor

if TYPE_CHECKING:
    from .server import Server

log = logging.getLogger("pyredis")

ACCEPTS_PER_EVENT_MAX = 64
"""Others wait for so many accepts, each 50 microseconds or so; the kernel keeps the rest."""

_MAXCLIENTS = b"-ERR max number of clients reached\r\n"
_PROTECTED = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for "
    b"the default user. In this mode connections are only accepted from the loopback interface. If you want to "
    b"connect from external computers, either set requirepass, bind to loopback only, or turn protected-mode "
    b"off.\r\n"
)
_NOT_AVAILABLE = (errno.EADDRNOTAVAIL, errno.ENOENT, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


class ListenError(Exception):
    """A port or socket can't be listened on; the text names it."""


class _Listener:
    """One listening socket, handler of the reactor."""

    def __init__(self, listeners: Listeners, sock: socket.socket, path: str | None) -> None:
        self.listeners = listeners
        self.sock = sock
        self.path = path
        self.resting = False

    def on_readable(self) -> None:
        for _ in range(ACCEPTS_PER_EVENT_MAX):
            try:
                sock, address = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self.rest(str(error.strerror))
                return
            self.listeners.accepted(sock, address, self)

    def on_writable(self) -> None:
        return None

    def on_fault(self) -> None:
        self.rest("internal error")

    def rest(self, reason: str) -> None:
        """rest(reason): accept nothing until the next cron. What has to wait stays in the kernel's backlog."""
        self.resting = True
        self.listeners.failed(reason)
        self.listeners.reactor.modify(self.sock.fileno(), 0)


class Listeners:
    """open() listens on all of `bind`, `port` and `unixsocket`; close() ends it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._listeners: list[_Listener] = []
        self._failures = 0
        server.cron.append(self._cron)

    @property
    def reactor(self) -> Reactor:
        return self._server.reactor

    def failed(self, reason: str) -> None:
        """failed(reason): accept failed. The first, second, fourth, eighth ... time is logged."""
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:
            log.warning("Accepting client connection: accept: %s (failure %d)", reason, self._failures)

    def _cron(self) -> None:
        for listener in self._listeners:
            if listener.resting:
                listener.resting = False
                self.reactor.modify(listener.sock.fileno(), READABLE)

    def open(self, *, may_be_none: bool = False) -> None:
        """open() raises ListenError if a port is taken, or if nothing could be bound at all."""
        config = self._server.config
        if config.port:
            opened = [self._open_tcp(address, config.port) for address in config.bind]
            if opened and not any(opened):
                raise ListenError(f"Failed listening on port {config.port} (TCP), aborting.")
        if config.unixsocket:
            self._open_unix(config.unixsocket, config.unixsocketperm)
        if not self._listeners and not may_be_none:
            raise ListenError("Configured to not listen anywhere, exiting.")
        for listener in self._listeners:
            self._server.reactor.add(listener.sock.fileno(), listener)

    def _open_tcp(self, address: str, port: int) -> bool:
        optional = address.startswith("-")
        host = address.removeprefix("-")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        name = {"*": "0.0.0.0", "::*": "::"}.get(host, host)
        try:
            if family == socket.AF_INET:
                name = socket.gethostbyname(name)
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            return self._not_bound(address, port, error, optional)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((name, port))
            sock.listen(self._server.config.tcp_backlog)
        except OSError as error:
            sock.close()
            return self._not_bound(address, port, error, optional)
        sock.setblocking(False)
        self._listeners.append(_Listener(self, sock, None))
        return True

    def _not_bound(self, address: str, port: int, error: OSError, optional: bool) -> bool:
        if optional and error.errno in _NOT_AVAILABLE:
            return False
        log.warning("Warning: Could not create server TCP listening socket %s:%d: %s", address, port, error.strerror)
        self._forget_all()
        raise ListenError(f"Failed listening on port {port} (TCP), aborting.")

    def _open_unix(self, path: str, mode: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(path)
            if mode:
                os.chmod(path, mode)
            sock.listen(self._server.config.tcp_backlog)
        except OSError as error:
            sock.close()
            self._forget_all()
            raise ListenError(f"Failed opening Unix socket: bind: {error.strerror}") from error
        sock.setblocking(False)
        self._listeners.append(_Listener(self, sock, path))

    def accepted(self, sock: socket.socket, address: object, listener: _Listener) -> None:
        """accepted(sock, address, listener): a new connection becomes a client, or is refused."""
        server = self._server
        sock.setblocking(False)
        server.stats.connections_received += 1
        if len(server.clients) >= server.config.maxclients:
            self._refuse(sock, _MAXCLIENTS)
            return
        if listener.path is not None:
            peer = b"%b:0" % listener.path.encode()
        else:
            assert isinstance(address, tuple)
            host, port = address[0], address[1]
            if not self._welcome(host):
                self._refuse(sock, _PROTECTED)
                return
            peer = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keepalive_seconds = server.config.tcp_keepalive
            if keepalive_seconds:
                set_keepalive(sock, keepalive_seconds)
        connection = Connection(server, sock, next(server.client_ids))
        try:
            server.accept(connection, peer)
        except OSError as error:  # the epoll set takes no more
            connection.close(f"can't be watched: {error.strerror}")

    def _refuse(self, sock: socket.socket, text: bytes) -> None:
        self._server.stats.connections_rejected += 1
        with contextlib.suppress(OSError):
            sock.send(text)
        sock.close()

    def _welcome(self, host: str) -> bool:
        config = self._server.config
        return not config.protected_mode or bool(config.requirepass) or ipaddress.ip_address(host).is_loopback

    def reopen(self) -> None:
        """reopen() leaves the old addresses and listens on the present `bind` and `port` (CONFIG SET).

        After a ListenError nothing is listened on; call it again with a configuration that works.
        """
        self.close()
        self.open(may_be_none=True)

    def _forget_all(self) -> None:
        for listener in self._listeners:
            self._server.reactor.remove(listener.sock.fileno())
            listener.sock.close()
        self._listeners = []

    def close(self) -> None:
        """close() stops listening; accepted clients stay."""
        paths = [listener.path for listener in self._listeners if listener.path]
        self._forget_all()
        for path in paths:
            with contextlib.suppress(OSError):
                os.unlink(path)


def set_keepalive(sock: socket.socket, interval_seconds: int) -> None:
    """set_keepalive(sock, 300): dead peers are noticed after about twice the interval (Redis: anetKeepAlive)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, interval_seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, interval_seconds // 3))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
