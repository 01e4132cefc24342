"""oom-score-adj: how readily the kernel's out-of-memory killer takes this process (Redis: setOOMScoreAdj).

Law: with `no` the value from before the start is restored; a refused write refuses the CONFIG SET.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from .config_kinds import ConfigError

if TYPE_CHECKING:
    from .config import Config

log = logging.getLogger("pyredis")

SCORE_FILE = Path("/proc/self/oom_score_adj")
SCORE_MAX = 1000
PRIMARY, REPLICA, CHILD = range(3)
"""Positions in oom-score-adj-values."""


class OomScore:
    """Keeps the process's score as `oom-score-adj` and `oom-score-adj-values` say for the node's role."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._base: int | None = None
        """The score from before we changed it."""
        self._process = PRIMARY
        for name in ("oom-score-adj", "oom-score-adj-values"):
            config.on_change(name, self.apply)

    def become(self, process: int) -> None:
        """become(REPLICA): this process's score from now on; what the kernel refuses is logged."""
        self._process = process
        with contextlib.suppress(ConfigError):
            self.apply()

    def apply(self) -> None:
        """apply() sets the score; ConfigError if the kernel refuses."""
        config = self._config
        mode: str = config.oom_score_adj
        if mode == "no" and self._base is None:
            return
        try:
            if self._base is None:
                self._base = int(SCORE_FILE.read_text())
            score = self._base
            if mode != "no":
                value: int = config.oom_score_adj_values[self._process]
                score = value if mode == "absolute" else value + self._base
            SCORE_FILE.write_text(str(max(-SCORE_MAX, min(SCORE_MAX, score))))
        except OSError as error:
            log.warning("Unable to write oom_score_adj: %s", error.strerror)
            raise ConfigError("Failed to set current oom_score_adj. Check server logs.") from error
        if mode == "no":
            self._base = None
