"""MIGRATE: keys to another node, atomically for each key, in one round trip for all of them."""

from __future__ import annotations

from dataclasses import dataclass

from pyredis_cluster.client.errors import RequestTimeoutError, ResponseError, TransportError
from pyredis_cluster.client.resp import encode_command

from ..client import Client
from ..command import KeySpec, command
from ..errors import CommandError, SyntaxError_
from ..keyspace import Value
from ..migrate_links import Link, Target
from ..parsing import parse_integer
from ..persistence.encode import dump_value
from ..reply import OK, simple

_KEY = 3
_FIRST_OPTION = 6
_DEFAULT_TIMEOUT_MS = 1000
_OPERANDS = {b"AUTH": 1, b"AUTH2": 2}


@dataclass(slots=True)
class _Request:
    target: Target
    database: int
    timeout_ms: int
    copy: bool
    replace: bool
    credentials: list[bytes]
    keys: list[bytes]


def find_keys(args: list[bytes]) -> list[int]:
    """find_keys(args) -> the positions of MIGRATE's keys: the third argument, or those after KEYS."""
    position = _FIRST_OPTION
    while position < len(args):
        word = args[position].upper()
        if word == b"KEYS":
            return [_KEY] if args[_KEY] else [*range(position + 1, len(args))]
        position += 1 + _OPERANDS.get(word, 0)
    return [_KEY]


def _parse(args: list[bytes]) -> _Request:
    copy = replace = False
    credentials: list[bytes] = []
    keys = [args[_KEY]]
    position = _FIRST_OPTION
    while position < len(args):
        word = args[position].upper()
        operands = args[position + 1 : position + 1 + _OPERANDS.get(word, 0)]
        if word == b"COPY":
            copy = True
        elif word == b"REPLACE":
            replace = True
        elif word in _OPERANDS:
            if len(operands) < _OPERANDS[word]:
                raise SyntaxError_
            credentials = operands
        elif word == b"KEYS":
            if args[_KEY]:
                raise CommandError(
                    "When using MIGRATE KEYS option, the key argument must be set to the empty string"
                )
            keys = args[position + 1 :]
            break
        else:
            raise SyntaxError_
        position += 1 + len(operands)
    timeout_ms = parse_integer(args[5])
    database = parse_integer(args[4])
    host = args[1].decode("utf-8", "surrogateescape")
    port = int(args[2]) if args[2].isdigit() and len(args[2]) < 6 else 0
    return _Request(
        target=(host, port),
        database=database,
        timeout_ms=timeout_ms if timeout_ms > 0 else _DEFAULT_TIMEOUT_MS,
        copy=copy,
        replace=replace,
        credentials=credentials,
        keys=keys,
    )


@command(
    "migrate",
    arity=-6,
    flags="write movablekeys",
    keys=(
        KeySpec("RW access delete", _KEY),
        KeySpec("RW access delete incomplete", keyword=(b"KEYS", -2), last=-1),
    ),
    find_keys=find_keys,
    categories="keyspace dangerous",
    since="2.6.0",
    group="generic",
    tips=("nondeterministic_output",),
)
def migrate(client: Client, args: list[bytes]) -> bytes:
    """MIGRATE host port key|"" destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password] [KEYS key [key ...]] -> OK or NOKEY

    Moves keys to another node. A key is deleted here once the other node has acknowledged it; all clients
    wait meanwhile, at most `timeout` milliseconds for each step of the communication.

    Complexity: that of DUMP, RESTORE and DEL for each key, and the transfer.
    """  # noqa: E501 - the first line is the syntax that COMMAND DOCS shows
    request = _parse(args)
    database = client.db
    found: list[tuple[bytes, Value]] = []
    for name in request.keys:
        value = database.read(name)
        if value is not None:
            found.append((name, value))
    if not found:
        return simple(b"NOKEY")
    names, payload = _encode(client, request, found)
    try:
        acknowledged, refusal = _transfer(client, request, names, payload)
    except _TransferError as error:
        acknowledged, refusal = error.acknowledged, error
    if acknowledged and not request.copy:
        for name in acknowledged:
            database.drop(name)
        client.propagate_as([b"DEL", *acknowledged])
    if refusal is None:
        return OK
    # Not raised: some keys may have gone, and a raised error stands for no effect at all.
    assert client.command is not None
    return client.server.dispatcher.failed(client.command, refusal)


def _encode(client: Client, request: _Request, found: list[tuple[bytes, Value]]) -> tuple[list[bytes], bytes]:
    """The keys that are still alive, and RESTORE commands for them."""
    server = client.server
    verb = b"RESTORE-ASKING" if server.config.cluster_enabled else b"RESTORE"
    options = [b"REPLACE"] if request.replace else []
    expiry_ms = client.db.expiry_ms
    now_ms = server.clock.now_ms
    names = []
    commands = []
    for name, value in found:
        when_ms = expiry_ms(name)
        # A relative time, as in Redis: the clocks of the two nodes may differ.
        ttl = b"0" if when_ms is None else b"%d" % max(1, when_ms - now_ms)
        commands.append(encode_command([verb, name, ttl, dump_value(value), *options]))
        names.append(name)
    return names, b"".join(commands)


class _TransferError(CommandError):
    """The connection failed; `acknowledged` are the keys that the target has confirmed before."""

    code = "IOERR"

    def __init__(self, message: str, acknowledged: list[bytes]) -> None:
        super().__init__(message)
        self.acknowledged = acknowledged


def _transfer(
    client: Client, request: _Request, names: list[bytes], payload: bytes
) -> tuple[list[bytes], CommandError | None]:
    """Send, retrying once over a new connection if the cached one turned out to be dead.

    -> (the keys that the target took, its first error or None). Raises _TransferError.
    """
    server = client.server
    may_retry = True
    while True:
        try:
            link = server.migrate_links.get(request.target, request.timeout_ms, server.clock.now_ms)
        except TransportError:
            raise _TransferError("error or timeout connecting to the client", []) from None
        greeting = _greeting(link, request)
        try:
            replies = link.exchange(b"".join((*greeting, payload)), len(greeting) + len(names), request.timeout_ms)
        except TransportError as error:
            server.migrate_links.drop(request.target)
            taken, refusal = _judge(link.replies, len(greeting), names)
            if may_retry and not link.replies and not isinstance(error, RequestTimeoutError):
                may_retry = False
                continue
            if refusal is not None:
                return taken, refusal
            text = "writing" if link.wire.wants_write else "reading"
            raise _TransferError(f"error or timeout {text} to target instance", taken) from None
        taken, refusal = _judge(replies, len(greeting), names)
        link.database = request.database if refusal is None else -1
        return taken, refusal


def _greeting(link: Link, request: _Request) -> list[bytes]:
    greeting = []
    if request.credentials:
        greeting.append(encode_command([b"AUTH", *request.credentials]))
    if link.database != request.database:
        greeting.append(encode_command([b"SELECT", b"%d" % request.database]))
    return greeting


def _judge(
    replies: list[object], greeting_count: int, names: list[bytes]
) -> tuple[list[bytes], CommandError | None]:
    """Which keys were taken, and the first error. If AUTH or SELECT failed, no key counts as taken."""
    refusal = None
    for reply in replies:
        if isinstance(reply, ResponseError):
            refusal = CommandError(f"Target instance replied with error: {reply.message}")
            break
    if any(isinstance(reply, ResponseError) for reply in replies[:greeting_count]):
        return [], refusal
    answers = replies[greeting_count:]
    return [name for name, reply in zip(names, answers, strict=False) if not isinstance(reply, ResponseError)], refusal
