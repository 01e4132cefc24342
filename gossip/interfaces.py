"""What a ClusterCore asks of its surroundings, besides time."""

from __future__ import annotations

from typing import Protocol


class Rng(Protocol):
    """What is used of random.Random."""

    def random(self) -> float: ...
    def getrandbits(self, k: int, /) -> int: ...
    def shuffle(self, x: list[str], /) -> None: ...
    def randrange(self, stop: int, /) -> int: ...


class LocalReplication(Protocol):
    """What the data plane tells about itself, always up to date."""

    def offset(self) -> int:
        """The replication offset: produced by a primary, processed by a replica."""

    def in_sync(self) -> bool:
        """Whether a replica holds its primary's history and is being fed the rest of it."""

    def handing_over(self) -> bool:
        """Whether another primary may be taking slots of ours this moment."""

    def age_ms(self) -> float:
        """How long ago a replica last heard from its primary."""
