"""Views of the members that many inputs need: in a list, in the order of ids, by address.

They are made anew only after a member came or went, so that nothing a datagram or a tick asks for takes time in
proportion to the size of the cluster.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from .nodes import Address, Node

if TYPE_CHECKING:
    from .interfaces import Rng

_NONE: list[Node] = []
PICKS_FACTOR = 4
"""Random tries for each member wanted, before the whole list is looked through."""


class Roster:
    """Roster(nodes): `nodes` by id stays the caller's, who says who `joined`, who `left` and whom each `follows`."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._members: list[Node] = []
        self._ids: list[str] = []
        self._by_address: dict[Address, Node] = {}
        self._replicas: dict[str, list[Node]] = {}
        for node in nodes.values():
            self.joined(node)

    def joined(self, node: Node) -> None:
        """joined(node): it has been added to the mapping."""
        self._members, self._ids, self._by_address = [], [], {}
        self.follows(node, "", node.primary_id)

    def left(self, node: Node) -> None:
        """left(node): it has been removed from the mapping."""
        self._members, self._ids, self._by_address = [], [], {}
        self.follows(node, node.primary_id, "")

    def members(self) -> list[Node]:
        """members() -> all of them; the list is shared and not the caller's to change."""
        if not self._members:
            self._members = list(self._nodes.values())
        return self._members

    def pick(self, rng: Rng, count: int, wanted: Callable[[Node], bool]) -> list[Node]:
        """pick(rng, count, wanted) -> at most `count` members, chosen at random among those wanted.

        O(count) where most members are wanted, O(members) where hardly any is.
        """
        members = self.members()
        picked: dict[str, Node] = {}
        if len(members) > PICKS_FACTOR * count:
            for _ in range(PICKS_FACTOR * count):
                node = members[rng.randrange(len(members))]
                if wanted(node):
                    picked[node.id] = node
                    if len(picked) == count:
                        return list(picked.values())
        rest = [node for node in members if wanted(node) and node.id not in picked]
        if len(rest) + len(picked) <= count:
            return [*picked.values(), *rest]
        while rest and len(picked) < count:
            node = rest.pop(rng.randrange(len(rest)))
            picked[node.id] = node
        return list(picked.values())

    def successors(self, node_id: str) -> Iterator[Node]:
        """successors(id) -> the members after `id` in the order of ids, round to `id` itself, which is left out."""
        if not self._ids:
            self._ids = sorted(self._nodes)
        start = bisect(self._ids, node_id)
        for index in range(start, start + len(self._ids)):
            other = self._ids[index % len(self._ids)]
            if other != node_id:
                yield self._nodes[other]

    def follows(self, node: Node, before: str, after: str) -> None:
        """follows(node, before, after): the id of the primary that `node` replicates changed; "" is none."""
        if before:
            self._replicas[before].remove(node)
            if not self._replicas[before]:
                del self._replicas[before]
        if after:
            self._replicas.setdefault(after, []).append(node)

    def replicas_of(self, node_id: str) -> list[Node]:
        """replicas_of(id) -> the members that replicate it; the list is shared and not the caller's to change."""
        return self._replicas.get(node_id, _NONE)

    def at(self, address: Address) -> Node | None:
        """at(address) -> the member that listens there, or None. Addresses may change at any time."""
        found = self._by_address.get(address)
        if found is None or found.address != address:
            self._by_address = {
                node.address: node for node in self._nodes.values() if node.address is not None
            }
            found = self._by_address.get(address)
        return found
