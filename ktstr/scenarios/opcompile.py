"""A declared op as ops of the program, and what there is after it.

Workers are named by the cgroup that they are in, not by what spawned them, so that an op means the same in each pass
of a loop.
"""

from __future__ import annotations

from ktstr.config import ops as declared
from ktstr.errors import InputError
from ktstr.scenarios import cpusets, program
from ktstr.scenarios.deadlines import STOP_WORKERS_NS
from ktstr.scenarios.draft import Draft
from ktstr.scenarios.payloads import is_custom
from ktstr.scenarios.places import Cpus, Group, Places, Running
from ktstr.scenarios.program import Op, Selector

_SAME_FOR_ALL = ("cpuset", "llc_aligned", "single", "lowest", "all")


def compile_op(draft: Draft, op: declared.Op, again: object) -> list[Op]:
    """The ops that it is. ``again``: what the passes of a loop know it by.

    Raises InputError, with its place, for what cannot be at this moment.
    """
    made = _compile(draft, op, again)
    draft.keep_lives()
    return made


def _compile(draft: Draft, op: declared.Op, again: object) -> list[Op]:
    match op:
        case declared.AddCgroup():
            return draft.add_cgroup(op.cgroup)
        case declared.RemoveCgroup():
            return _remove(draft, op)
        case declared.SetCpuset():
            return _set_cpuset(draft, op)
        case declared.ClearCpuset():
            group = draft.places.group(op.cgroup, op.where)
            return _set_cpus(draft, group, None, op.where)
        case declared.SwapCpusets():
            return _swap(draft, op)
        case declared.SetControls():
            group = draft.places.group(op.cgroup, op.where)
            return draft.control(group, op.controls, op.where)
        case declared.Freeze():
            return _freeze(draft.places.group(op.cgroup, op.where), op.frozen)
        case declared.Spawn():
            return _spawn(draft, op, again)
        case declared.StopWorkers():
            return stop(draft, draft.places.group(op.cgroup, op.where), op.where)
        case declared.SetAffinity():
            return _set_affinity(draft, op)
        case declared.MoveTasks():
            return _move(draft, op)
        case declared.Hotplug():
            return _hotplug(draft, op)
        case declared.RunPayload():
            return [draft.run(op.payload, op.args, op.cgroup, op.where)]
        case declared.WaitPayload():
            running = _running(draft, op)
            running.waited = True
            return [program.Wait(running.entry, op.timeout_ns, on_error="record")]  # judged by what became of it
        case declared.KillPayload():
            running = _running(draft, op)
            draft.places.running.remove(running)
            return [program.Kill(running.entry)]


# Cgroups.


def thaw(groups: list[Group]) -> list[Op]:
    """Let those go on that are frozen: what is frozen does not heed that it is to stop."""
    frozen = [group for group in groups if group.frozen]
    return [op for group in frozen for op in _freeze(group, False)]


def stopped_with(places: Places, step: int) -> list[Group]:
    """The cgroups that hold what is stopped at the end of a step, with those above."""
    inside = {crew.cgroup for crew in places.crews if crew.step == step and crew.cgroup is not None}
    inside |= {group.path for group in places.groups.values() if group.step == step}
    above = {group.path for path in inside for group in places.above(path)}
    return [group for group in places.groups.values() if group.path in inside | above]


def stop(draft: Draft, group: Group, where: str) -> list[Op]:
    """End the workers and payloads of a cgroup. Raises InputError where one above is frozen."""
    places = draft.places
    outer = next((one for one in places.above(group.path) if one.frozen), None)
    if outer is not None:
        raise InputError(
            f"{where}: found cgroup {group.path} in {outer.path}, which is frozen, expected it to go on before its"
            " workers stop",
            fix=f"{{op: unfreeze, cgroup: {outer.path}}} before",
        )
    ops = thaw([group])
    gone = [running for running in places.running if running.cgroup == group.path]
    ops += [program.Kill(running.entry) for running in gone]
    places.running = [running for running in places.running if running.cgroup != group.path]
    places.crews = [crew for crew in places.crews if crew.cgroup != group.path]
    return [*ops, program.StopWorkers(Selector(cgroup=group.entry), STOP_WORKERS_NS)]


def _remove(draft: Draft, op: declared.RemoveCgroup) -> list[Op]:
    """With all below it, the deepest first; workers report before."""
    group = draft.places.group(op.cgroup, op.where)
    ops = thaw([group])
    for one in (*draft.places.below(group.path), group):
        ops += stop(draft, one, op.where)
        ops.append(program.RemoveCgroups(Selector(cgroup=one.entry)))
        draft.places.remove(one)
    return ops


