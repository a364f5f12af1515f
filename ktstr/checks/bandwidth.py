"""Whether cgroups got what their cpu.max and cpu.weight say, by the kernel's own count of what they used.

cpu.max: quota q in period p, on c CPUs, over a wall time w. q * w / p is expected; a quota of more than its CPUs have
cannot be reached. At the ends of that time it may be off by q + min(q, c * SLICE) + c * TICK, which a correct kernel
allows:

- the time need not begin and end with a period: one quota more or less;
- CPUs keep slices of the quota that they did not use (sched_cfs_bandwidth_slice_us, 5 ms each);
- a task is throttled at a tick, and what it ran beyond the quota is taken from the next one.

and by its cpu.max.burst, which it may have saved. More than that is an error always. Less is one only where the quota
is all that can have kept it: it has busy workers for q / p CPUs, none of its ancestors or descendants has a limit of
its own, no other worker may use its CPUs, no payload ran, and nothing was moved, frozen or taken offline; the time in
which its workers had not begun yet is left out.

cpu.weight: of siblings that each keep all of the same CPUs busy with tasks of the fair classes and have no quota, the
share is usage / usage of all, and weight / weights of all is fair. A slice of 20 ms on each CPU is left out. By default
it is judged where weights differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ktstr.checks import machine
from ktstr.checks.breach import SLICE_NS, Run
from ktstr.checks.cpu_stat import Used
from ktstr.checks.formulas import MS
from ktstr.checks.model import Group
from ktstr.checks.restraint import TICK_NS
from ktstr.checks.verdict import Detail, Verdict

BANDWIDTH, WEIGHT, THROTTLED = "max_bandwidth_error_pct", "max_weight_error_pct", "max_throttled_pct"
QUOTA_SLICE_NS = 5 * MS  # sched_cfs_bandwidth_slice_us of kernel/sched/fair.c
_SAME_TIME = 0.9  # of two spans' time that both have to have


def judge_cgroups(found: Sequence[Used], run: Run) -> list[Detail]:
    """The three checks. One that somebody asked for and that nothing answers is Inconclusive."""
    limited = [used for used in found if used.span.quota is not None and used.wall_ns > 0]
    return [*_bandwidths(limited, run), *_weights(found, run), *_throttlings(limited, run)]


def _unanswered(name: str, why: str, run: Run) -> list[Detail]:
    if not run.limits.is_asked_for(name):
        return []
    what = f"{name} was set but not evaluated: {why}"
    return [Detail(Verdict.INCONCLUSIVE, "Bandwidth", what, limit=run.limits.limit(name))]


def _bandwidths(limited: Sequence[Used], run: Run) -> list[Detail]:
    if run.limits.limit(BANDWIDTH) is None:
        return []
    if not limited:
        return _unanswered(BANDWIDTH, "the cpu.stat of no cgroup with cpu.max was read twice", run)
    return [detail for used in limited if (detail := _bandwidth(used, run)) is not None]


def _bandwidth(used: Used, run: Run) -> Detail | None:
    limit, quota = run.limits.limit(BANDWIDTH), used.span.quota
    assert limit is not None and quota is not None
    cpus = quota[0] / quota[1]
    if cpus >= used.span.cpus:  # it cannot be reached
        return None
    expected_ns, edge_ns = cpus * used.wall_ns, _edge_ns(used, run)
    beyond_ns, way = used.usage_ns - expected_ns - edge_ns, "more"
    if beyond_ns <= 0 and (late_ns := _late_ns(used, run)) is not None:
        beyond_ns, way = expected_ns - used.usage_ns - edge_ns - late_ns * cpus, "less"
    error = 100 * beyond_ns / expected_ns
    if error <= limit:
        return None
    what = (
        f"{used.words} used {used.usage_ns / MS:.3f} ms of CPU time, {expected_ns / MS:.3f} ms are its cpu.max of"
        f" {quota[0]} us in {quota[1]} us: {error:.2f} % {way}, with {edge_ns / MS:.3f} ms at its ends left out >"
        f" {run.limits.words(BANDWIDTH)}"
    )
    excuse = _machines(run, (beyond_ns - limit / 100 * expected_ns) / _concurrent(used, run))
    return _judged(used.span.cgroup, what, error, limit, excuse)


def _machines(run: Run, excess_ns: float) -> str | None:
    """Whether a vCPU that stood still explains so much, on each CPU: what was current there is charged for it, and
    all others wait."""
    stall = run.machine.longest()
    if stall is not None and stall.ns >= excess_ns:
        return machine.left_unrun(stall)
    return machine.explains_delay(run.machine, excess_ns)


def _judged(cgroup: str, what: str, value: float, limit: float, excuse: str | None) -> Detail:
    verdict, message = (Verdict.FAIL, what) if excuse is None else (Verdict.INCONCLUSIVE, f"{what}; {excuse}")
    return Detail(verdict, "Bandwidth", message, cgroup, None, value, limit)


def _concurrent(used: Used, run: Run) -> int:
    """How many of its tasks can run at once."""
    workers = sum(group.workers for group in _members(used, run))
    others = run.restraints.moved or run.restraints.crowded or not workers
    return used.span.cpus if others else min(workers, used.span.cpus)


def _edge_ns(used: Used, run: Run) -> float:
    assert used.span.quota is not None
    quota_ns, cpus = 1000 * used.span.quota[0], _concurrent(used, run)
    burst_ns = 1000 * run.restraints.bursts.get(used.span.cgroup, 0)
    return quota_ns + min(quota_ns, cpus * QUOTA_SLICE_NS) + cpus * TICK_NS + burst_ns


def _late_ns(used: Used, run: Run) -> int | None:
    """How long some of its workers had not begun; None where it may have used less for another reason."""
    span, restraints = used.span, run.restraints
    assert span.quota is not None
    enough = min(span.busy, span.cpus) * span.quota[1] >= span.quota[0]
    nested = any(quota.cgroup.startswith(f"{span.cgroup}/") for quota in restraints.quotas)
    disturbed = restraints.again or restraints.disturbs(used.begin_ns, used.end_ns)
    if not enough or nested or disturbed or span.limited_by is not None:
        return None
    own = _members(used, run)
    if not own or _has_rivals(own, used, run):
        return None
    return _begun_late_ns(own, used)


def _members(used: Used, run: Run) -> list[Group]:
    """The groups of workers that are below its cgroup in its phase."""
    return [g for g in run.groups if g.is_below(used.span.cgroup) and g.step in (0, used.span.phase)]


def _has_rivals(own: Sequence[Group], used: Used, run: Run) -> bool:
    others = [g for g in run.groups if g.step in (0, used.span.phase) and not g.is_below(used.span.cgroup)]
    return any(
        mine.cpus is None or other.cpus is None or not set(mine.cpus).isdisjoint(other.cpus)
        for mine in own
        for other in others
    )


def _begun_late_ns(own: Iterable[Group], used: Used) -> int | None:
    """By the worker that lived shortest; None where workers came and went."""
    reports = [report for group in own if group.never_sleeps for report in group.reports]
    if not reports or any(report.spawn for report in reports) or any(group.missing for group in own):
        return None
    return max(0, used.wall_ns - min(report.wall_time_ns for report in reports))


def _throttlings(limited: Sequence[Used], run: Run) -> list[Detail]:
    limit = run.limits.limit(THROTTLED)
    if limit is None:
        return []
    if not limited:
        return _unanswered(THROTTLED, "the cpu.stat of no cgroup with cpu.max was read twice", run)
    return [detail for used in limited if (detail := _throttling(used, limit, run)) is not None]


def _throttling(used: Used, limit: float, run: Run) -> Detail | None:
    if not used.periods or used.throttled is None:
        what = f"{used.words}: throttling unknown: the kernel counted no period of its cpu.max"
        return Detail(Verdict.INCONCLUSIVE, "Bandwidth", what, used.span.cgroup, limit=limit)
    value = 100 * used.throttled / used.periods
    if value <= limit:
        return None
    what = (
        f"{used.words} was throttled in {used.throttled} of {used.periods} periods of its cpu.max, {value:.2f} % >"
        f" {run.limits.words(THROTTLED)}"
    )
    return _judged(used.span.cgroup, what, value, limit, None)


def _weights(found: Sequence[Used], run: Run) -> list[Detail]:
    limit = run.limits.limit(WEIGHT)
    if limit is None:
        return []
    families = [family for family in _families(found) if _comparable(family, run)]
    if not families:
        return _unanswered(WEIGHT, "no siblings kept the same CPUs busy, and nothing else in them", run)
    wanted = [f for f in families if run.limits.is_asked_for(WEIGHT) or len({used.span.weight for used in f}) > 1]
    return [detail for family in wanted for detail in _shares(family, limit, run)]


def _families(found: Iterable[Used]) -> list[list[Used]]:
    """Siblings at one time, two or more."""
    families: list[list[Used]] = []
    for used in sorted(found, key=lambda used: used.begin_ns):
        family = next((family for family in families if _belongs(used, family[0])), None)
        if family is None:
            families.append([used])
        else:
            family.append(used)
    return [family for family in families if len(family) > 1]


def _belongs(used: Used, first: Used) -> bool:
    common = min(used.end_ns, first.end_ns) - max(used.begin_ns, first.begin_ns)
    together = common >= _SAME_TIME * max(used.wall_ns, first.wall_ns, 1)
    return together and _place(used) == _place(first) and used.span.cgroup != first.span.cgroup


def _place(used: Used) -> tuple[str, int, int]:
    return used.span.parent, used.span.phase, used.span.cpus


def _comparable(family: Sequence[Used], run: Run) -> bool:
    restraints = run.restraints
    if restraints.again or any(restraints.disturbs(used.begin_ns, used.end_ns) for used in family):
        return False
    cpus = set()
    for used in family:
        own = _members(used, run)
        nested = any(f"{quota.cgroup}/".startswith(f"{used.span.cgroup}/") for quota in restraints.quotas)
        idle = used.span.cgroup in restraints.idle
        if not own or nested or idle or used.span.quota is not None or used.span.busy < used.span.cpus:
            return False
        if not all(group.is_fair for group in own) or _begun_late_ns(own, used) is None:
            return False
        cpus |= {group.cpus for group in own}
    return len(cpus) == 1


def _shares(family: Sequence[Used], limit: float, run: Run) -> list[Detail]:
    total_ns, weights = sum(used.usage_ns for used in family), sum(used.span.weight for used in family)
    if total_ns <= 0:
        return _unanswered(WEIGHT, f"the siblings of cgroup {family[0].span.cgroup} used no CPU time", run)
    cpus = family[0].span.cpus
    late_ns = max(_begun_late_ns(_members(used, run), used) or 0 for used in family)
    edge_ns = cpus * (SLICE_NS + late_ns)
    details = []
    for used in family:
        fair = used.span.weight / weights
        beyond_ns = abs(used.usage_ns - fair * total_ns) - edge_ns
        error = 100 * beyond_ns / total_ns
        if error > limit:
            what = (
                f"{used.words} used {100 * used.usage_ns / total_ns:.2f} % of what it and {len(family) - 1} sibling(s)"
                f" used, its cpu.weight of {used.span.weight} among {weights} is {100 * fair:.2f} %:"
                f" {error:.2f} points off, with {edge_ns / MS:.3f} ms left out > {run.limits.words(WEIGHT)}"
            )
            excuse = _machines(run, (beyond_ns - limit / 100 * total_ns) / cpus)
            details.append(_judged(used.span.cgroup, what, error, limit, excuse))
    return details
