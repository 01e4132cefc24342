"""The replication identity: which history this node's data belongs to (Redis: replid, replid2).

Law: an ID names one history of writes. A node that begins to write on its own takes a new ID and remembers
the old one up to the offset where they part, so that the replicas of that history can go on with it.
"""

from __future__ import annotations

import secrets

ID_LENGTH = 40
NO_ID = "0" * ID_LENGTH


class Identity:
    """`replid`; and `replid2`, valid for offsets up to `second_offset` (-1: none)."""

    __slots__ = ("replid", "replid2", "second_offset")

    def __init__(self) -> None:
        self.replid = secrets.token_hex(ID_LENGTH // 2)
        self.replid2 = NO_ID
        self.second_offset = -1

    def renew(self) -> None:
        """renew(): a new history; nobody can go on from the old one (changeReplicationId, clearReplicationId2)."""
        self.replid = secrets.token_hex(ID_LENGTH // 2)
        self.forget_second()

    def forget_second(self) -> None:
        """forget_second(): only the present ID is known."""
        self.replid2 = NO_ID
        self.second_offset = -1

    def shift(self, offset: int) -> None:
        """shift(offset): a promoted replica's new history, which shares the old one's up to `offset`."""
        self.replid2 = self.replid
        self.second_offset = offset + 1
        self.replid = secrets.token_hex(ID_LENGTH // 2)

    def adopt(self, replid: str, offset: int) -> bool:
        """adopt(replid, offset) -> whether the primary's ID is another; then the old one is remembered (+CONTINUE)."""
        if replid == self.replid:
            return False
        self.replid2 = self.replid
        self.second_offset = offset + 1
        self.replid = replid
        return True

    def continues(self, replid: str, offset: int) -> bool:
        """continues(replid, offset) -> whether a replica of that history, wanting `offset`, shares ours."""
        return replid == self.replid or (replid == self.replid2 and offset <= self.second_offset)
