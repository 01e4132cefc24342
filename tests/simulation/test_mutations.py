"""The simulator's checks can fail: each rule of the core, broken on purpose, is noticed within a few seeds.

A mutation comes with a drive, a short run of a cluster that gives it the opportunity. The core as it is passes the
same seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from pyredis_cluster.gossip import operations, slotmap
from pyredis_cluster.gossip.config import ClusterConfig
from pyredis_cluster.gossip.core import ClusterCore
from pyredis_cluster.gossip.detector import Detector
from pyredis_cluster.gossip.effects import Effect, PauseWrites, Persist, Send
from pyredis_cluster.gossip.election import Election
from pyredis_cluster.gossip.membership import Membership
from pyredis_cluster.gossip.messages import Evidence, Kind
from pyredis_cluster.gossip.proofs import Proofs
from pyredis_cluster.gossip.simulation.cluster import Simulation
from pyredis_cluster.gossip.simulation.faults import Faults
from pyredis_cluster.gossip.simulation.hosts import SimNode
from pyredis_cluster.gossip.voting import Voter

SEEDS = range(1, 9)
SLOW_MS = 300.0
"""Slower than a failover; faster than a candidate gives up."""
LATE_MS = 800.0
"""Slower than that."""
Patch = pytest.MonkeyPatch


# Drives


def duel(seed: int) -> None:
    """Two replicas of a dead primary that don't hear of each other stand for election over a slow network."""
    simulation = rivals(seed, SLOW_MS)
    simulation.run(3000)
    settle(simulation)


def duel_with_late_answers(seed: int) -> None:
    """The same, and votes come when the candidate has given up and asks for others."""
    simulation = rivals(seed, LATE_MS)
    simulation.run(5000)
    settle(simulation)


def duel_among_restarts(seed: int) -> None:
    """The same, and each voter is killed and started again as soon as it has voted."""
    simulation = rivals(seed, SLOW_MS)

    def strike(node: SimNode) -> None:
        simulation.crash(node)
        simulation.restart(node)

    def tap(node: SimNode, effects: list[Effect]) -> list[Effect]:
        if any(isinstance(effect, Send) and effect.message.kind == Kind.AUTH_ACK for effect in effects):
            simulation.at(simulation.now_ms + 1, strike, node)
        return effects

    simulation.tap = tap
    simulation.run(3000)
    simulation.tap = None
    settle(simulation)


def rivals(seed: int, delay_max_ms: float) -> Simulation:
    simulation = Simulation(seed, 6, 2)
    simulation.create()
    first = simulation.nodes[0]
    both = [node for node in simulation.nodes if node.core is not None and node.core.myself.primary_id == first.id]
    simulation.delays_ms = (0.1, delay_max_ms)
    for near, far in permutations(both):
        simulation.cut([near], [far], 3000)
    simulation.crash(first)
    return simulation


def lone_voter(seed: int) -> None:
    """Only primaries vote, and one of three is left."""
    simulation = Simulation(seed, 6, 1, ClusterConfig(voters_primaries_only=True))
    simulation.create()
    for node in simulation.nodes[:2]:
        simulation.crash(node)
    for node in simulation.nodes[3:5]:
        assert node.core is not None
        operations.failover(node.core, "force", node.clock())
        node.apply()
    simulation.run(5000)
    settle(simulation)


def settle(simulation: Simulation) -> None:
    simulation.delays_ms = (0.1, 1)
    simulation.heal()
    for node in simulation.nodes:
        simulation.restart(node)
    simulation.run_until(simulation.healthy, 20_000, "well again")


def whispers(seed: int) -> None:
    """Over half a minute each observer in turn is lied to about one node, and can't tell that it was a lie."""
    simulation = Simulation(seed, 6, 1)
    simulation.create()
    victim, *observers = simulation.nodes
    for observer in observers:
        lie(observer, victim)
        simulation.cut([observer], [other for other in observers if other is not observer], 100)
        simulation.run(5000)
    assert not simulation.report.promotions


