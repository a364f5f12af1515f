"""The fields of a sidecar that may be null or absent, why they are, and what helps.

Classes are the reference's: ``expected`` needs nobody's attention, ``actionable`` is worth a look. A test holds the
table against the types of ``record.sidecar``, so a new optional field cannot be forgotten here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Classification: TypeAlias = Literal["expected", "actionable"]

_NOT_KVM = "the cell ran under QEMU (accel=icount or accel=tcg), where there is no KVM to ask"
_NOTHING_RAN = "the cell was skipped: nothing was booted"
_UNREADABLE_CONFIG = "the kernel's configuration is not known, or does not say"


@dataclass(frozen=True)
class NullField:
    """Why a field may be null. ``fix``: what fills it next time, None when nothing does."""

    classification: Classification
    causes: tuple[str, ...]
    fix: str | None = None


def _expected(*causes: str) -> NullField:
    return NullField("expected", causes)


def _actionable(*causes: str, fix: str | None = None) -> NullField:
    return NullField("actionable", causes, fix)


# In the order of the sidecar.
NULL_FIELDS: Mapping[str, NullField] = {
    "scheduler_commit": _expected("no kind of scheduler says which commit it was built from; the field is reserved"),
    "resolve_source": _expected(f"{_NOTHING_RAN}, so no scheduler was looked for"),
    "project_commit": _actionable(
        "the project is not in a git repository",
        "the repository has no commit yet, or its HEAD cannot be read",
        fix="keep the project in a git repository with at least one commit, or set KTSTR_PROJECT_COMMIT",
    ),
    "payload": _expected("the test runs no payload"),
    "monitor": _actionable(
        "the runqueues were not watched while the cell ran",
        "the guest ended before a valid sample was taken",
    ),
    "kvm_stats": _actionable(_NOT_KVM, _NOTHING_RAN, "this host's KVM has no statistics files (Linux before 5.14)"),
    "kernel_version": _actionable(
        f"{_NOTHING_RAN}, and the kernel's cache entry names no version",
        "the guest ended before it said its kernel's release, and the cache entry names no version",
    ),
    "kernel_commit": _actionable(
        "the kernel is a package, or was built from a tarball: no commit made it",
        "the kernel's source tree is not a git repository",
        "the tree's HEAD cannot be read",
        fix="test a kernel from a git clone: kernel=PATH, or kernel=git+URL#REF",
    ),
    "host": _actionable(
        "nothing of the host could be read",
        "the file is a test's fixture, or of before hosts were recorded",
        fix="measure again: doit test rerun=1; what was not recorded cannot be had later",
    ),
    "cleanup_duration_ms": _actionable(
        "the machine's end was not timed",
        "the machine was killed before its end could be timed",
        _NOTHING_RAN,
    ),
    "run_source": _actionable(
        "the file has the old key `source`, which is not read",
        fix="measure again, or rename the key `source` in the file to `run_source`",
    ),
    "kernel_label": _actionable("the file was not written by doit test, which always names the kernel"),
    "kernel_hz": _actionable(_UNREADABLE_CONFIG, _NOTHING_RAN),
    "kernel_preempt": _actionable(_UNREADABLE_CONFIG, _NOTHING_RAN),
    "emulator": _expected(_NOTHING_RAN),
    "origin": _expected(_NOTHING_RAN, "it was measured before machines were parked"),
    "perturbations": _expected(_NOTHING_RAN),
    "input_digest": _expected(_NOTHING_RAN),
    "measured_commit": _actionable(
        _NOTHING_RAN,
        "the project had no commit when the cell was measured",
        fix="keep the project in a git repository with at least one commit, or set KTSTR_PROJECT_COMMIT",
    ),
    "load_ns": _actionable(
        "no scheduler was loaded: the kernel's own (eevdf) was tested",
        "the scheduler was not seen to attach; the reasons of the verdict say more",
    ),
    "kvm_run": _expected(_NOT_KVM, _NOTHING_RAN),
    "host_dilation": _expected(
        _NOTHING_RAN, "the cell ran in virtual time (accel=icount)", "the threads of the vCPUs could not be read"
    ),
    "release": _expected("it was judged without release=1"),
    "inputs": _expected(_NOTHING_RAN, "an older ktstr wrote it"),
}
