"""Where a worker was while it did not get on, and who ran on its CPUs: what the samples say of a failed check.

Counts of samples, in percent: a look ten times a second is no account of every microsecond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ktstr import cpulist
from ktstr.checks.samples import View, cpus_of, queue_name
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.guest import WorkerReport
from ktstr.record.samples import MonitorSample, TaskSample

_KINDS = frozenset({"Starved", "Unfair", "Stuck"})
_LEAST_SAMPLES = 3
_MOST_NAMED = 3


@dataclass(frozen=True)
class _Seen:
    """A task in one sample; ``running``: whether it ran."""

    cpu: int
    task: TaskSample
    running: bool


def explained(details: Sequence[Detail], reports: Sequence[WorkerReport], view: View | None) -> list[Detail]:
    """The same reasons; the first of each kind, of a worker of each cgroup, says where the worker was, as far as that
    was seen."""
    if view is None:
        return list(details)
    tids, told, made = {report.index: report.tid for report in reports}, set[object](), list[Detail]()
    for detail in details:
        words = None if (detail.kind, detail.cgroup) in told else _words(detail, tids, view)
        if words is not None:
            told.add((detail.kind, detail.cgroup))
        made.append(detail if words is None else replace(detail, message=f"{detail.message}; {words}"))
    return made


def _words(detail: Detail, tids: Mapping[int, int], view: View) -> str | None:
    """None for a reason that is of no worker's not getting on."""
    if detail.kind not in _KINDS or detail.verdict is not Verdict.FAIL or detail.worker is None:
        return None
    return account(view, tids[detail.worker]) if detail.worker in tids else None


def account(view: View, pid: int) -> str | None:
    """One sentence about a task; None when it was not seen often enough to say anything."""
    seen = [(sample, place) for sample in view.samples for place in _places(sample, pid)]
    if len(seen) < _LEAST_SAMPLES:
        return None
    waits = [(sample, place) for sample, place in seen if not place.running]
    total = len(view.samples)
    ran = len(seen) - len(waits)
    words = f"of {total} samples it ran in {ran}, waited in {len(waits)} and slept in {max(0, total - len(seen))}"
    if not waits:
        return f"samples: {words}"
    where = Counter(queue_name(place.cpu, place.task) for _, place in waits)
    allowed = frozenset[int]().union(*(cpus_of(place.task.allowed) for _, place in waits))
    return (
        f"samples: {words}: {_named(where, len(waits))}; meanwhile its CPUs {cpulist.render(allowed)} ran"
        f" {_named(_ran_instead(view, waits, allowed), len(waits) * max(1, len(allowed)))}"
    )


def _places(sample: MonitorSample, pid: int) -> Iterator[_Seen]:
    for cpu, state in enumerate(sample.cpus):
        if state.running is not None and state.running.pid == pid:
            yield _Seen(cpu, state.running, True)
        for task in state.waiting:
            if task.pid == pid:
                yield _Seen(cpu, task, False)


def _ran_instead(view: View, waits: Sequence[tuple[MonitorSample, _Seen]], allowed: frozenset[int]) -> Counter[str]:
    """What ran on the CPUs that were the task's too, by name; idle CPUs are named so."""
    found = Counter[str]()
    for sample, _ in waits:
        for cpu in allowed:
            if cpu < len(sample.cpus):
                running = sample.cpus[cpu].running
                found["nothing (idle)" if running is None else _full_name(view, running.pid)] += 1
    return found


def _full_name(view: View, pid: int) -> str:
    cgroup = view.cgroup(pid)
    return view.who(pid) if cgroup in (None, "/") else f"{view.who(pid)} of {cgroup}"


def _named(counts: Counter[str], total: int) -> str:
    """The most frequent, with their parts."""
    listed = [f"{name} {100 * count / total:.0f} %" for name, count in counts.most_common(_MOST_NAMED)]
    rest = sum(counts.values()) - sum(count for _, count in counts.most_common(_MOST_NAMED))
    return ", ".join([*listed, f"others {100 * rest / total:.0f} %"] if rest else listed)
