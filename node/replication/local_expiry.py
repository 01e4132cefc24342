"""Keys that a writable replica wrote with a time to live: no DEL comes for them, so they die here.

Law: only keys whose time was set here die here; the primary's keys wait for its DEL (Redis: expireSlaveKeys).
"""

from __future__ import annotations

from ..keyspace import ExpiryPolicy, Keyspace

CHECKED_MAX_KEYS = 1000
"""So many keys are looked at in one round."""


def expire_local_keys(keyspace: Keyspace) -> None:
    """expire_local_keys(keyspace): one round over keys set under the policy LOCAL; the next one goes on from there."""
    remembered = keyspace.expiring_here
    if not remembered:
        return
    if keyspace.expiry_policy is not ExpiryPolicy.LOCAL:
        remembered.clear()
        return
    for _ in range(min(CHECKED_MAX_KEYS, len(remembered))):
        index, key = next(iter(remembered))
        del remembered[index, key]
        database = keyspace.databases[index]
        when_ms = database.expiry_ms(key)
        if when_ms is None:
            continue
        if when_ms <= keyspace.clock.now_ms:
            database.expire(key)
        else:
            remembered[index, key] = None
