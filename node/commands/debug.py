"""DEBUG: looking into the node and provoking what tests need (Redis: debug.c). Gated by enable-debug-command.

Law: one function for each subcommand, registered with the numbers of arguments it takes; none can crash the node.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..client import Client
from ..command import command
from ..config_kinds import parse_memory
from ..config_rewrite import rewrite
from ..digest import dataset_digest, hexadecimal, value_digest
from ..errors import CommandError, NoSuchKeyError, SyntaxError_, subcommand_error
from ..glob import matches
from ..parsing import parse_integer, parse_non_negative
from ..persistence.encode import dump_value
from ..protected import is_allowed
from ..reply import OK, array, bulk, help_lines, integer, simple
from ..values.common import encoding
from ..values.hash import Hash
from ..values.packed import unpacked
from ..values.sorted_set import SortedSet

log = logging.getLogger("pyredis")

Function = Callable[[Client, list[bytes]], bytes]
_subcommands: dict[bytes, tuple[int, int, str, Function]] = {}

ARGUMENTS_MAX = 1 << 31
QUICKLIST_PACKED_THRESHOLD_MAX = (1 << 32) - (1 << 20)
FOOTER_AND_TYPE_BYTES = 11
NOT_ALLOWED = (
    '{} command not allowed. If the {} option is set to "local", you can run it from a local connection, '
    "otherwise you need to set this option in the configuration file, and then restart the server."
)
_PROTOCOL_TYPES = "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"


def _subcommand(syntax: str, least: int, most: int | None = None) -> Callable[[Function], Function]:
    """@_subcommand("SLEEP seconds", 3): with DEBUG and the subcommand, it takes `least` to `most` arguments."""

    def register(function: Function) -> Function:
        name = syntax.split(" ", 1)[0].lower().encode()
        _subcommands[name] = (least, least if most is None else most, syntax, function)
        return function

    return register


@command("debug", arity=-2, flags="admin noscript loading stale", since="1.0.0", group="server")
def debug(client: Client, args: list[bytes]) -> bytes:
    """DEBUG subcommand [arg [arg ...]] -> depends on the subcommand

    Looks into the server; see DEBUG HELP.
    Complexity: Depends on subcommand.
    """
    if not is_allowed(client, client.server.config.enable_debug_command):
        raise CommandError(NOT_ALLOWED.format("DEBUG", "enable-debug-command"))
    found = _subcommands.get(args[1].lower())
    if found is None or not found[0] <= len(args) <= found[1]:
        raise subcommand_error(args)
    return found[3](client, args)


@_subcommand("HELP", 2)
def _help(client: Client, args: list[bytes]) -> bytes:
    """Print this help."""
    lines = ["DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for _, _, syntax, function in _subcommands.values():
        if function is not _help:
            lines += [syntax, f"    {function.__doc__}"]
    return help_lines([*lines, "HELP", f"    {_help.__doc__}"])


# -- the data set


@_subcommand("DIGEST", 2)
def _digest(client: Client, args: list[bytes]) -> bytes:
    """Return a signature of the whole data set."""
    return simple(hexadecimal(dataset_digest(client.server.keyspace)))


@_subcommand("DIGEST-VALUE key [key ...]", 2, ARGUMENTS_MAX)
def _digest_value(client: Client, args: list[bytes]) -> bytes:
    """Return signatures of the values of the keys."""
    return array([simple(hexadecimal(value_digest(client.db, name))) for name in args[2:]])


@_subcommand("OBJECT key", 3)
def _object(client: Client, args: list[bytes]) -> bytes:
    """Show what is known about a key's value."""
    value = client.db.peek(args[2])
    if value is None:
        raise NoSuchKeyError
    name = encoding(value).decode()
    length = len(dump_value(value)) - FOOTER_AND_TYPE_BYTES
    text = f"Value at:{id(value):#x} refcount:1 encoding:{name} serializedlength:{length} lru:0 lru_seconds_idle:0"
    return simple(text.encode())


@_subcommand("LISTPACK key", 3)
def _listpack(client: Client, args: list[bytes]) -> bytes:
    """Write the elements of a listpack encoded value to the log."""
    value = client.db.read(args[2])
    if value is None:
        raise NoSuchKeyError
    if encoding(value) != b"listpack":
        raise CommandError("Not a listpack encoded object.")
    value = unpacked(value)
    if isinstance(value, Hash):
        elements: list[object] = [part for pair in value.fields.items() for part in pair]
    elif isinstance(value, SortedSet):
        elements = [part for pair in value.items() for part in pair]
    else:
        elements = [*value]
    log.info("listpack of %d elements: %r", len(elements), elements)
    return simple(b"Listpack structure printed on stdout")


