"""What ktstr.yaml declares, as plain frozen values. Loading and checking are in ``load``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ktstr.config.ops import Op, RunPayload, Spawn
from ktstr.config.scenario import FULL, Cgroup, Cpuset, Hold, Work
from ktstr.config.temporal import Temporal
from ktstr.config.topology import Topology

CheckValue: TypeAlias = bool | int | float
Better: TypeAlias = Literal["higher", "lower"]
ExpectedEnd: TypeAlias = Literal["refused", "dies", "evicted", "stalls", "fails"]


@dataclass(frozen=True)
class KernelDecl:
    """A named kernel: ``spec`` is what ``kernel=`` takes; ``kconfig``, ``cc`` and ``llvm`` say how it is built, and
    ``patches``, absolute paths, what is changed in its sources before, in order."""

    name: str
    spec: str
    kargs: tuple[str, ...] = ()
    kconfig: tuple[str, ...] = ()
    cc: str | None = None
    llvm: str | None = None
    patches: tuple[Path, ...] = ()
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Builtin:
    """``builtin:`` a scheduler of the kernel itself, such as "eevdf"; it runs no program.

    ``enable`` and ``disable``: what is written to files of /proc and /sys before the workload and after it, in order.
    """

    name: str
    enable: tuple[tuple[str, str], ...] = ()
    disable: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Binary:
    """``path:`` a program that is there, made by somebody else."""

    path: Path


@dataclass(frozen=True)
class Source:
    """``source:`` a folder of C and BPF sources, from which a program is built for each kernel."""

    folder: Path


@dataclass(frozen=True)
class Crate:
    """``crate:`` a published Rust crate, one program of which is built by this machine's cargo."""

    name: str
    version: str
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tree:
    """``tree:`` a scheduler of the kernel's own tools/sched_ext, built from the kernel's sources for each kernel."""

    name: str


@dataclass(frozen=True)
class Command:
    """``build:`` a command of the user's, run in ``base``, the folder of ktstr.yaml, that makes the file ``output``.

    ``inputs``: globs relative to ``base`` of all that decides what it makes; those that begin with ``!`` are left out.
    ``env``: what its environment has beside the variables that find programs and registries.
    """

    argv: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    base: Path
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Discover:
    """``discover:`` a program of this name, looked for around ``base``, the folder of ktstr.yaml, else built there."""

    name: str
    base: Path


SchedulerKind: TypeAlias = Builtin | Binary | Source | Crate | Tree | Command | Discover


@dataclass(frozen=True)
class Expect:
    """How a run must end: it passes when it does, and fails when it does not.

    ``refused``: the scheduler is not loaded. ``dies``: its process ends in mid-run. ``evicted``: the kernel lets go of
    it, ``stalls``: its watchdog does. ``fails``: the verdict is Fail, whatever for. ``message``: a regular expression
    that what kernel or scheduler say of it must match. ``exit_kind``: of ``EXIT_KINDS``, why it is evicted.
    """

    end: ExpectedEnd
    message: str = ""
    exit_kind: str | None = None


@dataclass(frozen=True)
class SchedulerDecl:
    """A declared scheduler. ``kind`` says where its program comes from.

    ``files`` and ``config``: paths relative to ``base``, the folder of ktstr.yaml; the program is told of the second
    by ``--config``. ``env``: variables by name. ``attach_timeout_ns``: in guest time; None for what the machine needs
    (``vm.loading``). ``cgroup_parent``: the cgroup below which tests make theirs, which the program is told by
    ``--cell-parent-cgroup``. ``preset``: of tests that run by name alone. ``kernels``: patterns of those that it is
    for; all without any.
    """

    name: str
    kind: SchedulerKind
    args: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    kargs: tuple[str, ...] = ()
    attach_timeout_ns: int | None = None
    files: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    base: Path = Path()
    checks: dict[str, CheckValue] = field(default_factory=dict)
    config: str | None = None
    cgroup_parent: str | None = None
    preset: str | None = None
    kernels: tuple[str, ...] = ()
    expect: Expect | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class PerfGate:
    """A limit of ``perf_delta:``, for a comparison with a baseline. None is the metric registry's own.

    ``direction``: which one is better. ``min_abs``: in the metric's unit. ``phase``: None for the whole run, 0 for
    BASELINE, 1..N for a step.
    """

    metric: str
    direction: Better | None = None
    max_regression_pct: float | None = None
    min_abs: float | None = None
    phase: int | None = None


