"""INFO, TIME and SHUTDOWN: the server's state, its clock and its end (Redis: server.c, db.c)."""

from __future__ import annotations

from ..client import Client
from ..command import command
from ..errors import CommandError, SyntaxError_
from ..reply import OK, bulk_array
from ..shutdown import FAILED, Options

GROUP = "server"


@command(
    "info",
    arity=-1,
    flags="loading stale",
    since="1.0.0",
    group=GROUP,
    categories="dangerous",
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
)
def info(client: Client, args: list[bytes]) -> bytes:
    """INFO [section [section ...]] -> text

    Returns facts and statistics about the server, by section; `all` and `everything` are all sections.
    Complexity: O(1)
    """
    names = [arg.decode("utf-8", "surrogateescape") for arg in args[1:]]
    return client.resp.verbatim(client.server.info.text(names).encode("utf-8", "surrogateescape"))


@command("time", arity=1, flags="loading stale fast", since="2.6.0", group=GROUP, tips=("nondeterministic_output",))
def time(client: Client, args: list[bytes]) -> bytes:
    """TIME -> array

    Returns the server's Unix time: seconds, and microseconds within the second.
    Complexity: O(1)
    """
    microseconds = client.server.clock.present_us()
    return bulk_array([b"%d" % (microseconds // 1_000_000), b"%d" % (microseconds % 1_000_000)])


@command("shutdown", arity=-1, flags="admin noscript loading stale no_multi allow_busy", since="1.0.0", group=GROUP)
def shutdown(client: Client, args: list[bytes]) -> bytes:
    """SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT] -> nothing, or an error

    Ends the server: waits for replicas, saves if save points are set or SAVE is given, and exits.
    Complexity: O(N) when saving, where N is the number of keys, else O(1)
    """
    words = tuple(arg.lower().decode("utf-8", "replace") for arg in args[1:])
    if not set(words) <= {"nosave", "save", "now", "force", "abort"} or {"nosave", "save"} <= set(words):
        raise SyntaxError_
    ending = client.server.shutdown
    if "abort" in words:
        if set(words) != {"abort"}:
            raise SyntaxError_
        if not ending.abort():
            raise CommandError("No shutdown in progress.")
        return OK
    if not ending.request(Options.of(words)):
        raise FAILED
    return ending.wait(client)
