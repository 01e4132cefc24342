"""The ledger of one database's collections that stand unpacked: so that packing them needs no walk over the keys.

Law: a key is noted when a collection comes under it or is unpacked, and `due` once, when it was noted a while ago or
when more than NOTED_MAX keys are. A note says nothing of what the key holds by then.
"""

from __future__ import annotations

from typing import Final

IDLE_MS: Final = 2000
"""A collection is left unpacked for so long, at least, after it came or was unpacked."""

NOTED_MAX: Final = 8192
"""Of more collections than this the oldest are due at once: ten elements take 1 KB more while unpacked."""


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

    def due(self, now_ms: int, limit: int) -> list[bytes]:
        """due(now_ms, limit) -> up to `limit` keys whose collections may be packed now; they are not noted any more."""
        if not self._aging:
            if len(self.noted) <= NOTED_MAX and (not self.noted or 0 <= now_ms - self._turned_ms < IDLE_MS):
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