def eavesdrop(seed: int) -> None:
    """The same lies, taken back each time; then somebody plays the reports again, all at once."""
    simulation = Simulation(seed, 6, 1)
    simulation.create()
    victim, *observers = simulation.nodes
    heard: list[tuple[SimNode, Send]] = []

    def tap(node: SimNode, effects: list[Effect]) -> list[Effect]:
        sends = [effect for effect in effects if isinstance(effect, Send) and effect.message.kind == Kind.REPORT]
        heard.extend((node, send) for send in sends if send.message.body[2] != Evidence.CLEAR)
        return effects

    simulation.tap = tap
    for observer in observers:
        lie(observer, victim)
        simulation.run(5000)
    assert heard
    for source, send in heard:
        simulation.network.deliver(simulation.by_ip[send.address[0]], source.address, send.message)
    simulation.run(1000)


def lie(observer: SimNode, victim: SimNode) -> None:
    """Tell `observer` twice that nobody listens at `victim`."""
    assert observer.core is not None
    for _ in range(2):
        observer.core.refused(victim.address, observer.clock())
        observer.apply()


def kill_primary(seed: int) -> None:
    """A primary dies; its replicas have got different parts of its last writes."""
    simulation = Simulation(seed, 4, 3)
    simulation.create()
    simulation.run(500 + 100 * seed)
    simulation.crash(simulation.nodes[0])
    simulation.run_until(lambda: simulation.report.promotions > 0, 5000, "failed over")
    assert not simulation.report.worse_winners, "a better one was in reach"


def hand_over(seed: int) -> None:
    """A manual failover under writes."""
    simulation = Simulation(seed, 6, 1)
    simulation.create()
    simulation.run(1000)
    replica = simulation.nodes[3]
    assert replica.core is not None
    operations.failover(replica.core, "", replica.clock())
    replica.apply()
    simulation.run_until(lambda: simulation.report.promotions > 0, 1000, "failed over")
    settle(simulation)


def forget_one(seed: int) -> None:
    """A member is forgotten at one node while datagrams get lost."""
    simulation = Simulation(seed, 6, 1)
    simulation.create()
    simulation.network.set_faults(Faults(loss=0.05))
    teller, *others, gone = simulation.nodes
    assert teller.core is not None
    operations.forget(teller.core, gone.id, teller.clock())
    teller.apply()
    members = [teller, *others]
    simulation.run_until(lambda: not any(knows(node, gone) for node in members), 5000, "forgotten")
    simulation.run(2000)
    assert not any(knows(node, gone) for node in members), "the forgotten one is back"


def knows(node: SimNode, other: SimNode) -> bool:
    return node.core is not None and other.id in node.core.nodes


def return_late(seed: int) -> None:
    """Primaries are replaced, and come back with what they claimed before."""
    simulation = Simulation(seed, 6, 1)
    simulation.create()
    for replaced, old in enumerate(simulation.nodes[:3], 1):
        simulation.run(1000)
        simulation.crash(old)
        simulation.run_until(lambda: simulation.report.promotions >= replaced, 5000, "failed over")  # noqa: B023
        settle(simulation)
        assert old.core is not None
        assert not old.core.myself.is_primary, "the old primary took its slots back"


# Mutations


def vote_twice(patch: Patch) -> None:
    patch.setattr(Voter, "_may_vote", lambda self, *args, **kwargs: True)
    patch.setattr(Voter, "open_epoch", lambda self, epoch: True)


def skip_the_persist(patch: Patch) -> None:
    patch.setattr(ClusterCore, "persist", lambda self, durable=True: self.persist_lazily())


def persist_last(patch: Patch) -> None:
    take_effects = ClusterCore.take_effects

    def reordered(core: ClusterCore) -> list[object]:
        return sorted(take_effects(core), key=lambda effect: isinstance(effect, Persist))

    patch.setattr(ClusterCore, "take_effects", reordered)


