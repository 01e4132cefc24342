"""Waiting for a cluster to get into a state, always bounded, with words for what is still missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .admin import NodeLink, in_parallel
from .errors import ClusterUnready, OperatorError
from .topology import Member, read_member

READY_TIMEOUT_S = 60.0
_POLL_FIRST_S = 0.02
_POLL_MAX_S = 0.25
_POLL_GROWTH = 1.3


def wait_for(missing: Callable[[], str | None], timeout_s: float) -> None:
    """wait_for(missing, timeout_s): call `missing` until it returns None.

    It returns in words what is not as it should be; ClusterUnready says that when the time is up.
    """
    deadline = time.monotonic() + timeout_s
    poll_s = _POLL_FIRST_S
    while (text := missing()) is not None:
        if time.monotonic() >= deadline:
            raise ClusterUnready(f"still after {timeout_s:.0f} s: {text}")
        time.sleep(poll_s)
        poll_s = min(poll_s * _POLL_GROWTH, _POLL_MAX_S)


def wait_until_members(
    links: Sequence[NodeLink],
    missing: Callable[[list[Member]], str | None],
    timeout_s: float = READY_TIMEOUT_S,
) -> list[Member]:
    """wait_until_members(links, missing) -> all members as last read, once `missing` of them returns None."""
    members: list[Member] = []

    def read_and_check() -> str | None:
        try:
            members[:] = in_parallel(read_member, links)
        except OperatorError as error:
            return str(error)
        return missing(members)

    wait_for(read_and_check, timeout_s)
    return members


def unjoined(members: Sequence[Member]) -> str | None:
    """unjoined(members) -> who does not know whom yet; None when everybody knows everybody."""
    ids = {member.node_id for member in members}
    for member in members:
        known = {view.node_id for view in member.views.values() if "handshake" not in view.flags}
        if unknown := ids - known:
            return f"{member.address} does not know {len(unknown)} of the nodes yet"
    return None


def unready(members: Sequence[Member]) -> str | None:
    """unready(members) -> what keeps the cluster from being whole; None when all is well.

    Well is: all nodes say cluster_state:ok and agree on the slot map, each replica is in sync.
    """
    for member in members:
        if not member.state_ok:
            return f"{member.address} says cluster_state:{member.cluster_info.get('cluster_state', 'unknown')}"
        if not member.link_up:
            return f"replica {member.address} is not in sync with its primary"
    return disagreement(members)


def disagreement(members: Sequence[Member]) -> str | None:
    """disagreement(members) -> that they do not agree on the slot map; None when they do."""
    if len({member.slot_map for member in members}) > 1:
        return "the nodes do not agree on who owns which slot"
    return None