@_subcommand("HTSTATS dbid [full]", 3, 4)
def _htstats(client: Client, args: list[bytes]) -> bytes:
    """Return statistics of a database's slot tables and of its expiry index."""
    index = parse_integer(args[2])
    databases = client.server.keyspace.databases
    if not 0 <= index < len(databases):
        raise CommandError("Out of range database")
    database = databases[index]
    sizes = [len(keys) for keys in database.slots if len(keys)]
    lines = ["[Dictionary HT]", "Hash table stats:", f" slots in use: {len(sizes)}"]
    lines += [f" number of elements: {len(database)}", f" max slot size: {max(sizes, default=0)}"]
    lines += ["[Expires HT]", "Hash table stats:", f" number of elements: {len(database.expires)}"]
    return client.resp.verbatim("\n".join([*lines, ""]).encode())


@_subcommand("POPULATE count [prefix] [size]", 3, 5)
def _populate(client: Client, args: list[bytes]) -> bytes:
    """Create count string keys prefix:0, prefix:1 ... where there are none; they aren't propagated."""
    count = parse_non_negative(args[2])
    prefix = args[3] if len(args) > 3 else b"key"
    size = parse_non_negative(args[4]) if len(args) > 4 else 0
    database, keyspace = client.db, client.server.keyspace
    before = keyspace.dirty
    for number in range(count):
        name = b"%b:%d" % (prefix, number)
        if database.find(name) is None:
            value = b"value:%d" % number
            database.set(name, value[:size].ljust(size, b"\0") if size else value)
    keyspace.dirty = before
    return OK