def forget_votes_over_a_restart(patch: Patch) -> None:
    patch.setattr(Voter, "open_epoch", lambda self, epoch: epoch not in self._votes)
    patch.setattr(Voter, "ready", lambda self: True)


def promote_without_majority(patch: Patch) -> None:
    def count(election: Election, candidacy: Any) -> None:
        election._core.roles.promote(candidacy.epoch, votes=None)

    patch.setattr(Election, "_count", count)


def count_votes_of_other_epochs(patch: Patch) -> None:
    on_ack = Election.on_ack

    def any_epoch(election: Election, sender: Any, message: Any) -> None:
        if election._candidacy is not None:
            message.body = (election._candidacy.epoch,)
        on_ack(election, sender, message)

    patch.setattr(Election, "on_ack", any_epoch)


def count_the_vote_of_a_non_voter(patch: Patch) -> None:
    def count(election: Election, candidacy: Any) -> None:
        votes = len({*candidacy.granted, election._core.myself.id})
        if votes >= election._core.majority():
            election._core.roles.promote(candidacy.epoch, votes)

    patch.setattr(Election, "_count", count)


def count_stale_reports(patch: Patch) -> None:
    patch.setattr(Detector, "report_count", lambda self, subject: len(subject.reports))


def accept_what_is_played_again(patch: Patch) -> None:
    patch.setattr(Proofs, "check_fresh", staticmethod(lambda sender, sequence: None))


def forget_the_offset_rank(patch: Patch) -> None:
    patch.setattr(Election, "_rank", lambda self: 0)


def hand_over_without_a_pause(patch: Patch) -> None:
    emit = ClusterCore.emit
    patch.setattr(
        ClusterCore, "emit", lambda self, effect: None if isinstance(effect, PauseWrites) else emit(self, effect)
    )


def forget_without_a_blacklist(patch: Patch) -> None:
    patch.setattr(Membership, "is_blacklisted", lambda self, node_id: False)


def ignore_epochs_in_claims(patch: Patch) -> None:
    patch.setattr(slotmap, "beats", lambda claimant, owner: claimant.id < owner.id)


@dataclass(frozen=True)
class Case:
    mutation: Callable[[Patch], None]
    drive: Callable[[int], None]
    caught_by: str


CASES = [
    Case(vote_twice, duel, "a second vote in epoch"),
    Case(skip_the_persist, duel, "sent before it was saved"),
    Case(persist_last, duel, "sent before it was saved"),
    Case(forget_votes_over_a_restart, duel_among_restarts, "a second vote in epoch"),
    Case(promote_without_majority, duel, "votes won epoch|promoted with"),
    Case(count_votes_of_other_epochs, duel_with_late_answers, "votes won epoch|promoted with"),
    Case(count_the_vote_of_a_non_voter, lone_voter, "1 votes won epoch|promoted with"),
    Case(count_stale_reports, whispers, "as FAIL on . fresh reports"),
    Case(accept_what_is_played_again, eavesdrop, "as FAIL on . fresh reports"),
    Case(forget_the_offset_rank, kill_primary, "a better one was in reach"),
    Case(hand_over_without_a_pause, hand_over, "manual failover"),
    Case(forget_without_a_blacklist, forget_one, "forgotten"),
    Case(ignore_epochs_in_claims, return_late, "took its slots back"),
]
DRIVES = list(dict.fromkeys(case.drive for case in CASES))


@pytest.mark.parametrize("drive", DRIVES, ids=lambda drive: drive.__name__)
def test_the_core_as_it_is_passes(drive: Callable[[int], None]) -> None:
    for seed in SEEDS:
        drive(seed)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.mutation.__name__)
def test_a_broken_core_is_caught(case: Case, monkeypatch: Patch) -> None:
    def run_seeds() -> None:
        for seed in SEEDS:
            case.drive(seed)

    case.mutation(monkeypatch)
    with pytest.raises(AssertionError, match=case.caught_by):
        run_seeds()

