"""The analysis of a run as one report: what stands out, by dimension, by phase, BPF programs, KVM."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from msgspec import structs

from ktstr.stats.analysis import dimensions, kvm, outliers, phases, programs
from ktstr.stats.analysis.dimensions import DIMENSIONS, Group
from ktstr.stats.analysis.extras import Extras, read_extras
from ktstr.stats.analysis.kvm import KvmSummary
from ktstr.stats.analysis.outliers import Outlier
from ktstr.stats.analysis.phases import PhaseSummary
from ktstr.stats.analysis.programs import Verified
from ktstr.stats.pool import Pool

HEADER = "\n=== GAUNTLET ANALYSIS ===\n\n"


@dataclass(frozen=True)
class Analysis:
    """``sidecars``: how many it rests on. ``groups``: by dimension."""

    sidecars: int
    outliers: tuple[Outlier, ...]
    groups: Mapping[str, tuple[Group, ...]]
    phases: tuple[PhaseSummary, ...]
    extras: tuple[Extras, ...]
    verified: tuple[Verified, ...]
    kvm: KvmSummary | None


def analyse(pool: Pool) -> Analysis:
    """The whole of a pool. Raises HostError when a file of it has changed since."""
    wide, extras = pool.wide(), read_extras(pool.runs["path"])
    return Analysis(
        sidecars=len(pool.runs),
        outliers=outliers.find_outliers(pool.runs, wide),
        groups={name: dimensions.summarize(pool.runs, wide, column) for name, (_, column) in DIMENSIONS.items()},
        phases=phases.summarize_phases(pool.runs, pool.phases),
        extras=extras,
        verified=programs.verified_programs(extras),
        kvm=kvm.summarize_kvm(extras),
    )


def to_text(found: Analysis) -> str:
    """The parts that there are, one below the other; empty without a sidecar."""
    if not found.sidecars:
        return ""
    text = HEADER + outliers.to_text(found.outliers)
    for name, (heading, _) in DIMENSIONS.items():
        if name != "work_type" or len(found.groups[name]) > 1:
            text += dimensions.to_text(heading, found.groups[name])
    text += phases.to_text(found.phases)
    return text + programs.verifier_text(found.verified) + programs.callback_text(found.extras) + kvm.to_text(found.kvm)


def to_json(run: str, unreadable: int, found: Analysis) -> str:
    """One object (``schemas/stats.schema.json``). ``unreadable``: files that are no sidecars."""
    callbacks = [
        {"scenario": one.scenario, "topology": one.topology, **structs.asdict(program)}
        for one in found.extras
        for program in one.callbacks
    ]
    body = {
        "run": run,
        "sidecars": found.sidecars,
        "unreadable": unreadable,
        "outliers": [asdict(one) for one in found.outliers],
        "groups": {name: [asdict(group) for group in groups] for name, groups in found.groups.items()},
        "phases": [asdict(one) for one in found.phases],
        "verifier": [{**asdict(one), "limit_pct": one.limit_pct} for one in found.verified],
        "callbacks": callbacks,
        "kvm": None if found.kvm is None else asdict(found.kvm),
    }
    return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
