"""Each scenario under tests/scenarios comes out as it says, and the language says what is wrong with a script.

Where a change of the protocol changes what comes out, look at the difference and then run REWRITE.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyredis_cluster.gossip.simulation.scenario import ScenarioError, main, play

SCENARIO_DIR = Path(__file__).resolve().parents[1] / "scenarios"
SCENARIOS = sorted(SCENARIO_DIR.glob("*.txt"))
REWRITE = "python -m pyredis_cluster.gossip.simulation.scenario --rewrite tests/scenarios/*.txt"
SMALL = "cluster primaries=1 replicas=1\n----\na: primary of 0-16383 with configEpoch 1\nb: replica of a\n"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    assert play(text).splitlines() == text.splitlines(), f"if that is right: {REWRITE}"


def test_the_page_on_the_protocol_shows_each_scenario_and_none_that_is_missing() -> None:
    page = (SCENARIO_DIR.parents[1] / "docs" / "protocol.md").read_text()
    assert set(re.findall(r"\(\.\./tests/scenarios/([a-z-]+\.txt)\)", page)) == {path.name for path in SCENARIOS}


def test_what_came_out_is_put_where_the_output_was(tmp_path: Path) -> None:
    path = tmp_path / "stale.txt"
    path.write_text("# A title\n\ncluster primaries=1 replicas=1\n----\nstale\n\ntick 1s\n----\n")
    assert main([str(path)]) == 1
    assert main(["--rewrite", str(path)]) == 0
    assert path.read_text() == f"# A title\n\n{SMALL}\ntick 1s\n----\nnothing\n"
    assert main([str(path)]) == 0


def test_exact_times_and_datagrams_are_printed_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.txt"
    path.write_text(f"{SMALL}\ntick 1s\n----\n")
    assert main(["--exact", "--messages", str(path)]) == 0
    assert "a: sends ping to b" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("explode a", "no such command"),
        ("kill z", "no node 'z'"),
        ("tick soon", "a time is"),
        ("drop AUTH_ACK", "usage"),
        ("start z", "the next node is c"),
        ("restart a", "it runs"),
        ("expect a is happy", "no such condition"),
        ("expect b is primary", "it is not so"),
        ("expect within 100ms: b is primary", "it is not so"),
        ("expect for 100ms: not a is primary", "it is not so"),
        ("failover a", "You should send CLUSTER FAILOVER to a replica"),
        ("replay", "after keep"),
        ("config a favourite-colour=blue", "no such setting"),
    ],
)
def test_a_script_that_goes_wrong_is_told_the_line_and_the_reason(command: str, why: str) -> None:
    with pytest.raises(ScenarioError, match=rf"line 6: {command}: .*{why}"):
        play(f"{SMALL}\n{command}\n----\n")


def test_commands_without_an_output_part_are_refused() -> None:
    with pytest.raises(ScenarioError, match="line 6: commands without a ----"):
        play(f"{SMALL}\ntick 1s\n")
