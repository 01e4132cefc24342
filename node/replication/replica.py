"""The replica's side: the link to the primary, from connect to the stream (Redis: syncWithMaster, readSyncBulkPayload).

Laws: the link is a state machine fed by the reactor, one function for each state; a snapshot is loaded into
databases of its own and takes the place of the old ones only when it is complete and its checksum is right;
what is applied of the stream moves the journal's offset by exactly its bytes.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import logging
import os
import socket
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING

from pyredis_cluster.client.resp import encode_command

from ..client import GUARD_PRIMARY, Client
from ..listeners import set_keepalive
from ..parser import RequestParser
from ..reactor import READABLE, WRITABLE
from .identity import ID_LENGTH
from .stream import Stream, StreamError
from .transfer import Transfer, TransferError

if TYPE_CHECKING:
    from ..server import Server

log = logging.getLogger("pyredis")

READ_BYTES = 64 * 1024
LINE_MAX_BYTES = 1024
OFFSET_DIGITS_MAX = 19
RETRY_INTERVAL_MS = 250
"""How soon a lost link is tried again."""

ACK_INTERVAL_MS = 1000
PENDING_ACKS_MAX_BYTES = 64 * 1024
STREAM_BULK_MAX_BYTES = 1 << 40
"""The primary's commands are as large as they are: its own limit applied to them."""


_MULTI_HEADER = b"*1\r\n$5\r\n"
"""How an open transaction begins in the stream."""


class LinkState(enum.Enum):
    """The states of the link; the values are ROLE's words."""

    DOWN = "connect"
    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    """Up to the answer to PSYNC, which comes when the primary begins a snapshot."""
    TRANSFER = "sync"
    CONNECTED = "connected"