SchedulerOpName: TypeAlias = Literal["detach", "attach", "restart", "replace"]


@dataclass(frozen=True)
class SchedulerOp:
    """What becomes of the scheduler after so much of a test's duration.

    ``scheduler``: the one that replaces it, None for itself. ``args``: those that the replacement has, None for those
    that ``scheduler`` declares.
    """

    at_ns: int
    op: SchedulerOpName
    args: tuple[str, ...] | None = None
    scheduler: str | None = None


Polarity: TypeAlias = Literal["higher", "lower", "target", "unknown"]
Pick: TypeAlias = Literal["first", "last", "min", "max", "mean", "sum", "count"]


@dataclass(frozen=True)
class PayloadMetric:
    """What is known of a metric that a payload prints, by its dotted path: which value is better, and its unit.

    ``target``: the value that ``polarity`` target means. ``match``: of a text, the regular expression whose group is
    the number, empty for a number of JSON; ``pick``: which of several it is, or what of them.
    """

    name: str
    polarity: Polarity = "unknown"
    unit: str = ""
    target: float | None = None
    match: str = ""
    pick: Pick = "first"


@dataclass(frozen=True)
class PayloadCheck:
    """What must hold of a payload's metric (inclusive): None limits are not judged; without both, it must exist."""

    metric: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class PayloadDecl:
    """A program that tests run beside workers. ``path``: absolute, or the bare name of a program to be found in PATH,
    which ``install`` installs. ``files``: relative to ``base``, the folder of the file that declares it.

    ``output``: ``exit_code`` gives no metrics, ``json`` all numbers of what it prints, ``text`` those that match.
    ``exit_code``: what it has to end with, None for any.
    """

    name: str
    path: Path
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()
    base: Path = Path()
    output: Literal["exit_code", "json", "text"] = "exit_code"
    metrics: tuple[PayloadMetric, ...] = ()
    checks: tuple[PayloadCheck, ...] = ()
    exit_code: int | None = 0
    install: str = ""
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Step:
    """One step: ops, then cgroups with their workers, then payloads, then the hold. What it made ends with it.

    Of a hold that is a loop, the ops come last, in each round, and what a round made ends with it.
    """

    cgroups: tuple[Cgroup, ...] = ()
    ops: tuple[Op, ...] = ()
    payloads: tuple[RunPayload, ...] = ()
    hold: Hold = FULL
    name: str = ""
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Backdrop:
    """What lives through all steps: cgroups, then ops, then payloads."""

    cgroups: tuple[Cgroup, ...] = ()
    ops: tuple[Op, ...] = ()
    payloads: tuple[RunPayload, ...] = ()


