"""What is told, how often and how fast: eager datagrams have a limit, and beyond it they carry more."""

from __future__ import annotations

from math import inf

from pyredis_cluster.gossip.messages import RUMORS_MAX_BYTES, Evidence, Rumor, RumorKind, rumor_size
from pyredis_cluster.gossip.rumors import EAGER_BURST_MAX, EAGER_RELAY_FANOUT, EAGER_ROUND_MS, RumorMill

MEMBERS = 1000


def subject(number: int) -> bytes:
    return number.to_bytes(20, "big")


def fail(number: int, version: int = 1) -> Rumor:
    return int(RumorKind.FAIL), subject(number), version


def relay(mill: RumorMill, number: int) -> None:
    mill.tell(fail(number), subject(number), MEMBERS, origin=False)


def test_a_burst_of_news_is_passed_on_at_once_and_what_follows_in_fewer_datagrams() -> None:
    mill = RumorMill(0.0)
    for number in range(EAGER_BURST_MAX):
        relay(mill, number)
        assert mill.take_eager(0.0) == [(EAGER_RELAY_FANOUT, (fail(number),))]
    for number in range(500):
        relay(mill, number)
        assert mill.take_eager(0.0) == []
    due_ms = mill.deadline_ms()
    assert 0 < due_ms <= EAGER_ROUND_MS
    ((_, rumors),) = mill.take_eager(due_ms)
    assert rumors == tuple(fail(number) for number in range(len(rumors)))
    assert RUMORS_MAX_BYTES - rumor_size(fail(0)) < sum(map(rumor_size, rumors)) <= RUMORS_MAX_BYTES


def test_all_that_waited_is_told_in_the_end_and_then_nothing_is_due() -> None:
    mill = RumorMill(0.0)
    for number in range(2000):
        relay(mill, number)
    told: list[Rumor] = []
    now_ms = 0.0
    while mill.deadline_ms() < inf:
        now_ms = max(now_ms, mill.deadline_ms())
        rounds = mill.take_eager(now_ms)
        assert rounds
        told += [rumor for _, rumors in rounds for rumor in rumors]
    assert told == [fail(number) for number in range(2000)]
    assert now_ms < 2000 / 30 * EAGER_ROUND_MS


def test_of_news_that_waits_only_the_newest_about_a_subject_is_told() -> None:
    mill = RumorMill(0.0)
    for version in (1, 2):
        mill.tell(fail(7, version), subject(7), MEMBERS, origin=False)
    assert mill.take_eager(0.0) == [(EAGER_RELAY_FANOUT, (fail(7, 2),))]


def test_a_suspicion_is_not_passed_on_any_more_once_its_subject_is_known_to_have_failed() -> None:
    mill = RumorMill(0.0)
    suspect = (int(RumorKind.SUSPECT), subject(7), 1, int(Evidence.REFUSED))
    mill.tell(suspect, subject(7), MEMBERS, origin=False)
    relay(mill, 7)
    assert mill.take_eager(0.0) == [(EAGER_RELAY_FANOUT, (fail(7),))]
    assert mill.piggyback() == (fail(7),)
