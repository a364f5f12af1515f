"""Performance mode: which host CPU runs each vCPU, where guest memory comes from, and what else of it this host can do.

Placement is a pure function of two topologies. What is missing but optional (real-time priority, large pages, memory of
the right node) is a warning and is left out; without CPUs of its own a guest is not started at all.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

from ktstr.config.topology import Topology
from ktstr.cpulist import render
from ktstr.errors import HostError
from ktstr.host.cpu_topology import HostTopology, Llc, allowed_cpus
from ktstr.vm.memory import nodes_mib
from ktstr.vm.vmm import Flag

FIFO_PRIORITY = 1  # of vCPU threads; the VMM's supervisor has one more, so that it can end them
HUGE_MIB = 2
_MASK_NODES = 64  # a node mask has 64 bits (ktstr_vmm.h)
_CAP_SYS_NICE = 1 << 23  # include/uapi/linux/capability.h
_HEX = re.compile(r"[0-9a-f]{1,256}")
_SMALLER = "a smaller preset, or no_perf_mode=1"
Core = tuple[int, int, int]  # package, die and core id: what SMT siblings have in common


class Reserved(Protocol):
    """CPUs and LLCs nobody else uses, such as ``ktstr.host.reserve.exclude`` gives."""

    @property
    def cpus(self) -> tuple[int, ...]: ...
    @property
    def llcs(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class PinPlan:
    """``pin``: the host CPU of each vCPU; ``node_masks``: for each guest node a bit for every host node its vCPUs
    are on, 0 where unknown; ``service_cpu``: for whoever serves the guest, no vCPU runs there."""

    pin: tuple[int, ...]
    node_masks: tuple[int, ...]
    service_cpu: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostState:
    """What of this host optional features depend on. ``free_mib``: memory of each node that could be had;
    ``huge_pages``: of 2 MiB, free and unpromised, ``node_huge_pages`` those of each node."""

    rt_priority: int = 0
    huge_pages: int = 0
    node_huge_pages: Mapping[int, int] = field(default_factory=dict)
    free_mib: Mapping[int, int] = field(default_factory=dict)
    memory_nodes: int | None = None  # a mask of those this process may use, None where unknown
    running: int = 0
    clocksource: str = ""


@dataclass(frozen=True)
class Performance:
    """What to ask of the VMM: fields of ``struct vmm_config``, and why some of it is not asked for.

    ``service_cpu`` is where the thread that starts the machine has to be by then: its other threads inherit it.
    """

    pin: tuple[int, ...]
    node_masks: tuple[int, ...]
    fifo_priority: int
    flags: int
    warnings: tuple[str, ...]
    service_cpu: int

    def as_json(self) -> dict[str, object]:
        """What was asked for, for the sidecar. What KVM then refused is among the VMM's own warnings."""
        return {
            "pin": list(self.pin),
            "memory_nodes": [_nodes_in(mask) for mask in self.node_masks],
            "service_cpu": self.service_cpu,
            "fifo_priority": self.fifo_priority or None,
            **{str(flag.name).lower(): bool(self.flags & flag) for flag in Flag},
        }


def prepare_performance(
    guest: Topology, memory_mib: int, host: HostTopology, reserved: Reserved, allowed: Collection[int] | None = None
) -> Performance:
    """Plan for this host as it is now. ``allowed``: the CPUs this process may use; None for those of the calling
    thread, which then is not to be narrowed to ``reserved`` before. Raises HostError naming what the host lacks.
    """
    usable = allowed_cpus() if allowed is None else allowed
    return features(guest, memory_mib, plan(guest, host, usable, reserved, read_cores(reserved.cpus)), read_state())