@dataclass(frozen=True)
class TestDecl:
    """A declared test. ``demo`` tests run only when named. None limits do not constrain.

    ``category``: what kind of test it is, a name. ``cpu_controller``: whether cgroups share CPUs.
    ``cgroups``: the short form, the only step of a test without ``steps``. ``topology``: the preset of a test that is
    run by its name alone. ``settle_ns``: how long what the backdrop made runs before the first step.
    ``cleanup_budget_ns``: how long taking everything down may take. ``offline``: CPUs that are offline before the
    scheduler attaches. ``cpu_kargs``: kernel arguments whose value is a CPU list, such as isolcpus, with
    ``isolcpus_flags`` before it. ``include_files``: more files in the guest, relative to ``base``. ``host_only``: it
    needs no guest, and is skipped where guests run.
    ``perf_delta``: its limits against a baseline. ``compare``: two schedulers, the first of which is judged against the
    second; empty for none. ``expect``: over that of the scheduler. ``captures``: how many samples, evenly apart, are to
    be had of its workload.
    """

    name: str
    cgroups: tuple[Cgroup, ...]
    description: str = ""
    category: str = ""
    duration_ns: int = 2_000_000_000
    memory_mib: int | None = None
    performance_mode: bool = False
    kargs: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    checks: dict[str, CheckValue] = field(default_factory=dict)
    min_cpus: int = 1
    max_cpus: int = 512
    min_llcs: int = 1
    max_llcs: int = 512
    min_numa_nodes: int = 1
    max_numa_nodes: int = 512
    requires_smt: bool = False
    scheduler_args: tuple[str, ...] = ()
    scheduler_ops: tuple[SchedulerOp, ...] = ()
    demo: bool = False
    perf_delta: tuple[PerfGate, ...] = ()
    compare: tuple[str, ...] = ()
    temporal: tuple[Temporal, ...] = ()
    captures: int = 0
    expect: Expect | None = None
    steps: tuple[Step, ...] = ()
    backdrop: Backdrop = Backdrop()
    payloads: tuple[RunPayload, ...] = ()
    topology: str | None = None
    settle_ns: int = 0
    cleanup_budget_ns: int | None = None
    offline: Cpuset | None = None
    cpu_kargs: tuple[tuple[str, Cpuset], ...] = ()
    isolcpus_flags: tuple[str, ...] = ()
    include_files: tuple[str, ...] = ()
    base: Path = field(default=Path(), repr=False, compare=False)  # a project that is moved has the same tests
    host_only: bool = False
    cpu_controller: bool = True
    where: str = field(default="", compare=False)

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """Its steps; of the short form, the one that it is."""
        return self.steps or (Step(self.cgroups, payloads=self.payloads, where=self.where),)

    @property
    def works(self) -> tuple[Work, ...]:
        """All that its workers do: of cgroups, then of ops."""
        steps = (Step(self.backdrop.cgroups, self.backdrop.ops), *self.all_steps)
        return (
            *(work for step in steps for cgroup in step.cgroups for work in cgroup.works),
            *(op.work for step in steps for op in step.ops if isinstance(op, Spawn)),
        )

    @property
    def replacements(self) -> tuple[str, ...]:
        """The schedulers that take the place of the one under test within a run, each once."""
        return tuple(dict.fromkeys(op.scheduler for op in self.scheduler_ops if op.scheduler is not None))

    __test__ = False  # for pytest: no test class, whatever its name


@dataclass(frozen=True)
class CellKey:
    """One point of a matrix, by name. ``keep``: of the seed's changes only these, by number; None for all of them."""

    test: str
    preset: str
    kernel: str
    scheduler: str
    seed: int
    keep: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Matrix:
    """tests x presets x kernels x schedulers x seeds; globs where names are.

    ``include`` adds points, ``exclude`` drops those that match every field it names.
    """

    name: str
    tests: tuple[str, ...]
    presets: tuple[str, ...]
    kernels: tuple[str, ...]
    schedulers: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    include: tuple[dict[str, str | int], ...] = ()
    exclude: tuple[dict[str, str | int], ...] = ()
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Config:
    """A whole ktstr.yaml. ``presets`` holds the built-in ones, those declared, and ``labels``, which only a test's
    ``topology:`` names: no pattern of a matrix means them. ``cluster``: where cells run, None for this host."""

    path: Path
    kernels: dict[str, KernelDecl]
    schedulers: dict[str, SchedulerDecl]
    presets: dict[str, Topology]
    tests: dict[str, TestDecl]
    matrices: tuple[Matrix, ...]
    payloads: dict[str, PayloadDecl] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()
    cluster: str | None = None

    @property
    def named_presets(self) -> dict[str, Topology]:
        """The presets that patterns mean."""
        return {name: topology for name, topology in self.presets.items() if name not in self.labels}
