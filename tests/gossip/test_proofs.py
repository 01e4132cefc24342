"""Replays have no effect, a restarted or new member is believed after one question, and answers are never larger."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyredis_cluster.gossip import bitmap
from pyredis_cluster.gossip.config import ClusterConfig
from pyredis_cluster.gossip.effects import Send
from pyredis_cluster.gossip.errors import Dropped
from pyredis_cluster.gossip.messages import Evidence, Keyring, Kind, Message, RumorKind, encode
from pyredis_cluster.gossip.nodes import Address, Node
from pyredis_cluster.gossip.proofs import BOOT_BIT, FIRST_SEQUENCE, INTRODUCTION_MS, WINDOW, Proofs

from .cores import Bench, address, of_type, record

A, B, C = ("1" * 40, "2" * 40, "3" * 40)
RING = Keyring([b"secret"])


def pair() -> tuple[Bench, Bench]:
    """Two members that know each other by name, but whose processes have not met."""
    first = record(1, slots=bitmap.range_mask(0, 99), config_epoch=1)
    return Bench(first, record(2)), Bench(record(2), first)


def sends(bench: Bench) -> list[Send]:
    return of_type(bench.effects(), Send)


def converse(*benches: Bench) -> list[Message]:
    """Deliver what the cores have to say to each other, until they are silent -> what was said."""
    at: dict[Address, Bench] = {address(int(bench.core.myself.id[0], 16)): bench for bench in benches}
    said: list[Message] = []
    for _ in range(10):
        under_way = [(source, send) for source, bench in at.items() for send in sends(bench)]
        for source, send in under_way:
            said.append(send.message)
            if send.address in at:
                at[send.address].core.receive(send.message, source, at[send.address].now_ms)
        if not under_way:
            break
    return said


def test_a_probe_after_a_start_proves_both_processes_in_one_round_trip_and_a_half() -> None:
    first, second = pair()
    first.core.detector.probe(first.core.nodes[B])
    said = converse(first, second)
    assert [message.kind for message in said[:3]] == [Kind.PING, Kind.PONG, Kind.PROOF]
    assert first.core.nodes[B].boot == second.core.boot
    assert second.core.nodes[A].boot == first.core.boot


@pytest.mark.parametrize("kind", [Kind.GOSSIP, Kind.REPORT, Kind.AUTH_REQUEST])
def test_what_an_unproved_process_says_has_no_effect_but_a_challenge(kind: Kind) -> None:
    first, second = pair()
    rumor = (int(RumorKind.FAIL), bytes.fromhex(B), 1)
    body = {
        Kind.REPORT: (bytes.fromhex(B), 1, int(Evidence.REFUSED)),
        Kind.AUTH_REQUEST: (9, bytes.fromhex(B), 0, 0, True),
    }
    first.core.current_epoch = 50
    first.core.send(address(2), kind, body.get(kind, ()), (rumor,))
    before = (second.core.digest, second.core.current_epoch)
    (send,) = sends(first)
    second.core.receive(send.message, address(1), second.now_ms)
    assert [answer.message.kind for answer in sends(second)] == [Kind.CHALLENGE]
    assert (second.core.digest, second.core.current_epoch) == before
    assert second.core.nodes[A].source is None
    assert second.core.stats.dropped["unproved"] == 1


def test_a_datagram_counts_once() -> None:
    first, second = pair()
    first.core.detector.probe(first.core.nodes[B])
    said = converse(first, second)
    first.core.send(address(2), Kind.GOSSIP, ())
    said += converse(first, second)
    for message in said:
        if message.sender == A and message.kind != Kind.CHALLENGE:
            with pytest.raises(Dropped, match="replayed"):
                second.core.receive(message, address(1), second.now_ms)


def test_the_datagrams_of_an_earlier_process_stay_without_effect_even_with_its_answers() -> None:
    first, second = pair()
    first.core.detector.probe(first.core.nodes[B])
    recorded = converse(first, second)
    again, _ = pair()
    again.core.boot = BOOT_BIT | 12345
    again.core.change_self(boot=again.core.boot)
    again.core.detector.probe(again.core.nodes[B])
    converse(again, second)
    assert second.core.nodes[A].boot == again.core.boot
    for message in recorded:
        if message.sender == A:
            try:
                second.core.receive(message, ("10.6.6.6", 666), second.now_ms)
            except Dropped as dropped:
                assert dropped.reason == "unproved"
    assert second.core.nodes[A].boot == again.core.boot
    assert second.core.nodes[A].source == address(1)


def test_the_window_takes_what_was_overtaken_once_and_nothing_that_is_too_old() -> None:
    node = Node(record(1))
    start = FIRST_SEQUENCE + 10 * WINDOW
    for number in (0, 5, 3, 700, 4, 2):
        Proofs.check_fresh(node, start + number)
    for number in (0, 2, 3, 4, 5, 700, 700 - WINDOW):
        with pytest.raises(Dropped, match="replayed"):
            Proofs.check_fresh(node, start + number)
    Proofs.check_fresh(node, start + 701 - WINDOW)
    Proofs.check_fresh(node, start + 5 * WINDOW)
    with pytest.raises(Dropped, match="replayed"):
        Proofs.check_fresh(node, start + 701)


def test_no_answer_to_an_unproved_address_is_larger_than_what_it_answers() -> None:
    for number in range(20):
        first, second = pair()
        second.core.current_epoch = 2**40
        second.replication.position = 2**50
        second.core.change_self(slots=bitmap.mask_of(range(0, 1200, 3)), hostname="h" * 200)
        second.effects()
        first.core.rng.getrandbits(number + 1)
        first.core.detector.probe(first.core.nodes[B])
        first.core.send(address(2), Kind.GOSSIP, (), ())
        first.core.send_bare(address(2), Kind.CHALLENGE, (2**32 - 1, False))
        first.core.membership.start_handshake(address(2))
        for send in sends(first):
            second.now_ms += 100
            second.core.receive(send.message, ("10.66.66.66", 666), second.now_ms)
            answers = [answer for answer in sends(second) if answer.address[1] == 666]
            assert len(answers) == 1, send.message.kind
            assert len(encode(answers[0].message, RING)) <= len(encode(send.message, RING)), send.message.kind


def stranger(config: ClusterConfig | None = None) -> tuple[Bench, Bench]:
    """Node 3 has just joined and knows node 2; node 2 has not heard of it."""
    return Bench(record(3), record(2)), Bench(record(2), record(1), config=config)


def test_a_newcomer_introduces_itself_to_a_member_that_has_not_heard_of_it() -> None:
    newcomer, member = stranger()
    newcomer.core.proofs.joined()
    for _ in range(3):
        newcomer.core.detector.probe(newcomer.core.nodes[B])
        converse(newcomer, member)
        member.core.detector.probe(member.core.nodes[A])
        newcomer.now_ms = member.now_ms = member.now_ms + 100
    assert member.core.nodes[C].boot == newcomer.core.boot


def test_without_a_secret_only_meet_admits() -> None:
    newcomer, member = stranger(ClusterConfig(tags_prove_membership=False))
    newcomer.core.detector.probe(newcomer.core.nodes[B])
    (ping, *_) = sends(newcomer)
    with pytest.raises(Dropped, match="unknown_sender"):
        member.core.receive(ping.message, address(3), member.now_ms)


@pytest.mark.parametrize("when", ["while it is banned", "long after it joined"])
def test_a_forgotten_node_does_not_talk_itself_back_in(when: str) -> None:
    newcomer, member = stranger()
    newcomer.core.proofs.joined()
    member.core.merge(record(3))
    member.core.membership.forget(member.core.nodes[C])
    member.effects()
    if when == "long after it joined":
        newcomer.now_ms = member.now_ms = member.now_ms + INTRODUCTION_MS + 1000
        newcomer.core.advance(newcomer.now_ms)
    for _ in range(3):
        newcomer.core.detector.probe(newcomer.core.nodes[B])
        for send in sends(newcomer):
            try:
                member.core.receive(send.message, address(3), member.now_ms)
            except Dropped as dropped:
                assert dropped.reason == "unknown_sender"
        for send in sends(member):
            if send.address == address(3):
                newcomer.core.receive(send.message, address(2), newcomer.now_ms)
    assert C not in member.core.nodes


def test_a_record_in_somebody_elses_name_does_not_get_a_stranger_in() -> None:
    newcomer, member = stranger()
    newcomer.core.proofs.joined()
    newcomer.core.send(address(2), Kind.GOSSIP, (), ())
    (send,) = sends(newcomer)
    member.core.receive(send.message, address(3), member.now_ms)
    (challenge,) = sends(member)
    other = (int(RumorKind.RECORD), record(4).packed)
    newcomer.core.send(address(2), Kind.PROOF, (challenge.message.body[0],), (other,))
    (proof,) = sends(newcomer)
    member.core.receive(replace(proof.message), address(3), member.now_ms)
    assert [*member.core.nodes] == [B, A]
