"""The unfinished reshard on disk: it comes back as it was saved, and a damaged one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyredis_cluster.errors import OperatorError
from pyredis_cluster.reshard import Goal
from pyredis_cluster.resume import ReshardRequest, load_request, request_path, save_request

REQUEST = ReshardRequest(("all",), "b" * 40, 3, (Goal(frozenset({"b" * 40, "e" * 40}), (1, 2, 3)),))


def test_a_request_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    path = request_path(tmp_path / "new", REQUEST.target)
    save_request(path, REQUEST)
    assert load_request(path) == REQUEST


def test_where_nothing_was_saved_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert load_request(request_path(tmp_path, REQUEST.target)) is None


def test_a_damaged_request_is_refused_by_name(tmp_path: Path) -> None:
    path = request_path(tmp_path, REQUEST.target)
    path.write_text('{"sources": 1}')
    with pytest.raises(OperatorError, match=str(path)):
        load_request(path)


def test_the_same_wish_is_known_by_what_was_asked_not_by_its_plan() -> None:
    assert REQUEST.same_wish(ReshardRequest(("all",), "b" * 40, 3))
    assert not REQUEST.same_wish(ReshardRequest(("all",), "b" * 40, 4))
