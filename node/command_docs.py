"""COMMAND INFO and DOCS entries, ACL categories and HELP texts, all out of the command definitions.

Law: nothing about a command is written here; what these replies say stands at the command's function.
"""

from __future__ import annotations

from .client import Client
from .command import FLAGS, Command, KeySpec
from .command_syntax import Argument, parse_syntax
from .reply import EMPTY_ARRAY, Resp2, array, bulk, bulk_array, help_lines, integer, simple

HIDDEN_FLAGS = frozenset({"may_replicate", "movablekeys"})
CATEGORIES = (
    *(
        "keyspace",
        "read",
        "write",
        "set",
        "sortedset",
        "list",
        "hash",
        "string",
        "bitmap",
        "hyperloglog",
        "geo",
    ),
    *(
        "stream",
        "pubsub",
        "admin",
        "fast",
        "slow",
        "blocking",
        "dangerous",
        "connection",
        "transaction",
        "scripting",
    ),
)
_CATEGORY_OF_GROUP = {
    **{
        name: name
        for name in ("set", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream", "pubsub")
    },
    "generic": "keyspace",
    "sorted-set": "sortedset",
    "sorted_set": "sortedset",
    "transactions": "transaction",
    "connection": "connection",
    "scripting": "scripting",
}


def acl_categories(command: Command) -> list[str]:
    """acl_categories(command) -> its categories, e.g. ["read", "string", "fast"], those that flags imply included."""
    flags = command.flags
    found = set(command.categories)
    if not command.subcommands:
        found |= {_CATEGORY_OF_GROUP[command.group]} if command.group in _CATEGORY_OF_GROUP else set()
    if "write" in flags:
        found.add("write")
    if "readonly" in flags and "scripting" not in found:
        found.add("read")
    if "admin" in flags:
        found |= {"admin", "dangerous"}
    found |= flags & {"pubsub", "blocking"}
    found.add("fast" if "fast" in flags else "slow")
    return [name for name in CATEGORIES if name in found]


def legacy_range(command: Command) -> tuple[int, int, int, bool]:
    """legacy_range(command) -> (first key, last key, step, movable): COMMAND's old fields.

    Movable: they don't say it all, and a client must ask GETKEYS or read the key specs.
    """
    specs = command.key_specs
    movable = command.find_keys is not None and not specs
    first = last = step = 0
    for spec in specs:
        is_range = spec.keyword is None and spec.keynum is None
        if len(specs) == 1 and is_range:
            movable = "incomplete" in spec.flags
            return spec.index, spec.last + spec.index if spec.last >= 0 else spec.last, spec.step, movable
        if not is_range or spec.step != 1 or (last and last != spec.index - 1):
            movable = True
            continue
        movable = movable or "incomplete" in spec.flags
        first = min(first or spec.index, spec.index)
        last = spec.index + spec.last if spec.last >= 0 else spec.last
        step = 1
    return first, last, step, movable


def info_entry(resp: Resp2, command: Command) -> bytes:
    """info_entry(resp, command) -> the command's array of ten in COMMAND and COMMAND INFO."""
    first, last, step, movable = legacy_range(command)
    shown = {flag for flag in command.flags if flag not in HIDDEN_FLAGS} | (
        {"movablekeys"} if movable else set()
    )
    flags = [simple(flag.encode()) for flag in FLAGS if flag in shown]
    subcommands = [info_entry(resp, sub) for sub in subcommands_of(command)]
    return array(
        [
            bulk(command.full_name.encode()),
            integer(command.arity),
            resp.set(flags),
            integer(first),
            integer(last),
            integer(step),
            resp.set([simple(b"@" + name.encode()) for name in acl_categories(command)]),
            resp.bulk_set([tip.encode() for tip in command.tips]),
            resp.set([_key_spec(resp, spec) for spec in command.key_specs]),
            array(subcommands) if subcommands else resp.set([]),
        ]
    )


def subcommands_of(command: Command) -> list[Command]:
    """subcommands_of(command) -> its subcommands, each once, by name."""
    return [
        command.subcommands[name]
        for name in sorted({sub.name.encode() for sub in command.subcommands.values()})
    ]


def key_flags(resp: Resp2, spec: KeySpec) -> bytes:
    """key_flags(resp, spec) -> the set of a key spec's flags: RO, RW, access, update ..."""
    return resp.set([simple(flag.encode()) for flag in spec.flags.split()])


def _key_spec(resp: Resp2, spec: KeySpec) -> bytes:
    if spec.keyword is not None:
        word, start = spec.keyword
        place = resp.map([bulk(b"keyword"), bulk(word), bulk(b"startfrom"), integer(start)])
        begin = [bulk(b"type"), bulk(b"keyword"), bulk(b"spec"), place]
    else:
        begin = [
            bulk(b"type"),
            bulk(b"index"),
            bulk(b"spec"),
            resp.map([bulk(b"index"), integer(spec.index)]),
        ]
    if spec.keynum is not None:
        names, numbers, kind = (b"keynumidx", b"firstkey", b"keystep"), spec.keynum, b"keynum"
    else:
        names, numbers, kind = (
            (b"lastkey", b"keystep", b"limit"),
            (spec.last, spec.step, spec.limit),
            b"range",
        )
    place = resp.map(
        [part for pair in zip(names, numbers, strict=True) for part in (bulk(pair[0]), integer(pair[1]))]
    )
    find = [bulk(b"type"), bulk(kind), bulk(b"spec"), place]
    fields = [bulk(b"flags"), key_flags(resp, spec), bulk(b"begin_search"), resp.map(begin)]
    return resp.map([*fields, bulk(b"find_keys"), resp.map(find)])


def arguments_of(command: Command) -> tuple[Argument, ...]:
    """arguments_of(command) -> the argument tree of its syntax line; containers have none."""
    return () if command.subcommands else parse_syntax(command.syntax, 2 if command.parent else 1)


def docs_entry(resp: Resp2, command: Command) -> bytes:
    """docs_entry(resp, command) -> the command's map in COMMAND DOCS."""
    fields: list[bytes] = []
    texts = (
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group),
        ("complexity", command.complexity),
    )
    for name, text in texts:
        if text:
            fields += [bulk(name.encode()), bulk(text.encode())]
    if command.history:
        entries = [bulk_array([since.encode(), change.encode()]) for since, change in command.history]
        fields += [bulk(b"history"), resp.set(entries)]
    arguments = arguments_of(command)
    if arguments:
        counter = _SpecCounter(len(command.key_specs))
        fields += [bulk(b"arguments"), array([_argument(resp, one, counter) for one in arguments])]
    subcommands = subcommands_of(command)
    if subcommands:
        entries = [
            part for sub in subcommands for part in (bulk(sub.full_name.encode()), docs_entry(resp, sub))
        ]
        fields += [bulk(b"subcommands"), resp.map(entries)]
    return resp.map(fields)


