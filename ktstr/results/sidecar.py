"""Sidecars (``*.ktstr.json``): one JSON object per cell, the fact that verdicts and reports rest on.

Every top-level key but ``host_dilation`` is always written: null where nothing was measured, ``[]`` or
``{}`` where there was nothing to list. ``host_dilation`` is left out when it was not measured. Keys and
types: ``schemas/sidecar.schema.json``.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from ktstr.checks import quote
from ktstr.checks.judge import Judgement
from ktstr.checks.stats import ScenarioStats, step_window
from ktstr.checks.verdict import Detail, Verdict
from ktstr.errors import InputError
from ktstr.files import SIDECAR_CAP, read_json
from ktstr.record.cell import CellRecord, GuestRecord, KvmRun, Stimulus, WorkerReport
from ktstr.results.schema import first_problem
from ktstr.results.siphash import siphash

MS = 1_000_000
Json = dict[str, Any]

# KVM's numbers that a sidecar has of each vCPU; its record has all of them.
KVM_STATS = (
    "exits", "halt_exits", "halt_successful_poll", "halt_attempted_poll", "halt_wait_ns", "preemption_reported",
    "signal_exits", "hypercalls",
)  # fmt: skip

# Not the guest's doing: who ran it, when, where and for how long.
NOT_THE_GUEST = frozenset(
    {
        "timestamp", "run_id", "host", "host_dilation", "cleanup_duration_ms", "run_source", "resolve_source",
        "project_commit", "measured_commit", "kernel_commit", "scheduler_commit", "input_digest", "kvm_stats",
        "kvm_run",
    }
)  # fmt: skip


@dataclass(frozen=True)
class CellIdentity:
    """Which cell it is. ``topology`` is a label; ``sysctls`` are ``sysctl.key=value``, ``kargs`` verbatim.

    ``cpu_budget``: host CPUs the guest could use at once, unless its run says it; 1 under icount.
    ``resolve_source``: how the scheduler's binary was found (path, auto_built, not_found).
    ``kernel_label``: what the run calls the kernel; ``kernel_hz``: its ticks a second; ``kernel_preempt``: its
    preemption model, as ``config_facts`` says it.
    """

    test: str
    preset: str
    topology: str
    vcpus: int
    scheduler: str
    accel: str
    seed: int
    work_type: str
    cpu_budget: int
    sysctls: tuple[str, ...] = ()
    kargs: tuple[str, ...] = ()
    kernel_version: str | None = None
    kernel_commit: str | None = None
    kernel_label: str | None = None
    kernel_hz: int | None = None
    kernel_preempt: str | None = None
    project_commit: str | None = None
    resolve_source: str | None = None
    payload: str | None = None
    run_source: str = "local"
    perturbations: Mapping[str, object] = field(default_factory=dict)


def run_id(when: datetime, counter: int) -> str:
    """``{YYYYMMDDTHHMMSSZ}-{counter}``; ``when`` is in UTC, ``counter`` unique in the process."""
    return f"{when:%Y%m%dT%H%M%SZ}-{counter}"


def run_source(environ: Mapping[str, str]) -> str:
    """``ci`` when KTSTR_CI is set and not empty, else ``local``."""
    return "ci" if environ.get("KTSTR_CI") else "local"


def variant_hash(identity: CellIdentity) -> str:
    """What tells two variants of a test apart: 16 hex digits of SipHash-1-3 over canonical JSON."""
    canonical = {
        "kargs": sorted(identity.kargs),
        "payload": identity.payload,
        "scheduler": identity.scheduler,
        "sysctls": sorted(identity.sysctls),
        "topology": identity.topology,
        "work_type": identity.work_type,
    }
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{siphash(text.encode()):016x}"


def file_name(identity: CellIdentity) -> str:
    """``{test}-{variant hash}.ktstr.json``."""
    return f"{identity.test}-{variant_hash(identity)}.ktstr.json"


def is_sidecar(path: Path) -> bool:
    """Whether a file's name is a sidecar's: it ends in ``.json`` and contains ``.ktstr.``."""
    return path.suffix == ".json" and ".ktstr." in path.name


def build(identity: CellIdentity, record: CellRecord, judgement: Judgement) -> Json:
    """The sidecar of a measured cell. ``timestamp`` and ``run_id`` are those of its measurement.

    Raises ValueError for the outcome ``error``: what says nothing about kernel or scheduler has no sidecar.
    """
    if judgement.outcome == "error" or judgement.stats is None:
        raise ValueError("a cell that ended in an error has no sidecar")
    guest, kvm = record.guest, record.end.kvm
    return _whole(
        identity,
        outcome=judgement.outcome,
        stats=judgement.stats,
        reasons=judgement.details,
        timestamp=record.measured_at,
        run=record.run_id,
        host=record.host or None,
        measured={
            "kernel_version": identity.kernel_version or guest.kernel_release,
            "vcpus": identity.vcpus,
            "cpu_budget": identity.cpu_budget if kvm is None else kvm.cpu_budget,
            "kvm_stats": None if kvm is None else _kvm_stats(kvm),
            "kvm_run": None if kvm is None else _kvm_run(kvm),
            "resolve_source": identity.resolve_source,
            "stimulus_events": _stimuli(guest),
            "cleanup_duration_ms": record.end.cleanup_ms,
            "emulator": record.end.emulator,
            "input_digest": record.input_digest,
            "measured_commit": record.measured_commit,
            "workers": [_worker(w) for w in sorted(guest.workers, key=lambda w: w.index)],
            "vcpu_times": [asdict(v) for v in guest.vcpus],
            "sched_events": [{**asdict(e), "text": quote.clean(e.text)} for e in guest.sched_events],
            **({} if record.end.host_dilation is None else {"host_dilation": record.end.host_dilation}),
        },
    )


def build_skip(identity: CellIdentity, reason: str, *, timestamp: str, run: str, host: Json | None = None) -> Json:
    """The minimal sidecar of a cell that was not booted because a precondition is unmet."""
    return _whole(
        identity,
        outcome="skip",
        stats=ScenarioStats(),
        reasons=(Detail(Verdict.SKIP, "Skip", reason),),
        timestamp=timestamp,
        run=run,
        host=host,
        measured={"vcpus": 0, "cpu_budget": 0},
    )


def _whole(
    identity: CellIdentity,
    *,
    outcome: str,
    stats: ScenarioStats,
    reasons: tuple[Detail, ...],
    timestamp: str,
    run: str,
    host: Json | None,
    measured: Json,
) -> Json:
    """Every key in the schema's order; ``measured`` overrides what is empty without a run."""
    whole: Json = {
        "test_name": identity.test,
        "topology": identity.topology,
        "scheduler": identity.scheduler,
        "scheduler_commit": None,
        "resolve_source": None,
        "project_commit": identity.project_commit,
        "payload": identity.payload,
        "metrics": [],
        "passed": outcome == "pass",
        "skipped": outcome == "skip",
        "inconclusive": outcome == "inconclusive",
        "expected_failure": False,
        "stats": asdict(stats),
        "monitor": None,
        "periodic_fired": 0,
        "periodic_target": 0,
        "vcpus": 0,
        "cpu_budget": 0,
        "throughput_denomination": "cpu_sec",
        "stimulus_events": [],
        "work_type": identity.work_type,
        "verifier_stats": [],
        "kvm_stats": None,
        "sysctls": list(identity.sysctls),
        "kargs": list(identity.kargs),
        "kernel_version": identity.kernel_version,
        "kernel_commit": identity.kernel_commit,
        "timestamp": timestamp,
        "run_id": run,
        "host": host,
        "cleanup_duration_ms": None,
        "run_source": identity.run_source,
        "perf_delta_assertions": [],
        "kernel_label": identity.kernel_label,
        "kernel_hz": identity.kernel_hz,
        "kernel_preempt": identity.kernel_preempt,
        "preset": identity.preset,
        "accel": identity.accel,
        "emulator": None,
        "seed": identity.seed,
        "perturbations": dict(identity.perturbations) or None,
        "input_digest": None,
        "measured_commit": None,
        "reasons": [_reason(detail) for detail in reasons],
        "workers": [],
        "vcpu_times": [],
        "sched_events": [],
        "kvm_run": None,
    }
    finite: Json = _finite({**whole, **measured})
    return finite


