"""A client's socket: reads into the parser, runs the dispatcher, sends the replies, keeps the limits.

Laws: the socket is non-blocking and belongs to this object; once `close` ran, nothing is read, run or sent.
Commands run in turns of bounded time and output; what was parsed and has not run is queued, and nothing more is
read before the queue has had its turn.
"""

from __future__ import annotations

import logging
import os
import select
import socket
from collections import deque
from time import perf_counter_ns
from typing import TYPE_CHECKING

from .client import GUARD_CLOSING, GUARD_PARKED, Client
from .parser import RequestParser
from .reactor import READABLE, WRITABLE

if TYPE_CHECKING:
    from .server import Server

log = logging.getLogger("pyredis")

READ_CHUNK_BYTES = 16 * 1024
"""What one event reads, and so what one client's batch is bounded by (Redis: PROTO_IOBUF_LEN)."""

READ_CHUNK_LARGE_BYTES = 256 * 1024
"""What one event reads while a large argument is incomplete."""

TURN_NS = 2_000_000
"""A client's turn ends after this; what it has left runs in the reactor's next round."""

SLICE_NS = 1_000_000
SLICE_COMMANDS_FIRST = 8
SLICE_COMMANDS_MAX = 64
"""Between two looks at the clock run so many commands, or as few as took SLICE_NS the last time."""

TURN_COMMANDS_MAX = 1024
"""So many of the queued commands may run in a turn."""

TURN_OUTPUT_BYTES = 1 << 20
"""A turn also ends with so much output, so that it is sent and measured against the limits."""

QUEUED_COMMANDS_MAX = 100_000
QUEUED_BYTES_MAX = 16 << 20
"""Commands that wait behind a parked one; with more of them reading stops until they have run."""

PEER_CLOSED = select.EPOLLRDHUP
"""Watched for where nothing is read, so that a client that is gone doesn't stay parked."""