def plan(
    guest: Topology,
    host: HostTopology,
    allowed: Collection[int],
    reserved: Reserved,
    cores: Mapping[int, Core] | None = None,
) -> PinPlan:
    """Each guest LLC on a host LLC of its own, each guest core on one host core, each guest node on one host node.

    LLCs and a CPU for each vCPU have to be there, and one CPU more; cores and nodes that do not match are warnings.
    ``cores`` says which host CPUs are SMT siblings; a CPU it does not name is a core of its own.
    Raises HostError naming what lacks.
    """
    mine = set(reserved.cpus) & set(allowed)
    free = {llc.index: [cpu for cpu in llc.cpus if cpu in mine] for llc in host.llcs if llc.index in reserved.llcs}
    fitting = [llc for llc in host.llcs if len(free.get(llc.index, ())) >= guest.most_cpus_per_llc]
    if len(fitting) < guest.llcs:
        raise HostError(
            f"performance mode of {guest.label}: needs {guest.llcs} host LLCs of {guest.most_cpus_per_llc} CPUs, and"
            f" {len(fitting)} of those reserved ({len(free)}) have so many",
            fix=_SMALLER,
        )
    places, warnings = _llcs(guest, fitting)
    pin: list[int] = []
    for llc, count in zip(places, guest.llc_cores, strict=True):
        pin += _cores(guest, count, free[llc.index], cores or {}, warnings)
    masks = tuple(_mask(llcs, warnings) for llcs in _by_node(guest, places))
    service = _service_cpu(guest, pin, reserved.cpus, allowed, cores or {})
    return PinPlan(tuple(pin), masks, service, tuple(dict.fromkeys(warnings)))


def _by_node(guest: Topology, places: Sequence[Llc]) -> Iterator[Sequence[Llc]]:
    return ([places[llc] for llc in llcs] for llcs in guest.node_llcs)


def _llcs(guest: Topology, fitting: Sequence[Llc]) -> tuple[list[Llc], list[str]]:
    """The host LLC of each guest LLC: a node on a host node of its own, else on one with room, else on several."""
    nodes = len(guest.cpu_nodes)
    each = max(map(len, guest.node_llcs))
    left: dict[int | None, list[Llc]] = {}
    for llc in fitting:
        left.setdefault(llc.node, []).append(llc)
    room = [node for node, llcs in left.items() if len(llcs) >= each]
    rounds = [node for turn in range(nodes) for node in room if len(left[node]) >= each * (turn + 1)]
    if len(rounds) < nodes:
        spread = f"a guest node's {each} LLCs are on several host nodes: so many on one are not reserved"
        return list(fitting[: guest.llcs]), [spread]
    chosen = rounds[:nodes]
    taking = {node: iter(llcs) for node, llcs in left.items()}
    shared = len(set(chosen)) < nodes
    shares = f"{nodes} guest nodes share {len(set(chosen))} host node(s): memory far to the guest is near here"
    counts = [len(guest.node_llcs[node]) for node in guest.cpu_nodes]
    found = [llc for node, count in zip(chosen, counts, strict=True) for llc in islice(taking[node], count)]
    return found, [shares] if shared else []


def _cores(
    guest: Topology, count: int, cpus: Sequence[int], cores: Mapping[int, Core], warnings: list[str]
) -> list[int]:
    """The CPUs of one host LLC for so many guest cores, in the guest's order, so that the threads of a guest core share
    a host core."""
    siblings: dict[Core, list[int]] = {}
    for cpu in cpus:
        siblings.setdefault(cores.get(cpu, (-1, -1, cpu)), []).append(cpu)
    whole = [threads for threads in siblings.values() if len(threads) >= guest.threads]
    if len(whole) >= count:
        return [cpu for threads in whole[:count] for cpu in threads[: guest.threads]]
    what = "share host cores" if guest.threads == 1 else "are not all SMT siblings here"
    who = "guest cores" if guest.threads == 1 else "the threads of guest cores"
    warnings.append(f"{who} {what}: {len(whole)} host cores of an LLC have {guest.threads} CPUs for {count}")
    return [cpu for threads in siblings.values() for cpu in threads][: count * guest.threads]


def _mask(llcs: Sequence[Llc], warnings: list[str]) -> int:
    nodes = {llc.node for llc in llcs}  # none of a guest node of memory alone
    if any(node is None or node >= _MASK_NODES for node in nodes):
        if nodes != {None}:  # else a host without NUMA
            warnings.append("guest memory is not bound: the NUMA node of a host LLC is unknown, or above 63")
        return 0
    return sum(1 << node for node in nodes if node is not None)


