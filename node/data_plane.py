"""Which data plane runs: the compiled module (node/native), or plain Python where it isn't there or isn't wanted.

Law: both do the same. C stands in for a method's plainest case and hands the rest to the Python method.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

DISABLED_BY = "PYREDIS_NO_SPEEDUPS"
"""The environment variable that keeps the compiled module out."""

native: ModuleType | None = None
if not os.environ.get(DISABLED_BY):
    try:
        from . import _native as native
    except ImportError:
        native = None

NAME = "python" if native is None else "c"
"""What INFO and the log call it."""

originals: dict[str, Callable[..., Any]] = {}
"""The Python methods that C stands in for, by `Class.method`."""


def bind(*classes: type) -> None:
    """bind(Client, Database, ...): C stands in for their hot methods from now on; once in a process."""
    if native is not None:
        originals.update(native.bind({each.__name__: each for each in classes}))
