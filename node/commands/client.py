"""The CLIENT container: who is connected, and what may be done about it (Redis: networking.c, clientCommand)."""

from __future__ import annotations

from ..client import GUARD_REPLY, Client
from ..client_info import (
    check_client_name,
    client_type,
    info_line,
    is_plain_attribute,
    local_address,
    parse_client_type,
)
from ..command import command
from ..command_docs import container_help
from ..errors import CommandError, SyntaxError_, subcommand_error
from ..parsing import INT64_MAX, parse_integer
from ..pausing import PausePurpose
from ..reply import EMPTY_ARRAY, MINUS_ONE, NO_REPLY, OK, ONE, ZERO, bulk, integer

QUERY = "noscript loading stale"
ADMIN = "admin noscript loading stale"
GROUP = "connection"
ALL_NODES = ("request_policy:all_nodes", "response_policy:all_succeeded")
UNSTABLE = ("nondeterministic_output",)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


@command("client|id", arity=2, flags=QUERY, since="5.0.0", group=GROUP)
def client_id(client: Client, args: list[bytes]) -> bytes:
    """CLIENT ID -> integer

    Returns the connection's unique ID.
    Complexity: O(1)
    """
    return integer(client.id)


@command("client|info", arity=2, flags=QUERY, since="6.2.0", group=GROUP, tips=UNSTABLE)
def client_info(client: Client, args: list[bytes]) -> bytes:
    """CLIENT INFO -> text

    Returns the connection's line of CLIENT LIST.
    Complexity: O(1)
    """
    return client.resp.verbatim(info_line(client, args) + b"\n")


@command("client|list", arity=-2, flags=ADMIN, since="2.4.0", group=GROUP, tips=UNSTABLE)
def client_list(client: Client, args: list[bytes]) -> bytes:
    """CLIENT LIST [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]] -> text

    Lists connections, one line each.
    Complexity: O(N) where N is the number of connections
    """
    connected = client.server.clients
    if len(args) == 2:
        chosen = [*connected.values()]
    elif len(args) == 4 and args[2].lower() == b"type":
        kind = parse_client_type(args[3])
        chosen = [other for other in connected.values() if client_type(other) == kind]
    elif len(args) > 3 and args[2].lower() == b"id":
        wanted = [parse_integer(arg, "Invalid client ID") for arg in args[3:]]
        chosen = [connected[number] for number in wanted if number in connected]
    else:
        raise SyntaxError_
    lines = [info_line(other, args if other is client else None) + b"\n" for other in chosen]
    return client.resp.verbatim(b"".join(lines))


class _Filters:
    """CLIENT KILL's filters; a client must match all that are given."""

    def __init__(self, options: list[bytes]) -> None:
        self.id: int | None = None
        self.type: str | None = None
        self.addr: bytes | None = None
        self.laddr: bytes | None = None
        self.user: bytes | None = None
        self.skip_me = True
        if len(options) % 2:
            raise SyntaxError_
        for name, value in zip(options[::2], options[1::2], strict=True):
            self._take(name.lower(), value)

    def _take(self, name: bytes, value: bytes) -> None:
        if name == b"id":
            self.id = parse_integer(value, "client-id should be greater than 0")
            if self.id < 1:
                raise CommandError("client-id should be greater than 0")
        elif name == b"type":
            self.type = parse_client_type(value)
        elif name == b"addr":
            self.addr = value
        elif name == b"laddr":
            self.laddr = value
        elif name == b"user":
            if value != b"default":
                raise CommandError(f"No such user '{_text(value)}'")
            self.user = value
        elif name == b"skipme" and value.lower() in (b"yes", b"no"):
            self.skip_me = value.lower() == b"yes"
        else:
            raise SyntaxError_

    def match(self, caller: Client, other: Client) -> bool:
        """match(caller, other) -> whether `other` is to be killed."""
        return (
            (self.addr is None or other.peer == self.addr)
            and (self.laddr is None or local_address(other) == self.laddr)
            and (self.type is None or client_type(other) == self.type)
            and (self.id is None or other.id == self.id)
            and (self.user is None or other.user == self.user)
            and not (self.skip_me and other is caller)
        )


