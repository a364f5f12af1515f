"""KVM's own counters, averaged over the virtual machines of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ktstr.stats.analysis.extras import Extras


@dataclass(frozen=True)
class KvmSummary:
    """Counters per vCPU: the whole-numbered mean over machines of each machine's own over its vCPUs.

    None when no machine's KVM counts it. ``poll_ok_pct``: successful halt polls by those attempted, over all;
    ``preemptions``: the total over machines and vCPUs.
    """

    vms: int
    exits: int
    halt_exits: int | None
    halt_wait_ns: int | None
    preempted: int | None
    signal_exits: int | None
    hypercalls: int | None
    poll_ok_pct: float | None
    preemptions: int


def summarize_kvm(extras: Sequence[Extras]) -> KvmSummary | None:
    """None when KVM ran none, or nothing made a vCPU exit."""
    vms = [one.kvm for one in extras if one.kvm is not None]

    def mean(name: str) -> int | None:
        per_vm = [_total(vcpus, name) // len(vcpus) for vcpus in vms if any(name in vcpu for vcpu in vcpus)]
        return sum(per_vm) // len(per_vm) if per_vm else None

    exits = mean("exits")
    if not exits:
        return None
    return KvmSummary(
        vms=len(vms),
        exits=exits,
        halt_exits=mean("halt_exits"),
        halt_wait_ns=mean("halt_wait_ns"),
        preempted=mean("preemption_reported"),
        signal_exits=mean("signal_exits"),
        hypercalls=mean("hypercalls"),
        poll_ok_pct=_poll_ok(vms),
        preemptions=sum(_total(vcpus, "preemption_reported") for vcpus in vms),
    )


def _total(vcpus: Sequence[dict[str, int]], name: str) -> int:
    return sum(vcpu.get(name, 0) for vcpu in vcpus)


def _poll_ok(vms: Sequence[Sequence[dict[str, int]]]) -> float | None:
    if not any("halt_attempted_poll" in vcpu for vcpus in vms for vcpu in vcpus):
        return None
    attempted = sum(_total(vcpus, "halt_attempted_poll") for vcpus in vms)
    return 100 * sum(_total(vcpus, "halt_successful_poll") for vcpus in vms) / attempted if attempted else 0.0


def to_text(found: KvmSummary | None) -> str:
    """Two or three rows, and a warning when the host preempted vCPUs; empty for None."""
    if found is None:
        return ""
    wait = None if found.halt_wait_ns is None else f"{found.halt_wait_ns / 1e6:.1f}"
    ok = None if found.poll_ok_pct is None else f"{found.poll_ok_pct:.1f}"
    lines = [
        "",
        f"=== KVM STATS (avg across {found.vms} VMs) ===",
        "",
        f"  exits/vcpu  {found.exits:>7}   halt/vcpu     {_or_dash(found.halt_exits):>5}"
        f"   halt_wait_ms {_or_dash(wait):>7}",
        f"  poll_ok%    {_or_dash(ok):>6}%   preempted/vcpu {_or_dash(found.preempted):>4}"
        f"   signal/vcpu  {_or_dash(found.signal_exits):>7}",
    ]
    if found.hypercalls:
        lines.append(f"  hypercalls/vcpu {found.hypercalls:>4}")
    if found.preempted:
        lines += ["", f"  WARNING: {found.preemptions} host preemptions detected -- timing results may be unreliable"]
    return "\n".join(lines) + "\n"


def _or_dash(value: int | str | None) -> str:
    return "-" if value is None else str(value)
