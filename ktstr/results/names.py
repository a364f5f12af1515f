"""What a cell, its run and its sidecar are called. Light to import: a run with nothing to do needs the names alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.results.siphash import siphash

if TYPE_CHECKING:
    from ktstr.record.sidecar import PerfDeltaAssertion, ResolveSource, RunSource


SHARDS = ".shards"  # the folder, below that of run directories, of what each shard leaves for ``doit merge``
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(frozen=True)
class CellIdentity:
    """Which cell it is. ``topology`` is a label; ``sysctls`` are ``sysctl.key=value``, ``kargs`` verbatim.

    ``cpu_budget``: host CPUs the guest could use at once, unless its run says it; 1 under icount.
    ``resolve_source``: how the scheduler's binary was found.
    ``kernel_label``: what the run calls the kernel; ``kernel_hz``: its ticks a second; ``kernel_preempt``: its
    preemption model, as ``config_facts`` says it. ``perf_delta``: what the test declares for a comparison of commits.
    ``release``: judged by the limits of a release. ``inputs``: what its result depends on (``record.inputs``).
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
    resolve_source: ResolveSource | None = None
    payload: str | None = None
    run_source: RunSource = "local"
    perturbations: Mapping[str, object] = field(default_factory=dict)
    perf_delta: tuple[PerfDeltaAssertion, ...] = ()
    release: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)


def leaf_name(kernel: str | None, commit: str | None) -> str:
    """``{kernel}-{commit}``, ``unknown`` for what is not known; safe as one name in a path."""
    return "-".join(_UNSAFE.sub("-", part or "unknown").lstrip(".") or "unknown" for part in (kernel, commit))


def run_id(when: datetime, counter: int) -> str:
    """``{YYYYMMDDTHHMMSSZ}-{counter}``; ``when`` is in UTC, ``counter`` unique in the process."""
    return f"{when:%Y%m%dT%H%M%SZ}-{counter}"


def run_source(environ: Mapping[str, str]) -> RunSource:
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


SIDECAR, DUMP, DUMP_TEXT = ".ktstr.json", ".failure-dump.json", ".failure-dump.txt"  # what names end in


def dump_name(identity: CellIdentity) -> str:
    """``{test}-{variant hash}.failure-dump.json``."""
    return f"{identity.test}-{variant_hash(identity)}{DUMP}"


def is_sidecar(path: Path) -> bool:
    """Whether a file's name is a sidecar's."""
    return is_sidecar_name(path.name)


def is_sidecar_name(name: str) -> bool:
    """Whether it ends in ``.json`` and contains ``.ktstr.``."""
    return name.endswith(".json") and ".ktstr." in name
