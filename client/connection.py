"""A blocking connection to one node, for the command line, tests and node-to-node calls.

It follows no redirect and retries nothing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from .errors import ConnectionLostError, RequestTimeoutError, ResponseError
from .options import handshake_commands
from .resp import INCOMPLETE, Argument, encode_command, encode_commands, to_args
from .wire import Wire

DEFAULT_TIMEOUT_MS = 5000.0


def open_socket(host: str, port: int, timeout_ms: float) -> socket.socket:
    """open_socket(host, port, timeout_ms) -> a connected socket.

    Raises RequestTimeoutError and ConnectionLostError; the request has certainly not been applied.
    """
    try:
        return socket.create_connection((host, port), timeout=max(timeout_ms, 1) / 1000)
    except TimeoutError as error:
        raise RequestTimeoutError(f"no connection to {host}:{port} within {timeout_ms:.0f} ms") from error
    except OSError as error:
        raise ConnectionLostError(f"can't connect to {host}:{port}: {error.strerror or error}") from error


def check_handshake(replies: list[Any]) -> None:
    """check_handshake(replies). Raises the first ResponseError among them."""
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply


class Connection:
    """Connection(host, port, timeout_ms=5000): connects at once; a context manager.

    `timeout_ms` bounds the connect, and each call from its start to its last reply byte. `handshake` is what
    it sends first, with the number of replies to that; by default what `password` and `resp` (2 or 3) ask for.
    Raises ResponseError if the node refuses that; ConnectionLostError or RequestTimeoutError, as each method
    does: after one of these the connection is closed for good.
    """

    __slots__ = ("timeout_ms", "wire")

    def __init__(
        self,
        host: str,
        port: int,
        timeout_ms: float = DEFAULT_TIMEOUT_MS,
        *,
        username: str = "default",
        password: str | None = None,
        resp: int = 2,
        decode_responses: bool = False,
        handshake: tuple[bytes, int] | None = None,
    ) -> None:
        self.timeout_ms = timeout_ms
        self.wire = Wire(open_socket(host, port, timeout_ms), (host, port), decode_responses=decode_responses)
        if handshake is None:
            commands = handshake_commands(username=username, password=password, resp=resp, client_name=None)
            handshake = encode_commands(map(to_args, commands)), len(commands)
        payload, count = handshake
        try:
            if count:
                check_handshake(self.exchange(payload, count))
        except BaseException:
            self.close()
            raise

    def call(self, *args: Argument, timeout_ms: float | None = None) -> Any:
        """call("GET", "key") -> reply. Raises ResponseError for an error reply."""
        reply = self.exchange(encode_command(to_args(args)), 1, timeout_ms)[0]
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def pipeline(self, commands: Iterable[Sequence[Argument]], timeout_ms: float | None = None) -> list[Any]:
        """pipeline([("SET", "a", 1), ("GET", "a")]) -> the replies in order, ResponseErrors among them."""
        encoded = [to_args(command) for command in commands]
        return self.exchange(encode_commands(encoded), len(encoded), timeout_ms) if encoded else []

    def exchange(self, payload: bytes, count: int, timeout_ms: float | None = None) -> list[Any]:
        """exchange(payload, count) -> `count` replies to encoded commands.

        Sends and receives by turns, so that a pipeline of any size can't block both sides for ever.
        """
        self._check_open()
        wire = self.wire
        limit_ms = self.timeout_ms if timeout_ms is None else timeout_ms
        wire.begin(payload, count)
        deadline = time.monotonic() + limit_ms / 1000
        while True:
            left_ms = (deadline - time.monotonic()) * 1000
            if wire.wants_write:
                ready = wire.wait_any(left_ms)
                wire.on_writable()
            else:
                ready = wire.wait_readable(left_ms)
            if not ready:
                raise self.wire.timed_out(limit_ms)
            if wire.on_readable():
                return wire.replies

    def send(self, *args: Argument) -> None:
        """send("MONITOR"): send a command without waiting for its reply; `receive` gets it."""
        self._check_open()
        self.wire.begin(encode_command(to_args(args)), 0)
        deadline = time.monotonic() + self.timeout_ms / 1000
        while self.wire.wants_write:
            if not self.wire.wait_any((deadline - time.monotonic()) * 1000):
                raise self.wire.timed_out(self.timeout_ms)
            self.wire.on_writable()

    def receive(self, timeout_ms: float | None = None) -> Any:
        """receive() -> the next reply or push message; a ResponseError is returned, not raised."""
        self._check_open()
        limit_ms = self.timeout_ms if timeout_ms is None else timeout_ms
        deadline = time.monotonic() + limit_ms / 1000
        while (message := self.wire.next_message()) is INCOMPLETE:
            if not self.wire.wait_readable((deadline - time.monotonic()) * 1000):
                raise self.wire.timed_out(limit_ms)
            self.wire.receive()
        return message

    def _check_open(self) -> None:
        if self.wire.closed:
            host, port = self.wire.address
            raise ConnectionLostError(f"the connection to {host}:{port} is closed")

    def close(self) -> None:
        """close(): close the socket. May be called again."""
        self.wire.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