def _set_cpuset(draft: Draft, op: declared.SetCpuset) -> list[Op]:
    group = draft.places.group(op.cgroup, op.where)
    return _set_cpus(draft, group, cpusets.resolve(op.cpuset, draft.around.topology), op.cpuset.where or op.where)


def _set_cpus(draft: Draft, group: Group, cpus: Cpus | None, where: str) -> list[Op]:
    draft.places.set_cpus(group, cpus, where)
    return [program.ClearCpus(group.entry) if cpus is None else program.SetCpus(group.entry, cpus)]


def _swap(draft: Draft, op: declared.SwapCpusets) -> list[Op]:
    """Each gets what the other has; of two that are in each other, both have the same."""
    places = draft.places
    a, b = places.group(op.a, op.where), places.group(op.b, op.where)
    a.cpus, b.cpus = b.cpus, a.cpus
    a.judged = b.judged = None
    ops: list[Op] = []
    for group in (a, b):
        ops += _set_cpus(draft, group, group.cpus, op.where)
    return ops


def _freeze(group: Group, frozen: bool) -> list[Op]:
    """What became of it is in the record: it takes effect when its last task has."""
    group.frozen = frozen
    write = program.WriteCgroup(group.entry, "cgroup.freeze", str(int(frozen)))
    return [write, program.ReadCgroup(group.entry, "cgroup.events")]


# Workers.


def _spawn(draft: Draft, op: declared.Spawn, again: object) -> list[Op]:
    if op.cgroup is not None:
        draft.places.group(op.cgroup, op.where)
    if is_custom(op.work):
        return draft.run_custom(op.work, op.cgroup)
    draft.spawn(op.work, op.cgroup, again)
    work = draft.places.crews[-1].work
    return [program.Spawn(work), program.Release(Selector(work=work))]


def _set_affinity(draft: Draft, op: declared.SetAffinity) -> list[Op]:
    """One op for all where they get the same CPUs, else one for each worker."""
    group = draft.places.group(op.cgroup, op.where)
    inside = [crew.work for crew in draft.places.crews if crew.cgroup == group.path]
    workers = {work: draft.lives[work].declared.workers for work in inside}
    each = [Selector(work=work, first_worker=i, workers=1) for work in inside for i in range(workers[work])]
    chosen = draft.pins(op.affinity, len(each), group.path, op.where)
    for crew in draft.places.crews:
        if crew.cgroup == group.path:
            crew.pins = chosen.together
    if op.affinity.kind in _SAME_FOR_ALL and chosen.common is not None:
        return [program.SetAffinity(Selector(cgroup=group.entry), chosen.common)]
    return [program.SetAffinity(who, cpus) for who, cpus in zip(each, chosen.each, strict=True)]


def _move(draft: Draft, op: declared.MoveTasks) -> list[Op]:
    places = draft.places
    source, target = places.group(op.source, op.where), places.group(op.target, op.where)
    places.inhabit(target.path, op.where)
    for crew in places.crews:
        if crew.cgroup == source.path:
            crew.cgroup = target.path
    return [program.Move(Selector(cgroup=source.entry), target.entry)]


# CPUs.


def _hotplug(draft: Draft, op: declared.Hotplug) -> list[Op]:
    cpus = cpusets.resolve(op.cpus, draft.around.topology)
    draft.places.hotplug(cpus, op.online, op.where)
    return draft.switch(cpus, op.online)


# Payloads.


def _running(draft: Draft, op: declared.WaitPayload | declared.KillPayload) -> Running:
    """The one that is meant; one that was waited for may still be killed. Raises InputError for none, or several."""
    known = [one for one in draft.places.running if one.name == op.payload]
    named = [one for one in known if not one.waited]
    if isinstance(op, declared.KillPayload) and not named:
        named = known
    if op.cgroup is not None:
        draft.places.group(op.cgroup, op.where)
        named = [one for one in named if one.cgroup == op.cgroup]
    if len(named) == 1:
        return named[0]
    if not named:
        raise InputError(f"{op.where}: found payload {op.payload}, expected one that runs at this moment")
    cgroups = ", ".join(one.cgroup or "the agent's own" for one in named)
    raise InputError(
        f"{op.where}: found payload {op.payload} in several cgroups ({cgroups}), expected one of them",
        fix="name its cgroup",
    )
