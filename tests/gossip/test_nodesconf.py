"""nodes.conf and CLUSTER NODES: Redis's format, and what was dumped is loaded."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.gossip import bitmap, operations
from pyredis_cluster.gossip.config import ClusterConfig
from pyredis_cluster.gossip.core import ClusterCore
from pyredis_cluster.gossip.errors import CorruptedConfig
from pyredis_cluster.gossip.nodes import WITNESS
from pyredis_cluster.gossip.nodesconf import dump, load, nodes_text
from pyredis_cluster.gossip.prng import SplitMix

from .cores import Bench, Still, record

REDIS_FILE = """\
07c37dfeb235213a872192d90877d0cd55635b91 127.0.0.1:30004@31004,,tls-port=0,shard-id=11c37dfeb235213a872192d90877d0cd55635b91 slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 1426238317239 4 connected
e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 127.0.0.1:30001@31001,host.example,nodename=one,shard-id=11c37dfeb235213a872192d90877d0cd55635b91 myself,master - 0 0 6 connected 0-5460 7000 [93-<-07c37dfeb235213a872192d90877d0cd55635b91] [77->-07c37dfeb235213a872192d90877d0cd55635b91]

vars currentEpoch 5 lastVoteEpoch 3
"""  # noqa: E501 - as redis-server writes it


def test_a_file_of_redis_is_understood() -> None:
    state = load(REDIS_FILE)
    mine = state.records["e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca"]
    assert state.my_id == mine.id
    assert (mine.ip, mine.port, mine.bus_port, mine.hostname) == ("127.0.0.1", 30001, 31001, "host.example")
    assert [*bitmap.ranges(mine.slots)] == [(0, 5460), (7000, 7000)]
    assert (state.current_epoch, state.last_vote_epoch) == (6, 3), "never below a node's own epoch"
    replica = state.records["07c37dfeb235213a872192d90877d0cd55635b91"]
    assert (replica.primary_id, replica.config_epoch) == (mine.id, 0)
    assert (state.importing, state.migrating) == ({93: replica.id}, {77: replica.id})


def test_a_witness_is_shown_to_clients_and_kept_where_redis_does_not_look() -> None:
    bench = Bench(record(1, flags=WITNESS), record(2, flags=WITNESS), record(3))
    assert " myself,master,witness - " in nodes_text(bench.core, int).splitlines()[0]
    text = dump(bench.core)
    assert "witness" not in "".join(line for line in text.splitlines() if not line.startswith("vars"))
    state = load(text)
    assert [entry.flags for entry in state.records.values()] == [WITNESS, WITNESS, 0]


@pytest.mark.parametrize(
    "line",
    [
        "e7d1 127.0.0.1:1@2 myself,master - 0 0 1 connected",
        "e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 127.0.0.1:1@2 myself,king - 0 0 1 connected",
        "e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-16384",
        "e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 127.0.0.1:1@2,,wrong=1 myself,master - 0 0 1 connected",
        "e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 127.0.0.1:1@2 master - 0 0 1 connected",
        "vars currentEpoch",
    ],
)
def test_a_line_that_makes_no_sense_is_refused(line: str) -> None:
    with pytest.raises(CorruptedConfig):
        load(line)


@given(st.text(alphabet="0af -,:@\n[]<>vars", max_size=120))
def test_any_text_is_loaded_or_refused(text: str) -> None:
    try:
        state = load(text)
    except CorruptedConfig:
        return
    assert state.my_id in state.records


def test_what_was_dumped_is_loaded() -> None:
    bench = Bench(
        record(1, slots=bitmap.range_mask(0, 99), config_epoch=4, hostname="a.b", human_nodename="one"),
        record(2, slots=bitmap.range_mask(100, 16383), config_epoch=5),
        record(3, primary_id="1" * 40, shard_id="1" * 40),
    )
    core = bench.core
    operations.set_slot_migrating(core, 7, "2" * 40)
    operations.set_slot_importing(core, 200, "2" * 40)
    core.mark_failed(core.nodes["3" * 40], origin=True)
    core.last_vote_epoch = 4
    state = load(dump(core))
    again = ClusterCore(ClusterConfig(), state.records[state.my_id], SplitMix(2), 0.0, Still(), state)
    assert again.current_epoch == core.current_epoch
    assert again.last_vote_epoch == 4
    assert again.myself.record.version == core.myself.record.version + 1
    for node_id, node in core.nodes.items():
        other = again.nodes[node_id]
        assert (other.owned, other.failed, other.config_epoch) == (node.owned, node.failed, node.config_epoch)
        assert other.record.hostname == node.record.hostname
    assert again.slot_map.migrating[7].id == "2" * 40
    assert again.slot_map.importing[200].id == "2" * 40


def test_cluster_nodes_has_redis_columns() -> None:
    bench = Bench(
        record(1, slots=bitmap.range_mask(0, 99) | 1 << 200, config_epoch=4),
        record(3, primary_id="1" * 40, hostname="replica.example"),
    )
    bench.hear_from(3)
    mine, replica = nodes_text(bench.core, int).splitlines()
    assert mine == f"{'1' * 40} 10.0.0.1:7000@17000 myself,master - 0 0 4 connected 0-99 200"
    assert re.fullmatch(
        f"{'3' * 40} 10.0.0.3:7000@17000,replica.example slave {'1' * 40} 0 1000 4 connected", replica
    )


def test_a_file_that_ends_in_the_middle_is_refused_wherever_it_ends() -> None:
    text = dump(Bench(record(1, slots=1), record(2)).core)
    for end in range(1, len(text)):
        with pytest.raises(CorruptedConfig):
            load(text[:end])
