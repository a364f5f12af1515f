"""Sidecars (``*.ktstr.json``): built from what a cell measured and how it was judged, named, written and read.

What a sidecar is made of, and which of its keys may be absent: ``record.sidecar``.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import asdict, replace

from ktstr.checks import quote
from ktstr.checks.judge import Judgement
from ktstr.checks.stats import Step, only_step
from ktstr.checks.verdict import Detail, Verdict
from ktstr.checks.verifier.programs import prog_stats, verifier_stats
from ktstr.errors import InputError
from ktstr.files import SIDECAR_CAP, parse_json, unreadable
from ktstr.record.cell import CellRecord
from ktstr.record.codec import DecodeError, decode, encode, ready
from ktstr.record.dump import Inspected
from ktstr.record.guest import GuestRecord, Stimulus, WorkerReport, WorkerSummary
from ktstr.record.host import NOTHING_KNOWN, Host
from ktstr.record.machine import KvmRun
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import (
    Accel,
    KvmCost,
    KvmStats,
    Monitor,
    Perturbation,
    Reason,
    Sidecar,
    StimulusEvent,
    VcpuThread,
)
from ktstr.record.statistics import NOTHING_RAN, ScenarioStats
from ktstr.record.vocabulary import WORK_TYPES
from ktstr.results.names import CellIdentity

MS = 1_000_000

# KVM's numbers that a sidecar has of each vCPU; its record has all of them.
KVM_STATS = (
    "exits", "halt_exits", "halt_successful_poll", "halt_attempted_poll", "halt_wait_ns", "preemption_reported",
    "signal_exits", "hypercalls",
)  # fmt: skip

# Not the guest's doing: who ran it, when, where and for how long.
NOT_THE_GUEST = frozenset(
    {
        "timestamp", "run_id", "host", "host_dilation", "cleanup_duration_ms", "run_source", "resolve_source",
        "project_commit", "measured_commit", "kernel_commit", "scheduler_commit", "input_digest", "inputs",
        "kvm_stats", "kvm_run",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """Of one measurement: when (ISO 8601), the run's id, the host, and what was concluded."""

    timestamp: str
    run_id: str
    host: Host | None
    outcome: Outcome
    stats: ScenarioStats
    reasons: tuple[Detail, ...]


def build(identity: CellIdentity, record: CellRecord, judgement: Judgement) -> Sidecar:
    """The sidecar of a measured cell. ``timestamp`` and ``run_id`` are those of its measurement.

    Raises ValueError for the outcome ``error``: what says nothing about kernel or scheduler has no sidecar.
    """
    if judgement.outcome is Outcome.ERROR or judgement.stats is None:
        raise ValueError("a cell that ended in an error has no sidecar")
    guest, kvm = record.guest, record.end.kvm
    host = None if record.host == NOTHING_KNOWN else record.host
    run = Run(record.measured_at, record.run_id, host, judgement.outcome, judgement.stats, judgement.details)
    measured = replace(
        _unmeasured(identity, run),
        expected_failure=judgement.expected_failure,
        kernel_version=identity.kernel_version or guest.kernel_release,
        vcpus=identity.vcpus,
        cpu_budget=identity.cpu_budget if kvm is None else kvm.cpu_budget,
        kvm_stats=None if kvm is None else _kvm_stats(kvm),
        kvm_run=None if kvm is None else _kvm_cost(kvm),
        resolve_source=identity.resolve_source,
        monitor=_with_programs(judgement.monitor, record.inspected),
        metrics=judgement.payloads,
        periodic_fired=judgement.captures_had,
        periodic_target=judgement.captures_wanted,
        stimulus_events=_stimuli(guest, judgement.steps),
        cleanup_duration_ms=record.end.cleanup_ms,
        emulator=record.end.emulator,
        origin=record.end.origin,
        input_digest=record.input_digest,
        measured_commit=record.measured_commit,
        verifier_stats=verifier_stats(record.inspected),
        workers=tuple(_worker(report, judgement.work_types) for report in sorted(guest.workers, key=lambda r: r.index)),
        vcpu_times=guest.vcpus,
        sched_events=tuple(replace(event, text=quote.clean(event.text)) for event in guest.sched_events),
        load_ns=_load_ns(guest),
        host_dilation=UNSET if record.end.host_dilation is None else record.end.host_dilation,
    )
    finite: Sidecar = _finite(measured)
    return finite


def build_skip(identity: CellIdentity, reason: str, *, timestamp: str, run: str, host: Host | None = None) -> Sidecar:
    """The minimal sidecar of a cell that was not booted because a precondition is unmet."""
    reasons = (Detail(Verdict.SKIP, "Skip", reason),)
    return _unmeasured(identity, Run(timestamp, run, host, Outcome.SKIP, NOTHING_RAN, reasons))


