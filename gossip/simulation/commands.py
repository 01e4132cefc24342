"""The commands of scenarios: what befalls a cluster, what an operator does to it, and what is expected of it.

`COMMANDS` is the language. A command takes the stage and the rest of its line; ValueError says what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import operations
from ..config import ClusterConfig
from ..core import ClusterCore
from ..effects import Send
from ..errors import ClusterError
from ..messages import Kind, RumorKind
from ..nodes import NOFAILOVER
from .conditions import condition, slots_of
from .events import DETAILS, MESSAGES
from .stage import KEPT_MAX, Rule, Stage

if TYPE_CHECKING:
    from .hosts import SimNode

STEP_MS = 10.0
"""How often an expectation is looked at."""
FOREVER_MS = 1e9
REFUSAL_MS = 1.0
_RECORDS = (RumorKind.RECORD, RumorKind.NOTICE, RumorKind.DELTA)


def _match(pattern: str, text: str, usage: str) -> tuple[str, ...]:
    found = re.fullmatch(pattern, text)
    if found is None:
        raise ValueError(f"usage: {usage}")
    return found.groups()


def _duration_ms(text: str) -> float:
    number, unit = _match(r"([\d.]+)(ms|s)", text, "a time is 500ms or 2s")
    return float(number) * (1000 if unit == "s" else 1)


def _core(node: SimNode) -> ClusterCore:
    if node.core is None:
        raise ValueError("the process is down")
    return node.core


# The cluster and its processes


def cluster(stage: Stage, rest: str) -> None:
    """cluster primaries=3 replicas=1 [setting=value ...]: a cluster that has been well for a second."""
    given = dict(word.split("=", 1) for word in rest.split())
    primaries, replicas = int(given.pop("primaries")), int(given.pop("replicas", "0"))
    config = _changed(ClusterConfig(), given)
    stage.raise_curtain(config, primaries * (1 + replicas), replicas)
    stage.simulation.run(1000)


def _changed(config: ClusterConfig, given: dict[str, str]) -> ClusterConfig:
    fields: dict[str, object] = {}
    for name, value in given.items():
        field_name = name.replace("-", "_")
        old = getattr(config, field_name, None)
        if not isinstance(old, int):
            raise ValueError(f"no such setting: {name}")
        fields[field_name] = value == "yes" if isinstance(old, bool) else int(value)
    return replace(config, **fields)  # type: ignore[arg-type]


def config(stage: Stage, rest: str) -> None:
    """config d replica-no-failover=yes replica-priority=10 ...: CONFIG SET."""
    names, settings = _match(r"(\S+) (.+)", rest, "config d name=value ...")
    given = dict(word.split("=", 1) for word in settings.split())
    priority = given.pop("replica-priority", None)
    for node in stage.nodes(names):
        core = _core(node)
        core.config = _changed(core.config, given)
        record = core.myself.record
        flags = record.flags & ~NOFAILOVER | (NOFAILOVER if core.config.replica_no_failover else 0)
        fields = {"flags": flags, "priority": record.priority if priority is None else int(priority)}
        if fields != {"flags": record.flags, "priority": record.priority}:
            core.advance(node.clock())
            core.change_self(**fields)
            node.apply()


def start(stage: Stage, rest: str) -> None:
    """start g [witness]: a new process that knows nobody."""
    name, witness = _match(r"(\w)( witness)?", rest, "start g [witness]")
    node = stage.add_node(witness=bool(witness))
    if stage.name(node) != name:
        raise ValueError(f"the next node is {stage.name(node)}")


def tick(stage: Stage, rest: str) -> None:
    """tick 500ms: let time pass."""
    stage.simulation.run(_duration_ms(rest))


def kill(stage: Stage, rest: str) -> None:
    """kill a,b: kill -9; their ports refuse from now on."""
    for node in stage.nodes(rest):
        stage.simulation.crash(node)
        stage.observer.lost(node)


def restart(stage: Stage, rest: str) -> None:
    """restart a,b [disk=2-old|torn]: from nodes.conf as it is, two writes back, or without its last line."""
    names, disk = _match(r"(\S+)(?: disk=(\d-old|torn))?", rest, "restart a,b [disk=2-old|torn]")
    for node in stage.nodes(names):
        if node.core is not None:
            raise ValueError("it runs")
        if disk == "torn":
            node.disk = node.disk[: node.disk.rindex("vars ")]
        elif disk:
            older = [text for text in stage.disks.get(node.id, []) if text != node.disk]
            writes = int(disk[0])
            if len(older) < writes:
                raise ValueError("nothing so old was written")
            node.disk = older[-writes]
        if node.refuses_to_start():
            stage.observer.note(node, "does not start: its nodes.conf is torn")
        else:
            stage.simulation.restart(node)


def freeze(stage: Stage, rest: str) -> None:
    """freeze b [5s]: SIGSTOP, and SIGCONT after that time."""
    names, duration = _match(r"(\S+)(?: (\S+))?", rest, "freeze b [5s]")
    for node in stage.nodes(names):
        stage.simulation.pause(node, _duration_ms(duration) if duration else FOREVER_MS)


def thaw(stage: Stage, rest: str) -> None:
    """thaw b: SIGCONT."""
    for node in stage.nodes(rest):
        stage.simulation.resume(node)


def stall(stage: Stage, rest: str) -> None:
    """stall e: its replication link stands still; the bus works."""
    for node in stage.nodes(rest):
        node.stall()


# The network


def partition(stage: Stage, rest: str) -> None:
    """partition a,b | c,d,e,f: nothing passes between the sides, until `heal`."""
    sides = [stage.nodes(side.strip()) for side in rest.split("|")]
    for near in sides:
        for far in sides:
            if near is not far:
                stage.simulation.cut(near, far, FOREVER_MS)


def cut(stage: Stage, rest: str) -> None:
    """cut a -> b,c: nothing gets from a to b and c, but from them to a it does."""
    sources, targets = _match(r"(\S+) -> (\S+)", rest, "cut a -> b,c")
    for source in stage.nodes(sources):
        others = [node for node in stage.nodes(targets) if node is not source]
        stage.simulation.cut([source], others, FOREVER_MS)


def heal(stage: Stage, rest: str) -> None:
    """heal: ends partitions, and drop, duplicate, strip, delay, keep and refuse."""
    if rest:
        raise ValueError("usage: heal")
    stage.simulation.heal()
    stage.rules.clear()


def _add_rule(stage: Stage, rest: str, action: Callable[[SimNode, Send], list[Send]]) -> None:
    kind, sources, targets, left = _match(
        r"(\S+) from (\S+) to (\S+)(?: next (\d+))?", rest, "... AUTH_ACK|any from c to d [next 2]"
    )
    stage.rules.append(
        Rule(
            action,
            None if kind == "any" else Kind[kind],
            {node.id for node in stage.nodes(sources)},
            {node.id for node in stage.nodes(targets)},
            int(left) if left else None,
        )
    )


def drop(stage: Stage, rest: str) -> None:
    """drop AUTH_ACK from c to d [next 2]: those datagrams get lost; `any` and `all` stand for every kind and node."""
    _add_rule(stage, rest, lambda source, send: [])


def duplicate(stage: Stage, rest: str) -> None:
    """duplicate REPORT from c to d [next 2]: those arrive twice."""
    _add_rule(stage, rest, lambda source, send: [send, send])


def strip(stage: Stage, rest: str) -> None:
    """strip REPORT from b to d [next 2]: those arrive without the records that ride on them, as if told too late."""

    def without_records(source: SimNode, send: Send) -> list[Send]:
        rumors = tuple(rumor for rumor in send.message.rumors if rumor[0] not in _RECORDS)
        return [Send(send.address, replace(send.message, rumors=rumors))]

    _add_rule(stage, rest, without_records)


def delay(stage: Stage, rest: str) -> None:
    """delay 300ms AUTH_ACK from c to d [next 2]: those take so much longer."""
    duration, rest = _match(r"(\S+) (.+)", rest, "delay 300ms AUTH_ACK from c to d [next 2]")
    wait_ms = _duration_ms(duration)

    def later(source: SimNode, send: Send) -> list[Send]:
        simulation = stage.simulation
        simulation.at(simulation.now_ms + wait_ms, lambda: simulation.transmit(source, send))
        return []

    _add_rule(stage, rest, later)


def keep(stage: Stage, rest: str) -> None:
    """keep REPORT from b to c [next 2]: somebody listens and keeps copies, for `replay`."""

    def copy(source: SimNode, send: Send) -> list[Send]:
        if len(stage.kept) < KEPT_MAX:
            stage.kept.append((source, send))
        return [send]

    _add_rule(stage, rest, copy)


def replay(stage: Stage, rest: str) -> None:
    """replay: what was kept is sent again, each to the same node."""
    if rest or not stage.kept:
        raise ValueError("usage: replay, after keep")
    for source, send in stage.kept:
        stage.simulation.transmit(source, send)


def refuse(stage: Stage, rest: str) -> None:
    """refuse a to b,c: a proxy between them answers b and c that nobody listens at a, although a lives."""
    subject, observers = _match(r"(\S+) to (\S+)", rest, "refuse a to b,c")

    def lie(source: SimNode, send: Send) -> list[Send]:
        def refused() -> None:
            if source.running and source.core is not None:
                source.core.refused(send.address, source.clock())
                source.apply()

        stage.simulation.at(stage.simulation.now_ms + REFUSAL_MS, refused)
        return []

    _add_rule(stage, f"any from {observers} to {subject}", lie)


# The operator


def _operate(node: SimNode, act: Callable[[ClusterCore, float], object]) -> None:
    try:
        act(_core(node), node.clock())
    except ClusterError as error:
        raise ValueError(str(error)) from error
    node.apply()


def failover(stage: Stage, rest: str) -> None:
    """failover d [force | takeover]: CLUSTER FAILOVER."""
    name, mode = _match(r"(\w)(?: (force|takeover))?", rest, "failover d [force|takeover]")
    node = stage.node(name)
    if mode == "takeover":
        stage.simulation.takeovers.add(node.id)
    _operate(node, lambda core, now_ms: operations.failover(core, mode or "", now_ms))


def meet(stage: Stage, rest: str) -> None:
    """meet g at a: CLUSTER MEET of g, sent to a."""
    name, at = _match(r"(\w) at (\w)", rest, "meet g at a")
    host, bus_port = stage.node(name).address
    _operate(stage.node(at), lambda core, now_ms: operations.meet(core, host, 7000, bus_port, now_ms))


def forget(stage: Stage, rest: str) -> None:
    """forget g at a: CLUSTER FORGET of g, sent to a."""
    name, at = _match(r"(\w) at (\w)", rest, "forget g at a")
    node_id = stage.node(name).id
    _operate(stage.node(at), lambda core, now_ms: operations.forget(core, node_id, now_ms))


def replicate(stage: Stage, rest: str) -> None:
    """replicate g of a: CLUSTER REPLICATE."""
    name, primary = _match(r"(\w) of (\w)", rest, "replicate g of a")
    node_id = stage.node(primary).id
    _operate(
        stage.node(name),
        lambda core, now_ms: operations.replicate(core, node_id, has_keys=False, now_ms=now_ms),
    )


def reshard(stage: Stage, rest: str) -> None:
    """reshard 0-99 from a to b [answer lost]: the end of an atomic slot migration; a may have to hear it by the bus."""
    slots, source, target, lost = _match(
        r"(\S+) from (\w) to (\w)( answer lost)?", rest, "reshard 0-99 from a to b [answer lost]"
    )
    mask, giver, taker = slots_of(slots), stage.node(source), stage.node(target)
    epochs: list[int] = []
    _operate(giver, lambda core, now_ms: epochs.append(operations.reserve_epoch(core, now_ms)))
    stage.simulation.ledger.on_claim(giver, taker, mask)
    _operate(taker, lambda core, now_ms: operations.claim_slots(core, mask, epochs[0], now_ms))
    assert taker.core is not None
    claim = taker.core.myself.record
    if not lost:
        _operate(giver, lambda core, now_ms: operations.hear_claim(core, claim, now_ms))


# What is shown and expected


def show(stage: Stage, rest: str) -> None:
    """show votes,reports: from now on their lines, too."""
    for detail in rest.split(","):
        if detail not in DETAILS:
            raise ValueError(f"one of {', '.join(DETAILS)}")
        stage.observer.details.add(detail)


def trace(stage: Stage, rest: str) -> None:
    """trace on | off: a line for each datagram."""
    (mode,) = _match(r"(on|off)", rest, "trace on|off")
    (stage.observer.details.add if mode == "on" else stage.observer.details.discard)(MESSAGES)


def expect(stage: Stage, rest: str) -> None:
    """expect C | expect within 1s: C | expect for 5s: C; C is a sentence of `conditions`, or `not` and one."""
    how, duration, sentence = _match(r"(?:(within|for) (\S+): )?(.+)", rest, "expect [within 1s:|for 1s:] d is primary")
    holds = condition(stage, sentence)
    end_ms = stage.simulation.now_ms + (_duration_ms(duration) if duration else 0)
    while True:
        if holds():
            if how != "for" or stage.simulation.now_ms >= end_ms:
                return
        elif how != "within" or stage.simulation.now_ms >= end_ms:
            raise ValueError("it is not so")
        stage.simulation.run(STEP_MS)


COMMANDS: dict[str, Callable[[Stage, str], None]] = {
    command.__name__: command
    for command in (
        cluster, config, start, tick, kill, restart, freeze, thaw, stall,
        partition, cut, heal, drop, duplicate, strip, delay, keep, replay, refuse,
        failover, meet, forget, replicate, reshard, show, trace, expect,
    )
}  # fmt: skip
