"""INFO, TIME and SHUTDOWN: the server's state, its clock and its end (Redis: server.c, db.c)."""

from __future__ import annotations

from ..client import Client
from ..command import command
from ..reply import bulk_array

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


@command(
    "time", arity=1, flags="loading stale fast", since="2.6.0", group=GROUP, tips=("nondeterministic_output",)
)
def time(client: Client, args: list[bytes]) -> bytes:
    """TIME -> array

    Returns the server's Unix time: seconds, and microseconds within the second.
    Complexity: O(1)
    """
    microseconds = client.server.clock.present_us()
    return bulk_array([b"%d" % (microseconds // 1_000_000), b"%d" % (microseconds % 1_000_000)])
