"""What an operator may ask of a node: the state-changing CLUSTER subcommands of Redis 7.2, with its error
texts.

Each checks everything first, then changes the core; the driver takes the effects afterwards, so that several
of them in one MULTI become one change. What depends on the data set is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

from .core import ClusterCore
from .effects import DropData, SlotMapChanged
from .errors import ClusterError
from .nodes import Node, NodeRecord
from .nodesconf import BUS_PORT_OFFSET

NODE_ID_BYTES = 20


def known(core: ClusterCore, node_id: str) -> Node:
    """known(core, id) -> Node. Raises ClusterError("Unknown node ...")."""
    node = core.nodes.get(node_id)
    if node is None:
        raise ClusterError(f"Unknown node {node_id}")
    return node


def _require_data_node(core: ClusterCore) -> None:
    if core.myself.is_witness:
        raise ClusterError("This node is a witness: it votes, but holds no slots and no data")


def _primary(node: Node, role_error: str) -> Node:
    if not node.is_primary:
        raise ClusterError(role_error)
    if node.is_witness:
        raise ClusterError(f"Node {node.id} is a witness: it holds no slots and no data")
    return node


def meet(core: ClusterCore, host: str, port: int, bus_port: int | None, now_ms: float) -> None:
    """CLUSTER MEET: invite the node at `host` (an IP address); the rest happens on the bus."""
    core.advance(now_ms)
    bus_port = port + BUS_PORT_OFFSET if bus_port is None else bus_port
    try:
        host = str(ip_address(host))
    except ValueError:
        raise ClusterError(f"Invalid node address specified: {host}:{port}") from None
    if not 0 < port <= 65535 or not 0 < bus_port <= 65535:
        raise ClusterError(f"Invalid node address specified: {host}:{port}")
    core.membership.start_handshake((host, bus_port))


def forget(core: ClusterCore, node_id: str, now_ms: float) -> None:
    """CLUSTER FORGET: remove a member, here and by gossip everywhere, for at least a minute."""
    core.advance(now_ms)
    node = core.nodes.get(node_id)
    if node is None:
        if core.membership.is_blacklisted(node_id):
            return
        raise ClusterError(f"Unknown node {node_id}")
    if node is core.myself:
        raise ClusterError("I tried hard but I can't forget myself...")
    if node is core.my_primary():
        raise ClusterError("Can't forget my master!")
    core.membership.forget(node)


def replicate(core: ClusterCore, node_id: str, *, has_keys: bool, now_ms: float) -> None:
    """CLUSTER REPLICATE: become a replica of a primary."""
    core.advance(now_ms)
    _require_data_node(core)
    node = known(core, node_id)
    if node is core.myself:
        raise ClusterError("Can't replicate myself")
    _primary(node, "I can only replicate a master, not a replica.")
    if core.myself.is_primary and (core.myself.owned or core.myself.record.slots or has_keys):
        raise ClusterError("To set a master the node must be empty and without assigned slots.")
    core.roles.set_primary(node)


def failover(core: ClusterCore, mode: str, now_ms: float) -> None:
    """CLUSTER FAILOVER; `mode` is "", "force" or "takeover"."""
    core.advance(now_ms)
    if core.myself.is_primary:
        raise ClusterError("You should send CLUSTER FAILOVER to a replica")
    primary = core.my_primary()
    if primary is None:
        raise ClusterError("I'm a replica but my master is unknown to me")
    if not mode and (primary.failed or primary.refused_at_ms is not None):
        raise ClusterError("Master is down or failed, please use CLUSTER FAILOVER FORCE")
    if mode == "takeover":
        core.log("notice", "Taking over the master (user request).")
        core.roles.promote(core.roles.max_epoch() + 1, votes=None)
    else:
        core.log("notice", f"{'Forced failover' if mode else 'Manual failover'} user request accepted.")
        core.election.start_manual(force=mode == "force")


def bump_epoch(core: ClusterCore, now_ms: float) -> bool:
    """CLUSTER BUMPEPOCH -> whether the configEpoch was raised (it is not where it is the greatest already)."""
    core.advance(now_ms)
    _require_no_handover(core)
    return core.roles.bump_without_consensus()


def set_config_epoch(core: ClusterCore, epoch: int, now_ms: float) -> None:
    """CLUSTER SET-CONFIG-EPOCH: give a fresh node its first configEpoch."""
    core.advance(now_ms)
    if epoch < 0:
        raise ClusterError(f"Invalid config epoch specified: {epoch}")
    if len(core.nodes) > 1:
        raise ClusterError(
            "The user can assign a config epoch only when the node does not know any other node."
        )
    if core.myself.config_epoch:
        raise ClusterError("Node config epoch is already non-zero")
    core.current_epoch = max(core.current_epoch, epoch)
    core.change_self(config_epoch=epoch)


def reset(core: ClusterCore, *, hard: bool, has_keys: bool, now_ms: float) -> None:
    """CLUSTER RESET: forget everybody and all slots; with `hard`, be a new node with a new id and epoch 0."""
    core.advance(now_ms)
    if core.myself.is_primary and has_keys:
        raise ClusterError("CLUSTER RESET can't be called with master nodes containing keys")
    if not core.myself.is_primary:
        core.roles.become_primary("")
        core.emit(DropData())
    core.election.reset()
    core.slot_map.migrating.clear()
    core.slot_map.importing.clear()
    for node in [node for node in core.nodes.values() if node is not core.myself]:
        core.remove_node(node)
    core.membership.clear_blacklist()
    record = replace(core.myself.record, primary_id="", slots=0)
    if hard:
        core.current_epoch = 0
        core.voter.forget()
        new_id, new_shard = (core.rng.getrandbits(160).to_bytes(NODE_ID_BYTES, "big").hex() for _ in range(2))
        core.rename_self(replace(record, id=new_id, shard_id=new_shard, version=0, config_epoch=0))
    core.change_self(primary_id="", slots=0)


def add_slots(core: ClusterCore, slots: Sequence[int], now_ms: float) -> None:
    """CLUSTER ADDSLOTS and ADDSLOTSRANGE: claim slots that nobody owns."""
    core.advance(now_ms)
    _require_data_node(core)
    mask = 0
    for slot in slots:
        if core.slot_map.owners[slot] is not None:
            raise ClusterError(f"Slot {slot} is already busy")
        if mask >> slot & 1:
            raise ClusterError(f"Slot {slot} specified multiple times")
        mask |= 1 << slot
    _drop_moves(core.slot_map.importing, mask)
    core.change_self(slots=core.myself.record.slots | mask)


def del_slots(core: ClusterCore, slots: Sequence[int], now_ms: float) -> None:
    """CLUSTER DELSLOTS and DELSLOTSRANGE: give up own slots; forget, for a moment, who owns others."""
    core.advance(now_ms)
    mask = 0
    for slot in slots:
        if core.slot_map.owners[slot] is None:
            raise ClusterError(f"Slot {slot} is already unassigned")
        if mask >> slot & 1:
            raise ClusterError(f"Slot {slot} specified multiple times")
        mask |= 1 << slot
    _unassign(core, mask)


def _unassign(core: ClusterCore, mask: int) -> None:
    _drop_moves(core.slot_map.importing, mask)
    _drop_moves(core.slot_map.migrating, mask & core.myself.owned)
    foreign = mask & ~core.myself.owned
    core.slot_map.hint(foreign, None, core.now_ms)
    if foreign:
        core.emit(SlotMapChanged())
    if mask & core.myself.record.slots:
        core.change_self(slots=core.myself.record.slots & ~mask)


def flush_slots(core: ClusterCore, *, has_keys: bool, now_ms: float) -> None:
    """CLUSTER FLUSHSLOTS: give up all own slots."""
    core.advance(now_ms)
    if has_keys:
        raise ClusterError("DB must be empty to perform CLUSTER FLUSHSLOTS.")
    _unassign(core, core.myself.owned)


def _drop_moves(moves: dict[int, Node], mask: int) -> None:
    for slot in [slot for slot in moves if mask >> slot & 1]:
        del moves[slot]


def set_slot_migrating(core: ClusterCore, slot: int, node_id: str) -> None:
    """CLUSTER SETSLOT <slot> MIGRATING <node>."""
    require_primary(core)
    if core.slot_map.owners[slot] is not core.myself:
        raise ClusterError(f"I'm not the owner of hash slot {slot}")
    core.slot_map.migrating[slot] = _move_partner(core, node_id)
    _moves_changed(core)


def set_slot_importing(core: ClusterCore, slot: int, node_id: str) -> None:
    """CLUSTER SETSLOT <slot> IMPORTING <node>."""
    require_primary(core)
    if core.slot_map.owners[slot] is core.myself:
        raise ClusterError(f"I'm already the owner of hash slot {slot}")
    core.slot_map.importing[slot] = _move_partner(core, node_id)
    _moves_changed(core)


def set_slot_stable(core: ClusterCore, slot: int) -> None:
    """CLUSTER SETSLOT <slot> STABLE."""
    require_primary(core)
    core.slot_map.importing.pop(slot, None)
    core.slot_map.migrating.pop(slot, None)
    _moves_changed(core)


def set_slot_node(core: ClusterCore, slot: int, node_id: str, *, keys: int, now_ms: float) -> None:
    """CLUSTER SETSLOT <slot> NODE <node>; `keys` is how many keys this node holds in the slot.

    The new owner claims the slot under a new epoch, which is what convinces the others; any other node takes
    the operator's word until that claim arrives.
    """
    core.advance(now_ms)
    require_primary(core)
    node = _primary(known(core, node_id), "Target node is not a master")
    owner = core.slot_map.owners[slot]
    if owner is core.myself and node is not core.myself and keys:
        raise ClusterError(
            f"Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
        )
    if not keys:
        core.slot_map.migrating.pop(slot, None)
    if node is core.myself:
        importing = core.slot_map.importing.get(slot)
        if importing is not None or owner not in (None, core.myself):
            _require_no_handover(core)
            core.roles.bump_without_consensus()
        core.slot_map.importing.pop(slot, None)
        core.slot_map.assign(1 << slot, core.myself)
        core.change_self(slots=core.myself.record.slots | 1 << slot)
        return
    core.slot_map.hint(1 << slot, node, now_ms)
    core.emit(SlotMapChanged())
    if owner is core.myself:
        core.roles.slots_changed(0, node)


def reserve_epoch(core: ClusterCore, now_ms: float) -> int:
    """reserve_epoch(core, now_ms) -> an epoch above all known ones, which this node lets another one claim under."""
    core.advance(now_ms)
    core.current_epoch = core.roles.max_epoch() + 1
    core.persist_lazily()
    return core.current_epoch


def claim_slots(core: ClusterCore, slots: int, epoch: int, now_ms: float) -> None:
    """claim_slots(core, slots, epoch, now_ms): own `slots` (a set) under the configEpoch that their owner reserved.

    The owner outbids it should it not hear of the claim, so the epoch is taken exactly, or not at all.
    """
    core.advance(now_ms)
    require_primary(core)
    _require_no_handover(core)
    if any(node.config_epoch >= epoch for node in core.nodes.values()):
        raise ClusterError(f"configEpoch {epoch} is taken")
    _drop_moves(core.slot_map.importing, slots)
    core.roles.raise_epoch(epoch, slots)


def hear_claim(core: ClusterCore, record: NodeRecord, now_ms: float) -> None:
    """hear_claim(core, record, now_ms): the primary that was asked to claim slots of ours answers with its record."""
    core.advance(now_ms)
    _drop_moves(core.slot_map.migrating, record.slots)
    core.merge(record)


def outbid(core: ClusterCore, now_ms: float) -> None:
    """outbid(core, now_ms): a configEpoch above any that another node may just have taken unheard."""
    core.advance(now_ms)
    core.roles.raise_epoch(core.roles.max_epoch() + 2)


def _moves_changed(core: ClusterCore) -> None:
    core.emit(SlotMapChanged())
    core.persist_lazily()


def _require_no_handover(core: ClusterCore) -> None:
    """A new epoch would take back what another primary may have claimed under the one that was reserved for it."""
    if core.replication.handing_over():
        raise ClusterError("Slots of this node are being claimed by another one, try again later")


def require_primary(core: ClusterCore) -> None:
    """require_primary(core): ClusterError on a replica and on a witness."""
    if not core.myself.is_primary:
        raise ClusterError("Please use SETSLOT only with masters.")
    _require_data_node(core)


def _move_partner(core: ClusterCore, node_id: str) -> Node:
    node = core.nodes.get(node_id)
    if node is None:
        raise ClusterError(f"I don't know about node {node_id}")
    return _primary(node, "Target node is not a master")
