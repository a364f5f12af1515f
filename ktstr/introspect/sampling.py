"""One look at all runqueues of a guest: the raw facts that the monitor and the invariants judge.

Structures are those of kernel/sched/sched.h, include/linux/sched.h and include/linux/sched/ext.h; what a kernel lacks
is left out of the samples (6.12 has no event counters, and one without sched_ext has none of its). Whatever the guest's
memory says, a look reads a bounded number of bytes and ends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from ktstr.cpulist import render
from ktstr.introspect.addresses import Addresses, NotUp
from ktstr.introspect.btf import BadBtf
from ktstr.introspect.members import Members, NoMember
from ktstr.record.samples import (
    MAX_TASKS,
    MAX_WAITING,
    CpuSample,
    MonitorSample,
    Schedstat,
    TaskClass,
    TaskName,
    TaskSample,
)
from ktstr.vm.guest_memory import BadAddress
from ktstr.vm.moments import Given

_MAX_LINKS = 4 * MAX_WAITING  # of one list
_MAX_DEPTH = 16  # cgroups inside each other that are named
_MOST_MOVING = 256  # tasks that are looked for on their way from one queue to another
_NAME = 64  # bytes of a cgroup's name that are read
_RT_QUEUES = 100  # MAX_RT_PRIO
_EVENT = "SCX_EV_"
_CLASSES: dict[str, TaskClass] = {
    "fair_sched_class": "fair", "ext_sched_class": "ext", "rt_sched_class": "rt", "dl_sched_class": "deadline",
    "stop_sched_class": "stop", "idle_sched_class": "idle",
}  # fmt: skip
_SCHEDSTAT = {
    "run_delay": "rq_sched_info.run_delay", "pcount": "rq_sched_info.pcount", "sched_count": "sched_count",
    "yld_count": "yld_count", "sched_goidle": "sched_goidle", "ttwu_count": "ttwu_count", "ttwu_local": "ttwu_local",
}  # fmt: skip
Reading = dict[str, int]


class Unreadable(ValueError):
    """This kernel's runqueues cannot be read at all; the text says why."""


class _Fields:
    """Integers of one structure, by the names given to them, unpacked from its bytes at once."""

    def __init__(self, members: Members, structure: str, paths: dict[str, str], optional: dict[str, str]) -> None:
        places = []
        for name, path in {**paths, **optional}.items():
            try:
                member = members.member(structure, path)
            except NoMember:
                if name in optional:
                    continue
                raise
            places.append((name, member.offset, f"<{_CODES.get(member.size, 'Q')}"))
        self.structure, self.size = structure, members.size(structure)
        self._readers = [(name, offset, struct.Struct(code).unpack_from) for name, offset, code in places]
        self.names = frozenset(name for name, _, _ in places)

    def of(self, data: bytes) -> Reading:
        return {name: unpack(data, offset)[0] for name, offset, unpack in self._readers}


