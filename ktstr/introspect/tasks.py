"""Tasks: every thread there is, and what one ``struct task_struct`` says."""

from __future__ import annotations

from drgn import Object

from ktstr.introspect.program import MAX_CPUS, GuestProgram, Unreadable, clean, reading
from ktstr.introspect.walk import linked_list
from ktstr.record.kernel import Task, TaskRef, Tasks

MAX_TASKS = 65536
_COMM = 16  # TASK_COMM_LEN
_STATES = "RSDTtXZPI"  # task_state_index of include/linux/sched.h, and its order in fs/proc/array.c
_REPORTED = 0x7F  # TASK_REPORT
_IDLE = 0x402  # TASK_IDLE
_RTLOCK_WAIT = 0x1000
_MAX_CGROUP_DEPTH = 32
_MAX_NAME = 255
_MS_PER_S = 1000
_JIFFIES_WRAP = 1 << 64


class TaskReader:
    """Reads tasks of one moment: the clocks that waits are counted from are read once."""

    def __init__(self, program: GuestProgram, hz: int | None) -> None:
        """``hz``: CONFIG_HZ, None when it is not known: then no wait is told of tasks under sched_ext."""
        self._program, self._hz = program, hz
        with reading("jiffies"):
            self._jiffies = int(program.variable("jiffies").value_())
        self._clocks: dict[int, int] = {}
        self._cgroups: dict[int, str | None] = {}
        self._scx_class = program.address("ext_sched_class") if program.has("ext_sched_class") else None

    def task(self, address: int) -> Task:
        """The ``struct task_struct`` at an address. Raises Unreadable."""
        with reading(f"task at {address:#x}"):
            return self._task(self._program.at("struct task_struct", address), address)

    def _task(self, task: Object, address: int) -> Task:
        program = self._program
        whole = task.read_()  # one moment of it, and one read of memory
        state = _state(int(whole.member_("__state")), int(whole.exit_state))
        cpu = int(whole.thread_info.cpu)
        on_cpu, on_rq = bool(whole.on_cpu), bool(whole.on_rq)
        scx = self._scx_class is not None and whole.sched_class.value_() == self._scx_class
        queued = on_rq and not on_cpu
        entity = whole.scx if scx else None
        dsq = None if entity is None else entity.dsq.value_()
        return Task(
            pid=int(whole.pid),
            tgid=int(whole.tgid),
            comm=comm(whole),
            state=state,
            cpu=cpu if cpu < MAX_CPUS else None,
            on_cpu=on_cpu,
            on_rq=on_rq,
            policy=int(whole.policy),
            prio=int(whole.prio),
            allowed=self._allowed(whole),
            cgroup=self._cgroup(whole),
            runtime_ns=int(whole.se.sum_exec_runtime),
            waiting_ms=self._waiting_ms(whole, scx, cpu) if queued else None,
            scx=scx,
            slice_ns=None if entity is None else int(entity.slice),
            dsq_vtime=None if entity is None else int(entity.dsq_vtime),
            dsq=hex(program.u64(dsq + program.offset("struct scx_dispatch_q", "id"))) if dsq else None,
            address=hex(address),
        )

    def _waiting_ms(self, task: Object, scx: bool, cpu: int) -> float | None:
        """How long it has been runnable, as the kernel noted it: to a jiffy under sched_ext."""
        if scx:
            since = int(task.scx.runnable_at)
            waited = (self._jiffies - since) % _JIFFIES_WRAP
            if self._hz is None or since == 0 or waited >= _JIFFIES_WRAP // 2:
                return None
            return waited * _MS_PER_S / self._hz
        queued = int(task.sched_info.last_queued)
        clock = self._clock(cpu)
        return (clock - queued) / 1e6 if 0 < queued <= clock else None

    def _clock(self, cpu: int) -> int:
        if cpu not in self._clocks:
            rq = self._program.per_cpu(self._program.address("runqueues"), cpu)
            self._clocks[cpu] = self._program.u64(rq + self._program.offset("struct rq", "clock"))
        return self._clocks[cpu]

    def _allowed(self, task: Object) -> tuple[int, ...]:
        return self._program.cpumask(task.cpus_ptr.value_())

    def _cgroup(self, task: Object) -> str | None:
        """Its cgroup of the unified hierarchy, as a path."""
        css_set = task.cgroups.value_()
        if css_set not in self._cgroups:
            self._cgroups[css_set] = self._cgroup_path(task) if css_set else None
        return self._cgroups[css_set]

    def _cgroup_path(self, task: Object) -> str | None:
        try:
            with reading("cgroup"):
                node = task.cgroups.dfl_cgrp.kn
                has_parent = self._program.member_exists("struct kernfs_node", "parent")
                names: list[str] = []
                for _ in range(_MAX_CGROUP_DEPTH):
                    parent = node.parent if has_parent else node.member_("__parent")  # since 6.15
                    if not parent.value_():
                        return "/" + "/".join(reversed(names))
                    names.append(self._program.text_at(node.name.value_(), _MAX_NAME))
                    node = parent
                return None
        except Unreadable:
            return None


def comm(task: Object) -> str:
    """What a task is called. Raises what reading guest memory raises."""
    return clean(task.comm.string_()[:_COMM])


def task_ref(program: GuestProgram, address: int) -> TaskRef:
    """What tells the task at an address from others. Raises Unreadable."""
    with reading(f"task at {address:#x}"):
        task = program.at("struct task_struct", address)
        return TaskRef(pid=int(task.pid), comm=comm(task))


def task_addresses(program: GuestProgram, limit: int = MAX_TASKS) -> list[int]:
    """Every thread but the idle ones: processes by the list of tasks, their threads by each one's list. Raises
    Unreadable."""
    found: list[int] = []
    _collect(program, limit, found)
    return found


def _collect(program: GuestProgram, limit: int, found: list[int]) -> None:
    """Add what there is, up to where the memory makes no sense any more."""
    tasks = program.offset("struct task_struct", "tasks")
    signal = program.offset("struct task_struct", "signal")
    node = program.offset("struct task_struct", "thread_node")
    threads = program.offset("struct signal_struct", "thread_head")
    for entry in linked_list(program, program.address("init_task") + tasks, limit):
        head = program.u64(entry - tasks + signal) + threads
        for thread in linked_list(program, head, limit):
            found.append(thread - node)
            if len(found) > limit:
                raise Unreadable(f"found more than {limit} tasks")


def read_tasks(program: GuestProgram, hz: int | None, limit: int = MAX_TASKS) -> Tasks:
    """Every thread but the idle ones. Raises nothing: what makes no sense is in ``error``."""
    addresses: list[int] = []
    tasks: list[Task] = []
    error: str | None = None
    try:
        reader = TaskReader(program, hz)
        _collect(program, limit, addresses)
    except Unreadable as err:
        error = str(err)
    for address in addresses:
        try:
            tasks.append(reader.task(address))
        except Unreadable as err:  # one that ended meanwhile; or its memory lies
            error = error or str(err)
    return Tasks(tasks=tuple(tasks), error=error)


def _state(state: int, exit_state: int) -> str:
    """As ps(1) has it (task_state_index of include/linux/sched.h)."""
    if state & _RTLOCK_WAIT:
        return "D"
    if state & _IDLE == _IDLE:
        return "I"
    reported = (state | exit_state) & _REPORTED
    return _STATES[reported.bit_length()] if reported.bit_length() < len(_STATES) - 1 else "?"
