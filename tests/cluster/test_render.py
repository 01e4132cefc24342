"""What the operator sees: the status table, the slot map, findings, sizes."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from pyredis_cluster.admin import Access, NodeLink
from pyredis_cluster.check import Findings, format_slots
from pyredis_cluster.client.errors import ResponseError
from pyredis_cluster.commands_inspect import format_reply
from pyredis_cluster.render import format_bytes, format_count, render_findings, render_slot_map, render_status
from pyredis_cluster.status import ClusterStatus, NodeStatus, ShardStatus, gather_status
from pyredis_cluster.topology import Absentee, Member, Topology, parse_cluster_nodes
from rich.console import Console, RenderableType

ID_A, ID_B, ID_C = ("a" * 40, "b" * 40, "c" * 40)


def printed(renderable: RenderableType, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def node(address: str, role: str = "primary") -> NodeStatus:
    return NodeStatus("a" * 40, address, role, "ok", 1, 100, None, 1234, 2048, 5, 1)


def shard(*ranges: tuple[int, int], open_slot: int | None = None) -> ShardStatus:
    return ShardStatus(node("127.0.0.1:7000"), (), ranges, {open_slot: "x"} if open_slot is not None else {}, {})


def test_the_slot_map_shows_mixed_open_and_uncovered_cells() -> None:
    text = render_slot_map([shard((0, 99)), shard((100, 8191), open_slot=200), shard((8192, 16000))]).plain
    rows = [line.split()[1] for line in text.strip().splitlines()[:4]]
    assert rows[0] == "█▒█◆" + "█" * 60
    assert rows[1] == "█" * 64
    assert rows[3] == "█" * 58 + "·" * 6


def _member(line: str, info: dict[str, str], state: str = "ok") -> Member:
    views = {view.node_id: view for view in parse_cluster_nodes(line)}
    myself = next(view for view in views.values() if "myself" in view.flags)
    assert myself.address is not None
    return Member(NodeLink(myself.address, Access()), views, {"cluster_state": state}, info)


def _cluster(replica_info: dict[str, str]) -> Topology:
    primary_line = f"{ID_A} 127.0.0.1:7000@17000 myself,master - 0 0 3 connected 0-16383"
    replica_line = f"{ID_B} 127.0.0.1:7001@17001 myself,slave {ID_A} 0 0 3 connected"
    primary_info = {"master_repl_offset": "500", "db0": "keys=12,expires=0,avg_ttl=0", "used_memory": "1048576"}
    return Topology({ID_A: _member(primary_line, primary_info), ID_B: _member(replica_line, replica_info)})


def test_a_replicas_lag_is_what_it_is_behind_its_primary() -> None:
    status = gather_status(_cluster({"master_link_status": "up", "slave_repl_offset": "440"}))
    assert status.state == "ok"
    assert status.shards[0].replicas[0].lag_bytes == 60
    assert status.shards[0].primary.keys == 12


def test_a_cluster_with_a_replica_out_of_sync_is_degraded() -> None:
    status = gather_status(_cluster({"master_link_status": "down"}))
    assert status.state == "degraded"
    assert status.shards[0].replicas[0].state == "not in sync"


def test_a_silent_primary_is_shown_with_its_slots_and_the_cluster_fails() -> None:
    view = parse_cluster_nodes(f"{ID_C} 127.0.0.1:7002@17002 master,fail - 0 0 4 connected 0-9")[0]
    other = _member(f"{ID_A} 127.0.0.1:7000@17000 myself,master - 0 0 3 connected 10-16383", {})
    status = gather_status(Topology({ID_A: other}, {ID_C: Absentee(view, "refused")}))
    assert status.state == "fail"
    assert status.slots_covered == 16374
    assert status.shards[1].primary.state == "failed"
    assert status.shards[1].ranges == ((0, 9),)


def test_the_status_fits_eighty_columns_without_wrapping_an_address() -> None:
    status = ClusterStatus("ok", 16384, 3, (shard((0, 16383)),))
    assert "127.0.0.1:7000" in printed(render_status(status), width=80)


def test_findings_name_problems_and_warnings() -> None:
    text = printed(render_findings(Findings(["slot 1 is open"], ["no replica"])))
    assert "problem  slot 1 is open" in text
    assert "warning  no replica" in text


def test_no_findings_are_said_in_words() -> None:
    assert "all slots covered" in printed(render_findings(Findings()))


def test_long_lists_of_slots_are_cut_short() -> None:
    assert format_slots([1, 2, 3, 7]) == "1-3 7"
    assert format_slots(list(range(0, 40, 2))) == "0 2 4 6 8 10 12 14 and 12 more"


@pytest.mark.parametrize(
    ("size", "text"), [(None, "-"), (0, "0B"), (1023, "1023B"), (1536, "1.5K"), (3 << 30, "3.0G"), (5 << 40, "5.0T")]
)
def test_sizes_are_short(size: int | None, text: str) -> None:
    assert format_bytes(size) == text


def test_counts_have_separators() -> None:
    assert format_count(1234567) == "1,234,567"


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (None, "(nil)"),
        (b"OK", "OK"),
        (5, "5"),
        ([], "(empty)"),
        (ResponseError("ERR no"), "(error) ERR no"),
        ([b"a", [1, 2]], "\n   1) a\n   2) \n      1) 1\n      2) 2"),
    ],
)
def test_replies_are_shown_as_redis_cli_does(reply: object, text: str) -> None:
    assert format_reply(reply) == text


def test_the_bus_is_summed_up_and_its_trouble_named() -> None:
    topology = _cluster({"master_link_status": "up", "slave_repl_offset": "440"})
    base = {"cluster_state": "ok", "cluster_stats_promotions": "1", "cluster_stats_messages_dropped_tag": "3"}
    failover = f"kind=automatic,primary={ID_C},epoch=7,votes=4"
    for node_id, more in (
        (ID_A, {"cluster_last_failover": f"{failover},at=1700000000000,suspected=0.0,elected=6.1"}),
        (
            ID_B,
            {
                "cluster_last_failover": f"{failover},at=1600000000000,suspected=0.0",
                "cluster_bus_tcp_port": "retrying",
                "cluster_stats_probe_rtt_p99_ms": "12.345",
            },
        ),
    ):
        topology.members[node_id] = replace(topology.members[node_id], cluster_info=base | more)
    status = gather_status(topology)
    assert status.bus is not None
    assert status.bus.dropped == {"tag": 6}
    assert (status.bus.promotions, status.bus.rtt_p99_ms) == (2, 12.345)
    assert status.bus.last_failover is not None
    assert status.bus.last_failover.stages == {"suspected": 0.0, "elected": 6.1}
    text = printed(render_status(status), width=200)
    assert "last failover   automatic, 127.0.0.1:7000 for cccccccc, epoch 7" in text
    assert "ms: suspected 0.0, elected 6.1" in text
    assert "bus port of 127.0.0.1:7001 is in use" in text
