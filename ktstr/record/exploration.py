"""What ``doit explore`` found: how a test fares over many seeds, and what of one failing seed matters.

The JSON document of ``json=1``; ``schemas/explore.schema.json`` is made from these types (``record.dump_schema``).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from ktstr.record.numbers import Count, NotNegative, Number

Better: TypeAlias = Literal["higher", "lower"]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Minimal: TypeAlias = Literal["minimal", "all", "none_needed", "cut_short"]


class Spread(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One metric over the seeds that measured it: percentiles by nearest rank, in the metric's unit."""

    metric: str
    unit: str
    better: Annotated[Better | None, Meta(description="null where neither direction is")]
    seeds: Annotated[Count, Meta(description="how many measured it")]
    min: Number
    p1: Number
    p10: Number
    median: Number
    p90: Number
    p99: Number
    max: Number
    spread_pct: Annotated[
        NotNegative | None, Meta(description="100 * (p90 - p10) / |median|; null where the median is 0")
    ]


class FailureRate(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many seeds fail, of those that passed or failed, and the exact interval (Clopper and Pearson)."""

    failed: Count
    judged: Count
    low: Share
    high: Share
    confidence: Share


class Ranking(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the worst seeds are worst in, after whether they fail. ``check``: the one whose limit the metric came
    nearest to, ``limit`` in the metric's unit; null where the metric was asked for, or nothing has a limit."""

    metric: str
    unit: str
    check: str | None
    limit: Number | None
    used_pct: Annotated[NotNegative | None, Meta(description="how much of the limit the worst seed used")]


class WorstSeed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the worst seeds. ``value``: of the ranking's metric; null where it was not measured."""

    seed: Count
    verdict: str
    value: Number | None
    reasons: tuple[str, ...]
    reproduce: Annotated[str, Meta(description="one command that runs this cell and no other")]


class Minimised(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What of a failing seed's changes matters. ``minimal``: without any one of ``kept`` it does not fail so; ``all``:
    the same, and none could go; ``none_needed``: it fails without any; ``cut_short``: fewer may do."""

    seed: Count
    result: Minimal
    changes: Annotated[Count, Meta(description="how many the seed makes")]
    kept: Annotated[tuple[Count, ...], Meta(description="those that are enough, by number")]
    words: Annotated[tuple[str, ...], Meta(description="what these do")]
    reasons: Annotated[tuple[str, ...], Meta(description="why the cell fails with these alone")]
    runs: Annotated[Count, Meta(description="cells that were run for it, or stood from before")]
    reproduce: Annotated[str, Meta(description="one command that runs the cell with these changes alone")]


class Explored(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One test on one topology and kernel, under one scheduler. ``counts`` by verdict."""

    name: Annotated[str, Meta(description="TEST/PRESET/KERNEL/SCHEDULER/ACCEL")]
    seeds: Count
    counts: dict[str, Count]
    distinct: Annotated[Count, Meta(description="how many different results the guests gave")]
    measured: Annotated[Count, Meta(description="of how many: the seeds of which anything was measured")]
    failure_rate: Annotated[
        FailureRate | None,
        Meta(description="without seed 0; null where nothing was judged, or a failure ended the run"),
    ]
    spreads: tuple[Spread, ...]
    ranking: Ranking | None
    worst: tuple[WorstSeed, ...]
    minimised: Annotated[Minimised | None, Meta(description="of the lowest seed that fails; null without one")]
    notes: tuple[str, ...]


class Exploration(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole command. ``stopped``: at a failure, as until=fail asks."""

    interrupted: bool
    stopped: bool
    scenarios: tuple[Explored, ...]
