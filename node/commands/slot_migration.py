"""CLUSTER MIGRATESLOTS, GETSLOTMIGRATIONS, CANCELSLOTMIGRATIONS and SYNCSLOTS: atomic slot migration.

The first three are Valkey 9's; SYNCSLOTS is what the two nodes of a migration say to each other.
"""

from __future__ import annotations

from pyredis_cluster.gossip.slots import SLOT_COUNT

from ..client import Client
from ..command import command
from ..errors import CommandError, SyntaxError_
from ..migration.job import Job
from ..parsing import integer_or_none, parse_integer
from ..reply import OK, array, bulk, integer
from .cluster import require_cluster

FLAGS = "admin stale no_async_loading noscript"


def _ranges(words: list[bytes]) -> list[int]:
    """Slots of `start end [start end ...]`; CommandError for what is none."""
    if not words or len(words) % 2:
        raise SyntaxError_
    slots: dict[int, None] = {}
    for first_text, last_text in zip(words[::2], words[1::2], strict=True):
        first, last = integer_or_none(first_text), integer_or_none(last_text)
        if first is None or last is None or not 0 <= first < SLOT_COUNT or not 0 <= last < SLOT_COUNT:
            raise CommandError("Invalid or out of range slot")
        if first > last:
            raise CommandError(f"start slot number {first} is greater than end slot number {last}")
        for slot in range(first, last + 1):
            if slot in slots:
                raise CommandError(f"Slot {slot} specified multiple times")
            slots[slot] = None
    return [*slots]


@command("cluster|migrateslots", arity=-7, flags=FLAGS, since="9.0.0", group="cluster", categories="dangerous")
def migrate_slots(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER MIGRATESLOTS SLOTSRANGE start-slot end-slot [start-slot end-slot ...] NODE node-id -> OK

    Begins to move slots of this node to another primary, with their keys, all at once at the end.
    Complexity: O(N) where N is the number of slots; the transfer runs in the background
    """
    require_cluster(client)
    words = args[2:]
    plans: list[tuple[list[int], str]] = []
    while words:
        upper = [word.upper() for word in words]
        if upper[0] != b"SLOTSRANGE" or b"NODE" not in upper or upper.index(b"NODE") + 1 >= len(words):
            raise SyntaxError_
        at = upper.index(b"NODE")
        plans.append((_ranges(words[1:at]), words[at + 1].decode("ascii", "replace")))
        words = words[at + 2 :]
    for slots, target_id in plans:
        client.server.migrations.start(slots, target_id)
    return OK


@command("cluster|cancelslotmigrations", arity=2, flags=FLAGS, since="9.0.0", group="cluster", categories="dangerous")
def cancel_slot_migrations(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER CANCELSLOTMIGRATIONS -> OK

    Ends the slot migrations that leave this node; the slots stay.
    Complexity: O(N) where N is the number of migrations
    """
    require_cluster(client)
    client.server.migrations.cancel_all()
    return OK


def _describe(client: Client, job: Job) -> bytes:
    fields: list[tuple[bytes, bytes]] = [
        (b"name", bulk(job.name.encode())),
        (b"operation", bulk(b"EXPORT" if job.exporting else b"IMPORT")),
        (b"slot_ranges", bulk(job.slot_ranges.encode())),
        (b"target_node", bulk(job.target_id.encode())),
        (b"source_node", bulk(job.source_id.encode())),
        (b"create_time", integer(job.created_ms // 1000)),
        (b"last_update_time", integer(job.updated_ms // 1000)),
        (b"state", bulk(job.state.value.encode())),
        (b"message", bulk(job.message.encode())),
        (b"keys_moved", integer(job.keys_moved)),
        (b"write_pause_ms", integer(job.paused_ms)),
    ]
    return client.resp.map([item for name, value in fields for item in (bulk(name), value)])


@command("cluster|getslotmigrations", arity=2, flags="admin stale", since="9.0.0", group="cluster")
def get_slot_migrations(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER GETSLOTMIGRATIONS -> array of maps

    Lists the running and the recent slot migrations of this node, the newest first.
    Complexity: O(N) where N is the number of migrations
    """
    require_cluster(client)
    return array([_describe(client, job) for job in client.server.migrations.jobs()])


@command("cluster|syncslots", arity=-4, flags=FLAGS, since="9.0.0", group="cluster", categories="dangerous")
def sync_slots(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER SYNCSLOTS <ESTABLISH source-id name SLOTSRANGE start end [start end ...] | FINISH name epoch> -> OK

    An internal command: the source of a slot migration speaks to its target.
    Complexity: O(N) where N is the number of slots
    """
    cluster = require_cluster(client)
    migrations = client.server.migrations
    verb = args[2].upper()
    if verb == b"FINISH" and len(args) == 5:
        return migrations.finish(client, args, args[3].decode("ascii", "replace"), parse_integer(args[4]))
    if verb != b"ESTABLISH" or len(args) < 8 or args[5].upper() != b"SLOTSRANGE":
        raise SyntaxError_
    source_id, name = (word.decode("ascii", "replace") for word in args[3:5])
    now_ms = client.server.clock.now_ms
    job = Job(name, False, tuple(sorted(_ranges(args[6:]))), source_id, cluster.my_id, now_ms, now_ms)
    return migrations.establish(client, args, job)