class _SpecCounter:
    """Numbers the key arguments of one command: the nth belongs to the nth key spec, further ones to the last."""

    def __init__(self, specs: int) -> None:
        self.specs = specs
        self.used = 0

    def next(self) -> int:
        self.used += 1
        return min(self.used, self.specs) - 1


def _argument(resp: Resp2, argument: Argument, counter: _SpecCounter) -> bytes:
    name = argument.name.encode()
    fields = [bulk(b"name"), bulk(name), bulk(b"type"), bulk(argument.kind.encode())]
    if argument.kind not in ("oneof", "block"):
        fields += [bulk(b"display_text"), bulk(name)]
    if argument.kind == "key" and counter.specs:
        fields += [bulk(b"key_spec_index"), integer(counter.next())]
    if argument.token:
        fields += [bulk(b"token"), bulk(argument.token.encode())]
    marks = [name for name in ("optional", "multiple", "multiple_token") if getattr(argument, name)]
    if marks:
        fields += [bulk(b"flags"), resp.set([simple(mark.encode()) for mark in marks])]
    if argument.children:
        fields += [
            bulk(b"arguments"),
            array([_argument(resp, child, counter) for child in argument.children]),
        ]
    return resp.map(fields)


def container_help(client: Client) -> bytes:
    """container_help(client) -> the reply of a container's HELP, from its subcommands' docstrings."""
    running = client.command
    container = running.parent if running is not None else None
    if container is None:
        return EMPTY_ARRAY
    name = container.name.upper()
    lines = [f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    if container.args_min == 1:
        lines += ["(no subcommand)", f"    {container.summary}"]
    for sub in subcommands_of(container):
        if sub.name != "help":
            lines += [sub.syntax.split(" -> ", 1)[0].removeprefix(name + " "), f"    {sub.summary}"]
    return help_lines([*lines, "HELP", "    Print this help."])