def _service_cpu(
    guest: Topology, pin: Sequence[int], reserved: Collection[int], allowed: Collection[int], cores: Mapping[int, Core]
) -> int:
    """A CPU without a vCPU: a reserved one before others, and one on a core of its own before a sibling."""
    busy = {cores.get(cpu) for cpu in pin} - {None}
    spare = [cpu for cpu in sorted(allowed) if cpu not in pin]
    if not spare:
        raise HostError(
            f"performance mode of {guest.label}: its {guest.cpus} vCPUs take all {len(set(allowed))} CPUs this process"
            " may use, and one has to be left for the host",
            fix=_SMALLER,
        )
    return min(spare, key=lambda cpu: (cpu not in reserved, cores.get(cpu) in busy, cpu))


def features(guest: Topology, memory_mib: int, pins: PinPlan, state: HostState) -> Performance:
    """What can be had of the rest: each part that cannot is a sentence that says what to do."""
    warnings = list(pins.warnings)
    masks = tuple(_allowed(node, mask, state, warnings) for node, mask in enumerate(pins.node_masks))
    flags = Flag.REALTIME_HINT | Flag.KEEP_PAUSE | Flag.KEEP_HALT | Flag.POPULATE
    fifo = FIFO_PRIORITY if _has_fifo(state, warnings) else 0
    if _has_huge_pages(guest, memory_mib, masks, state, warnings):
        flags |= Flag.HUGE_PAGES
    else:
        masks = _with_room(masks, nodes_mib(guest, memory_mib), state, warnings)
        if not _has_memory(memory_mib, state, warnings):
            flags &= ~Flag.POPULATE
    warnings += _disturbances(guest, state)
    return Performance(pins.pin, masks, fifo, int(flags), tuple(warnings), pins.service_cpu)


def _allowed(guest_node: int, mask: int, state: HostState, warnings: list[str]) -> int:
    if state.memory_nodes is None or mask & state.memory_nodes == mask:
        return mask
    warnings.append(
        f"memory of guest node {guest_node} is not bound: this process may not use memory of host node(s)"
        f" {render(_nodes_in(mask & ~state.memory_nodes))}; widen cpuset.mems of its cgroup"
    )
    return 0


def _has_fifo(state: HostState, warnings: list[str]) -> bool:
    if state.rt_priority > FIFO_PRIORITY:
        return True
    warnings.append(
        f"vCPUs run without SCHED_FIFO: this user may use real-time priorities up to {state.rt_priority}, and"
        f" {FIFO_PRIORITY + 1} is needed; run as root, or give rtprio in /etc/security/limits.conf"
    )
    return False