def _reason(detail: Detail) -> Json:
    return {**asdict(detail), "verdict": detail.verdict.word}


def _finite(value: Any, metrics: bool = False) -> Any:
    """JSON values only: tuples as lists; NaN and infinities as null, or as no key in a map of metrics."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not (metrics and _unbounded(v))}
        return {k: _finite(v, k in _METRIC_MAPS) for k, v in kept.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if _unbounded(value) else value


def _unbounded(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


_METRIC_MAPS = frozenset({"ext_metrics", "metrics"})


def _stimuli(guest: GuestRecord) -> list[Json]:
    """The steps the agent took. The only step of a scenario begins at Release and ends at StopWorkers."""
    window = step_window(guest.stimuli)
    return [_stimulus(s, window, first=i == 0) for i, s in enumerate(guest.stimuli)]


def _stimulus(stimulus: Stimulus, window: tuple[Stimulus, Stimulus] | None, *, first: bool) -> Json:
    label = "ScenarioStart" if first else stimulus.op
    if window is not None and stimulus in window:
        label = "StepStart[0]" if stimulus is window[0] else "StepEnd[0]"
    return {
        "elapsed_ms": stimulus.at_ns // MS,
        "label": label,
        "op_kind": stimulus.op,
        "detail": quote.clean(stimulus.detail) or None,
        "total_iterations": stimulus.total_iterations,
    }


def _kvm_stats(run: KvmRun) -> Json:
    """Those of ``KVM_STATS`` that this host's KVM keeps."""
    return {"per_vcpu": [{name: found[name] for name in KVM_STATS if name in found} for found in run.vcpu_stats]}


