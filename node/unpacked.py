"""The ledger of one database's collections that stand unpacked: so that packing them needs no walk over the keys.

Law: a key is noted when a collection comes under it or is unpacked, and `due` once, when it was noted a while ago or
when many are, in all or of those that there are. A note says nothing of what the key holds by then.
"""

from __future__ import annotations

from typing import Final

IDLE_MS: Final = 2000
"""A collection is left unpacked for so long, at least, after it came or was unpacked."""

NOTED_MIN: Final = 512
NOTED_MAX: Final = 8192
NOTED_SHARE: Final = 32
"""Of more collections than one in so many keys, at least NOTED_MIN and at most NOTED_MAX, the oldest are due at once.

Ten elements take 1 KB more while unpacked."""

PRESSING_FACTOR: Final = 3
"""So many times that, and packing falls behind. (Twice as many stand unpacked when they are packed as they come.)"""


def noted_max(keys: int) -> int:
    """noted_max(1000) -> how many of so many keys may be noted before the oldest are due."""
    return min(NOTED_MAX, max(NOTED_MIN, keys // NOTED_SHARE))


class Unpacked:
    """`noted[key] = None` notes a key; `due` takes keys out. Nothing is done for a database that has no notes."""

    __slots__ = ("_aging", "_turned_ms", "noted")

    def __init__(self) -> None:
        self.noted: dict[bytes, None] = {}
        self._aging: dict[bytes, None] = {}
        self._turned_ms = 0

    def __len__(self) -> int:
        return len(self.noted) + len(self._aging)

    def __contains__(self, key: object) -> bool:
        return key in self.noted or key in self._aging

    def is_pressing(self, keys: int) -> bool:
        """is_pressing(keys) -> whether far more of so many keys are noted than should be."""
        return len(self) > PRESSING_FACTOR * noted_max(keys)

    def due(self, now_ms: int, keys: int, limit: int) -> list[bytes]:
        """due(now_ms, keys, limit) -> up to `limit` keys whose collections may be packed; they aren't noted any more.

        `keys` is how many the database has.
        """
        if not self._aging:
            if len(self.noted) <= noted_max(keys) and (not self.noted or 0 <= now_ms - self._turned_ms < IDLE_MS):
                if not self.noted:
                    self._turned_ms = now_ms
                return []
            self._aging, self.noted = self.noted, self._aging
            self._turned_ms = now_ms
        aging = self._aging
        return [aging.popitem()[0] for _ in range(min(limit, len(aging)))]

    def again(self, key: bytes) -> None:
        """again(key): there is more to be packed under that key; it is due once more."""
        self._aging[key] = None
