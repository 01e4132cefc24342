"""What `import pyredis_cluster` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pyredis_cluster
import pytest


@pytest.mark.parametrize("name", pyredis_cluster.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(pyredis_cluster, name) is not None
    assert name in dir(pyredis_cluster)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = pyredis_cluster.no_such_name


def test_importing_the_package_loads_no_dependency() -> None:
    code = "import sys, pyredis_cluster; print(*{'trio', 'hiredis', 'click'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


def test_the_blocking_client_does_without_trio() -> None:
    code = "import sys; from pyredis_cluster import ClusterClient, Connection; print('trio' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
