"""The FUNCTION container of a node that holds no functions: what tools ask before they join it to a cluster.

Law: every answer is true: there are no libraries and no engine to load one into. Payloads are Redis's.
"""

from __future__ import annotations

from ..client import Client
from ..command import command
from ..command_docs import container_help
from ..errors import CommandError, subcommand_error
from ..persistence.encode import PayloadFooterError, seal, unseal
from ..reply import EMPTY_ARRAY, OK, bulk

GROUP = "scripting"
EVERYWHERE = ("request_policy:all_shards", "response_policy:all_succeeded")
FROM_EACH_SHARD = ("nondeterministic_output", "request_policy:all_shards", "response_policy:special")
_LIBRARY_OPCODE = 245
_LIBRARY_OPCODE_OLD = 246
_POLICIES = (b"append", b"replace", b"flush")


@command(
    "function|list", arity=-2, flags="noscript", since="7.0.0", group=GROUP, tips=("nondeterministic_output_order",)
)
def function_list(client: Client, args: list[bytes]) -> bytes:
    """FUNCTION LIST [LIBRARYNAME library-name-pattern] [WITHCODE] -> array

    Returns the libraries, of which there are none.
    Complexity: O(1)
    """
    options = [arg.lower() for arg in args[2:]]
    seen: set[bytes] = set()
    while options:
        option = options.pop(0)
        if option in seen or option not in (b"withcode", b"libraryname"):
            raise CommandError(f"Unknown argument {option.decode('utf-8', 'surrogateescape')}")
        seen.add(option)
        if option == b"libraryname":
            if not options:
                raise CommandError("library name argument was not given")
            options.pop(0)
    return EMPTY_ARRAY


@command("function|dump", arity=2, flags="noscript", since="7.0.0", group=GROUP)
def function_dump(client: Client, args: list[bytes]) -> bytes:
    """FUNCTION DUMP -> bulk

    Returns a payload of all libraries for FUNCTION RESTORE: an empty one.
    Complexity: O(1)
    """
    return bulk(seal(b""))


@command("function|restore", arity=-3, flags="noscript write denyoom", since="7.0.0", group=GROUP, tips=EVERYWHERE)
def function_restore(client: Client, args: list[bytes]) -> bytes:
    """FUNCTION RESTORE serialized-value [FLUSH | APPEND | REPLACE] -> OK

    Restores the libraries of a payload, if there are none in it.
    Complexity: O(N) where N is the size of the payload
    """
    if len(args) > 4:
        raise subcommand_error(args)
    if len(args) == 4 and args[3].lower() not in _POLICIES:
        raise CommandError("Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")
    try:
        body = unseal(args[2])
    except PayloadFooterError:
        raise CommandError("DUMP payload version or checksum are wrong") from None
    if not body:
        return OK
    if body[0] == _LIBRARY_OPCODE_OLD:
        raise CommandError("Pre-GA function format not supported")
    if body[0] != _LIBRARY_OPCODE:
        raise CommandError("given type is not a function")
    raise CommandError("failed loading the given functions payload: this server has no engine for functions")


@command("function|delete", arity=3, flags="noscript write", since="7.0.0", group=GROUP, tips=EVERYWHERE)
def function_delete(client: Client, args: list[bytes]) -> bytes:
    """FUNCTION DELETE library-name -> error

    Deletes a library; there is none to delete.
    Complexity: O(1)
    """
    raise CommandError("Library not found")


@command("function|flush", arity=-2, flags="noscript write", since="7.0.0", group=GROUP, tips=EVERYWHERE)
def function_flush(client: Client, args: list[bytes]) -> bytes:
    """FUNCTION FLUSH [ASYNC | SYNC] -> OK

    Deletes all libraries.
    Complexity: O(1)
    """
    if len(args) > 3:
        raise subcommand_error(args)
    if len(args) == 3 and args[2].lower() not in (b"async", b"sync"):
        raise CommandError("FUNCTION FLUSH only supports SYNC|ASYNC option")
    return OK


@command("function|stats", arity=2, flags="noscript allow_busy", since="7.0.0", group=GROUP, tips=FROM_EACH_SHARD)
def function_stats(client: Client, args: list[bytes]) -> bytes:
    """FUNCTION STATS -> map

    Returns the function that runs, and the engines: there is neither.
    Complexity: O(1)
    """
    resp = client.resp
    return resp.map([bulk(b"running_script"), resp.null, bulk(b"engines"), resp.map([])])


@command("function|help", arity=2, flags="loading stale", since="7.0.0", group=GROUP)
def function_help(client: Client, args: list[bytes]) -> bytes:
    """FUNCTION HELP -> array

    Returns a text about the subcommands.
    Complexity: O(1)
    """
    return container_help(client)
