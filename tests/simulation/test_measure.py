"""The measuring command, and that the page in docs/ says what its data says."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from pyredis_cluster.gossip.simulation import reference
from pyredis_cluster.gossip.simulation.experiments import Samples
from pyredis_cluster.gossip.simulation.figures import plot
from pyredis_cluster.gossip.simulation.measure import filled, main

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_small_version_writes_data_page_and_plot(tmp_path: Path) -> None:
    assert main([str(tmp_path), "--small"]) == 0
    results = json.loads((tmp_path / "failure-detection.json").read_text())
    assert [size["nodes"] for size in results["sizes"]] == [6, 30]
    assert "### Detection and outage" in (tmp_path / "failure-detection.md").read_text()
    assert ElementTree.parse(tmp_path / "failure-detection.svg").getroot().tag.endswith("svg")


def test_one_more_mass_failure_is_added_to_the_data_that_are_there(tmp_path: Path) -> None:
    data = tmp_path / "failure-detection.json"
    data.write_bytes((DOCS / data.name).read_bytes())
    known = json.loads(data.read_text())
    assert main([str(tmp_path), "--storm", "8", "2"]) == 0
    results = json.loads(data.read_text())
    added, *others = results["storms"]
    assert (added["nodes"], added["killed"]) == (8, 2)
    assert {**results, "storms": others} == known


def test_the_page_and_the_plot_in_docs_are_those_of_the_data() -> None:
    results = json.loads((DOCS / "failure-detection.json").read_text())
    page = (DOCS / "failure-detection.md").read_text()
    assert page == filled(page, results)
    assert (DOCS / "failure-detection.svg").read_text() == plot(results)


def test_a_quantile_is_a_sample_that_so_many_do_not_exceed() -> None:
    samples = Samples([float(value) for value in range(1, 101)])
    assert [samples.quantile(share) for share in (0.01, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert Samples([7.0]).quantile(0.5) == 7


def test_redis_cost_is_that_of_its_message_sizes() -> None:
    assert round(reference.redis_bytes_per_s(100) / 1000) == 87
    assert round(reference.redis_bytes_per_s(1000) / 1e6, 1) == 3.4


def test_lifeguards_setting_takes_memberlists_suspicion_of_five_times_the_logarithm_at_least() -> None:
    median, slowest, worst = reference.lifeguard_detection_s()
    assert 5 * 2.1 < median < slowest < worst


def test_memberlists_rule_takes_its_suspicion_timeout_and_a_probe_at_least() -> None:
    for nodes, least in ((6, 5), (100, 9), (1000, 13)):
        median, slowest = reference.memberlist_detection_s(nodes)
        assert least < median < slowest