def _unmeasured(identity: CellIdentity, run: Run) -> Sidecar:
    """A sidecar in which all that only a guest can give is empty."""
    return Sidecar(
        test_name=identity.test,
        topology=identity.topology,
        scheduler=identity.scheduler,
        scheduler_commit=None,
        resolve_source=None,
        project_commit=identity.project_commit,
        payload=identity.payload,
        metrics=(),
        passed=run.outcome is Outcome.PASS,
        skipped=run.outcome is Outcome.SKIP,
        inconclusive=run.outcome is Outcome.INCONCLUSIVE,
        expected_failure=False,
        stats=run.stats,
        monitor=None,
        periodic_fired=0,
        periodic_target=0,
        vcpus=0,
        cpu_budget=0,
        throughput_denomination="cpu_sec",
        stimulus_events=(),
        work_type=identity.work_type,
        verifier_stats=(),
        kvm_stats=None,
        sysctls=identity.sysctls,
        kargs=identity.kargs,
        kernel_version=identity.kernel_version,
        kernel_commit=identity.kernel_commit,
        timestamp=run.timestamp,
        run_id=run.run_id,
        host=run.host,
        cleanup_duration_ms=None,
        run_source=identity.run_source,
        perf_delta_assertions=identity.perf_delta,
        kernel_label=identity.kernel_label,
        kernel_hz=identity.kernel_hz,
        kernel_preempt=identity.kernel_preempt,
        preset=identity.preset,
        accel=cast(Accel, identity.accel),
        emulator=None,
        origin=None,
        seed=identity.seed,
        perturbations=decode(dict[str, Perturbation], dict(identity.perturbations), "perturbations") or None,
        input_digest=None,
        measured_commit=None,
        reasons=tuple(map(_reason, run.reasons)),
        workers=(),
        vcpu_times=(),
        sched_events=(),
        load_ns=None,
        kvm_run=None,
        release=identity.release or UNSET,
        inputs=dict(identity.inputs) or UNSET,
    )


def _with_programs(monitor: Monitor | None, inspected: Inspected | None) -> Monitor | None:
    """The monitor's summary with the profile of the scheduler's callbacks, where the kernel counted them."""
    rows = prog_stats(inspected)
    return monitor if monitor is None or not rows else replace(monitor, prog_stats_deltas=rows)


def _load_ns(guest: GuestRecord) -> int | None:
    """What loading cost: from the scheduler's first start to its first attach."""
    first: dict[str, int] = {}
    for event in guest.sched_events:
        first.setdefault(event.kind, event.at_ns)
    if "started" not in first or "attached" not in first:
        return None
    return max(0, first["attached"] - first["started"])


def _reason(detail: Detail) -> Reason:
    return Reason(
        verdict=detail.verdict.word,
        kind=detail.kind,
        message=detail.message,
        cgroup=detail.cgroup,
        worker=detail.worker,
        value=detail.value,
        limit=detail.limit,
    )


def _finite(value: Any, *, metrics: bool = False) -> Any:
    """The same values with None in place of NaN and infinities; in a map of metrics, without the metric."""
    if isinstance(value, Struct):
        old = asdict(value)
        new = {name: _finite(item, metrics=name in _METRIC_MAPS) for name, item in old.items()}
        return replace(value, **{name: item for name, item in new.items() if item is not old[name]})
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not (metrics and _unbounded(item))}
        return {key: _finite(item) for key, item in kept.items()}
    if isinstance(value, tuple):
        return tuple(map(_finite, value))
    return None if _unbounded(value) else value


