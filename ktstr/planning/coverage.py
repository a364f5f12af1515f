"""What a cell covers: the features by which a budget chooses. Each is one word, such as ``work=pipe_io``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ktstr.config.model import CellKey, TestDecl
from ktstr.config.scenario import Cgroup, Work
from ktstr.config.topology import Topology

_CPUS = (1, 4, 8, 16, 32, 64, 128)
_LLCS = (1, 2, 4, 8)
_NODES = (1, 2, 4)
_MILLISECONDS = (250, 1_000, 5_000, 30_000)
_WORKERS = (1, 4, 16, 64)


def features_of(key: CellKey, test: TestDecl, topology: Topology) -> frozenset[str]:
    """Of the test, what it does, the topology, the kernel and the scheduler. The seed is none."""
    return frozenset(
        (
            f"test={key.test}",
            f"scheduler={key.scheduler}",
            f"kernel={key.kernel}",
            _bucket("cpus", topology.cpus, _CPUS),
            _bucket("llcs", topology.llcs, _LLCS),
            _bucket("nodes", topology.numa_nodes, _NODES),
            "smt" if topology.threads > 1 else "no-smt",
            _bucket("ms", test.duration_ns // 1_000_000, _MILLISECONDS),
            *_of_test(test),
        )
    )


def _bucket(what: str, value: int, limits: Sequence[int]) -> str:
    limit = next((limit for limit in limits if value <= limit), None)
    return f"{what}>{limits[-1]}" if limit is None else f"{what}<={limit}"


def _of_test(test: TestDecl) -> Iterator[str]:
    cgroups = [*test.backdrop.cgroups, *(cgroup for step in test.all_steps for cgroup in step.cgroups)]
    works = [work for cgroup in cgroups for work in cgroup.works]
    yield _bucket("workers", sum(work.workers for work in works), _WORKERS)
    for cgroup in cgroups:
        yield from _of_cgroup(cgroup)
    for work in works:
        yield from _of_work(work)
    yield from (f"hold={step.hold.kind}" for step in test.steps)
    operations = (*test.backdrop.ops, *(op for step in test.all_steps for op in step.ops))
    yield from (f"op={type(op).__name__}" for op in operations)
    yield from (f"scheduler_op={op.op}" for op in test.scheduler_ops)
    if test.expect is not None:
        yield f"expect={test.expect.end}"
    switches = {
        "steps": len(test.steps) > 1,
        "performance_mode": test.performance_mode,
        "compare": test.compare,
        "offline": test.offline is not None,
        "kargs": test.kargs or test.cpu_kargs,
        "sysctls": test.sysctls,
        "temporal": test.temporal,
        "payloads": test.payloads or test.backdrop.payloads or any(step.payloads for step in test.steps),
    }
    yield from (name for name, on in switches.items() if on)


def _of_cgroup(cgroup: Cgroup) -> Iterator[str]:
    if cgroup.cpuset is not None:
        yield f"cpuset={cgroup.cpuset.kind}"
    if cgroup.mems is not None:
        yield "cpuset.mems"
    if "/" in cgroup.name:
        yield "nested"
    yield from (name for name, _value in cgroup.controls)


def _of_work(work: Work) -> Iterator[str]:
    yield f"work={work.work_type}"
    yield f"policy={work.policy}"
    if work.affinity is not None:
        yield f"affinity={work.affinity.kind}"
    if work.mem_policy is not None:
        yield f"mem_policy={work.mem_policy.mode}"
    if work.threads:
        yield "threads"
    if work.nice:
        yield "nice"