def _kill(caller: Client, filters: _Filters) -> int:
    killed = 0
    link = caller.server.replication.link
    for other in [*caller.server.clients.values()]:
        if not filters.match(caller, other):
            continue
        if link is not None and other is link.client:
            link.lost("CLIENT KILL")
        elif other.connection is None:
            continue
        elif other is caller:
            other.connection.finish("CLIENT KILL")
        else:
            other.connection.close("CLIENT KILL")
        killed += 1
    return killed


@command("client|kill", arity=-3, flags=ADMIN, since="2.4.0", group=GROUP)
def client_kill(client: Client, args: list[bytes]) -> bytes:
    """CLIENT KILL <ip:port | filter value [filter value ...]> -> OK | integer

    Closes the connections at an address, or those that match all filters: ID, TYPE, USER, ADDR, LADDR, SKIPME.
    Complexity: O(N) where N is the number of connections
    """
    if len(args) == 3:
        filters = _Filters([])
        filters.addr = args[2]
        filters.skip_me = False
        if not _kill(client, filters):
            raise CommandError("No such client")
        return OK
    return integer(_kill(client, _Filters(args[2:])))


@command("client|setname", arity=3, flags=QUERY, since="2.6.9", group=GROUP, tips=ALL_NODES)
def client_setname(client: Client, args: list[bytes]) -> bytes:
    """CLIENT SETNAME connection-name -> OK

    Names the connection; an empty name removes it.
    Complexity: O(1)
    """
    check_client_name(args[2])
    client.name = args[2]
    return OK


@command("client|getname", arity=2, flags=QUERY, since="2.6.9", group=GROUP)
def client_getname(client: Client, args: list[bytes]) -> bytes:
    """CLIENT GETNAME -> bulk | null

    Returns the connection's name.
    Complexity: O(1)
    """
    return client.resp.bulk_or_null(client.name or None)


@command("client|setinfo", arity=4, flags=QUERY, since="7.2.0", group=GROUP, tips=ALL_NODES)
def client_setinfo(client: Client, args: list[bytes]) -> bytes:
    """CLIENT SETINFO <LIB-NAME libname | LIB-VER libver> -> OK

    Tells which client library speaks, for CLIENT LIST.
    Complexity: O(1)
    """
    attribute, value = args[2].lower(), args[3]
    if attribute not in (b"lib-name", b"lib-ver"):
        raise CommandError(f"Unrecognized option '{_text(args[2])}'")
    if not is_plain_attribute(value):
        raise CommandError(f"{_text(args[2])} cannot contain spaces, newlines or special characters.")
    if attribute == b"lib-name":
        client.lib_name = value
    else:
        client.lib_version = value
    return OK


@command("client|reply", arity=3, flags=QUERY, since="3.2.0", group=GROUP)
def client_reply(client: Client, args: list[bytes]) -> bytes:
    """CLIENT REPLY <ON | OFF | SKIP> -> OK | nothing

    Switches replies off and on, or skips the next one.
    Complexity: O(1)
    """
    mode = args[2].lower()
    if mode == b"on":
        client.reply_mode = b"on"
        client.guard &= ~GUARD_REPLY
        return OK
    if mode not in (b"off", b"skip"):
        raise SyntaxError_
    if client.reply_mode != b"off":
        client.reply_mode = mode
    client.guard |= GUARD_REPLY
    return NO_REPLY


def _switch(word: bytes) -> bool:
    if word.lower() not in (b"on", b"off"):
        raise SyntaxError_
    return word.lower() == b"on"


@command("client|no-evict", arity=3, flags=ADMIN, since="7.0.0", group=GROUP)
def client_no_evict(client: Client, args: list[bytes]) -> bytes:
    """CLIENT NO-EVICT <ON | OFF> -> OK

    Exempts the connection from being closed because of maxmemory-clients.
    Complexity: O(1)
    """
    client.no_evict = _switch(args[2])
    return OK


