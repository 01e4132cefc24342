"""Slot migration between real nodes under a load, disturbed at each of its stages: nothing is lost or doubled."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest
from pyredis_cluster.client.errors import ResponseError
from pyredis_cluster.node.migration.export import HANDOVER_TIMEOUT_MS

from ...conftest import wait_until
from .lab import REQUEST_TIMEOUT_MS, TAG_OF_SLOT, Lab

ENDED = ("success", "failed", "cancelled")
# What three writers, one write under way each, can have had acknowledged by a node that was killed then.
LOST_AT_A_KILL_MAX = 30

STAGES = [(b"ESTABLISH", False), (b"HSET", False), (b"FINISH", False), (b"FINISH", True)]
STAGE_NAMES = ["at the introduction", "in the snapshot", "before the claim", "after the claim"]
at_each_stage = pytest.mark.parametrize("stage", STAGES, ids=STAGE_NAMES)


def disturb(
    lab: Lab, stage: tuple[bytes, bool], act: Callable[[], bool | None], request_timeout_ms: float = REQUEST_TIMEOUT_MS
) -> None:
    """Migrate under load, and `act` when the stage is reached."""
    acted = threading.Event()

    def run() -> bool | None:
        try:
            return act()
        finally:
            acted.set()

    marker, answer = stage
    lab.tap(lab.target).on(marker, run, answer=answer)
    lab.load(request_timeout_ms)
    lab.migrate()
    wait_until(acted.is_set, "the stage is reached")


def test_slots_move_with_all_keys_while_clients_write(lab: Lab) -> None:
    lab.load()
    lab.migrate()
    assert lab.wait_until_state(*ENDED) == "success"
    lab.assert_sound()
    lab.assert_no_failed_request()
    assert lab.owner() == lab.target


def test_slots_move_there_and_back_at_once(lab: Lab) -> None:
    lab.load()
    ways = [(lab.source, lab.target), (lab.target, lab.third), (lab.third, lab.source)]
    for source, target in ways * 3:
        lab.migrate(source, target)
        assert lab.wait_until_state("success", "failed", "cancelled", "cleaning-up", port=source) in (
            "success",
            "cleaning-up",
        ), lab.jobs(source)[0]
        wait_until(lambda at=target: lab.nodes.owners(at)[lab.slots[0]] == at, "the target serves")
    lab.assert_sound()
    lab.assert_no_failed_request()
    assert lab.owner() == lab.source


def test_two_jobs_run_at_the_same_time(lab: Lab) -> None:
    lab.load()
    middle = len(lab.slots) // 2
    lab.migrate(slots=lab.slots[:middle])
    lab.migrate(target=lab.third, slots=lab.slots[middle:])
    wait_until(lambda: all(job["state"] in (b"success", b"failed") for job in lab.jobs(lab.source)), "both ended")
    assert [job["state"] for job in lab.jobs(lab.source)[:2]] == [b"success"] * 2
    lab.migrate(lab.third, lab.target, lab.slots[middle:])
    assert lab.wait_until_state(*ENDED, port=lab.third) == "success"
    lab.assert_sound()
    lab.assert_no_failed_request()


def test_a_job_is_cancelled(lab: Lab) -> None:
    disturb(lab, (b"HSET", False), lambda: lab.nodes.call(lab.source, "CLUSTER", "CANCELSLOTMIGRATIONS") and None)
    assert lab.wait_until_state(*ENDED) == "cancelled"
    lab.assert_sound()
    lab.assert_no_failed_request()
    assert lab.owner() == lab.source


@pytest.mark.parametrize("flushed", ["source", "target"])
def test_a_flush_ends_the_job(lab: Lab, flushed: str) -> None:
    port = getattr(lab, flushed)
    own = next(slot for slot, owner in lab.nodes.owners(lab.target).items() if owner == lab.target)
    lab.nodes.call(lab.target, "SET", TAG_OF_SLOT[own], "x")
    disturb(lab, (b"HSET", False), lambda: lab.nodes.call(port, "FLUSHALL") and None)
    assert lab.wait_until_state(*ENDED) == "failed"
    lab.stop_load()
    assert lab.owner() == lab.source
    if flushed == "target":
        lab.assert_sound()


@at_each_stage
def test_the_connection_is_cut(lab: Lab, stage: tuple[bytes, bool]) -> None:
    disturb(lab, stage, lambda: False)
    state = lab.wait_until_state(*ENDED)
    lab.assert_sound()
    lab.assert_no_failed_request()
    claimed = stage == (b"FINISH", True)
    assert (state, lab.owner()) == (("success", lab.target) if claimed else ("failed", lab.source))


@at_each_stage
def test_the_source_is_killed(lab: Lab, stage: tuple[bytes, bool]) -> None:
    disturb(lab, stage, lambda: lab.signal(lab.source, signal.SIGKILL) or False)
    wait_until(lambda: lab.replaced(lab.source), "the source was replaced")
    lab.heal()
    lab.assert_sound(lost_max=LOST_AT_A_KILL_MAX)


@at_each_stage
def test_the_target_is_killed(lab: Lab, stage: tuple[bytes, bool]) -> None:
    disturb(lab, stage, lambda: lab.signal(lab.target, signal.SIGKILL) or False)
    lab.wait_until_state(*ENDED)
    lab.heal()
    lab.assert_sound(lost_max=LOST_AT_A_KILL_MAX)


@pytest.mark.parametrize("stage", [(b"FINISH", False), (b"FINISH", True)], ids=["before the claim", "after the claim"])
def test_the_target_is_frozen_in_the_handover(lab: Lab, stage: tuple[bytes, bool]) -> None:
    disturb(lab, stage, lambda: lab.signal(lab.target, signal.SIGSTOP), request_timeout_ms=500)
    lab.wait_until_state(*ENDED)
    before = sum(count.acknowledged for writer in lab.writers for count in writer.counts)
    wait_until(
        lambda: sum(count.acknowledged for writer in lab.writers for count in writer.counts) > before + 100,
        "writes go on",
    )
    lab.signal(lab.target, signal.SIGCONT)
    lab.heal()
    lab.assert_sound(lost_max=LOST_AT_A_KILL_MAX if stage[1] else 0)


def test_an_answer_that_comes_too_late_changes_nothing(lab: Lab) -> None:
    """FINISH reaches the target after the source gave it up: the slots stay with the source."""
    released = threading.Event()
    lab.tap(lab.target).on(b"FINISH", lambda: released.wait(2 * HANDOVER_TIMEOUT_MS / 1000) and None)
    lab.load()
    lab.migrate()
    state = lab.wait_until_state(*ENDED)
    released.set()
    assert state == "failed"
    lab.assert_sound()
    lab.assert_no_failed_request()
    assert lab.owner() == lab.source


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("stage", STAGES[1:3], ids=STAGE_NAMES[1:3])
def test_a_manual_failover_in_the_middle(lab: Lab, side: str, stage: tuple[bytes, bool]) -> None:
    done = threading.Thread(target=lab.fail_over, args=(getattr(lab, side),))
    disturb(lab, stage, lambda: done.start())
    done.join()
    lab.assert_sound()
    lab.assert_no_failed_request()


def test_busy_and_foreign_slots_are_refused(lab: Lab) -> None:
    with pytest.raises(ResponseError, match="Slots are not served by this node"):
        lab.migrate(source=lab.third)
    with pytest.raises(ResponseError, match="Slots are already served by the target node"):
        lab.migrate(target=lab.source)
    lab.nodes.call(lab.source, "CLUSTER", "SETSLOT", lab.slots[0], "MIGRATING", lab.nodes.node_id(lab.target))
    with pytest.raises(ResponseError, match="Slots are being moved with CLUSTER SETSLOT"):
        lab.migrate()
    lab.nodes.call(lab.source, "CLUSTER", "SETSLOT", lab.slots[0], "STABLE")
