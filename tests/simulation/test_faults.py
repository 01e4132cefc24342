"""Faults, their schedule, and what is made of a run that fails."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from pyredis_cluster.gossip import simulate
from pyredis_cluster.gossip.core import ClusterCore
from pyredis_cluster.gossip.simulation import soak
from pyredis_cluster.gossip.simulation.cluster import Report, Simulation
from pyredis_cluster.gossip.simulation.faults import CONTINUOUS, DATAGRAM_FAULTS, Faults, draw_schedule, parse
from pyredis_cluster.gossip.simulation.runs import Run, varied
from pyredis_cluster.gossip.simulation.shrinking import shrink

CHUNK = 25
NAMES = [field.name for field in fields(Faults)]


@pytest.mark.parametrize("first", range(0, 12 * CHUNK, CHUNK))
def test_clusters_of_all_shapes_endure_half_a_minute_of_all_faults(first: int) -> None:
    for seed in range(first, first + CHUNK):
        varied(seed, 0.5, "all").play()


@pytest.mark.parametrize("name", NAMES)
def test_each_fault_strikes_when_it_alone_is_asked_for(name: str) -> None:
    if name == "drift":
        assert any(node.clock_rate != 1.0 for node in Simulation(1, faults=parse("drift")).nodes)
        return
    happened: set[str] = set()
    for seed in range(20):
        report = Run(seed, 6, 1, 0.5, f"{name}=0.1" if name in DATAGRAM_FAULTS else f"{name}=6").play()
        happened = {*report.mishaps, *report.datagrams}
        if name in happened:
            break
    assert happened - {"false refusal"} == {name}


def test_faults_are_parsed_from_names_and_rates() -> None:
    assert parse("none") == Faults()
    assert parse("all") == Faults.all()
    assert parse("loss, crashes=6") == Faults(loss=Faults.all().loss, crashes=6)
    assert parse("all,takeovers=2").takeovers == 2
    assert parse(Faults.all().text()) == Faults.all()
    assert parse(Faults(loss=0.5, lies=3).text()) == Faults(loss=0.5, lies=3)
    with pytest.raises(ValueError, match="no such fault: cosmic_rays"):
        parse("cosmic_rays")


def test_a_schedule_depends_on_the_seed_alone_and_on_no_other_fault() -> None:
    everything = draw_schedule(7, Faults.all(), 600_000)
    assert everything == draw_schedule(7, Faults.all(), 600_000)
    assert everything != draw_schedule(8, Faults.all(), 600_000)
    crashes = draw_schedule(7, Faults(crashes=Faults.all().crashes), 600_000)
    assert [(mishap.at_ms, mishap.seed) for mishap in everything if mishap.kind == "crashes"] == [
        (mishap.at_ms, mishap.seed) for mishap in crashes
    ]
    assert {mishap.kind for mishap in everything} == set(NAMES) - set(CONTINUOUS) - {"forgotten_writes", "takeovers"}


def test_clocks_that_lie_about_an_fsync_and_operators_in_a_hurry_are_endured() -> None:
    for seed in range(20):
        varied(seed, 0.5, "all,forgotten_writes=4,takeovers=2").play()


def test_shrinking_finds_the_few_that_it_takes() -> None:
    assert shrink(range(100), lambda items: {17, 56} <= set(items)) == [17, 56]
    assert len(shrink(range(100), lambda items: {17, 56} <= set(items), attempts_max=5)) < 100


def test_a_broken_run_tells_how_to_replay_it_and_which_mishaps_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ClusterCore, "majority", lambda self: 1)
    arguments = ["--seed", "3", "--minutes", "0.5", "--faults", "crashes=20,pauses=4", "--shrink", "30"]
    assert simulate.main(arguments) == 1
    out = capsys.readouterr().out
    assert "votes won epoch" in out
    assert "--seed 3 --nodes 6 --replicas 1 --minutes 0.5 --faults crashes=20,pauses=4" in out
    assert "It takes 1 of" in out
    assert "ms: crashes" in out


def test_a_soak_reports_each_chunk_and_survives_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "soak.txt"
    arguments = ["--seeds", "12", "--minutes", "0.1", "--jobs", "1", "--report", str(report)]
    assert soak.main(arguments) == 0
    assert "12 seeds" in capsys.readouterr().out
    assert len(report.read_text().splitlines()) == 2

    def broken(self: Simulation, duration_ms: float) -> Report:
        raise AssertionError("broken")

    monkeypatch.setattr(Simulation, "endure", broken)
    tally = soak.play(range(2), 0.1, "all")
    assert tally.seeds == 2
    assert len(tally.failures) == 2
    assert "AssertionError: broken\n  python -m pyredis_cluster.gossip.simulate --seed 0" in tally.failures[0]