def _has_huge_pages(
    guest: Topology, memory_mib: int, masks: Sequence[int], state: HostState, warnings: list[str]
) -> bool:
    """Whether the pool has them all, and on the nodes they have to come from: lacking one kills whoever touches it."""
    each = [-(-mib // HUGE_MIB) for mib in nodes_mib(guest, memory_mib)]
    need = sum(each)
    short = _short(masks, each, state.node_huge_pages)
    if state.huge_pages >= need and not short:
        return True
    where = f", too few of them on host node(s) {render(short)}" if state.huge_pages >= need else ""
    warnings.append(
        f"guest memory is not in pages of 2 MiB: {need} are needed and {state.huge_pages} are free{where};"
        f" as root: echo {need} > /proc/sys/vm/nr_hugepages"
    )
    return False


def _has_memory(memory_mib: int, state: HostState, warnings: list[str]) -> bool:
    """Whether all of it can be taken before the guest starts; without NUMA nobody says."""
    free = sum(state.free_mib.values())
    if not state.free_mib or free >= memory_mib:
        return True
    warnings.append(
        f"guest memory is taken as the guest touches it: it is {memory_mib} MiB, and the host has {free} MiB free;"
        " smaller memory_mib, or free some"
    )
    return False


def _with_room(masks: tuple[int, ...], each: Sequence[int], state: HostState, warnings: list[str]) -> tuple[int, ...]:
    """No binding to nodes that cannot hold it all: the kernel would kill for memory rather than take another node's."""
    short = _short(masks, each, state.free_mib)
    if not short:
        return masks
    warnings.append(
        f"guest memory is not bound to host node(s) {render(short)}: each guest node needs {max(each)} MiB of a node,"
        " and they have less; smaller memory_mib, or free some"
    )
    return tuple(0 if set(_nodes_in(mask)) & set(short) else mask for mask in masks)


def _short(masks: Sequence[int], each: Sequence[int], have: Mapping[int, int]) -> list[int]:
    """The host nodes that have less than all guest nodes bound to them want, ``each`` as much as here."""
    short: set[int] = set()
    for mask in set(masks) - {0}:
        wanted = sum(size for other, size in zip(masks, each, strict=True) if other & mask)
        if sum(have.get(node, 0) for node in _nodes_in(mask)) < wanted:
            short.update(_nodes_in(mask))
    return sorted(short)


def _nodes_in(mask: int) -> list[int]:
    return [node for node in range(_MASK_NODES) if mask >> node & 1]


def _disturbances(guest: Topology, state: HostState) -> list[str]:
    """The host as it is may spoil what was asked for."""
    found = []
    if state.running > guest.cpus / 2:
        found.append(f"the host is busy: {state.running} other threads want to run; end them, or measure later")
    if state.clocksource not in ("", "tsc"):
        found.append(
            f"the host's clock source is {state.clocksource}, not tsc: guests' clocks may jump; usual in nested VMs"
        )
    return found


def read_cores(cpus: Collection[int], root: Path = Path("/")) -> dict[int, Core]:
    """The host core of each CPU; those without topology files are left out."""
    found = {}
    for cpu in cpus:
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        package, die, core = (_number(folder / name) for name in ("physical_package_id", "die_id", "core_id"))
        if core is not None:
            found[cpu] = (package or 0, die or 0, core)
    return found


def read_state(root: Path = Path("/")) -> HostState:
    """This host and process now. What cannot be read counts as not there."""
    status = _fields(root / "proc/self/status")
    pool = root / "sys/kernel/mm/hugepages/hugepages-2048kB"
    nodes = {int(path.name[4:]): path for path in (root / "sys/devices/system/node").glob("node[0-9]*")}
    pages = "hugepages/hugepages-2048kB/free_hugepages"
    mask = status.get("Mems_allowed", "").replace(",", "")
    return HostState(
        rt_priority=_rt_priority(status.get("CapEff", "")),
        huge_pages=max(0, (_number(pool / "free_hugepages") or 0) - (_number(pool / "resv_hugepages") or 0)),
        node_huge_pages={node: _number(path / pages) or 0 for node, path in nodes.items()},
        free_mib={node: _free_mib(path / "meminfo") for node, path in nodes.items()},
        memory_nodes=int(mask, 16) if _HEX.fullmatch(mask) else None,
        running=_others_running(root / "proc/stat"),
        clocksource=_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource").strip(),
    )


def _rt_priority(capabilities: str) -> int:
    """The highest this process may use (sched(7)): any with CAP_SYS_NICE, else its RLIMIT_RTPRIO."""
    if _HEX.fullmatch(capabilities) and int(capabilities, 16) & _CAP_SYS_NICE:
        return os.sched_get_priority_max(os.SCHED_FIFO)
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    return soft if soft >= 0 else os.sched_get_priority_max(os.SCHED_FIFO)


def _free_mib(meminfo: Path) -> int:
    """What a node has free, or could free by dropping clean file pages (drivers/base/node.c, in kB)."""
    found = re.findall(r"(?:MemFree|Active\(file\)|Inactive\(file\)): +(\d+) kB", _text(meminfo))
    return sum(int(number) for number in found) // 1024


def _others_running(stat: Path) -> int:
    """Threads on the whole host that run or want to, without the one that asks."""
    found = re.search(r"^procs_running (\d+)$", _text(stat), re.MULTILINE)
    return max(0, int(found.group(1)) - 1) if found else 0


def _fields(path: Path) -> dict[str, str]:
    rows = (line.partition(":") for line in _text(path).splitlines())
    return {name: value.strip() for name, _, value in rows}


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() and text.isascii() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
