"""Errors of the cluster core: what an operator gets back, and what a peer's bytes can be refused for."""

from __future__ import annotations


class ClusterError(Exception):
    """ClusterError(text): an operator's request was refused. `text` is Redis's own, without the leading code."""


class CorruptedConfig(Exception):
    """CorruptedConfig(line): nodes.conf has a line that cannot be read."""


class Dropped(Exception):
    """Dropped(reason): received bytes were thrown away. `reason` is one word, counted in CLUSTER INFO."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
