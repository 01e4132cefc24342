"""Authentication of clients against `requirepass`: the default user with at most one password.

Law: a client that isn't authenticated has GUARD_AUTH, so that dispatch lets it only to what needs no login.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from .client import GUARD_AUTH, Client
from .errors import CommandError

if TYPE_CHECKING:
    from .server import Server

DEFAULT_USER = b"default"
WRONG_PASSWORD = "invalid username-password pair or user is disabled."


def password_required(server: Server) -> bool:
    """password_required(server) -> whether the default user has a password."""
    return bool(server.config.requirepass)


def authenticate(client: Client, user: bytes, password: bytes) -> None:
    """authenticate(client, user, password): the client is that user now; CommandError WRONGPASS if not."""
    expected: str = client.server.config.requirepass
    right = not expected or hmac.compare_digest(password, expected.encode("utf-8", "surrogateescape"))
    if user != DEFAULT_USER or not right:
        raise CommandError(WRONG_PASSWORD, "WRONGPASS")
    set_authenticated(client, True)


def set_authenticated(client: Client, authenticated: bool) -> None:
    """set_authenticated(client, False): it must AUTH before anything else, and has the narrow request limits."""
    client.authenticated = authenticated
    if authenticated:
        client.guard &= ~GUARD_AUTH
    else:
        client.guard |= GUARD_AUTH
    if client.connection is not None:
        client.connection.parser.authenticated = authenticated


def watch_password(server: Server) -> None:
    """watch_password(server): once CONFIG SET takes the password away, nobody has to log in any more."""

    def changed() -> None:
        if not password_required(server):
            for client in server.clients.values():
                set_authenticated(client, True)

    server.config.on_change("requirepass", changed)