@_subcommand("RELOAD [option ...]", 2, ARGUMENTS_MAX)
def _reload(client: Client, args: list[bytes]) -> bytes:
    """Save the data set and load it again. Options: MERGE, NOFLUSH, NOSAVE."""
    options = {arg.lower() for arg in args[2:]}
    if not options <= {b"merge", b"noflush", b"nosave"}:
        raise CommandError("DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    before = client.server.keyspace.dirty
    loaded = client.server.persistence.reload(
        save=b"nosave" not in options, flush=b"noflush" not in options, merge=b"merge" in options
    )
    if client.server.keyspace.dirty != before:
        client.propagate_as()
    if not loaded:
        raise CommandError("Error trying to load the RDB dump, check server logs.")
    return OK


@_subcommand("SET-ACTIVE-EXPIRE <0|1>", 3)
def _set_active_expire(client: Client, args: list[bytes]) -> bytes:
    """Switch the background deletion of expired keys off and on."""
    client.server.reclaimer.active_expiry = _flag(args[2])
    return OK


@_subcommand("SET-SKIP-CHECKSUM-VALIDATION <0|1>", 3)
def _set_skip_checksum_validation(client: Client, args: list[bytes]) -> bytes:
    """Load RDB files and RESTORE payloads whatever their checksums are."""
    client.server.persistence.verify_checksums = not _flag(args[2])
    return OK


@_subcommand("QUICKLIST-PACKED-THRESHOLD size", 3)
def _quicklist_packed_threshold(client: Client, args: list[bytes]) -> bytes:
    """Check a size as Redis does for its plain list nodes; lists here have none, so that nothing changes."""
    size = parse_memory(args[2].decode("utf-8", "surrogateescape"))
    if size is None or size > QUICKLIST_PACKED_THRESHOLD_MAX:
        raise CommandError("argument must be a memory value bigger than 1 and smaller than 4gb")
    return OK


@_subcommand("STRINGMATCH-LEN count pattern", 4)
def _stringmatch_len(client: Client, args: list[bytes]) -> bytes:
    """Match a text of count times "a" against a glob pattern."""
    return integer(int(matches(args[3], b"a" * parse_non_negative(args[2]))))


# -- the process


@_subcommand("SLEEP seconds", 3)
def _sleep(client: Client, args: list[bytes]) -> bytes:
    """Stop the server for that long; fractions are allowed."""
    try:
        seconds = float(args[2])
    except ValueError:
        seconds = 0.0
    # Nothing else is served meanwhile: that is what this is for.
    time.sleep(max(0.0, seconds))
    client.server.clock.update()
    return OK


@_subcommand("PAUSE-CRON <0|1>", 3)
def _pause_cron(client: Client, args: list[bytes]) -> bytes:
    """Stop the periodic jobs, and let them run again."""
    client.server.cron_paused = _flag(args[2])
    return OK


@_subcommand("REPLICATE command [arg ...]", 3, ARGUMENTS_MAX)
def _replicate(client: Client, args: list[bytes]) -> bytes:
    """Put a command into the replication stream that isn't executed here."""
    client.server.journal.append(client.db.index, args[2:])
    return OK


@_subcommand("COLLECT-GARBAGE", 2)
def _collect_garbage(client: Client, args: list[bytes]) -> bytes:
    """Look for objects that only refer to each other, and return how many were found; the node stops meanwhile."""
    return integer(client.server.garbage.collect())


@_subcommand("CHANGE-REPL-ID", 2)
def _change_repl_id(client: Client, args: list[bytes]) -> bytes:
    """Take a new replication ID; replicas need a full synchronization then."""
    log.info("Changing replication IDs after receiving DEBUG change-repl-id")
    client.server.replication.identity.renew()
    return OK


@_subcommand("JMAP", 2)
def _jmap(client: Client, args: list[bytes]) -> bytes:
    """Return how many keys of each type and encoding there are."""
    counts: dict[bytes, int] = {}
    for database in client.server.keyspace.databases:
        for name in database.keys():  # noqa: SIM118 - a database isn't a mapping
            value = database.peek(name)
            kind = encoding(value)
            counts[kind] = counts.get(kind, 0) + 1
    return client.resp.map([part for kind in sorted(counts) for part in (bulk(kind), integer(counts[kind]))])


@_subcommand("CONFIG-REWRITE-FORCE-ALL", 2)
def _config_rewrite_force_all(client: Client, args: list[bytes]) -> bytes:
    """Write all directives into the config file, those at their defaults too."""
    config = client.server.config
    if config.path is None:
        raise CommandError("The server is running without a config file")
    try:
        rewrite(config, config.path, everything=True)
    except OSError as error:
        raise CommandError(f"CONFIG-REWRITE-FORCE-ALL failed: {error.strerror}") from error
    return OK


@_subcommand("LOG message", 3)
def _log(client: Client, args: list[bytes]) -> bytes:
    """Write a message to the log."""
    log.warning("DEBUG LOG: %s", args[2].decode("utf-8", "replace"))
    return OK


# -- replies


@_subcommand("ERROR text", 3)
def _error(client: Client, args: list[bytes]) -> bytes:
    """Return an error reply with that text."""
    return b"-%b\r\n" % args[2].replace(b"\r", b" ").replace(b"\n", b" ")


@_subcommand(f"PROTOCOL <{_PROTOCOL_TYPES}>", 3)
def _protocol(client: Client, args: list[bytes]) -> bytes:
    """Return an example of that reply type."""
    resp = client.resp
    numbers = [integer(number) for number in range(3)]
    kind = args[2].lower()
    if kind == b"push" and resp.version < 3:
        raise CommandError("RESP2 is not supported by this command")
    popularity = b"|1\r\n" + bulk(b"key-popularity") + array([bulk(b"key:123"), integer(90)])
    examples: dict[bytes, Callable[[], bytes]] = {
        b"string": lambda: bulk(b"Hello World"),
        b"integer": lambda: integer(12345),
        b"double": lambda: resp.double(3.141),
        b"bignum": lambda: resp.big_number(b"1234567999999999999999999999999999999"),
        b"null": lambda: resp.null,
        b"array": lambda: array(numbers),
        b"set": lambda: resp.set(numbers),
        b"map": lambda: resp.map([part for n in range(3) for part in (numbers[n], resp.boolean(n == 1))]),
        b"attrib": lambda: (popularity if resp.version > 2 else b"") + bulk(b"Some real reply following the attribute"),
        b"push": lambda: (
            resp.push([bulk(b"server-cpu-usage"), integer(42)]) + bulk(b"Some real reply following the push reply")
        ),
        b"true": lambda: resp.boolean(True),
        b"false": lambda: resp.boolean(False),
        b"verbatim": lambda: resp.verbatim(b"This is a verbatim\nstring"),
    }
    if kind not in examples:
        text = "Wrong protocol type name. Please use one of the following: "
        raise CommandError(text + _PROTOCOL_TYPES)
    return examples[kind]()


def _flag(text: bytes) -> bool:
    if text not in (b"0", b"1"):
        raise SyntaxError_
    return text == b"1"