_NO_AUTH_YET = (b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted")
_TIMEOUTS = {
    LinkState.TRANSFER: "Timeout receiving bulk data from MASTER... If the problem persists try to set the "
    "'repl-timeout' parameter in redis.conf to a larger value.",
    LinkState.CONNECTED: "MASTER timeout: no data nor PING received...",
}


class PrimaryLink:
    """The connection to one primary; the reactor's handler. `cron` (re)connects, times out and acknowledges."""

    def __init__(self, server: Server, host: str, port: int, node_id: str = "") -> None:
        self.server = server
        self.host = host
        self.port = port
        self.node_id = node_id
        """Which cluster member is expected there; "" where that is not known."""
        self.state = LinkState.DOWN
        self.down_since_ms = server.clock.now_ms
        self.client = Client(server, next(server.client_ids))
        self.client.guard |= GUARD_PRIMARY
        self.client.flags.add("primary")
        self.client.peer = f"{host}:{port}".encode()
        self.last_io_ms = server.clock.now_ms
        self.transfer: Transfer | None = None
        self._stream = Stream(server, self.client)
        self._parser = RequestParser(STREAM_BULK_MAX_BYTES)
        self._sock: socket.socket | None = None
        self._out = bytearray()
        self._in = bytearray()
        self._expected: list[Callable[[bytes], bool]] = []
        self._next_try_ms = 0
        self._last_ack_ms = 0
        self._unapplied = bytearray()
        """Bytes of the stream from the journal's offset on: an incomplete command, or an open transaction."""
        self._resume_ms = 0
        """While not 0 nothing is read, until then (key-load-delay)."""

    # -- connecting

    def connect(self) -> None:
        """connect(): begin; the reactor goes on when the socket is ready."""
        self._reset()
        now_ms = self.server.clock.now_ms
        self._next_try_ms = now_ms + RETRY_INTERVAL_MS
        self.last_io_ms = now_ms
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            log.warning("Unable to connect to MASTER: %s", error)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server.config.tcp_keepalive:
            set_keepalive(sock, self.server.config.tcp_keepalive)
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            return
        self._sock = sock
        self.state = LinkState.CONNECTING
        self.server.reactor.add(sock.fileno(), self, READABLE | WRITABLE)

    def on_writable(self) -> None:
        if self._sock is None:
            return
        if self.state is LinkState.CONNECTING:
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.lost(os.strerror(code))
                return
            log.info("MASTER <-> REPLICA sync started: %s:%d", self.host, self.port)
            self._handshake()
        self.flush()

    def on_readable(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.lost(error.strerror or "read error")
            return
        if not data:
            self.lost("Connection with master lost.")
            return
        self.last_io_ms = self.client.last_interaction_ms = self.server.clock.now_ms
        self.server.stats.net_repl_input_bytes += len(data)
        self._received(data)

    @property
    def read_offset(self) -> int:
        """The offset up to which the stream was read: beyond the applied one, there may be half a command."""
        return self.server.journal.offset + len(self._unapplied)

    @property
    def streaming(self) -> bool:
        """Whether what comes in is the primary's stream."""
        return self.state is LinkState.CONNECTED

    def _received(self, data: bytes) -> None:
        if self.streaming:
            self._apply(data)
        elif self.transfer is not None:
            self._transferred(data)
        else:
            self._in += data
            self._read_lines()

    def _read_lines(self) -> None:
        """The handshake's answers; what follows the answer to PSYNC is payload or stream."""
        while not self.streaming and self.transfer is None:
            line, newline, rest = bytes(self._in).partition(b"\n")
            if not newline:
                if len(line) > LINE_MAX_BYTES:
                    self.lost("the primary's answer is no line")
                return
            self._in = bytearray(rest)
            if line.strip() and not self._line(line.rstrip(b"\r")):
                return
        rest, self._in = bytes(self._in), bytearray()
        if rest:
            self._received(rest)

    # -- the handshake: a list of what the next lines are answers to

    def _handshake(self) -> None:
        config = self.server.config
        self.state = LinkState.HANDSHAKE
        self._request([b"PING"], self._pong)
        if config.masterauth:
            user = [config.masteruser.encode()] if config.masteruser else []
            self._request([b"AUTH", *user, config.masterauth.encode()], self._authenticated)
        if self.node_id:
            self._request([b"REPLCONF", b"cluster-node-id", self.node_id.encode()], self._recognised)
        port = config.replica_announce_port or config.port
        self._request([b"REPLCONF", b"listening-port", b"%d" % port], self._tolerated)
        if config.replica_announce_ip:
            self._request([b"REPLCONF", b"ip-address", config.replica_announce_ip.encode()], self._tolerated)
        self._request([b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"], self._introduced)

    def _request(self, args: list[bytes], answer: Callable[[bytes], bool]) -> None:
        self._out += encode_command(args)
        self._expected.append(answer)

    def _line(self, line: bytes) -> bool:
        if not self._expected:
            return self._psync(line)
        return self._expected.pop(0)(line)

    def _pong(self, line: bytes) -> bool:
        # One that asks for a password first answers so; AUTH follows.
        refused = line.startswith(b"-") and not line.startswith(_NO_AUTH_YET)
        if refused:
            self.lost(f"Error reply to PING from master: '{line.decode(errors='replace')}'")
        return not refused

    def _authenticated(self, line: bytes) -> bool:
        if line.startswith(b"-"):
            self.lost(f"Unable to AUTH to MASTER: {line.decode(errors='replace')}")
            return False
        return True

    def _recognised(self, line: bytes) -> bool:
        # Another node may have come to this address, an empty one even: its data must not replace ours.
        if line.startswith(b"-"):
            self.lost(f"The node at {self.host}:{self.port} is not our master: {line.decode(errors='replace')}")
            return False
        return True

    @staticmethod
    def _tolerated(line: bytes) -> bool:
        if line.startswith(b"-"):
            log.info("(Non critical) Master does not understand REPLCONF: %s", line.decode(errors="replace"))
        return True

    def _introduced(self, line: bytes) -> bool:
        # Redis refuses a PSYNC that comes while earlier answers are still in its output buffer.
        self._tolerated(line)
        replid, offset = self.server.replication.position()
        self._request([b"PSYNC", replid.encode(), b"%d" % offset], self._psync)
        self.flush()
        return True

    def _psync(self, line: bytes) -> bool:
        words = [word.decode(errors="replace") for word in line.split()]
        replication = self.server.replication
        if words[0] == "+FULLRESYNC" and len(words) == 3 and len(words[1]) == ID_LENGTH and words[2].isdigit():
            log.info("Full resync from master: %s:%s", words[1], words[2])
            self._begin_transfer(words[1], int(words[2][:OFFSET_DIGITS_MAX]))
            return True
        if words[0] == "+CONTINUE":
            log.info("Successful partial resynchronization with master.")
            replication.continues(words[1] if len(words) > 1 and len(words[1]) == ID_LENGTH else None)
            self._online()
            return True
        if line.startswith((b"-NOMASTERLINK", b"-LOADING")):
            log.info("MASTER is unable to PSYNC now: %s", line.decode("utf-8", "replace"))
            self.lost("")
            return False
        if line.startswith(b"-") and not self._expected:
            log.info("PSYNC was refused: %s", line.decode("utf-8", "replace"))
            self.lost("PSYNC was refused")
            return False
        self.lost(f"Unexpected reply to PSYNC from master: {line.decode(errors='replace')}")
        return False

    # -- the snapshot

    def _begin_transfer(self, replid: str, offset: int) -> None:
        self.state = LinkState.TRANSFER
        self.transfer = Transfer(self.server, replid, offset)

    def _transferred(self, data: bytes) -> None:
        transfer = self.transfer
        assert transfer is not None
        started, keys = transfer.started, transfer.keys_loaded
        try:
            rest = transfer.feed(data)
        except TransferError as error:
            log.warning("Failed trying to load the MASTER synchronization DB: %s", error)
            self.lost("the snapshot is broken")
            return
        if transfer.started != started:
            self.server.replication.transfer_changed()
        if rest is None:
            self._slow_down(transfer.keys_loaded - keys)
            return
        self.transfer = None
        self.server.replication.loaded(transfer)
        log.info("MASTER <-> REPLICA sync: Finished with success")
        self._online()
        self.acknowledge()
        if rest:
            self._apply(rest)

    def _slow_down(self, keys: int) -> None:
        """key-load-delay: the socket isn't read until the delay of these keys is over."""
        delay_ms = keys * self.server.config.key_load_delay // 1000
        if delay_ms > 0:
            self._resume_ms = self.server.clock.now_ms + delay_ms
            self._watch()

    def _watch(self) -> None:
        if self._sock is not None:
            reading = 0 if self._resume_ms else READABLE
            self.server.reactor.modify(self._sock.fileno(), reading | (WRITABLE if self._out else 0))

    def _online(self) -> None:
        self.state = LinkState.CONNECTED
        self.client.created_ns = perf_counter_ns()
        self.server.clients[self.client.id] = self.client
        self.server.replication.link_changed()
        self.acknowledge()

    # -- the stream

    def _apply(self, data: bytes) -> None:
        unapplied, parser, stream = self._unapplied, self._parser, self._stream
        held = bool(unapplied)
        if held:
            unapplied += data
        commands = parser.feed(data)
        if parser.error is not None:
            log.warning("Protocol error (Master using the inline protocol?) in the stream: %s", parser.error)
            self.lost("protocol error in the stream")
            return
        # What was read as a whole is passed on as it is.
        read = unapplied if held else data
        complete = len(read) - parser.tail_bytes
        applied = 0
        if complete:
            try:
                stream.apply(commands)
            except StreamError as error:
                self.lost(str(error))
                return
            applied = complete - stream.held_bytes
            if stream.held_bytes and not read.startswith(_MULTI_HEADER, max(applied, 0)):
                self.lost("the stream is not made of RESP commands")
                return
            if applied:
                self.server.journal.append_raw(bytes(read[:applied]))
        if held:
            del unapplied[:applied]
        elif applied < len(data):
            unapplied += data[applied:]
        if stream.ack_wanted:
            stream.ack_wanted = False
            self.acknowledge()

    def acknowledge(self) -> None:
        """acknowledge(): REPLCONF ACK with the offset applied so far, unless too many wait to be read."""
        self._last_ack_ms = self.server.clock.now_ms
        if len(self._out) > PENDING_ACKS_MAX_BYTES:
            return
        self._out += encode_command([b"REPLCONF", b"ACK", b"%d" % self.server.journal.offset])
        self.flush()

    def flush(self) -> None:
        """flush(): send what is pending to the primary."""
        if self._sock is None or self.state is LinkState.CONNECTING:
            return
        try:
            while self._out:
                sent = self._sock.send(self._out)
                self.server.stats.net_repl_output_bytes += sent
                del self._out[:sent]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self.lost(error.strerror or "write error")
            return
        self._watch()

    # -- the end, and time

    def on_fault(self) -> None:
        # The stream may have been applied in part: only a full sync makes this data the primary's again.
        self.server.replication.identity.renew()
        self.lost("internal error")

    def lost(self, reason: str) -> None:
        """lost(reason): the link is down; `cron` tries again. What was applied stays."""
        was_up = self.state is LinkState.CONNECTED
        self._reset()
        if reason:
            log.warning("MASTER link: %s", reason)
        if was_up:
            self.down_since_ms = self.server.clock.now_ms
        self.server.replication.link_changed()

    def _reset(self) -> None:
        if self._sock is not None:
            with contextlib.suppress(OSError, KeyError):
                self.server.reactor.remove(self._sock.fileno())
            self._sock.close()
            self._sock = None
        if self.transfer is not None:
            log.warning("Internal error in RDB reading: the transfer ended after %d bytes", self.transfer.read_bytes)
            self.transfer.drop()
            self.transfer = None
        self._resume_ms = 0
        self.server.clients.pop(self.client.id, None)
        self.state = LinkState.DOWN
        self._out.clear()
        self._in.clear()
        self._expected.clear()
        self._unapplied.clear()
        self._parser = RequestParser(STREAM_BULK_MAX_BYTES)
        self._stream.forget_open_transaction()

    def close(self) -> None:
        """close(): for good; the node is a primary now or follows another one."""
        self._reset()

    def cron(self) -> None:
        """cron(): connect, time out, acknowledge."""
        now_ms = self.server.clock.now_ms
        if self.state is LinkState.DOWN:
            if now_ms >= self._next_try_ms:
                self.connect()
        elif self._resume_ms:
            if now_ms >= self._resume_ms:
                self._resume_ms = 0
                self.last_io_ms = now_ms
                self._watch()
        elif now_ms - self.last_io_ms > self.server.config.repl_timeout * 1000:
            self.lost(_TIMEOUTS.get(self.state, "Timeout connecting to the MASTER..."))
        elif self.state is LinkState.CONNECTED and now_ms - self._last_ack_ms >= ACK_INTERVAL_MS:
            self.acknowledge()
        elif self.state is LinkState.TRANSFER and now_ms - self._last_ack_ms >= ACK_INTERVAL_MS:
            self._last_ack_ms = now_ms
            self._out += b"\n"
            self.flush()