def _unbounded(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


_METRIC_MAPS = frozenset({"ext_metrics", "metrics"})


def _stimuli(guest: GuestRecord, steps: Mapping[int, str]) -> tuple[StimulusEvent, ...]:
    """The steps the agent took. The only step of a scenario begins at Release and ends at StopWorkers; of several,
    ``steps`` has what the ops at their places are called."""
    step = only_step(guest.stimuli) if not steps else None
    return tuple(_stimulus(s, _label(s, step, steps, first=i == 0)) for i, s in enumerate(guest.stimuli))


def _label(stimulus: Stimulus, step: Step | None, steps: Mapping[int, str], *, first: bool) -> str:
    if step is not None and stimulus is step.begin:
        return "StepStart[0]"
    if step is not None and stimulus is step.end:
        return "StepEnd[0]"
    if stimulus.index is not None and stimulus.index in steps:
        return steps[stimulus.index]
    return "ScenarioStart" if first else stimulus.op


def _stimulus(stimulus: Stimulus, label: str) -> StimulusEvent:
    return StimulusEvent(
        elapsed_ms=stimulus.at_ns // MS,
        label=label,
        op_kind=stimulus.op,
        detail=quote.clean(stimulus.detail) or None,
        total_iterations=stimulus.total_iterations,
    )


def _kvm_stats(run: KvmRun) -> KvmStats:
    """Those of ``KVM_STATS`` that this host's KVM keeps."""
    kept = ({name: stats[name] for name in KVM_STATS if name in stats} for stats in run.vcpu_stats)
    return KvmStats(per_vcpu=tuple(kept))


def _kvm_cost(run: KvmRun) -> KvmCost:
    """What the run took of its host; the times of vCPU threads under the names of the host's schedstat."""
    times = zip(run.host_run_ns, run.host_wait_ns, strict=False)
    return KvmCost(
        vcpu_threads=tuple(VcpuThread(run_ns=ran, run_delay_ns=waited) for ran, waited in times),
        halt_poll_ns=run.halt_poll_ns,
        overcommit=run.overcommit,
        cloned=run.cloned,
        boot_ms=run.boot_ms,
        performance_mode=run.performance,
        warnings=tuple(quote.clean(text) for text in run.warnings),
    )


def _worker(report: WorkerReport, work_types: Mapping[int, str]) -> WorkerSummary:
    """A worker's report without its raw samples and single migrations, which the record keeps; its counts by name."""
    kept = {name: getattr(report, name) for name in WorkerSummary.__struct_fields__}
    return WorkerSummary(**{**kept, "counts": _counts(report, work_types.get(report.work_index))})


def _counts(report: WorkerReport, work_type: str | None) -> dict[str, int] | None:
    counts = WORK_TYPES[work_type].counts if work_type in WORK_TYPES else ()
    if report.counted is None or not counts:
        return None
    return {count.name: value for count, value in zip(counts, report.counted, strict=False)}


# An array of numbers, spread over lines by the encoder. A string never holds a raw newline, so none can match.
_NUMBERS = re.compile(r"\[\n\s+(-?[0-9][0-9.eE+,\s-]*?)\s*\n\s*\]")


def dump(sidecar: Sidecar) -> bytes:
    """The bytes of the file: indented, arrays of numbers on one line, no NaN."""
    text = json.dumps(encode(sidecar), indent=1, ensure_ascii=False, allow_nan=False)
    return _NUMBERS.sub(lambda m: "[" + " ".join(m.group(1).split()) + "]", text).encode("utf-8", "replace") + b"\n"


def read_sidecar(path: Path) -> Sidecar:
    """A sidecar from disk, checked in full. Raises InputError with the path and the first wrong field."""
    try:
        with path.open("rb") as file:
            data = file.read(SIDECAR_CAP + 1)  # one too many is found by the parser
    except OSError as err:
        raise unreadable(err, path) from err
    return parse_sidecar(data, path)


def parse_sidecar(data: bytes, where: Path | str) -> Sidecar:
    """The sidecar that ``data`` is. Raises InputError with ``where`` and the first wrong field.

    What can be shown to be right by its bytes is decoded at once; all else goes the slow way, which finds words.
    """
    if len(data) <= SIDECAR_CAP and (quick := _parse_quickly(data)) is not None:
        return quick
    found = parse_json(data, where, SIDECAR_CAP)
    if not isinstance(found, dict):
        raise InputError(f"{where}: found a {type(found).__name__}, expected an object")
    try:
        return decode(Sidecar, found, "sidecar")
    except DecodeError as err:
        raise InputError(f"{where}: {err}", fix="sidecars of other versions are disposable: measure again") from err


@functools.cache
def _decoder() -> msgspec.json.Decoder[Sidecar]:
    return msgspec.json.Decoder(ready(Sidecar))


# What may differ between two spellings of the same document: white space, and the characters of numbers.
_SPELLING = b" \n\r\t0123456789.+-eE"
_ANY_DIGIT = bytes.maketrans(b"012345678", b"9" * 9)
_LONG_INTEGER = b"9" * 20  # only with as many digits may one have more than 64 bits


def _parse_quickly(data: bytes) -> Sidecar | None:
    """The sidecar, if it is written as ``dump`` does and has no long integer; None says nothing about it.

    msgspec refuses NaN, infinities, other encodings and what is no sidecar, and so nesting too. It would keep the last
    of two equal keys: then, or when a key with a default was left out, what it read has other keys than the text.
    """
    try:
        found = _decoder().decode(data)
    except (ValueError, RecursionError):
        return None
    same = msgspec.json.encode(found).translate(None, _SPELLING) == data.translate(None, _SPELLING)
    return found if same and _LONG_INTEGER not in data.translate(_ANY_DIGIT) else None


def guest_identity(sidecar: Sidecar) -> bytes:
    """What the guest did, as canonical bytes: equal for equal runs on any host, at any time, at any commit."""
    kept = {key: value for key, value in encode(sidecar).items() if key not in NOT_THE_GUEST}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def guest_digest(sidecar: Sidecar) -> str:
    """SHA-256 of ``guest_identity``, in hex."""
    return hashlib.sha256(guest_identity(sidecar)).hexdigest()
