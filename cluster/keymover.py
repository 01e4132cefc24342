"""Moving the keys of one slot with MIGRATE, as redis-cli does it: for open slots and for nodes of Redis.

Each step may be repeated after an interruption; a key is never deleted before its copy is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pyredis_cluster.client.errors import AskError, ResponseError

from .admin import Access, NodeLink
from .errors import MigrationFailed, NodeRefused
from .topology import Member

# Redis serialises all keys of one MIGRATE before it sends them, and serves nobody else meanwhile.
KEYS_PER_MIGRATE = 100
MIGRATE_TIMEOUT_MS = 10_000
_CALL_TIMEOUT_MS = MIGRATE_TIMEOUT_MS + 5_000.0

Moved = Callable[[int], None]


def move_slot(slot: int, source: Member, target: Member, others: Iterable[Member], replace: bool, moved: Moved) -> None:
    """move_slot(slot, source, target, others, replace, moved): live, with redirects, from owner to new owner.

    `moved` is told the number of keys after each step. `others` are the primaries that hear of it at once,
    instead of by gossip. With `replace` a key that both sides hold differently keeps the source's value.
    """
    target.link.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
    source.link.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)
    move_keys(slot, source, target, replace, moved)
    # The target first: if it died after the others were told, nobody would own the slot.
    target.link.call("CLUSTER", "SETSLOT", slot, "NODE", target.node_id)
    tell_owner([slot], target.node_id, [source, *others])


def tell_owner(slots: Sequence[int], owner_id: str, primaries: Iterable[Member]) -> None:
    """tell_owner(slots, owner_id, primaries): CLUSTER SETSLOT NODE, to all but the owner itself.

    A primary that has lost its last slot with this is a replica by now; it hears of the rest by gossip.
    """
    for primary in primaries:
        if primary.node_id == owner_id:
            continue
        replies = primary.link.pipeline(("CLUSTER", "SETSLOT", slot, "NODE", owner_id) for slot in slots)
        for slot, reply in zip(slots, replies, strict=True):
            if isinstance(reply, ResponseError) and "SETSLOT only with masters" not in reply.message:
                raise NodeRefused(primary.address, f"CLUSTER SETSLOT {slot} NODE", reply.message)


def collect_keys(slot: int, source: Member, owner: Member, replace: bool, moved: Moved) -> None:
    """collect_keys(slot, source, owner, replace, moved): the keys that `source` has go to the owner."""
    if slot in source.myself.slots:
        # It would refuse to give the slot to another node as long as it has keys there.
        source.link.pipeline([("CLUSTER", "DELSLOTS", slot)])
    tell_owner([slot], owner.node_id, [source])
    # As long as the slot is open there, the node runs MIGRATE itself instead of redirecting us.
    source.link.call("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.node_id)
    move_keys(slot, source, owner, replace, moved)
    source.link.call("CLUSTER", "SETSLOT", slot, "STABLE")


def move_keys(slot: int, source: Member, target: Member, replace: bool, moved: Moved) -> None:
    """move_keys(slot, source, target, replace, moved): MIGRATE until the source has no key in the slot."""
    while keys := source.link.call("CLUSTER", "GETKEYSINSLOT", slot, KEYS_PER_MIGRATE):
        _migrate(slot, keys, source, target, replace)
        moved(len(keys))


def _migrate(slot: int, keys: Sequence[bytes], source: Member, target: Member, replace: bool) -> None:
    reply = _migrate_once(keys, source, target, replace)
    if isinstance(reply, ResponseError) and "BUSYKEY" in reply.message:
        # Left on both sides by an interruption, most likely: then the copies are equal and one may go.
        different = [key for key in keys if not _equal_or_alone(key, source.link, target.link)]
        if different:
            shown = ", ".join(repr(key) for key in different[:5])
            raise MigrationFailed(
                f"{len(different)} keys of slot {slot} have different values on {source.address} and "
                f"{target.address}: {shown}; settle them by hand, or use --replace to keep those of "
                f"{source.address}"
            )
        reply = _migrate_once(keys, source, target, replace=True)
    if isinstance(reply, ResponseError):
        raise NodeRefused(source.address, f"MIGRATE of slot {slot} to {target.address}", reply.message)


def _migrate_once(keys: Sequence[bytes], source: Member, target: Member, replace: bool) -> object:
    command: list[bytes | str | int] = [
        "MIGRATE",
        target.address.host,
        target.address.port,
        "",
        0,
        MIGRATE_TIMEOUT_MS,
    ]
    if replace:
        command.append("REPLACE")
    command += _credentials(source.link.access)
    return source.link.pipeline([[*command, "KEYS", *keys]], _CALL_TIMEOUT_MS)[0]


def _credentials(access: Access) -> list[str]:
    if access.password is None:
        return []
    if access.username == "default":
        return ["AUTH", access.password]
    return ["AUTH2", access.username, access.password]


def _equal_or_alone(key: bytes, source: NodeLink, target: NodeLink) -> bool:
    """Whether the two have equal values, or only one of them has the key."""
    ours = source.pipeline([("DUMP", key)])[0]
    # Keys that were not in the way have gone over with the same MIGRATE: a migrating source redirects us then.
    if ours is None or isinstance(ours, AskError):
        return True
    # ASKING makes an importing node answer.
    theirs = target.pipeline([("ASKING",), ("DUMP", key)])[1]
    return theirs is None or (ours == theirs and not isinstance(ours, ResponseError))