_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_TASK = {
    "class": "sched_class", "cpus_ptr": "cpus_ptr", "pid": "pid", "exec": "se.sum_exec_runtime",
    "vruntime": "se.vruntime", "queued": "sched_info.last_queued", "cgroups": "cgroups",
}  # fmt: skip
_TASK_MORE = {
    "delayed": "se.sched_delayed", "dsq": "scx.dsq", "dsq_vtime": "scx.dsq_vtime", "runnable_at": "scx.runnable_at",
    "cpu": "thread_info.cpu",
}  # fmt: skip
# Of a list_head the first pointer, ``next``, is read.
_RQ = {
    "fair_first": "cfs_tasks", "nr_running": "nr_running", "switches": "nr_switches", "clock": "clock", "curr": "curr",
    "idle": "idle",
}  # fmt: skip
_RQ_MORE = {
    "scx_nr": "scx.nr_running", "local": "scx.local_dsq.nr", "scx_flags": "scx.flags", "rt_nr": "rt.rt_nr_running",
    "ext_first": "scx.runnable_list",
    **_SCHEDSTAT,
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Where everything lies in one kernel; resolved once for all its guests."""

    members: Members
    rq: _Fields
    task: _Fields
    events: dict[str, int]
    events_at: int | None

    @classmethod
    def of(cls, members: Members) -> Layout:
        """Raises Unreadable."""
        try:
            rq = _Fields(members, "rq", _RQ, _RQ_MORE)
            task = _Fields(members, "task_struct", _TASK, _TASK_MORE)
            return cls(members, rq, task, *_events(members))
        except (NoMember, BadBtf) as err:
            raise Unreadable(str(err)) from None


def _events(members: Members) -> tuple[dict[str, int], int | None]:
    """The counters' offsets in struct scx_event_stats by name, and the offset of that in what is there per CPU."""
    try:
        names = [name for name in members.names("scx_event_stats") if name.startswith(_EVENT)]
        counters = {name.removeprefix(_EVENT): members.offset("scx_event_stats", name) for name in names}
    except NoMember:
        return {}, None
    if members.has("scx_sched_pcpu", "event_stats"):
        return counters, members.offset("scx_sched_pcpu", "event_stats")
    return counters, 0


class Sampler:
    """Looks at one guest. ``hz``: its ticks a second, None where that is not known."""

    def __init__(self, addresses: Addresses, layout: Layout, cpus: int, hz: int | None) -> None:
        self._at, self._layout, self._cpus, self._hz = addresses, layout, cpus, hz
        self._members = layout.members
        self._rqs: tuple[int, ...] = ()
        self._percpu: tuple[int, ...] = ()
        self._cgroups: dict[int, str] = {}
        self._names: dict[int, TaskName] = {}
        self._lists: dict[int, str] = {}
        self._here: dict[int, int] = {}  # tasks that run or wait in this sample: where their struct is, their pid
        self._classes = {
            address: kind for name, kind in _CLASSES.items() if (address := addresses.symbol(name)) is not None
        }
        self._mask_bytes = (cpus + 63) // 64 * 8

    @property
    def tasks(self) -> tuple[TaskName, ...]:
        """Whose samples were taken so far, at most ``MAX_TASKS``."""
        return tuple(self._names[pid] for pid in sorted(self._names))

    def sample(self, at_ns: int, vcpus: Sequence[Given] | None = None) -> MonitorSample:
        """What is there now. Raises NotUp before the kernel has runqueues, Unreadable for a kernel without."""
        if not self._rqs:
            self._settle()
        jiffies = self._jiffies()
        try:
            readings = [self._layout.rq.of(self._at.read(rq, self._layout.rq.size)) for rq in self._rqs]
            root = self._root()
            before, self._here = self._here, {}
            cpus = [
                self._cpu(cpu, reading, jiffies, vcpus[cpu] if vcpus else None) for cpu, reading in enumerate(readings)
            ]
            for cpu, task in self._moving(before, jiffies):
                cpus[cpu] = replace(cpus[cpu], waiting=(*cpus[cpu].waiting, task))
            return MonitorSample(
                at_ns=at_ns,
                cpus=tuple(cpus),
                events=self._events(root),
                schedstat=self._schedstat(readings),
                root=root,
                dsqs=self._dsqs(root),
            )
        except BadAddress as err:
            raise NotUp(str(err)) from None

    def _settle(self) -> None:
        runqueues, offsets = self._at.symbol("runqueues"), self._at.symbol("__per_cpu_offset")
        if runqueues is None or offsets is None:
            raise Unreadable("this kernel's symbols have no runqueues or no __per_cpu_offset")
        try:
            self._at.settle()
            table = self._at.read(offsets, 8 * self._cpus)
        except BadAddress as err:
            raise NotUp(str(err)) from None
        self._percpu = struct.unpack(f"<{self._cpus}Q", table)
        rqs = tuple(_wrapped(runqueues + offset) for offset in self._percpu)
        if len(set(rqs)) != self._cpus or not all(offset >> 63 for offset in rqs):
            raise NotUp("the kernel has not made its runqueues yet")
        self._rqs = rqs

    def _jiffies(self) -> int | None:
        address = self._at.symbol("jiffies_64") or self._at.symbol("jiffies")
        return None if address is None else self._at.u64(address)

    def _root(self) -> int | None:
        """The attached scheduler's struct scx_sched, since Linux 6.16."""
        address = self._at.symbol("scx_root")
        return (self._at.u64(address) or None) if address is not None else None

    def _events(self, root: int | None) -> dict[str, int] | None:
        layout = self._layout
        if root is None or layout.events_at is None:
            return None
        pointer = "pcpu" if self._members.has("scx_sched", "pcpu") else "event_stats_cpu"
        try:
            base = self._at.u64(root + self._members.offset("scx_sched", pointer)) + layout.events_at
        except NoMember:
            return None
        size = self._members.size("scx_event_stats")
        blocks = [self._at.read(_wrapped(base + offset), size) for offset in self._percpu]
        return {name: sum(_i64(block, at) for block in blocks) for name, at in layout.events.items()}

    def _dsqs(self, root: int | None) -> int | None:
        """How many dispatch queues are in the table of those that a scheduler made: its own, or the kernel's one."""
        try:
            if root is not None:
                table = root + self._members.offset("scx_sched", "dsq_hash")
            elif (table := self._at.symbol("dsq_hash") or 0) == 0:
                return None
            count = self._at.read(table + self._members.offset("rhashtable", "nelems"), 4)
        except NoMember:
            return None
        return max(0, int.from_bytes(count, "little", signed=True))

    def _schedstat(self, readings: list[Reading]) -> Schedstat | None:
        """None where the kernel does not count: it has no CONFIG_SCHEDSTATS, or kernel.sched_schedstats is 0."""
        key = self._at.symbol("sched_schedstats")
        counts = key is not None and self._at.read(key, 4) != bytes(4)  # struct static_key begins with its count
        if not counts or any(name not in readings[0] for name in _SCHEDSTAT):
            return None
        return Schedstat(**{name: sum(rq[name] for rq in readings) for name in _SCHEDSTAT})

    def _cpu(self, cpu: int, rq: Reading, jiffies: int | None, given: Given | None) -> CpuSample:
        running = None if rq["curr"] == rq["idle"] else self._running(rq["curr"], jiffies)
        found: dict[int, TaskSample] = {}
        cut = False
        for pointer, data in self._queued(self._rqs[cpu], rq):
            if pointer == rq["curr"] or pointer in found:
                continue
            if len(found) == MAX_WAITING:
                cut = True
                break
            task = self._task(pointer, data, jiffies, runs=False)
            if task is not None:
                found[pointer] = task
        self._here |= {pointer: task.pid for pointer, task in found.items()}
        return CpuSample(
            nr_running=rq["nr_running"],
            clock=rq["clock"],
            switches=rq["switches"],
            running=running,
            waiting=tuple(found.values()),
            cut=cut,
            scx_nr_running=rq.get("scx_nr"),
            local_dsq=rq.get("local"),
            scx_flags=rq.get("scx_flags"),
            given_ns=given.run_ns if given else None,
            denied_ns=given.wait_ns if given else None,
        )

    def _running(self, pointer: int, jiffies: int | None) -> TaskSample | None:
        task = self._task(pointer, self._at.read(pointer, self._layout.task.size), jiffies, runs=True)
        if task is not None:
            self._here[pointer] = task.pid
        return task

    def _moving(self, before: dict[int, int], jiffies: int | None) -> Iterator[tuple[int, TaskSample]]:
        """By CPU, tasks of the last sample that are runnable and on no queue, since a CPU moves them (``on_rq`` is set,
        TASK_ON_RQ_MIGRATING too): where vCPUs take turns, others wait for that CPU's lock all the while."""
        gone = [pointer for pointer in before if pointer not in self._here]
        on_rq = self._members.member("task_struct", "on_rq")
        for pointer in gone[:_MOST_MOVING]:
            try:
                if not any(self._at.read(pointer + on_rq.offset, on_rq.size)):
                    continue  # it sleeps
                data = self._at.read(pointer, self._layout.task.size)
                found = self._layout.task.of(data)
                cpu = found.get("cpu", self._cpus)
                if found["pid"] != before[pointer] or cpu >= self._cpus:
                    continue
                task = self._task(pointer, data, jiffies, runs=False)
            except BadAddress:  # it was freed
                continue
            if task is not None:
                self._here[pointer] = task.pid
                yield cpu, task

    def _queued(self, rq: int, reading: Reading) -> Iterator[tuple[int, bytes]]:
        """Where the tasks of one runqueue are, and their bytes; sched_ext's first."""
        members = self._members
        if "ext_first" in reading:
            head = rq + members.offset("rq", "scx.runnable_list")
            yield from self._listed(head, reading["ext_first"], "scx.runnable_node")
        yield from self._listed(rq + members.offset("rq", "cfs_tasks"), reading["fair_first"], "se.group_node")
        if reading.get("rt_nr"):
            yield from self._real_time(rq)

    def _real_time(self, rq: int) -> Iterator[tuple[int, bytes]]:
        """Where groups have real-time queues of their own, their tasks are left out."""
        active = rq + self._members.offset("rq", "rt.active")
        bitmap = int.from_bytes(self._at.read(active, 16), "little")
        queues = active + self._members.offset("rt_prio_array", "queue")
        if self._members.has("sched_rt_entity", "my_q"):
            return
        for priority in range(_RT_QUEUES):
            if bitmap >> priority & 1:
                head = queues + 16 * priority
                yield from self._listed(head, self._at.u64(head), "rt.run_list")

    def _listed(self, head: int, first: int, node: str) -> Iterator[tuple[int, bytes]]:
        """The tasks of a list_head. One that is not closed within ``_MAX_LINKS`` is left there."""
        offset, size = self._members.offset("task_struct", node), self._layout.task.size
        link = first
        for _ in range(_MAX_LINKS):
            if link in (head, 0):
                return
            data = self._at.read(link - offset, size)
            yield link - offset, data
            link = int.from_bytes(data[offset : offset + 8], "little")

    def _task(self, pointer: int, data: bytes, jiffies: int | None, *, runs: bool) -> TaskSample | None:
        """None for one that has left the queue in a delayed way: it waits for nothing."""
        task = self._layout.task.of(data)
        kind = self._classes.get(task["class"], "other")
        if not runs and kind == "fair" and task.get("delayed"):
            return None
        self._name(task, data)
        is_ext = kind == "ext"
        return TaskSample(
            pid=task["pid"],
            kind=kind,
            allowed=self._allowed(pointer, task["cpus_ptr"], data),
            exec_ns=task["exec"],
            vtime=task["dsq_vtime"] if is_ext else task["vruntime"],
            queued_ns=None if runs or not task["queued"] else task["queued"],
            runnable_ms=self._runnable_ms(task, jiffies) if is_ext and not runs else None,
            dsq=self._dsq(task["dsq"]) if is_ext and not runs else None,
        )

    def _runnable_ms(self, task: Reading, jiffies: int | None) -> int | None:
        if jiffies is None or self._hz is None:
            return None
        return max(0, jiffies - task["runnable_at"]) * 1000 // self._hz

    def _dsq(self, pointer: int) -> int | None:
        return self._at.u64(pointer + self._members.offset("scx_dispatch_q", "id")) if pointer else None

    def _allowed(self, task: int, cpus_ptr: int, data: bytes) -> str:
        own = cpus_ptr - task
        if 0 <= own <= len(data) - self._mask_bytes:
            mask = int.from_bytes(data[own : own + self._mask_bytes], "little")
        else:
            mask = int.from_bytes(self._at.read(cpus_ptr, self._mask_bytes), "little")
        if mask not in self._lists:
            self._lists[mask] = render([cpu for cpu in range(self._cpus) if mask >> cpu & 1])
        return self._lists[mask]

    def _name(self, task: Reading, data: bytes) -> None:
        pid = task["pid"]
        cgroup = self._cgroup(task["cgroups"])
        known = self._names.get(pid)
        if known is None and len(self._names) >= MAX_TASKS:
            return
        at = self._members.offset("task_struct", "comm")
        comm = data[at : at + 16].split(b"\0")[0].decode("utf-8", "replace")
        if known is None or (known.comm, known.cgroup) != (comm, cgroup):  # the last that it had
            self._names[pid] = TaskName(pid, comm, cgroup)

    def _cgroup(self, css_set: int) -> str:
        """A cgroup's path. Remembered: its pages are read once."""
        if css_set not in self._cgroups:
            try:
                group = self._at.u64(css_set + self._members.offset("css_set", "dfl_cgrp"))
                self._cgroups[css_set] = self._path(self._at.u64(group + self._members.offset("cgroup", "kn")))
            except (BadAddress, NoMember):
                return "/"
        return self._cgroups[css_set]

    def _path(self, node: int) -> str:
        members, parts = self._members, list[str]()
        parent = "__parent" if members.has("kernfs_node", "__parent") else "parent"
        for _ in range(_MAX_DEPTH):
            above = self._at.u64(node + members.offset("kernfs_node", parent))
            if not above:
                break
            name = self._at.u64(node + members.offset("kernfs_node", "name"))
            parts.append(self._at.read(name, _NAME).split(b"\0")[0].decode("utf-8", "replace"))
            node = above
        return "/" + "/".join(reversed(parts))


def _i64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little", signed=True)


def _wrapped(address: int) -> int:
    return address & (1 << 64) - 1
