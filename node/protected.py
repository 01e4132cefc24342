"""Actions that the configuration allows to everybody, to local connections or to nobody (Redis: enable-*)."""

from __future__ import annotations

import ipaddress
import socket

from .client import GUARD_CLOSING, Client


def is_local(client: Client) -> bool:
    """is_local(client) -> whether it is connected by loopback or unix socket."""
    connection = client.connection
    if connection is None:
        return not client.guard & GUARD_CLOSING
    if connection.sock.family == socket.AF_UNIX:
        return True
    host = client.peer.rpartition(b":")[0].strip(b"[]").decode("ascii", "replace")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_allowed(client: Client, setting: str) -> bool:
    """is_allowed(client, "local") -> whether a `yes|no|local` directive lets this client do it."""
    return setting == "yes" or (setting == "local" and is_local(client))
