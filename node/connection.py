"""A client's socket: reads into the parser, runs the dispatcher, sends the replies, keeps the limits.

Law: the socket is non-blocking and belongs to this object; once `close` ran, nothing is read, run or sent.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING

from .client import GUARD_CLOSING, GUARD_PARKED, Client
from .parser import RequestParser
from .reactor import READABLE, WRITABLE

if TYPE_CHECKING:
    from .server import Server

READ_CHUNK_BYTES = 16 * 1024
"""What one event reads, and so what one client's batch is bounded by (Redis: PROTO_IOBUF_LEN)."""

READ_CHUNK_LARGE_BYTES = 256 * 1024
"""What one event reads while a large argument is incomplete."""

QUEUED_COMMANDS_MAX = 100_000
"""Commands that wait behind a parked one; reading stops until they have run."""


class Connection:
    """One accepted socket and its `Client`. Handler of the reactor."""

    __slots__ = (
        "client",
        "close_after_reply",
        "closed",
        "fd",
        "kind",
        "over_soft_since_ms",
        "parser",
        "queued",
        "reactor",
        "server",
        "sock",
        "writing",
    )  # fmt: skip

    def __init__(self, server: Server, sock: socket.socket, identifier: int) -> None:
        self.server = server
        self.reactor = server.reactor
        self.sock = sock
        self.fd = sock.fileno()
        self.parser = RequestParser(server.config.proto_max_bulk_len)
        self.client = Client(server, identifier, self)
        self.closed = False
        self.close_after_reply = False
        self.writing = False
        self.kind = "normal"
        """The client-output-buffer-limit class: normal, replica or pubsub."""
        self.over_soft_since_ms = 0
        """Since when the pending output is over its class's soft limit; 0 if it isn't."""
        self.queued: deque[list[bytes]] = deque()
        """Commands that were parsed but wait behind a parked one."""

    # -- reading

    def on_readable(self) -> None:
        size = READ_CHUNK_BYTES if self.parser.pending_bytes < READ_CHUNK_BYTES else READ_CHUNK_LARGE_BYTES
        try:
            data = self.sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.close(f"read error: {error.strerror}")
            return
        if not data:
            self.close("closed by peer")
            return
        client = self.client
        client.last_interaction_ms = self.server.clock.now_ms
        stats = self.server.stats
        stats.net_input_bytes += len(data)
        stats.reads_processed += 1
        commands = self.parser.feed(data)
        if commands:
            if client.guard & GUARD_PARKED or self.queued:
                self._enqueue(commands)
            else:
                done = self.server.dispatcher.run(client, commands)
                if done < len(commands):
                    self._enqueue(commands[done:])
        if self.parser.error is not None:
            self._protocol_error(str(self.parser.error))
        elif self.parser.pending_bytes > self.server.config.client_query_buffer_limit:
            self.close("query buffer limit")
        if (client.out or self.close_after_reply) and not self.closed:
            self.reactor.schedule(self)

    def _enqueue(self, commands: list[list[bytes]]) -> None:
        self.queued.extend(commands)
        if len(self.queued) > QUEUED_COMMANDS_MAX:
            self._watch(WRITABLE if self.writing else 0)

    def _protocol_error(self, text: str) -> None:
        self.client.out += b"-ERR Protocol error: " + text.encode("utf-8", "surrogateescape") + b"\r\n"
        self.close_after_reply = True
        self.client.guard |= GUARD_CLOSING

    def resume(self, first: list[list[bytes]] | None = None) -> None:
        """resume([args]) goes on after a park: first those commands, then what waited behind them."""
        client = self.client
        if self.closed:
            return
        if first:
            self.queued.extendleft(reversed(first))
        if client.running:
            return
        was_full = len(self.queued) > QUEUED_COMMANDS_MAX
        while self.queued and not client.guard & (GUARD_PARKED | GUARD_CLOSING):
            batch = [*self.queued]
            self.queued.clear()
            done = self.server.dispatcher.run(client, batch)
            self.queued.extendleft(reversed(batch[done:]))
        if was_full and len(self.queued) <= QUEUED_COMMANDS_MAX:
            self._watch(READABLE | (WRITABLE if self.writing else 0))
        if (client.out or self.close_after_reply) and not self.closed:
            self.reactor.schedule(self)

    # -- writing

    def send(self, data: bytes) -> None:
        """send(data) appends to the output and has it sent before the reactor waits again."""
        self.client.out += data
        self.reactor.schedule(self)

    def on_writable(self) -> None:
        self.flush()

    def flush(self) -> None:
        """flush() sends what the socket takes; the rest waits for WRITABLE, within the class's limits."""
        if self.closed:
            return
        out = self.client.out
        try:
            sent = self.sock.send(out)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self.close(f"write error: {error.strerror}")
            return
        self.server.stats.net_output_bytes += sent
        if sent == len(out):
            out.clear()
            if self.writing:
                self.writing = False
                self._watch(READABLE)
            if self.close_after_reply:
                self.close("closed after reply")
            elif self.client.replica is not None:
                self.server.replication.drained()
            return
        del out[:sent]
        if not self.writing:
            self.writing = True
            self._watch(READABLE | WRITABLE)
        self.server.check_output_limit(self)

    def _watch(self, events: int) -> None:
        if not self.closed:
            self.reactor.modify(self.fd, events)

    # -- the end

    def finish(self, reason: str) -> None:
        """finish(reason) closes once the pending output is sent (QUIT, CLIENT KILL of oneself)."""
        self.client.guard |= GUARD_CLOSING
        self.client.close_reason = reason
        if self.client.out or self.client.running:
            self.close_after_reply = True
            if not self.client.running:
                self.reactor.schedule(self)
        else:
            self.close(reason)

    def close(self, reason: str) -> None:
        """close(reason) ends the connection now; parked commands, watches and registrations go with it."""
        if self.closed:
            return
        self.closed = True
        self.client.guard |= GUARD_CLOSING
        self.client.close_reason = reason
        self.queued.clear()
        self.reactor.unschedule(self)
        self.reactor.remove(self.fd)
        self.sock.close()
        self.server.forget(self.client)
