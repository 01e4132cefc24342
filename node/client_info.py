"""What CLIENT LIST and INFO tell about connected clients: type, memory, and the line of fields.

Law: read-only; every number is measured, none is made up. There is no fixed reply buffer here, so that rbs, rbp
and obl are 0 and all pending output counts in omem.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from time import perf_counter_ns

from .client import GUARD_CLOSING, GUARD_PRIMARY, GUARD_READONLY, GUARD_REPLICA, Client
from .errors import CommandError

CLIENT_TYPES = {
    b"normal": "normal",
    b"slave": "replica",
    b"replica": "replica",
    b"pubsub": "pubsub",
    b"master": "master",
}
NAME_REFUSED = "Client names cannot contain spaces, newlines or special characters."


def is_plain_attribute(value: bytes) -> bool:
    """is_plain_attribute(b"my-app") -> whether it fits into a CLIENT LIST line: printable ASCII without spaces."""
    return all(0x21 <= byte <= 0x7E for byte in value)


def check_client_name(name: bytes) -> None:
    """check_client_name(b"worker-1"): CommandError unless it may be a client's name."""
    if not is_plain_attribute(name):
        raise CommandError(NAME_REFUSED)


def client_type(client: Client) -> str:
    """client_type(client) -> "normal", "replica", "pubsub" or "master" (the link to our primary)."""
    if client.guard & GUARD_PRIMARY:
        return "master"
    if client.guard & GUARD_REPLICA:
        return "replica"
    return "pubsub" if "pubsub" in client.flags else "normal"


def parse_client_type(word: bytes) -> str:
    """parse_client_type(b"slave") -> "replica"; CommandError for an unknown type."""
    found = CLIENT_TYPES.get(word.lower())
    if found is None:
        raise CommandError(f"Unknown client type '{word.decode('utf-8', 'surrogateescape')}'")
    return found


def local_address(client: Client) -> bytes:
    """local_address(client) -> the server's end of its socket, `ip:port` or `path:0`."""
    connection = client.connection
    if connection is None or connection.closed:
        return b""
    if connection.sock.family == socket.AF_UNIX:
        return client.peer
    with contextlib.suppress(OSError):
        host, port = connection.sock.getsockname()[:2]
        return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
    return b""


def query_bytes(client: Client) -> int:
    """query_bytes(client) -> how much of an incomplete request is held for it."""
    return client.connection.parser.pending_bytes if client.connection is not None else 0


def queued_bytes(client: Client) -> int:
    """queued_bytes(client) -> the arguments of the commands that MULTI has queued."""
    queue = client.transaction.commands if client.transaction is not None else []
    return sum(len(arg) for _, args in queue for arg in args)


def memory_bytes(client: Client) -> int:
    """memory_bytes(client) -> what it occupies: its objects, pending output and input, and MULTI's queue."""
    objects: list[object] = [client, client.out, client.flags, client.peer]
    if client.connection is not None:
        objects += [client.connection, client.connection.parser, client.connection.queued]
    return sum(map(sys.getsizeof, objects)) + query_bytes(client) + queued_bytes(client)


def _flags(client: Client) -> str:
    connection = client.connection
    shown = {"replica": "S", "master": "M", "pubsub": "P", "normal": ""}[client_type(client)]
    marks = (
        ("x", client.transaction is not None),
        ("b", client.parked is not None),
        ("d", client.watch is not None and client.watch.failed),
        ("c", bool(client.guard & GUARD_CLOSING)),
        ("U", connection is not None and not connection.closed and connection.sock.family == socket.AF_UNIX),
        ("r", bool(client.guard & GUARD_READONLY)),
        ("e", client.no_evict),
        ("T", "no-touch" in client.flags),
    )
    return shown + "".join(mark for mark, holds in marks if holds) or "N"


def info_line(client: Client, running: list[bytes] | None = None) -> bytes:
    """info_line(client) -> its line in CLIENT LIST. `running`: the arguments of the command it is executing."""
    connection = client.connection
    now_ms = client.server.clock.now_ms
    command = client.command or client.last_command
    argument_bytes = sum(map(len, running)) if running else 0
    # Redis still has the running command in the query buffer; clients measure their own request by it.
    request_bytes = sum(len(b"$%d\r\n\r\n" % len(arg)) + len(arg) for arg in running) if running else 0
    request_bytes += len(b"*%d\r\n" % len(running)) if running else 0
    queue = client.transaction.commands if client.transaction is not None else None
    events = "" if connection is None else "rw" if connection.writing else "r"
    fields: dict[str, object] = {
        "id": client.id,
        "addr": client.peer.decode("utf-8", "surrogateescape"),
        "laddr": local_address(client).decode("utf-8", "surrogateescape"),
        "fd": connection.fd if connection is not None else -1,
        "name": client.name.decode("ascii", "surrogateescape"),
        "age": (perf_counter_ns() - client.created_ns) // 1_000_000_000,
        "idle": max(0, now_ms - client.last_interaction_ms) // 1000,
        "flags": _flags(client),
        "db": client.db.index,
        "sub": 0,
        "psub": 0,
        "ssub": 0,
        "multi": -1 if queue is None else len(queue),
        "qbuf": query_bytes(client) + request_bytes,
        "qbuf-free": 0,
        "argv-mem": argument_bytes,
        "multi-mem": queued_bytes(client),
        "rbs": 0,
        "rbp": 0,
        "obl": 0,
        "oll": 1 if client.out else 0,
        "omem": len(client.out),
        "tot-mem": memory_bytes(client) + argument_bytes,
        "events": events,
        "cmd": command.full_name if command is not None else "NULL",
        "user": client.user.decode("utf-8", "surrogateescape"),
        "redir": -1,
        "resp": client.resp.version,
        "lib-name": client.lib_name.decode("ascii"),
        "lib-ver": client.lib_version.decode("ascii"),
    }
    line = " ".join(f"{name}={value}" for name, value in fields.items())
    return line.encode("utf-8", "surrogateescape")