def _kvm_run(run: KvmRun) -> Json:
    """What the run took of its host; the times of vCPU threads under the names of the host's schedstat."""
    times = zip(run.host_run_ns, run.host_wait_ns, strict=False)
    return {
        "vcpu_threads": [{"run_ns": ran, "run_delay_ns": waited} for ran, waited in times],
        "halt_poll_ns": run.halt_poll_ns,
        "overcommit": run.overcommit,
        "cloned": run.cloned,
        "boot_ms": run.boot_ms,
        "performance_mode": run.performance,
        "warnings": [quote.clean(text) for text in run.warnings],
    }


_RAW = frozenset({"wake_latencies_ns", "migrations"})


def _worker(report: WorkerReport) -> Json:
    """A worker's report without its raw samples and single migrations, which the record keeps."""
    return {f.name: getattr(report, f.name) for f in fields(report) if f.name not in _RAW}


# An array of numbers, spread over lines by the encoder. A string never holds a raw newline, so none can match.
_NUMBERS = re.compile(r"\[\n\s+(-?[0-9][0-9.eE+,\s-]*?)\s*\n\s*\]")


def dump(sidecar: Json) -> bytes:
    """The bytes of the file: indented, arrays of numbers on one line, no NaN."""
    text = json.dumps(sidecar, indent=1, ensure_ascii=False, allow_nan=False)
    return _NUMBERS.sub(lambda m: "[" + " ".join(m.group(1).split()) + "]", text).encode("utf-8", "replace") + b"\n"


def read_sidecar(path: Path) -> Json:
    """A sidecar from disk, checked in full. Raises InputError with the path and the first wrong field."""
    data = read_json(path, SIDECAR_CAP)
    problem = first_problem("sidecar", data)
    if problem is not None:
        raise InputError(f"{path}: {problem}", fix="sidecars of other versions are disposable: measure again")
    return data


def guest_identity(sidecar: Json) -> bytes:
    """What the guest did, as canonical bytes: equal for equal runs on any host, at any time, at any commit."""
    kept = {key: value for key, value in sidecar.items() if key not in NOT_THE_GUEST}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def guest_digest(sidecar: Json) -> str:
    """SHA-256 of ``guest_identity``, in hex."""
    return hashlib.sha256(guest_identity(sidecar)).hexdigest()
