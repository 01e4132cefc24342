"""pyredis-cluster: a Redis-Cluster-compatible store in Python. What is public is imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import errors as errors
    from .client.blocking_driver import ClusterClient as ClusterClient
    from .client.connection import Connection as Connection
    from .client.options import ReadFrom as ReadFrom
    from .client.trio_driver import TrioClusterClient as TrioClusterClient

_HOMES = {
    "ClusterClient": "client.blocking_driver",
    "Connection": "client.connection",
    "ReadFrom": "client.options",
    "TrioClusterClient": "client.trio_driver",
    "errors": "client.errors",
}
__all__ = ["ClusterClient", "Connection", "ReadFrom", "TrioClusterClient", "errors"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f".{home}", __name__)
    value = module if home.endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
