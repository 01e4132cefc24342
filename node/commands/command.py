"""The COMMAND container: what commands there are and how they are called (Redis: server.c, commandCommand)."""

from __future__ import annotations

from ..client import Client
from ..command import Command, CommandTable, command
from ..command_docs import acl_categories, container_help, docs_entry, info_entry, key_flags, subcommands_of
from ..errors import CommandError, SyntaxError_
from ..glob import matches
from ..reply import array, bulk, bulk_array, integer

FLAGS = "loading stale"
GROUP = "server"
CATEGORY = "connection"
ANY_ORDER = ("nondeterministic_output_order",)


def _lookup(table: CommandTable, name: bytes) -> Command | None:
    """The command called `get`, or `config|get`."""
    container, _, sub = name.lower().partition(b"|")
    found = table.get(container)
    if found is None or not sub:
        return found
    return found.subcommands.get(sub)


def _everything(client: Client) -> list[Command]:
    return [*client.server.dispatcher.table]


@command("command", arity=-1, flags=FLAGS, since="2.8.13", group=GROUP, categories=CATEGORY, tips=ANY_ORDER)
def command_(client: Client, args: list[bytes]) -> bytes:
    """COMMAND -> array

    Returns the details of all commands.
    Complexity: O(N) where N is the number of commands
    """
    return array([info_entry(client.resp, each) for each in _everything(client)])


@command("command|count", arity=2, flags=FLAGS, since="2.8.13", group=GROUP, categories=CATEGORY)
def command_count(client: Client, args: list[bytes]) -> bytes:
    """COMMAND COUNT -> integer

    Returns how many commands there are.
    Complexity: O(1)
    """
    return integer(len(_everything(client)))


@command(
    "command|info", arity=-2, flags=FLAGS, since="2.8.13", group=GROUP, categories=CATEGORY, tips=ANY_ORDER
)
def command_info(client: Client, args: list[bytes]) -> bytes:
    """COMMAND INFO [command-name [command-name ...]] -> array

    Returns the details of the commands named, or of all.
    Complexity: O(N) where N is the number of commands to look up
    """
    if len(args) == 2:
        return command_(client, args)
    found = [_lookup(client.server.dispatcher.table, name) for name in args[2:]]
    return array(
        [client.resp.null_array if each is None else info_entry(client.resp, each) for each in found]
    )


@command(
    "command|docs", arity=-2, flags=FLAGS, since="7.0.0", group=GROUP, categories=CATEGORY, tips=ANY_ORDER
)
def command_docs(client: Client, args: list[bytes]) -> bytes:
    """COMMAND DOCS [command-name [command-name ...]] -> map

    Returns summary, syntax and history of the commands named, or of all.
    Complexity: O(N) where N is the number of commands to look up
    """
    table = client.server.dispatcher.table
    found = [_lookup(table, name) for name in args[2:]] if len(args) > 2 else _everything(client)
    entries = [
        (bulk(each.full_name.encode()), docs_entry(client.resp, each)) for each in found if each is not None
    ]
    return client.resp.map([part for entry in entries for part in entry])


@command(
    "command|list", arity=-2, flags=FLAGS, since="7.0.0", group=GROUP, categories=CATEGORY, tips=ANY_ORDER
)
def command_list(client: Client, args: list[bytes]) -> bytes:
    """COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>] -> array

    Returns the names of all commands and subcommands, or of those that pass the filter.
    Complexity: O(N) where N is the number of commands
    """
    if len(args) not in (2, 5) or (len(args) == 5 and args[2].lower() != b"filterby"):
        raise SyntaxError_
    kind, value = (args[3].lower(), args[4]) if len(args) == 5 else (b"", b"")
    if kind not in (b"", b"module", b"aclcat", b"pattern"):
        raise SyntaxError_
    names = []
    for parent in _everything(client):
        for each in (parent, *subcommands_of(parent)):
            name = each.full_name.encode()
            if (
                not kind
                or (kind == b"aclcat" and value.lower().decode("utf-8", "replace") in acl_categories(each))
                or (kind == b"pattern" and matches(value, name, nocase=True))
            ):
                names.append(name)
    return bulk_array(names)


def _resolve(client: Client, args: list[bytes]) -> Command:
    """The command that GETKEYS is asked about, if it has keys and takes that many arguments."""
    try:
        found = client.server.dispatcher.table.resolve(args)
    except CommandError:
        raise CommandError("Invalid command specified") from None
    if found.find_keys is None and all("not_key" in spec.flags.split() for spec in found.key_specs):
        raise CommandError("The command has no key arguments")
    if not found.takes(len(args)):
        raise CommandError("Invalid number of arguments specified for command")
    for spec in found.key_specs:
        if spec.keynum is not None and spec.keyword is None and not spec.positions(args):
            raise CommandError("Invalid arguments specified for command")
    return found


@command("command|getkeys", arity=-3, flags=FLAGS, since="2.8.13", group=GROUP, categories=CATEGORY)
def command_getkeys(client: Client, args: list[bytes]) -> bytes:
    """COMMAND GETKEYS command [arg [arg ...]] -> array

    Returns the keys among the arguments of a command.
    Complexity: O(N) where N is the number of arguments
    """
    called = args[2:]
    positions = _resolve(client, called).key_positions(called)
    if not positions:
        raise CommandError("Invalid arguments specified for command")
    return bulk_array([called[position] for position in positions])


@command("command|getkeysandflags", arity=-3, flags=FLAGS, since="7.0.0", group=GROUP, categories=CATEGORY)
def command_getkeysandflags(client: Client, args: list[bytes]) -> bytes:
    """COMMAND GETKEYSANDFLAGS command [arg [arg ...]] -> array

    Returns the keys among the arguments of a command, each with how it is accessed.
    Complexity: O(N) where N is the number of arguments
    """
    called = args[2:]
    found = _resolve(client, called)
    positions = found.key_positions(called)
    if not positions:
        raise CommandError("Invalid arguments specified for command")
    replies = []
    for position in positions:
        spec = next(
            (spec for spec in found.key_specs if position in spec.positions(called)), found.key_specs[0]
        )
        replies.append(array([bulk(called[position]), key_flags(client.resp, spec)]))
    return array(replies)


@command("command|help", arity=2, flags=FLAGS, since="5.0.0", group=GROUP, categories=CATEGORY)
def command_help(client: Client, args: list[bytes]) -> bytes:
    """COMMAND HELP -> array

    Returns a text about the subcommands.
    Complexity: O(1)
    """
    return container_help(client)
