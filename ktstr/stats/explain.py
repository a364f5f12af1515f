"""What the sidecars of a run do not say, and why: per sidecar as text, per field as JSON (version 1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET

from ktstr.columns import printable
from ktstr.errors import InputError
from ktstr.record.sidecar import Sidecar
from ktstr.results.sidecar import read_sidecar
from ktstr.stats.null_fields import NULL_FIELDS
from ktstr.stats.scan import scan_run

SCHEMA_VERSION = "1"
_NO_HOST = "sidecar.host: missing field"  # how the codec says it


@dataclass(frozen=True)
class Explained:
    """What one valid sidecar says of itself. ``null``: names of ``NULL_FIELDS`` that it has no value for."""

    test: str
    topology: str
    scheduler: str
    run_id: str
    arch: str | None
    cpu_budget: int
    vcpus: int
    accel: str
    cgroups: tuple[tuple[str, tuple[int, ...]], ...]
    null: frozenset[str]


@dataclass(frozen=True)
class Corrupt:
    """A file that was read and is no sidecar. ``enriched``: what more can be said, None when nothing can."""

    path: str
    error: str
    enriched: str | None


@dataclass(frozen=True)
class Unread:
    """A file that could not be read, or a folder that could not be listed."""

    path: str
    error: str


@dataclass(frozen=True)
class Walk:
    """All files of a run that are named as sidecars."""

    valid: tuple[Explained, ...]
    corrupt: tuple[Corrupt, ...]
    unread: tuple[Unread, ...]

    @property
    def walked(self) -> int:
        return len(self.valid) + len(self.corrupt) + len(self.unread)


def walk_run(folder: Path) -> Walk:
    """Read every sidecar of a run directory. Raises InputError when there is no file of that name."""
    valid: list[Explained] = []
    corrupt: list[Corrupt] = []
    found = scan_run(folder)
    unread = [Unread(bad.path, bad.message) for bad in found.unreadable]
    for path in (Path(file.path) for file in found.files):
        try:
            valid.append(_explained(read_sidecar(path)))
        except InputError as err:
            error = err.message.removeprefix(f"{path}: ")
            if isinstance(err.__cause__, OSError):
                unread.append(Unread(str(path), error))
            else:
                corrupt.append(Corrupt(str(path), error, _enriched(path, error)))
    walk = Walk(tuple(sorted(valid, key=lambda one: (one.test, one.run_id))), tuple(corrupt), tuple(unread))
    if not walk.walked:
        raise InputError(f"found no sidecar data (searched {folder})", fix="doit test makes sidecars")
    return walk


def _explained(sidecar: Sidecar) -> Explained:
    arch = UNSET if sidecar.host is None else sidecar.host.arch
    return Explained(
        test=sidecar.test_name,
        topology=sidecar.topology,
        scheduler=sidecar.scheduler,
        run_id=sidecar.run_id,
        arch=None if arch is UNSET else arch,
        cpu_budget=sidecar.cpu_budget,
        vcpus=sidecar.vcpus,
        accel=sidecar.accel,
        cgroups=tuple((group.cgroup_name, group.cpus_used) for group in sidecar.stats.cgroups if group.cpus_used),
        null=frozenset(name for name in NULL_FIELDS if getattr(sidecar, name) in (None, UNSET)),
    )


def _enriched(path: Path, error: str) -> str | None:
    """Advice for a sidecar without the key ``host``, which all writers but old ones write."""
    if _NO_HOST not in error:
        return None
    return (
        f"{path} has no `host` ({error}): it is of a version that did not record hosts, or was not written by"
        " ktstr. Sidecars are disposable: measure again with doit test rerun=1"
    )


def to_json(walk: Walk) -> str:
    """Counts per field, with causes and fix (``schemas/stats_explain_sidecar.schema.json``)."""
    body = {
        "_schema_version": SCHEMA_VERSION,
        "_walk": {
            "walked": walk.walked,
            "valid": len(walk.valid),
            "errors": [{"path": c.path, "error": c.error, "enriched_message": c.enriched} for c in walk.corrupt],
            "io_errors": [{"path": u.path, "error": u.error} for u in walk.unread],
        },
        "fields": {name: _counted(walk.valid, name) for name in sorted(NULL_FIELDS)},
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _counted(valid: Sequence[Explained], name: str) -> dict[str, object]:
    none, about = sum(name in one.null for one in valid), NULL_FIELDS[name]
    return {
        "none_count": none,
        "some_count": len(valid) - none,
        "classification": about.classification,
        "causes": list(about.causes),
        "fix": about.fix,
    }


def to_text(walk: Walk) -> str:
    """A block for each valid sidecar, then the files that are none and those that could not be read."""
    lines = [f"walked {walk.walked} sidecar file(s), parsed {len(walk.valid)} valid"]
    for one in walk.valid:
        lines += ["", *_block(one)]
    if walk.corrupt:
        lines += ["", f"corrupt sidecars ({len(walk.corrupt)}):"]
    for bad in walk.corrupt:
        lines += [f"  {bad.path}", f"    error: {bad.error}"]
        lines += [] if bad.enriched is None else [f"    enriched: {bad.enriched}"]
    if walk.unread:
        lines += ["", f"io errors ({len(walk.unread)}):"]
    for unread in walk.unread:
        lines += [f"  {unread.path}", f"    error: {unread.error}"]
    return "\n".join(map(printable, lines)) + "\n"


def _block(one: Explained) -> list[str]:
    """What one sidecar has, and what it has not, and why."""
    lines = [
        f"test: {one.test}",
        f"  topology: {one.topology}",
        f"  scheduler: {one.scheduler}",
        f"  run_id: {one.run_id}",
        f"  arch: {one.arch or '-'}",
        f"  cpu_budget: {_budget(one)}",
    ]
    for name, cpus in one.cgroups:
        lines.append(f"  cgroup {name or '(unnamed)'}: ran on cpus [{','.join(map(str, cpus))}]")
    some = [name for name in NULL_FIELDS if name not in one.null]
    lines.append(f"  populated optional fields ({len(some)}): {', '.join(some) or '<none>'}")
    lines.append(f"  none fields ({len(one.null)}):" if one.null else "  none fields: <all populated>")
    for name, about in NULL_FIELDS.items():
        if name in one.null:
            lines.append(f"    {name} [{about.classification}]")
            lines += [f"      - {cause}" for cause in about.causes]
            lines += [] if about.fix is None else [f"      fix: {about.fix}"]
    return lines


def _budget(one: Explained) -> str:
    """Host CPUs by vCPUs, and what that means for numbers."""
    if one.cpu_budget == 0:
        return "- (skip; VM not booted)"
    shown = f"{one.cpu_budget} / {one.vcpus} vcpus"
    if one.vcpus == 0:
        return f"{shown}  [malformed: a guest that ran has vCPUs]"
    if one.cpu_budget < one.vcpus and one.accel == "icount":
        return f"{shown}  [virtual time: the vCPUs take turns, and none waits]"
    if one.cpu_budget < one.vcpus:
        return f"{shown}  [OVERCOMMIT: vCPUs shared host CPUs; compare worst_iterations_per_cpu_sec, not throughput]"
    return shown