class Connection:
    """One accepted socket and its `Client`. Handler of the reactor."""

    __slots__ = (
        "client",
        "clock",
        "close_after_reply",
        "closed",
        "dispatcher",
        "fd",
        "kind",
        "over_soft_since_ms",
        "parser",
        "queued",
        "queued_bytes",
        "reactor",
        "server",
        "slice_commands",
        "sock",
        "stats",
        "watching",
        "writing",
    )  # fmt: skip

    def __init__(self, server: Server, sock: socket.socket, identifier: int) -> None:
        self.server = server
        self.reactor = server.reactor
        self.dispatcher = server.dispatcher
        self.clock = server.clock
        self.stats = server.stats
        self.sock = sock
        self.fd = sock.fileno()
        self.parser = RequestParser(server.config.proto_max_bulk_len)
        self.client = Client(server, identifier, self)
        self.closed = False
        self.close_after_reply = False
        self.writing = False
        self.watching = READABLE
        self.kind = "normal"
        """The client-output-buffer-limit class: normal, replica or pubsub."""
        self.over_soft_since_ms = 0
        """Since when the pending output is over its class's soft limit; 0 if it isn't."""
        self.queued: deque[list[bytes]] = deque()
        """Commands that were parsed but wait behind a parked one, or for the next turn."""
        self.queued_bytes = 0
        """What came in since the first of them, roughly."""
        self.slice_commands = SLICE_COMMANDS_FIRST

    # -- reading

    def on_readable(self) -> None:
        client = self.client
        if self.queued and not client.guard & GUARD_PARKED:
            return  # their turn comes first
        parser = self.parser
        size = READ_CHUNK_BYTES if parser.pending_bytes < READ_CHUNK_BYTES else READ_CHUNK_LARGE_BYTES
        try:
            data = self.sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._read_failed(error.errno)
            return
        if not data:
            self._read_end()
            return
        self._received(parser.feed(data), len(data))

    def _received(self, commands: list[list[bytes]], size_bytes: int) -> None:
        """The commands that `size_bytes` of input completed."""
        client, parser = self.client, self.parser
        client.last_interaction_ms = self.clock.now_ms
        stats = self.stats
        stats.net_input_bytes += size_bytes
        stats.reads_processed += 1
        if commands:
            if client.guard & GUARD_PARKED:
                self._enqueue(commands, size_bytes)
            elif (done := self._run(commands)) < len(commands):
                self._left(commands[done:])
        if parser.error is not None:
            self._broken()
        elif parser.pending_bytes > self.server.config.client_query_buffer_limit:
            stats.query_limit_disconnections += 1
            log.warning("Closing client id=%d that reached max query buffer length.", client.id)
            self.close("query buffer limit")
        if (client.out or self.close_after_reply) and not self.closed:
            self.reactor.schedule(self)

    def _read_failed(self, number: int | None) -> None:
        self.close(f"read error: {os.strerror(number or 0)}")

    def _read_end(self) -> None:
        """The peer sends no more; what it asked for it still gets, if it is there to take it."""
        client = self.client
        client.close_reason = "closed by peer"
        if client.out and not client.guard & GUARD_PARKED:
            self._close_after_reply()
        else:
            self.close(client.close_reason)

    def _run(self, commands: list[list[bytes]]) -> int:
        """How many of them were run: until the client is parked or closing, or its turn ends."""
        client = self.client
        run = self.dispatcher.run
        count = len(commands)
        if count == 1:
            return run(client, commands)
        now_ns = perf_counter_ns()
        ends_ns = now_ns + TURN_NS
        output_max_bytes = len(client.out) + TURN_OUTPUT_BYTES
        done = 0
        while done < count and now_ns < ends_ns and len(client.out) < output_max_bytes:
            size = self.slice_commands
            done += run(client, commands if not done and count <= size else commands[done : done + size])
            if client.guard & (GUARD_PARKED | GUARD_CLOSING):
                break
            began_ns, now_ns = now_ns, perf_counter_ns()
            if now_ns - began_ns > SLICE_NS:
                self.slice_commands = max(1, size * SLICE_NS // (now_ns - began_ns))
            elif size < SLICE_COMMANDS_MAX:
                self.slice_commands = min(2 * size, SLICE_COMMANDS_MAX)
        return done

    def _left(self, commands: list[list[bytes]]) -> None:
        """What was parsed and not run in this turn."""
        self._enqueue(commands, 0)

    def _enqueue(self, commands: list[list[bytes]], size_bytes: int) -> None:
        client = self.client
        if client.guard & GUARD_CLOSING:
            return
        self.queued.extend(commands)
        self.queued_bytes += size_bytes
        if not client.guard & GUARD_PARKED:
            self.reactor.continue_later(self)
        elif self._is_full():
            self._watch()

    def _is_full(self) -> bool:
        return len(self.queued) > QUEUED_COMMANDS_MAX or self.queued_bytes > QUEUED_BYTES_MAX

    def _broken(self) -> None:
        """The parser gave up: nothing more is read; the error comes after the replies to what came before it."""
        client = self.client
        if not self.queued and not client.guard & (GUARD_PARKED | GUARD_CLOSING):
            text = str(self.parser.error).encode("utf-8", "surrogateescape")
            client.out += self.server.dispatcher.filtered(client, [], b"-ERR Protocol error: %b\r\n" % text)
            self._close_after_reply()
        self._watch()

    def resume(self, first: list[list[bytes]] | None = None) -> None:
        """resume([args]) goes on after a park: first those commands, then what waited behind them."""
        if self.closed:
            return
        if first:
            self.queued.extendleft(reversed(first))
        if self.queued or self.parser.error is not None:
            self.reactor.continue_later(self)
        if self.client.out:
            self.reactor.schedule(self)

    def on_turn(self) -> None:
        client, queued = self.client, self.queued
        if queued and not client.guard & (GUARD_PARKED | GUARD_CLOSING):
            batch = [queued.popleft() for _ in range(min(TURN_COMMANDS_MAX, len(queued)))]
            done = self._run(batch)
            if not client.guard & GUARD_CLOSING:
                queued.extendleft(reversed(batch[done:]))
                if queued and not client.guard & GUARD_PARKED:
                    self.reactor.continue_later(self)
        if self.closed:
            return
        if not queued:
            self.queued_bytes = 0
        if self.parser.error is not None:
            self._broken()
        self._watch()
        if client.out or self.close_after_reply:
            self.reactor.schedule(self)

    # -- writing

    def send(self, data: bytes) -> None:
        """send(data) appends to the output and has it sent before the reactor waits again."""
        self.client.out += data
        self.reactor.schedule(self)

    def send_at_once(self, data: bytes) -> None:
        """send_at_once(data): what the socket takes of it goes out now; the rest joins the output, which is empty."""
        assert not self.client.out
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._write_failed(error.errno)
            return
        self.stats.net_output_bytes += sent
        if sent < len(data):
            self.client.out += data[sent:]
            self.send_later()

    def send_later(self) -> None:
        """send_later(): what is in the output goes out when the socket takes it, in a later round of the reactor."""
        if not self.writing and not self.closed:
            self.writing = True
            self._watch()

    def on_writable(self) -> None:
        self.client.last_interaction_ms = self.server.clock.now_ms
        self.flush()

    def flush(self) -> None:
        """flush() sends what the socket takes; the rest waits for WRITABLE, within the class's limits."""
        if self.closed:
            return
        try:
            sent = self.sock.send(self.client.out)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._write_failed(error.errno)
            return
        self._sent(sent)

    def _write_failed(self, number: int | None) -> None:
        self.close(f"write error: {os.strerror(number or 0)}")

    def _sent(self, sent: int) -> None:
        """So many bytes of the output are gone."""
        out = self.client.out
        self.stats.net_output_bytes += sent
        if sent == len(out):
            out.clear()
            if self.writing:
                self.writing = False
                self._watch()
            if self.close_after_reply:
                self.close(self.client.close_reason or "closed after reply")
            elif self.client.replica is not None:
                self.server.replication.drained(self.client)
            return
        del out[:sent]
        if not self.writing:
            self.writing = True
            self._watch()
        self.server.check_output_limit(self)

    def _watch(self) -> None:
        """Have the reactor watch for what this connection can go on with."""
        events = WRITABLE if self.writing else 0
        if not self.close_after_reply:
            unread = self.parser.error is not None or (self.client.guard & GUARD_PARKED and self._is_full())
            events |= PEER_CLOSED if unread else READABLE
        if events != self.watching and not self.closed:
            self.watching = events
            self.reactor.modify(self.fd, events)

    # -- the end

    def on_fault(self) -> None:
        self.client.running = False
        self.close("internal error")

    def finish(self, reason: str) -> None:
        """finish(reason) closes once the pending output is sent (QUIT, CLIENT KILL of oneself)."""
        self.client.guard |= GUARD_CLOSING
        self.client.close_reason = reason
        if self.client.out or self.client.running:
            self._close_after_reply()
            if not self.client.running:
                self.reactor.schedule(self)
        else:
            self.close(reason)

    def _close_after_reply(self) -> None:
        """Nothing more is read or run; `flush` closes once all is sent."""
        self.client.guard |= GUARD_CLOSING
        self.close_after_reply = True
        self.queued.clear()
        self._watch()

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
        self.client.connection = None  # they refer to each other: nothing else would ever free them