@command("client|no-touch", arity=3, flags=QUERY, since="7.2.0", group=GROUP)
def client_no_touch(client: Client, args: list[bytes]) -> bytes:
    """CLIENT NO-TOUCH <ON | OFF> -> OK

    Keeps the connection's commands from counting as a use of the keys they access.
    Complexity: O(1)
    """
    if _switch(args[2]):
        client.flags.add("no-touch")
    else:
        client.flags.discard("no-touch")
    return OK


@command("client|pause", arity=-3, flags=ADMIN, since="3.0.0", group=GROUP)
def client_pause(client: Client, args: list[bytes]) -> bytes:
    """CLIENT PAUSE timeout [WRITE | ALL] -> OK

    Holds back the commands of all clients, or those that write, for `timeout` milliseconds.
    Complexity: O(1)
    """
    if len(args) > 4:
        raise subcommand_error(args)
    mode = args[3].lower() if len(args) == 4 else b"all"
    if mode not in (b"write", b"all"):
        raise CommandError("CLIENT PAUSE mode must be WRITE or ALL")
    timeout_ms = parse_integer(args[2], "timeout is not an integer or out of range")
    now_ms = client.server.clock.now_ms
    if timeout_ms < 0:
        raise CommandError("timeout is negative")
    if timeout_ms > INT64_MAX - now_ms:
        raise CommandError("timeout is out of range")
    client.server.blocking.pause(PausePurpose.CLIENT, now_ms + timeout_ms, mode == b"write")
    return OK


@command("client|unpause", arity=2, flags=ADMIN, since="6.2.0", group=GROUP)
def client_unpause(client: Client, args: list[bytes]) -> bytes:
    """CLIENT UNPAUSE -> OK

    Ends CLIENT PAUSE; the commands that were held back run.
    Complexity: O(N) where N is the number of clients held back
    """
    client.server.blocking.unpause(PausePurpose.CLIENT)
    return OK


@command("client|unblock", arity=-3, flags=ADMIN, since="5.0.0", group=GROUP)
def client_unblock(client: Client, args: list[bytes]) -> bytes:
    """CLIENT UNBLOCK client-id [TIMEOUT | ERROR] -> integer

    Ends another connection's blocking command as if it had timed out, or with an error.
    Complexity: O(log N) where N is the number of connections
    """
    if len(args) > 4:
        raise subcommand_error(args)
    reason = args[3].lower() if len(args) == 4 else b"timeout"
    if reason not in (b"timeout", b"error"):
        raise CommandError("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    target = client.server.clients.get(parse_integer(args[2]))
    if target is None or not client.server.blocking.unblock(target, reason == b"error"):
        return ZERO
    return ONE


@command("client|getredir", arity=2, flags=QUERY, since="6.0.0", group=GROUP)
def client_getredir(client: Client, args: list[bytes]) -> bytes:
    """CLIENT GETREDIR -> integer

    Returns -1: this connection's key tracking is off.
    Complexity: O(1)
    """
    return MINUS_ONE


@command("client|trackinginfo", arity=2, flags=QUERY, since="6.2.0", group=GROUP)
def client_trackinginfo(client: Client, args: list[bytes]) -> bytes:
    """CLIENT TRACKINGINFO -> map

    Returns the state of this connection's key tracking, which is off.
    Complexity: O(1)
    """
    resp = client.resp
    state = [
        bulk(b"flags"),
        resp.bulk_set([b"off"]),
        bulk(b"redirect"),
        MINUS_ONE,
        bulk(b"prefixes"),
        EMPTY_ARRAY,
    ]
    return resp.map(state)


@command("client|help", arity=2, flags="loading stale", since="5.0.0", group=GROUP)
def client_help(client: Client, args: list[bytes]) -> bytes:
    """CLIENT HELP -> array

    Returns a text about the subcommands.
    Complexity: O(1)
    """
    return container_help(client)
