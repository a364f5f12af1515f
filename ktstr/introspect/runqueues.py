"""Runqueues: each CPU's ``struct rq``, its statistics, and its scheduling domains (kernel/sched/sched.h)."""

from __future__ import annotations

from collections.abc import Iterator

from drgn import Object

from ktstr.introspect.program import GuestProgram, Unreadable, reading
from ktstr.introspect.tasks import TaskReader, task_ref
from ktstr.introspect.walk import linked_list
from ktstr.record.kernel import CfsRunqueue, Runqueue, SchedDomain, SchedDomains, SchedInfo, ScxRunqueue, Task

MAX_RUNNABLE = 4096  # of one CPU
_MAX_DOMAINS = 16
_MAX_DOMAIN_NAME = 16
_ALWAYS_COUNTED = ("newidle_call", "newidle_success", "newidle_ratio")
_SCHEDSTATS = (
    "lb_count", "lb_failed", "lb_balanced", "lb_imbalance", "lb_imbalance_load", "lb_imbalance_util",
    "lb_imbalance_task", "lb_imbalance_misfit", "lb_gained", "lb_hot_gained", "lb_nobusyg", "lb_nobusyq",
    "alb_count", "alb_failed", "alb_pushed", "sbe_count", "sbe_balanced", "sbe_pushed",
    "sbf_count", "sbf_balanced", "sbf_pushed", "ttwu_wake_remote", "ttwu_move_affine", "ttwu_move_balance",
)  # fmt: skip


def read_runqueues(program: GuestProgram, hz: int | None, *, runnable: bool = True) -> tuple[Runqueue, ...]:
    """That of every possible CPU. ``runnable``: with the tasks that wait under sched_ext; ``hz`` as ``TaskReader``.

    Raises Unreadable when the guest does not even tell how many CPUs it has.
    """
    reader = TaskReader(program, hz) if runnable else None
    return tuple(_runqueue(program, cpu, reader) for cpu in program.cpus)


def _runqueue(program: GuestProgram, cpu: int, reader: TaskReader | None) -> Runqueue:
    try:
        address = program.per_cpu(program.address("runqueues"), cpu)
        with reading(f"runqueue of CPU {cpu}"):
            rq = program.at("struct rq", address).read_()
            scx = _scx(program, address, rq, reader) if program.member_exists("struct rq", "scx") else None
            curr = task_ref(program, rq.curr.value_())
            return Runqueue(
                cpu=cpu,
                nr_running=int(rq.nr_running),
                clock_ns=int(rq.clock),
                nr_switches=int(rq.nr_switches),
                curr=curr,
                scx=scx,
                cfs=_cfs(rq.cfs),
                sched_info=_sched_info(rq, counted=schedstats_on(program)),
            )
    except Unreadable as err:
        return Runqueue(cpu=cpu, error=str(err))


def _cfs(cfs: Object) -> CfsRunqueue:
    """Names changed in Linux 6.14: nr_running to nr_queued, h_nr_running to h_nr_queued."""
    return CfsRunqueue(
        nr_queued=_number(cfs, "nr_queued", "nr_running"),
        h_nr_queued=_number(cfs, "h_nr_queued", "h_nr_running"),
        load=_number(cfs.load, "weight"),
    )


def schedstats_on(program: GuestProgram) -> bool:
    """Whether the kernel counts what CONFIG_SCHEDSTATS has (kernel.sched_schedstats). Raises Unreadable."""
    return program.has("sched_schedstats") and int(program.variable("sched_schedstats").key.enabled.counter) > 0


def _sched_info(rq: Object, *, counted: bool) -> SchedInfo:
    info = _member(rq, "rq_sched_info")
    names = ("yld_count", "sched_count", "sched_goidle", "ttwu_count", "ttwu_local") if counted else ()
    return SchedInfo(
        run_delay_ns=None if info is None else _number(info, "run_delay"),
        pcount=None if info is None else _number(info, "pcount"),
        **{name: _number(rq, name) for name in names},
    )


def _scx(program: GuestProgram, address: int, rq: Object, reader: TaskReader | None) -> ScxRunqueue:
    tasks: list[Task] = []
    error: str | None = None
    try:
        for each in _runnable(program, address) if reader else ():
            tasks.append(reader.task(each)) if reader else None
    except Unreadable as err:
        error = str(err)
    released = _number(rq.scx, "cpu_released")
    return ScxRunqueue(
        nr_running=int(rq.scx.nr_running),
        flags=int(rq.scx.flags),
        local_dsq_nr=int(rq.scx.local_dsq.nr),
        cpu_released=None if released is None else bool(released),
        runnable=tuple(tasks),
        error=error,
    )


def _runnable(program: GuestProgram, rq: int) -> Iterator[int]:
    head = rq + program.offset("struct rq", "scx.runnable_list")
    node = program.offset("struct task_struct", "scx.runnable_node")
    if program.u64(head):  # zero until sched_ext has been set up
        for entry in linked_list(program, head, MAX_RUNNABLE):
            yield entry - node


def read_sched_domains(program: GuestProgram) -> tuple[SchedDomains, ...]:
    """Those of every possible CPU. Raises Unreadable as ``read_runqueues``."""
    counted = schedstats_on(program)
    return tuple(_domains(program, cpu, counted) for cpu in program.cpus)


def _domains(program: GuestProgram, cpu: int, counted: bool) -> SchedDomains:
    found: list[SchedDomain] = []
    try:
        rq = program.per_cpu(program.address("runqueues"), cpu)
        address = program.u64(rq + program.offset("struct rq", "sd"))
        while address:
            if len(found) >= _MAX_DOMAINS:
                raise Unreadable(f"CPU {cpu} has more than {_MAX_DOMAINS} scheduling domains")
            with reading(f"scheduling domain at {address:#x}"):
                domain = program.at("struct sched_domain", address).read_()
                found.append(_domain(program, domain, counted))
                address = domain.parent.value_()
    except Unreadable as err:
        return SchedDomains(cpu=cpu, domains=tuple(found), error=str(err))
    return SchedDomains(cpu=cpu, domains=tuple(found))


def _domain(program: GuestProgram, domain: Object, counted: bool) -> SchedDomain:
    counters: dict[str, int | tuple[int, ...]] = {}
    for name in (*_ALWAYS_COUNTED, *(_SCHEDSTATS if counted else ())):
        if (value := _member(domain, name)) is not None:
            plain = value.value_()
            counters[name] = tuple(plain) if isinstance(plain, list) else int(plain)
    name = domain.name
    return SchedDomain(
        level=int(domain.level),
        name=program.text_at(name.value_(), _MAX_DOMAIN_NAME) if name.value_() else "",
        flags=int(domain.flags) & 0xFFFFFFFF,
        span_weight=int(domain.span_weight),
        balance_interval=int(domain.balance_interval),
        nr_balance_failed=int(domain.nr_balance_failed),
        max_newidle_lb_cost=int(domain.max_newidle_lb_cost),
        counters=counters,
    )


def _member(of: Object, name: str) -> Object | None:
    """A member that not every kernel has."""
    try:
        return of.member_(name)
    except LookupError:
        return None


def _number(of: Object, *names: str) -> int | None:
    """The first of these members that the kernel has."""
    for name in names:
        if (value := _member(of, name)) is not None:
            return int(value.value_())
    return None
