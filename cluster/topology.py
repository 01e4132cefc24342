"""The cluster as its nodes describe it: CLUSTER NODES, CLUSTER INFO and INFO, read from every node.

Nothing is believed of a node but what it says of itself, unless it can't be reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType

from pyredis_cluster.client.errors import ResponseError

from .admin import Access, NodeLink, in_parallel
from .errors import NodeRefused, NodeUnreachable, OperatorError
from .plan import Address

_NODES_FIELDS_MIN = 8


@dataclass(frozen=True, slots=True)
class NodeView:
    """One line of CLUSTER NODES: what a node knows of a node."""

    node_id: str
    address: Address | None
    bus_port: int | None
    flags: frozenset[str]
    primary_id: str | None
    config_epoch: int
    connected: bool
    ranges: tuple[tuple[int, int], ...]
    migrating: Mapping[int, str]
    importing: Mapping[int, str]

    @property
    def slots(self) -> Iterator[int]:
        return (slot for first, last in self.ranges for slot in range(first, last + 1))

    @property
    def slot_count(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    @property
    def is_primary(self) -> bool:
        return "master" in self.flags

    @property
    def is_witness(self) -> bool:
        return "witness" in self.flags

    @property
    def role(self) -> str:
        return "witness" if self.is_witness else "primary" if self.is_primary else "replica"

    @property
    def failed(self) -> bool:
        return "fail" in self.flags


def parse_cluster_nodes(text: str) -> list[NodeView]:
    """parse_cluster_nodes(reply) -> its lines, in Redis's format of CLUSTER NODES."""
    return [_parse_line(line) for line in text.splitlines() if line.strip()]


def _parse_line(line: str) -> NodeView:
    fields = line.split()
    if len(fields) < _NODES_FIELDS_MIN:
        raise OperatorError(f"this line of CLUSTER NODES can't be read: {line}")
    node_id, endpoint, flags, primary, _ping, _pong, epoch, link_state = fields[:_NODES_FIELDS_MIN]
    ranges: list[tuple[int, int]] = []
    migrating: dict[int, str] = {}
    importing: dict[int, str] = {}
    for word in fields[_NODES_FIELDS_MIN:]:
        if "->-" in word:
            slot, _, other = word.strip("[]").partition("->-")
            migrating[int(slot)] = other
        elif "-<-" in word:
            slot, _, other = word.strip("[]").partition("-<-")
            importing[int(slot)] = other
        else:
            first, _, last = word.partition("-")
            ranges.append((int(first), int(last or first)))
    address, bus_port = _parse_endpoint(endpoint)
    return NodeView(
        node_id=node_id,
        address=address,
        bus_port=bus_port,
        flags=frozenset(flags.replace("fail?", "pfail").split(",")),
        primary_id=None if primary == "-" else primary,
        config_epoch=int(epoch),
        connected=link_state == "connected",
        ranges=tuple(ranges),
        migrating=migrating,
        importing=importing,
    )


def _parse_endpoint(endpoint: str) -> tuple[Address | None, int | None]:
    """`ip:port@busport[,hostname[,...]]`; None for what the node does not know."""
    client_part, _, bus_port = endpoint.partition(",")[0].partition("@")
    host, _, port = client_part.rpartition(":")
    address = Address(host, int(port)) if host and port.isdecimal() and int(port) else None
    return address, int(bus_port) if bus_port.isdecimal() else None


def parse_info(text: str) -> dict[str, str]:
    """parse_info(reply) -> field -> value of INFO and CLUSTER INFO; section headings are left out."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


@dataclass(frozen=True)
class Member:
    """A node that answered: what it says of itself, of the others, and its INFO."""

    link: NodeLink
    views: Mapping[str, NodeView]
    cluster_info: Mapping[str, str]
    info: Mapping[str, str]

    @cached_property
    def myself(self) -> NodeView:
        return next(view for view in self.views.values() if "myself" in view.flags)

    @property
    def node_id(self) -> str:
        return self.myself.node_id

    @property
    def address(self) -> Address:
        return self.link.address

    @property
    def is_primary(self) -> bool:
        return self.myself.is_primary

    @property
    def state_ok(self) -> bool:
        return self.cluster_info.get("cluster_state") == "ok"

    @property
    def link_up(self) -> bool:
        """Whether a replica's link to its primary is up and the first copy complete; True for a primary."""
        return self.is_primary or self.info.get("master_link_status") == "up"

    @property
    def replication_offset(self) -> int:
        role_field = "master_repl_offset" if self.is_primary else "slave_repl_offset"
        return int(self.info.get(role_field) or 0)

    @cached_property
    def slot_map(self) -> tuple[tuple[str, tuple[tuple[int, int], ...]], ...]:
        """Who owns what in this node's eyes; equal on two nodes exactly if they agree."""
        return tuple(sorted((view.node_id, view.ranges) for view in self.views.values() if view.ranges))


@dataclass(frozen=True, slots=True)
class Absentee:
    """A node that others know and that did not answer us."""

    view: NodeView
    reason: str


