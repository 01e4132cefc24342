"""A raw writer that sees how long a shard takes no writes: it asks each member of the shard every few milliseconds.

Law: it knows no redirects, time-outs or back-off, so what it sees is the cluster's doing and not a client's.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pyredis_cluster.client.resp import encode_command
from pyredis_cluster.gossip.slots import key_slot

from .admin import Access
from .load import Acknowledged
from .plan import Address

ASK_INTERVAL_S = 0.002
CONNECT_TIMEOUT_S = 0.05
JOIN_TIMEOUT_S = 5.0
_READ_BYTES = 4096
_OK = b"+OK"


@dataclass(slots=True)
class _Asked:
    """A member of the shard: one connection, one write in flight at most."""

    address: Address
    greeting: bytes
    sock: socket.socket | None = None
    number: int | None = None
    buffer: bytearray = field(default_factory=bytearray)
    skip: int = 0

    def ask(self, number: int, request: bytes) -> None:
        try:
            if self.sock is None:
                self.sock = socket.create_connection((self.address.host, self.address.port), CONNECT_TIMEOUT_S)
                self.sock.setblocking(False)
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.buffer.clear()
                self.skip = bool(self.greeting)
                self.sock.sendall(self.greeting)
            self.sock.sendall(request)
        except OSError:
            self.close()
        else:
            self.number = number

    def accepted(self) -> int | None:
        """The number of the write that was accepted, if that is what has just arrived."""
        try:
            data = self.sock.recv(_READ_BYTES) if self.sock is not None else b""
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.close()
            return None
        self.buffer += data
        found = None
        while (end := self.buffer.find(b"\r\n")) >= 0:
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 2]
            if self.skip:
                self.skip -= 1
                continue
            if line == _OK:
                found = self.number
            self.number = None
        return found

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
        self.sock = self.number = None


class ShardProbe:
    """ShardProbe(members, access, tag, series): a context manager; writes to one slot from a thread of its own."""

    def __init__(self, members: Sequence[Address], access: Access, tag: str, series: str) -> None:
        login = [access.username.encode(), access.password.encode()] if access.password is not None else []
        greeting = encode_command([b"AUTH", *login]) if login else b""
        self._members = [_Asked(address, greeting) for address in members]
        self._slot = key_slot(f"{{{tag}}}".encode())
        self._key = f"chaos:{{{tag}}}:{series}:raw:"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shard-probe")
        self._accepted: list[tuple[int, float]] = []

    def __enter__(self) -> ShardProbe:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopping.set()
        self._thread.join(JOIN_TIMEOUT_S)

    def acknowledged(self) -> list[Acknowledged]:
        """acknowledged() -> the accepted writes, all of which are owed."""
        return [
            Acknowledged(f"{self._key}{number}", b"%d" % number, self._slot, at_s) for number, at_s in self._accepted
        ]

    def _run(self) -> None:
        number = 0
        with contextlib.ExitStack() as closing:
            for member in self._members:
                closing.callback(member.close)
            due_s = time.monotonic()
            while not self._stopping.is_set():
                for member in self._members:
                    if member.number is None:
                        number += 1
                        key = f"{self._key}{number}".encode()
                        member.ask(number, encode_command([b"SET", key, b"%d" % number]))
                due_s = max(due_s + ASK_INTERVAL_S, time.monotonic())
                while (wait_s := due_s - time.monotonic()) > 0:
                    self._read(wait_s)

    def _read(self, wait_s: float) -> None:
        waiting = {member.sock: member for member in self._members if member.sock is not None}
        ready, _, _ = select.select([*waiting], [], [], wait_s)
        for sock in ready:
            number = waiting[sock].accepted()
            if number is not None:
                self._accepted.append((number, time.monotonic()))

    def outage_s(self, since_s: float, until_s: float) -> float:
        """outage_s(since_s, until_s) -> the longest time in between without an accepted write."""
        times_s = [at_s for _, at_s in self._accepted if since_s < at_s < until_s]
        return max(later - earlier for earlier, later in pairwise([since_s, *times_s, until_s]))
