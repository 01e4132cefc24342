"""CLUSTER GETSLOTMIGRATIONS as nodes answer it, in RESP2 and RESP3."""

from __future__ import annotations

import pytest
from pyredis_cluster.admin import Access
from pyredis_cluster.errors import NodeRefused
from pyredis_cluster.migrations import list_jobs, start_job, supports_atomic

from .fakes import FakeLink, job, three_shards

A, B = ("a" * 40, "b" * 40)


def test_a_job_is_read_from_its_fields() -> None:
    cluster = three_shards()
    cluster.nodes[A].jobs.append(job("n1", A, B, [(0, 9), (20, 20)], "snapshotting"))
    (read,) = list_jobs(FakeLink(cluster, cluster.nodes[A], Access()))
    assert read.name == "n1"
    assert read.slots == frozenset([*range(10), 20])
    assert (read.source_id, read.target_id, read.exporting) == (A, B, True)
    assert read.active
    assert not read.failed


@pytest.mark.parametrize(("state", "succeeded", "failed"), [("success", True, False), ("failed", False, True)])
def test_a_job_that_has_ended_is_not_active(state: str, succeeded: bool, failed: bool) -> None:
    cluster = three_shards()
    cluster.nodes[A].jobs.append(job("n1", A, B, [(0, 9)], state))
    (read,) = list_jobs(FakeLink(cluster, cluster.nodes[A], Access()))
    assert (read.active, read.succeeded, read.failed) == (False, succeeded, failed)


def test_a_node_that_does_not_know_the_subcommand_does_not_support_it() -> None:
    cluster = three_shards()
    link = FakeLink(cluster, cluster.nodes[A], Access())
    assert supports_atomic(link)
    cluster.atomic = False
    assert not supports_atomic(link)


def test_slots_are_sent_as_ranges() -> None:
    cluster = three_shards()
    start_job(FakeLink(cluster, cluster.nodes[A], Access()), [1, 2, 3, 9], B)
    assert cluster.migrations == [(A, B, [1, 2, 3, 9])]


def test_a_refusal_names_the_node_and_the_command() -> None:
    cluster = three_shards()
    with pytest.raises(NodeRefused, match=r"127\.0\.0\.1:7000 refused CLUSTER MIGRATESLOTS .* not served"):
        start_job(FakeLink(cluster, cluster.nodes[A], Access()), [16000], B)
