"""One connection's socket and decoder: `Wire` moves the bytes, drivers wait for the socket to be ready.

The law: a wire has at most one exchange under way, and after any failure it is closed and never used again,
since the next reply on it would answer an older request.
"""

from __future__ import annotations

import select
import socket
from math import inf
from typing import Any

from .errors import ConnectionLostError, ProtocolViolationError, RequestTimeoutError, TransportError
from .resp import INCOMPLETE, PushNotification, ReplyDecoder

Address = tuple[str, int]

RECEIVE_BYTES = 64 * 1024
KEEPALIVE_IDLE_S = 30
KEEPALIVE_INTERVAL_S = 10
KEEPALIVE_PROBES = 3


def configure_socket(sock: socket.socket) -> None:
    """configure_socket(sock): non-blocking, without Nagle's delay; keepalive notices a vanished host."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ):
        option = getattr(socket, name, None)  # absent on some platforms
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def poll_timeout(timeout_ms: float) -> float | None:
    """poll_timeout(timeout_ms) -> what select.poll takes for it: None for ever, never negative."""
    return None if timeout_ms == inf else max(timeout_ms, 0)


class Wire:
    """A connected, configured socket and the exchange that is under way on it."""

    __slots__ = (
        "_decoder", "_poll", "_unsent", "address", "closed", "expected", "replies", "sent_any", "sock"
    )

    def __init__(self, sock: socket.socket, address: Address, *, decode_responses: bool = False) -> None:
        configure_socket(sock)
        self.sock = sock
        self.address = address
        self.closed = False
        self.replies: list[Any] = []
        self.expected = 0
        self.sent_any = False
        self._unsent: memoryview | None = None
        self._decoder = ReplyDecoder(decode_responses=decode_responses)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def begin(self, payload: bytes, expected: int) -> None:
        """begin(payload, expected): send what the socket takes at once; `expected` replies are to come.

        Raises ConnectionLostError.
        """
        self.replies = []
        self.expected = expected
        self.sent_any = False
        try:
            sent = self.sock.send(payload)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self.lost(error) from error
        self.sent_any = sent > 0
        self._unsent = memoryview(payload)[sent:] if sent < len(payload) else None

    @property
    def wants_write(self) -> bool:
        return self._unsent is not None

    def on_writable(self) -> None:
        """on_writable(): send more of the payload. Raises ConnectionLostError."""
        unsent = self._unsent
        if unsent is None:
            return
        try:
            sent = self.sock.send(unsent)
        except BlockingIOError:
            return
        except OSError as error:
            raise self.lost(error) from error
        self.sent_any = True
        self._unsent = unsent[sent:] if sent < len(unsent) else None

    def on_readable(self) -> bool:
        """on_readable() -> True once all expected replies are in `replies`.

        Raises ConnectionLostError and ProtocolViolationError; `replies` keeps what came before.
        """
        self.receive()
        replies, expected, next_reply = self.replies, self.expected, self._decoder.next_reply
        try:
            while len(replies) < expected:
                reply = next_reply()
                if reply is INCOMPLETE:
                    return False
                if type(reply) is not PushNotification:
                    replies.append(reply)
        except ProtocolViolationError as error:
            error.maybe_applied = self.sent_any
            self.close()
            raise
        return True

    def next_message(self) -> Any:
        """next_message() -> the next reply or push that has been received, or INCOMPLETE."""
        return self._decoder.next_reply()

    def receive(self) -> None:
        """receive(): pass what the socket holds to the decoder, at most RECEIVE_BYTES of it.

        Raises ConnectionLostError.
        """
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise self.lost(error) from error
        if not data:
            raise self.lost(None)
        self._decoder.feed(data)

    def is_stale(self) -> bool:
        """is_stale() -> True if an idle wire was closed by the other side or holds unasked bytes."""
        return self.closed or bool(self._poll.poll(0))

    def wait_readable(self, timeout_ms: float) -> bool:
        """wait_readable(timeout_ms) -> False if nothing came in time. Blocks the calling thread."""
        return bool(self._poll.poll(poll_timeout(timeout_ms)))

    def wait_any(self, timeout_ms: float) -> bool:
        """wait_any(timeout_ms) -> False if neither readable nor writable in time. Blocks the thread."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLOUT)
        return bool(poll.poll(poll_timeout(timeout_ms)))

    def lost(self, cause: OSError | None) -> TransportError:
        """lost(cause) -> ConnectionLostError, with the wire closed."""
        host, port = self.address
        what = cause.strerror or str(cause) if cause is not None else "closed by the other side"
        self.close()
        return ConnectionLostError(f"connection to {host}:{port} lost: {what}", maybe_applied=self.sent_any)

    def timed_out(self, limit_ms: float) -> RequestTimeoutError:
        """timed_out(limit_ms) -> RequestTimeoutError, with the wire closed."""
        host, port = self.address
        self.close()
        return RequestTimeoutError(
            f"no reply from {host}:{port} within {limit_ms:.0f} ms", maybe_applied=self.sent_any
        )

    def close(self) -> None:
        """close(): close the socket. May be called again."""
        if not self.closed:
            self.closed = True
            self.sock.close()
