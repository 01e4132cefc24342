"""SAVE, BGSAVE and LASTSAVE."""

from __future__ import annotations

from ..client import Client
from ..command import command
from ..errors import CommandError, SyntaxError_
from ..persistence.persistence import ChildActiveError
from ..reply import OK, integer, simple

_IN_PROGRESS = CommandError("Background save already in progress")
_FAILED = CommandError("the RDB file can't be written, see the server's log")


@command("save", arity=1, flags="admin noscript no_async_loading no_multi", since="1.0.0", group="server")
def save(client: Client, args: list[bytes]) -> bytes:
    """SAVE -> OK

    Writes the RDB file while all clients wait.

    Complexity: O(n) in the number of keys of all databases.
    """
    persistence = client.server.persistence
    if persistence.child_active:
        raise _IN_PROGRESS
    if not persistence.save():
        raise _FAILED
    return OK


@command("bgsave", arity=-1, flags="admin noscript no_async_loading", since="1.0.0", group="server")
def bgsave(client: Client, args: list[bytes]) -> bytes:
    """BGSAVE [SCHEDULE] -> simple string

    Writes the RDB file in a forked process. SCHEDULE, and BGSAVE in a transaction, wait for a running child.

    Complexity: O(1).
    """
    if len(args) > 2 or (len(args) == 2 and args[1].upper() != b"SCHEDULE"):
        raise SyntaxError_
    persistence = client.server.persistence
    if persistence.child_active:
        raise _IN_PROGRESS
    if client.transaction is not None:
        persistence.scheduled = True
        return simple(b"Background saving scheduled")
    try:
        persistence.bgsave()
    except ChildActiveError:
        raise _IN_PROGRESS from None
    except OSError:
        raise _FAILED from None
    return simple(b"Background saving started")


@command("lastsave", arity=1, flags="loading stale fast", categories="admin dangerous", since="1.0.0", group="server")
def lastsave(client: Client, args: list[bytes]) -> bytes:
    """LASTSAVE -> integer

    Unix time in seconds of the last save that succeeded, or of the start.

    Complexity: O(1).
    """
    return integer(client.server.persistence.last_save_ms // 1000)
