"""What is done before a cell's program, which cells of other seeds and tests may share: CPUs go offline, and the
scheduler is attached. For a scheduler of the kernel's own: what is written for it, before the workload and after.

Virtual deadline of the setup: twice the attach timeout (a loader that fails is started once more) + the time limit of
stopping + MARGIN_NS. A guest that passes it is stuck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ktstr.checks.settings import Setting
from ktstr.config.model import Builtin, PayloadDecl, SchedulerDecl, SchedulerOp, TestDecl
from ktstr.errors import InputError
from ktstr.scenarios.deadlines import MARGIN_NS, STOP_SCHEDULER_NS
from ktstr.scenarios.program import Op, Payload, Program, StartScheduler, Write
from ktstr.scenarios.scheduler_ops import Loader, SchedulerLife, scheduler_life
from ktstr.schedulers.surroundings import HOME, other_home

MAX_ARGS, MAX_ARG_BYTES = 64, 8192  # what the agent takes, the program's path included


@dataclass(frozen=True)
class Other:
    """A scheduler that may take the place of the one under test: with its attach timeout, and its file name."""

    scheduler: SchedulerDecl
    binary: str


@dataclass(frozen=True)
class Programs:
    """What a guest's image holds that is run. ``binary``: the file name of the scheduler under test, None for one of
    the kernel's own; ``others``: those that may take its place, by name; ``payloads``: the declared ones, by name."""

    binary: str | None = None
    others: Mapping[str, Other] = field(default_factory=dict)
    payloads: Mapping[str, PayloadDecl] = field(default_factory=dict)


@dataclass(frozen=True)
class Writes:
    """Settings of the guest's kernel, in order: before the workload, and after it."""

    before: tuple[Setting, ...] = ()
    after: tuple[Setting, ...] = ()


def cpu_setting(cpu: int, online: bool) -> Setting:
    """What makes a CPU offline, or online again."""
    return Setting(f"/sys/devices/system/cpu/cpu{cpu}/online", str(int(online)))


def compile_setup(
    test: TestDecl, scheduler: SchedulerDecl, programs: Programs | None, offline: tuple[int, ...] = ()
) -> Program | None:
    """What takes CPUs offline and attaches a scheduler, None where there is nothing to do.

    Raises InputError for too many arguments.
    """
    written: list[Op] = [Write(one.path, one.value) for one in (cpu_setting(cpu, False) for cpu in offline)]
    if isinstance(scheduler.kind, Builtin):
        return Program(0, STOP_SCHEDULER_NS + MARGIN_NS, ops=tuple(written)) if written else None
    if programs is None or programs.binary is None or scheduler.attach_timeout_ns is None:
        raise ValueError(f"scheduler {scheduler.name} runs a binary; its name in the image and a timeout are needed")
    wait_ns = scheduler.attach_timeout_ns
    payload = Payload(_argv(test, scheduler, programs.binary))
    deadline = 2 * wait_ns + STOP_SCHEDULER_NS + MARGIN_NS
    return Program(0, deadline, payloads=(payload,), ops=(*written, StartScheduler(0, wait_ns)))


def life_of(
    test: TestDecl, scheduler: SchedulerDecl, programs: Programs | None, setup: Program | None
) -> SchedulerLife | None:
    """What is done to the scheduler while the workload runs, None for one of the kernel's own.

    Raises InputError for ops on one of the kernel's own.
    """
    if isinstance(scheduler.kind, Builtin):
        if test.scheduler_ops:
            raise InputError(
                f"{test.where} tests.{test.name}.scheduler_ops: found scheduler {scheduler.name}, one of the"
                " kernel's own, expected one that can be detached",
                fix="exclude it for this test",
            )
        return None
    if setup is None or programs is None or scheduler.attach_timeout_ns is None:
        raise ValueError(f"scheduler {scheduler.name} runs a binary; its setup is needed")
    own = Loader(setup.payloads[0], scheduler.attach_timeout_ns)
    replaced = [_replacement(test, op, scheduler, programs) for op in test.scheduler_ops if op.op == "replace"]
    return scheduler_life(test.scheduler_ops, test.duration_ns, own, replaced, STOP_SCHEDULER_NS)


def kernel_writes(scheduler: SchedulerDecl) -> Writes:
    """What is written for a scheduler of the kernel's own: before the workload, and after it."""
    kind = scheduler.kind
    if not isinstance(kind, Builtin):
        return Writes()
    return Writes(*(tuple(Setting(*pair) for pair in pairs) for pairs in (kind.enable, kind.disable)))


def _replacement(test: TestDecl, op: SchedulerOp, scheduler: SchedulerDecl, programs: Programs) -> Loader:
    """What one ``replace`` starts. Raises InputError for a scheduler that looks elsewhere for the test's cgroups."""
    bare = replace(test, scheduler_args=())
    if op.scheduler is None:
        coming, binary, home = replace(scheduler, args=op.args or ()), programs.binary, HOME
    else:
        other = programs.others[op.scheduler]
        coming, binary, home = other.scheduler, other.binary, other_home(op.scheduler)
        if op.args is not None:
            coming = replace(coming, args=op.args)
    if coming.cgroup_parent != scheduler.cgroup_parent:
        raise InputError(
            f"{test.where} tests.{test.name}.scheduler_ops: found scheduler {coming.name} with cgroup_parent"
            f" {coming.cgroup_parent or 'none'} in the place of {scheduler.name}, expected the same as that one's,"
            f" {scheduler.cgroup_parent or 'none'}: the test's cgroups stay where they are"
        )
    if coming.attach_timeout_ns is None or binary is None:
        raise ValueError(f"scheduler {coming.name} runs a binary; a timeout is needed")
    return Loader(Payload(_argv(bare, coming, binary, home)), coming.attach_timeout_ns)


def _argv(test: TestDecl, scheduler: SchedulerDecl, binary: str, home: str = HOME) -> tuple[str, ...]:
    config = () if scheduler.config is None else ("--config", f"{home}/files/{scheduler.config}")
    parent = () if scheduler.cgroup_parent is None else ("--cell-parent-cgroup", scheduler.cgroup_parent)
    argv = (f"{home}/bin/{binary}", *config, *parent, *scheduler.args, *test.scheduler_args)
    size = sum(len(arg.encode()) + 1 for arg in argv)
    if len(argv) > MAX_ARGS or size > MAX_ARG_BYTES:
        raise InputError(
            f"{scheduler.where} schedulers.{scheduler.name}.args: found {len(argv) - 1} arguments of {size} bytes,"
            f" those of test {test.name} included, expected at most {MAX_ARGS - 1} of {MAX_ARG_BYTES}"
        )
    return argv
