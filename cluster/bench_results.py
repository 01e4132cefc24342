"""What `make bench` finds out, as data: rows that compare a command's costs, and single figures; and their JSON.

Law: a ratio is ours by redis-server's, of the same run on the same machine, and the median over its pairs;
higher is worse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import exp, log
from statistics import fmean, median
from typing import Any

RATIO_LONE_MAX = 1.0
RATIO_PIPELINED_MAX = 1.3
RATIO_COSTLY_MAX = 1.5
COSTLY_TESTS = ("ZADD", "ZPOPMIN", "LRANGE_")
RATIO_P50_LONE_MAX = 1.2
RATIO_P99_MAX = 1.5


@dataclass(frozen=True, slots=True)
class Sample:
    """One run against one server; latencies are of a request at P=1, of a pipeline else."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """CPU time of the server, in a cluster of its primaries, for each operation: user and system."""
    user_us: float
    """How much of it is the user's part, as far as clock ticks tell."""
    all_cpu_us: float
    """The same as `cpu_us` with the replicas', if there are any."""


@dataclass(slots=True)
class Row:
    """One test under one load: the samples of both servers, pair by pair."""

    test: str
    pipeline: int
    clients: int
    value_bytes: int
    ours: list[Sample] = field(default_factory=list)
    redis: list[Sample] = field(default_factory=list)

    def ratio(self, figure: Callable[[Sample], float]) -> float:
        """ratio(figure) -> ours as a multiple of Redis's: the median over the pairs."""
        return median(figure(ours) / figure(redis) for ours, redis in zip(self.ours, self.redis, strict=True))

    @property
    def cpu_ratio(self) -> float:
        return self.ratio(lambda sample: sample.cpu_us)

    @property
    def all_cpu_ratio(self) -> float:
        return self.ratio(lambda sample: sample.all_cpu_us)

    @property
    def p50_ratio(self) -> float:
        return self.ratio(lambda sample: sample.p50_ms)

    @property
    def p99_ratio(self) -> float:
        return self.ratio(lambda sample: sample.p99_ms)

    @property
    def cpu_ratio_max(self) -> float:
        """The ratio that the project wants to keep to."""
        if self.test.startswith(COSTLY_TESTS):
            return RATIO_COSTLY_MAX
        return RATIO_LONE_MAX if self.pipeline == 1 else RATIO_PIPELINED_MAX

    @property
    def aims(self) -> str:
        """What the project wants to keep to, in words."""
        p50 = f", p50 ≤ {RATIO_P50_LONE_MAX}" if self.clients == 1 else ""
        return f"CPU ≤ {self.cpu_ratio_max}{p50}, p99 ≤ {RATIO_P99_MAX}"

    def over(self) -> list[str]:
        """over() -> what exceeds its ratio, in words."""
        found = []
        if self.cpu_ratio > self.cpu_ratio_max:
            found.append(f"CPU {self.cpu_ratio:.2f} > {self.cpu_ratio_max}")
        if self.clients == 1 and self.p50_ratio > RATIO_P50_LONE_MAX:
            found.append(f"p50 {self.p50_ratio:.2f} > {RATIO_P50_LONE_MAX}")
        if self.p99_ratio > RATIO_P99_MAX:
            found.append(f"p99 {self.p99_ratio:.2f} > {RATIO_P99_MAX}")
        return found


@dataclass(slots=True)
class Figure:
    """One thing measured in both servers: the values of each run, in `unit`. Less is better, if `less_is_better`.

    `ratio_max`: the ratio that the project wants to keep to, None for none. `ours_max`: the same for our value.
    """

    what: str
    unit: str
    ours: list[float] = field(default_factory=list)
    redis: list[float] = field(default_factory=list)
    less_is_better: bool = True
    ratio_max: float | None = None
    ours_max: float | None = None

    @property
    def ratio(self) -> float:
        """Ours as a multiple of Redis's where less is better, and the other way round: higher is worse."""
        ours, redis = median(self.ours), median(self.redis)
        if not self.less_is_better:
            ours, redis = redis, ours
        return ours / redis if redis else 1.0

    @property
    def aims(self) -> str:
        """What the project wants to keep to, in words; "" for nothing."""
        ratio = [f"ratio ≤ {self.ratio_max}"] if self.ratio_max is not None else []
        return ", ".join([*ratio, *([f"≤ {self.ours_max:g} {self.unit}"] if self.ours_max is not None else [])])

    def over(self) -> list[str]:
        """over() -> what exceeds its bound, in words."""
        found = []
        if self.ratio_max is not None and self.ratio > self.ratio_max:
            found.append(f"{self.ratio:.2f} > {self.ratio_max}")
        if self.ours_max is not None and median(self.ours) > self.ours_max:
            found.append(f"{median(self.ours):.1f} {self.unit} > {self.ours_max:g} {self.unit}")
        return found


@dataclass(slots=True)
class Section:
    """A part of the report. `notes` say how it was measured, `environment` on what, and how often."""

    name: str
    title: str
    notes: str
    rows: list[Row] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)


def median_sample(samples: Sequence[Sample]) -> Sample:
    """median_sample(samples) -> each figure's median."""
    return Sample(*(median(getattr(sample, part.name) for sample in samples) for part in fields(Sample)))


def mean_ratio(rows: Sequence[Row]) -> float:
    """mean_ratio(rows) -> the geometric mean of their CPU ratios."""
    return exp(fmean(log(row.cpu_ratio) for row in rows))


def section_as_json(section: Section) -> dict[str, Any]:
    """section_as_json(section) -> all of its samples, and the medians' ratios for whoever reads the file."""
    found = asdict(section)
    for described, row in zip(found["rows"], section.rows, strict=True):
        described["ratios"] = {"cpu": row.cpu_ratio, "p50": row.p50_ratio, "p99": row.p99_ratio}
    for described, figure in zip(found["figures"], section.figures, strict=True):
        described["ratio"] = figure.ratio
    return found


def section_from_json(found: dict[str, Any]) -> Section:
    """section_from_json(section_as_json(section)) -> an equal section."""
    rows = []
    for described in found["rows"]:
        ours, redis = ([Sample(**sample) for sample in described[who]] for who in ("ours", "redis"))
        test, pipeline = described["test"], described["pipeline"]
        rows.append(Row(test, pipeline, described["clients"], described["value_bytes"], ours, redis))
    figures = [Figure(**{name: value for name, value in each.items() if name != "ratio"}) for each in found["figures"]]
    return Section(found["name"], found["title"], found["notes"], rows, figures, found["environment"])
