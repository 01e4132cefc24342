"""Connection commands: PING, ECHO, SELECT, QUIT, RESET, HELLO, AUTH (Redis: server.c, networking.c, acl.c)."""

from __future__ import annotations

from ..auth import DEFAULT_USER, authenticate, password_required, set_authenticated
from ..client import GUARD_ASKING, GUARD_NO_TOUCH, GUARD_READONLY, GUARD_REPLY, Client
from ..client_info import check_client_name
from ..command import command
from ..dispatch import transaction_guard
from ..errors import CommandError, SyntaxError_
from ..parsing import parse_integer, parse_integer_between
from ..reply import EMPTY_ARRAY, OK, PONG, RESP2, RESP3, bulk, integer, simple
from ..version import REDIS_VERSION

HANDSHAKE = "noscript loading stale fast no_auth allow_busy"
CONNECTION = "connection"


@command(
    "ping",
    arity=-1,
    flags="fast",
    since="1.0.0",
    group=CONNECTION,
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
)
def ping(client: Client, args: list[bytes]) -> bytes:
    """PING [message] -> PONG | message

    Tells that the server answers.
    Complexity: O(1)
    """
    if len(args) == 1:
        return PONG
    if len(args) > 2:
        raise CommandError("wrong number of arguments for 'ping' command")
    return bulk(args[1])


@command("echo", arity=2, flags="loading stale fast", since="1.0.0", group=CONNECTION)
def echo(client: Client, args: list[bytes]) -> bytes:
    """ECHO message -> message

    Returns the message.
    Complexity: O(1)
    """
    return bulk(args[1])


@command("select", arity=2, flags="loading stale fast", since="1.0.0", group=CONNECTION)
def select(client: Client, args: list[bytes]) -> bytes:
    """SELECT index -> OK

    Chooses the database of the commands that follow.
    Complexity: O(1)
    """
    index = parse_integer_between(args[1], -(1 << 31), (1 << 31) - 1)
    if client.server.config.cluster_enabled and index != 0:
        raise CommandError("SELECT is not allowed in cluster mode")
    if not 0 <= index < len(client.server.keyspace.databases):
        raise CommandError("DB index is out of range")
    client.select(index)
    return OK


@command("quit", arity=-1, flags=HANDSHAKE, since="1.0.0", group=CONNECTION)
def quit_(client: Client, args: list[bytes]) -> bytes:
    """QUIT -> OK

    Closes the connection after the replies that are due.
    Complexity: O(1)
    """
    if client.connection is not None:
        client.connection.finish("QUIT")
    return OK


@command("reset", arity=1, flags=HANDSHAKE, since="6.2.0", group=CONNECTION)
def reset(client: Client, args: list[bytes]) -> bytes:
    """RESET -> RESET

    Puts the connection into the state of a new one: database, protocol, user, name, MULTI, WATCH and modes.
    Complexity: O(1)
    """
    transaction_guard(client, None)
    client.drop_watches()
    client.select(0)
    client.resp = RESP2
    client.name = b""
    client.reply_mode = b"on"
    client.no_evict = False
    client.flags.clear()
    client.guard &= ~(GUARD_REPLY | GUARD_ASKING | GUARD_READONLY | GUARD_NO_TOUCH)
    set_authenticated(client, not password_required(client.server))
    return simple(b"RESET")


@command("auth", arity=-2, flags=HANDSHAKE, since="1.0.0", group=CONNECTION)
def auth(client: Client, args: list[bytes]) -> bytes:
    """AUTH [username] password -> OK

    Authenticates the connection.
    Complexity: O(1)
    """
    if len(args) > 3:
        raise SyntaxError_
    if len(args) == 2 and not password_required(client.server):
        raise CommandError(
            "AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    authenticate(client, DEFAULT_USER if len(args) == 2 else args[1], args[-1])
    return OK


@command("hello", arity=-1, flags=HANDSHAKE, since="6.0.0", group=CONNECTION)
def hello(client: Client, args: list[bytes]) -> bytes:
    """HELLO [protover [AUTH username password] [SETNAME clientname]] -> map

    Agrees on the protocol, logs in and names the connection in one step, and tells about the server.
    Complexity: O(1)
    """
    version = 0
    if len(args) > 1:
        version = parse_integer(args[1], "Protocol version is not an integer or out of range")
        if version not in (2, 3):
            raise CommandError("unsupported protocol version", "NOPROTO")
    login, name = _hello_options(args[2:])
    if login is not None:
        authenticate(client, *login)
    if not client.authenticated:
        raise CommandError(
            "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> "
            "<pass> option can be used to authenticate the client and select the RESP protocol version at the "
            "same time",
            "NOAUTH",
        )
    if name is not None:
        client.name = name
    if version:
        client.resp = RESP3 if version == 3 else RESP2
    server = client.server
    mode = b"cluster" if server.config.cluster_enabled else b"standalone"
    facts = [
        (b"server", bulk(b"redis")),
        (b"version", bulk(REDIS_VERSION.encode())),
        (b"proto", integer(client.resp.version)),
        (b"id", integer(client.id)),
        (b"mode", bulk(mode)),
        (b"role", bulk(b"replica" if server.replication.is_replica else b"master")),
        (b"modules", EMPTY_ARRAY),
    ]
    return client.resp.map([part for field, value in facts for part in (bulk(field), value)])


def _hello_options(args: list[bytes]) -> tuple[tuple[bytes, bytes] | None, bytes | None]:
    """The AUTH pair and the SETNAME name, each None if not given."""
    login: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    at = 0
    while at < len(args):
        option, left = args[at].lower(), len(args) - at - 1
        if option == b"auth" and left >= 2:
            login = args[at + 1], args[at + 2]
            at += 3
        elif option == b"setname" and left >= 1:
            name = args[at + 1]
            check_client_name(name)
            at += 2
        else:
            raise CommandError(
                f"Syntax error in HELLO option '{args[at].decode('utf-8', 'surrogateescape')}'"
            )
    return login, name
