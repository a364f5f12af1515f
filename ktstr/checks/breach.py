"""What the checks of workers have in common: what they are judged by, and the reasons that they make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ktstr import cpulist
from ktstr.checks.formulas import MS, NS
from ktstr.checks.machine import Evidence
from ktstr.checks.model import Group
from ktstr.checks.restraint import NONE, Restraint, Restraints
from ktstr.checks.thresholds import Thresholds
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.guest import WorkerReport
from ktstr.record.outcome import ReasonKind

STOP_TIMEOUT_NS = 5 * NS
SLICE_NS = 20 * MS  # SCX_SLICE_DFL of kernel/sched/ext.c; EEVDF's is shorter


@dataclass(frozen=True)
class Run:
    """What every check needs beside the group. ``stop_timeout_ns``: how long workers had to end. ``groups``: all there
    are. ``phased``: the scenario has steps, which messages name."""

    limits: Thresholds
    machine: Evidence
    stop_timeout_ns: int = STOP_TIMEOUT_NS
    restraints: Restraints = NONE
    groups: tuple[Group, ...] = ()
    phased: bool = False

    def restraint(self, group: Group) -> Restraint:
        """What the scenario itself kept a group off CPU by."""
        known = self._restraints.get(id(group))
        return self.restraints.of(group, self.groups) if known is None else known

    @cached_property
    def _restraints(self) -> dict[int, Restraint]:
        return {id(group): self.restraints.of(group, self.groups) for group in self.groups}

    def cpus(self, group: Group) -> int | None:
        """How many CPUs a group had when they were fewest; None where the guest did not tell its CPUs."""
        if group.fewest_cpus is not None:
            return group.fewest_cpus
        if group.cpus is None and not self.restraints.cpus:
            return None
        cpus = range(self.restraints.cpus) if group.cpus is None else group.cpus
        return max(1, len(set(cpus) - self.restraints.ever_offline()))

    def turn_ns(self, group: Group) -> float:
        """One scheduling period: a slice for each worker that may have been on the group's CPUs, one after the other
        on each of them."""
        rivals = sum(other.workers for other in self.groups if _meet(group, other)) or group.workers
        return SLICE_NS * -(-max(1, rivals) // (self.cpus(group) or 1))


def _meet(one: Group, other: Group) -> bool:
    """Whether workers of both can have been on one CPU at one time."""
    together = 0 in (one.step, other.step) or one.step == other.step
    return together and (one.cpus is None or other.cpus is None or not set(one.cpus).isdisjoint(other.cpus))


def where(run: Run, group: Group) -> str:
    """Whose number it is: the cgroup, and in which step."""
    step = f" of Step[{group.step - 1}]" if run.phased and group.step else ""
    return f"cgroup {group.cgroup}{step}" if group.cgroup else f"the agent's own cgroup{step}"


def who(run: Run, group: Group, report: WorkerReport) -> str:
    """A worker, by its place and its number, and where it ran."""
    cpus = f", CPUs {cpulist.render(report.cpus_used)}" if report.cpus_used else ""
    return f"{where(run, group)}: worker {report.index} (tid {report.tid}, {group.work_type}{cpus})"


@dataclass(frozen=True)
class Breach:
    """A limit that did not hold in a group; ``worker``: whose number it is, None for a number of the group's."""

    kind: ReasonKind
    group: Group
    what: str
    value: float
    limit: float
    worker: int | None = None

    def judged(self, excuse: str | None) -> Detail:
        """Fail, or Inconclusive with the sentence that excuses the scheduler."""
        verdict = Verdict.FAIL if excuse is None else Verdict.INCONCLUSIVE
        message = self.what if excuse is None else f"{self.what}; {excuse}"
        return Detail(verdict, self.kind, message, self.group.cgroup, self.worker, self.value, self.limit)


def unknown(kind: ReasonKind, group: Group, what: str, limit: float | None = None, worker: int | None = None) -> Detail:
    """A gate that was asked for and could not be evaluated."""
    message = f"cgroup {group.cgroup} ({group.work_type}): {what}"
    return Detail(Verdict.INCONCLUSIVE, kind, message, group.cgroup, worker, None, limit)