@dataclass
class Topology:
    """All nodes of a cluster, by id: those that answered, and those that did not."""

    members: dict[str, Member] = field(default_factory=dict)
    absentees: dict[str, Absentee] = field(default_factory=dict)

    @property
    def primaries(self) -> list[Member]:
        """The primaries that answered, by their first slot, those without slots last."""
        return sorted(
            (member for member in self.members.values() if member.is_primary),
            key=lambda member: (member.myself.ranges[:1] or ((1 << 20, 0),), str(member.address)),
        )

    def replicas_of(self, primary_id: str) -> list[Member]:
        """replicas_of(id) -> the replicas of that primary that answered, by address."""
        return sorted(
            (member for member in self.members.values() if member.myself.primary_id == primary_id),
            key=lambda member: str(member.address),
        )

    @cached_property
    def owners(self) -> dict[int, str]:
        """Slot -> id of its owner: what primaries say of themselves, the newest epoch where two claim a slot.

        A primary that did not answer owns what the others ascribe to it and nobody claims.
        """
        owners: dict[int, str] = {}
        claims = [(member.myself.config_epoch, member.myself) for member in self.primaries]
        for _, view in sorted(claims, key=lambda claim: claim[0]):
            owners.update(dict.fromkeys(view.slots, view.node_id))
        for absentee in self.absentees.values():
            for slot in absentee.view.slots:
                owners.setdefault(slot, absentee.view.node_id)
        return owners

    @cached_property
    def owned(self) -> dict[str, list[int]]:
        """Primary's id -> its slots in ascending order, for each primary that answered and may have slots."""
        owned: dict[str, list[int]] = {
            member.node_id: [] for member in self.primaries if not member.myself.is_witness
        }
        for slot, owner in sorted(self.owners.items()):
            if owner in owned:
                owned[owner].append(slot)
        return owned

    def find(self, name: str) -> Member:
        """find(name) -> the node with that id, unique beginning of an id, HOST:PORT or port.

        OperatorError where there is none, more than one, or where it does not answer.
        """
        matches = [member for member in self.members.values() if _names(name, member.node_id, member.address)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise OperatorError(f"'{name}' fits {len(matches)} nodes: give more of the id, or HOST:PORT")
        for absentee in self.absentees.values():
            if _names(name, absentee.view.node_id, absentee.view.address):
                raise OperatorError(f"node {absentee.view.node_id} does not answer: {absentee.reason}")
        raise OperatorError(f"the cluster has no node '{name}'; `pyredis-cluster status` lists them")

    def find_id(self, name: str) -> str:
        """find_id(name) -> as `find`, the id only, also of a node that does not answer."""
        for view in (absentee.view for absentee in self.absentees.values()):
            if _names(name, view.node_id, view.address):
                return view.node_id
        return self.find(name).node_id

    def close(self) -> None:
        """close(): close the links to all members; leaving a `with` block does it."""
        for member in self.members.values():
            member.link.close()

    def __enter__(self) -> Topology:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _names(name: str, node_id: str, address: Address | None) -> bool:
    if node_id.startswith(name.lower()) and not (name.isdecimal() and len(name) <= 5):
        return True
    return address is not None and name in (str(address), str(address.port))


def read_member(link: NodeLink) -> Member:
    """read_member(link) -> Member. NodeUnreachable, also while it loads its data; NodeRefused, also where it is
    not a cluster node.
    """
    commands = (("CLUSTER", "NODES"), ("CLUSTER", "INFO"), ("INFO",))
    replies = link.pipeline(commands)
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, ResponseError):
            if reply.message.startswith("LOADING"):
                raise NodeUnreachable(f"{link.address} is still loading its data")
            raise NodeRefused(link.address, " ".join(command), reply.message)
    nodes, cluster_info, info = (reply.decode(errors="replace") for reply in replies)
    views = {view.node_id: view for view in parse_cluster_nodes(nodes)}
    return Member(link, views, parse_info(cluster_info), parse_info(info))


def read_topology(seeds: Sequence[Address], access: Access) -> Topology:
    """read_topology(seeds, access) -> Topology, found through the first seed that answers.

    Every node that any member knows is asked. Close the topology when done. NodeUnreachable where no
    seed answers.
    """
    first = _first_member(seeds, access)
    topology = Topology({first.node_id: first})
    frontier = [first]
    while frontier := _read_unknown(topology, frontier, access):
        topology.members.update((member.node_id, member) for member in frontier)
    return topology


def _first_member(seeds: Sequence[Address], access: Access) -> Member:
    failures: list[str] = []
    for seed in seeds:
        link = NodeLink(seed, access)
        try:
            return read_member(link)
        except NodeUnreachable as error:
            failures.append(str(error))
        except BaseException:
            link.close()
            raise
    raise NodeUnreachable("no node of the cluster answers: " + "; ".join(failures))


def _read_unknown(topology: Topology, frontier: Iterable[Member], access: Access) -> list[Member]:
    """Members that nodes of the frontier know and that have not been asked; the silent become absentees."""
    unknown = {
        view.node_id: view
        for member in frontier
        for view in member.views.values()
        if view.node_id not in topology.members
        and view.node_id not in topology.absentees
        and "handshake" not in view.flags
    }
    found: list[Member] = []
    for result in in_parallel(lambda view: _try_read(view, access), list(unknown.values())):
        if isinstance(result, Member):
            found.append(result)
        else:
            topology.absentees[result.view.node_id] = result
    return found


def _try_read(view: NodeView, access: Access) -> Member | Absentee:
    if view.address is None:
        return Absentee(view, "its address is not known")
    link = NodeLink(view.address, access)
    try:
        member = read_member(link)
    except OperatorError as error:
        link.close()
        return Absentee(view, str(error))
    if member.node_id == view.node_id:
        return member
    link.close()
    return Absentee(view, f"another node listens at {view.address}")
