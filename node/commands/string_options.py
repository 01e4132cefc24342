"""SET and GETEX: the string commands with options (Redis: t_string.c).

Law: what is propagated names absolute times and no condition, so that a replica ends up with the same key.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..client import Client
from ..command import command, key
from ..errors import SyntaxError_, WrongTypeError
from .expire import expire_at, expiry_ms
from .strings import get

_TIMES = {
    b"EX": (1000, True),
    b"PX": (1, True),
    b"EXAT": (1000, False),
    b"PXAT": (1, False),
}
"""Option -> (milliseconds in its unit, whether it is relative to now)."""


@dataclass(slots=True)
class _Options:
    nx: bool = False
    xx: bool = False
    get: bool = False
    keep_ttl: bool = False
    persist: bool = False
    time: tuple[bytes, bytes] | None = None
    """(EX, PX, EXAT or PXAT; its argument); a repeated option's last argument counts."""


def _parse_time(options: _Options, word: bytes, args: list[bytes], index: int) -> None:
    other = options.time is not None and options.time[0] != word
    if other or options.keep_ttl or options.persist or index + 1 >= len(args):
        raise SyntaxError_
    options.time = (word, args[index + 1])


def _parse_set(args: list[bytes]) -> _Options:
    options = _Options()
    index = 3
    while index < len(args):
        word = args[index].upper()
        if word in _TIMES:
            _parse_time(options, word, args, index)
            index += 1
        elif word == b"NX" and not options.xx:
            options.nx = True
        elif word == b"XX" and not options.nx:
            options.xx = True
        elif word == b"GET":
            options.get = True
        elif word == b"KEEPTTL" and options.time is None:
            options.keep_ttl = True
        else:
            raise SyntaxError_
        index += 1
    return options


def _parse_getex(args: list[bytes]) -> _Options:
    options = _Options()
    index = 2
    while index < len(args):
        word = args[index].upper()
        if word in _TIMES:
            _parse_time(options, word, args, index)
            index += 1
        elif word == b"PERSIST" and options.time is None:
            options.persist = True
        else:
            raise SyntaxError_
        index += 1
    return options


@command(
    "set",
    arity=-3,
    flags="write denyoom",
    keys=key("RW access update variable_flags"),
    since="1.0.0",
    group="string",
)
def set_(client: Client, args: list[bytes]) -> bytes:
    """SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] -> OK | null | bulk

    Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.
    Complexity: O(1)
    """  # noqa: E501 - COMMAND DOCS reads the syntax from one line
    if len(args) == 3:
        client.db.set(args[1], args[2])
        return b"+OK\r\n"
    return _set_with_options(client, args, _parse_set(args))


def _set_with_options(client: Client, args: list[bytes], options: _Options) -> bytes:
    name, value = args[1], args[2]
    db = client.db
    when_ms = None
    if options.time is not None:
        word, text = options.time
        when_ms = expiry_ms(client, text, *_TIMES[word])
    before = get(client, args) if options.get else None
    if (options.nx or options.xx) and (db.find(name) is not None) is options.nx:
        return client.resp.null if before is None else before
    if options.keep_ttl:
        db.find(name)
        db.put(name, value)
    else:
        db.set(name, value)
    if when_ms is not None:
        db.set_expiry(name, when_ms)
        if word != b"PXAT":
            client.propagate_as([b"SET", name, value, b"PXAT", b"%d" % when_ms])
    elif options.get:
        client.propagate_as(args[:3] + [arg for arg in args[3:] if arg.upper() != b"GET"])
    return b"+OK\r\n" if before is None else before


@command("getex", arity=-2, flags="write fast", keys=key("RW access update"), since="6.2.0", group="string")
def getex(client: Client, args: list[bytes]) -> bytes:
    """GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] -> bulk | null

    Returns the string value of a key after setting its expiration time.
    Complexity: O(1)
    """  # noqa: E501 - COMMAND DOCS reads the syntax from one line
    options = _parse_getex(args)
    name = args[1]
    db = client.db
    value = db.read(name)
    if value is None:
        return client.resp.null
    if type(value) is not bytes and type(value) is not bytearray:
        raise WrongTypeError
    reply = b"$%d\r\n%b\r\n" % (len(value), value)
    if options.time is not None:
        word, text = options.time
        unit_ms, relative = _TIMES[word]
        expire_at(client, name, expiry_ms(client, text, unit_ms, relative))
    elif options.persist and db.clear_expiry(name):
        db.modified(name)
        client.propagate_as([b"PERSIST", name])
    return reply
