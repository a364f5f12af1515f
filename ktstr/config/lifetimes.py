"""What is there when: the steps of a test are walked in order, and what they name must be there by then.

Rules that need no topology. A cgroup or payload of a step ends with it, one of the backdrop with the test. A cgroup
whose children have workers or settings of their own cannot have workers itself ("no internal processes" of
Documentation/admin-guide/cgroup-v2.rst).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ktstr.config import ops
from ktstr.config import scenario_fields as tables
from ktstr.config.ops import Op, RunPayload
from ktstr.config.placed import Placed
from ktstr.config.problems import quoted
from ktstr.config.reader import Reader
from ktstr.config.scenario import Cgroup, Work
from ktstr.config.stepdecl import Stage

_Key = tuple[str, str | None]  # of a payload that runs: its name, and its cgroup
_Inside = tuple[str, str]  # a payload, or WORKERS, and who started it
WORKERS = ""


@dataclass
class _There:
    """A cgroup that is there. ``inside``: its workers and payloads, by who started them.

    ``set_up``: it has settings of its own. ``child``: it was made as the parent of that one, and not by itself.
    """

    stage: str
    inside: set[_Inside] = field(default_factory=set)
    set_up: bool = False
    child: str | None = None

    @property
    def busy(self) -> bool:
        """Whether it has workers or payloads."""
        return bool(self.inside)


@dataclass
class _Walk:
    """How far the walk is. ``starter``: what starts workers and payloads now, a stage or a round of its loop. ``gone``:
    why a cgroup is no longer there. ``running``: who started it. ``made``: every cgroup that ever was.
    """

    r: Reader
    stages: Sequence[Stage]
    backdrop: str
    stage: Stage
    starter: str
    cgroups: dict[str, _There] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    running: dict[_Key, str] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)


def check_lifetimes(r: Reader, whole: Placed[object], backdrop: Stage | None, steps: Sequence[Stage]) -> None:
    """Walk what a test does. Problems are recorded in the reader, those of all of it at ``whole``."""
    stages = [*([] if backdrop is None else [backdrop]), *steps]
    if not stages:
        return
    walk = _Walk(r, stages, "" if backdrop is None else backdrop.path, stages[0], stages[0].path)
    if backdrop is not None:
        _make_all(walk, backdrop.cgroups)
        _act(walk, backdrop.ops)
        _act(walk, backdrop.payloads)
    for step in steps:
        walk.stage, walk.starter = step, step.path
        _step(walk, step)
    _check_limits(r, whole, stages, len(walk.made))


def _step(walk: _Walk, step: Stage) -> None:
    before = len(walk.r.problems)
    is_loop = step.hold.kind == "loop"  # whose ops come after the rest, in each round
    if not is_loop:
        _act(walk, step.ops)
    _make_all(walk, step.cgroups)
    _act(walk, step.payloads)
    if is_loop:
        _round(walk, step)
    if is_loop and len(walk.r.problems) == before:
        _round(walk, step)  # what a second round trips over, every further one would
    for name in [name for name, there in walk.cgroups.items() if there.stage == step.path]:
        del walk.cgroups[name]
        walk.gone[name] = f"it ended with {step.path.rpartition('.')[2]}"
    _end(walk)


def _round(walk: _Walk, step: Stage) -> None:
    """One round of a loop. What it makes ends with it."""
    there = set(walk.cgroups)
    walk.starter = f"a round of {step.path}"
    _act(walk, step.ops)
    _end(walk)
    for name in [name for name in walk.cgroups if name not in there]:
        del walk.cgroups[name]
        walk.gone[name] = "it ended with its round of the loop"
    walk.starter = step.path


def _end(walk: _Walk) -> None:
    """The workers and payloads of what was walked last end."""
    for there in walk.cgroups.values():
        there.inside = {one for one in there.inside if one[1] != walk.starter}
    walk.running = {key: starter for key, starter in walk.running.items() if starter != walk.starter}


def _check_limits(r: Reader, whole: Placed[object], stages: Sequence[Stage], cgroups: int) -> None:
    """As many of each as the agent takes in one program."""
    works = [work for stage in stages for work in _works(stage)]
    workers = sum(work.workers for work in works if work.payload is None)
    runs = sum(isinstance(placed.value, RunPayload) for stage in stages for placed in (*stage.ops, *stage.payloads))
    payloads = runs + sum(work.workers for work in works if work.payload is not None)
    limits = (
        ("cgroups", cgroups, tables.MAX_CGROUPS),
        ("workers", workers, tables.MAX_WORKERS),
        ("payloads", payloads, tables.MAX_PAYLOADS),
    )
    for what, count, most in limits:
        if count > most:
            r.wrong(whole.node, whole.path, f"at most {most}", what=f"{count} {what}")


def _works(stage: Stage) -> Iterator[Work]:
    for placed in stage.cgroups:
        yield from placed.value.works
    for op in stage.ops:
        if isinstance(op.value, ops.Spawn):
            yield op.value.work


# Cgroups.


def _parents(name: str) -> list[str]:
    """The cgroups that one is below, from the top."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _make_all(walk: _Walk, cgroups: Sequence[Placed[Cgroup]]) -> None:
    """Make the cgroups of one list: a parent may stand after its child."""
    fresh = []
    for placed in cgroups:
        if _is_free(walk, placed, "name", placed.value.name):
            _add(walk, placed.value)
            fresh.append(placed)
    for placed in fresh:
        for parent in _parents(placed.value.name):
            walk.cgroups.setdefault(parent, _There(walk.stage.path, child=placed.value.name))
            walk.made.add(parent)
    names = {placed.value.name for placed in fresh}
    for placed in fresh:
        _check_internal(walk, placed, "name", placed.value.name, names)


def _add(walk: _Walk, cgroup: Cgroup) -> None:
    set_up = bool(cgroup.cpuset or cgroup.mems or cgroup.controls)
    inside = {(WORKERS, walk.starter)} if cgroup.works else set()
    walk.cgroups[cgroup.name] = _There(walk.stage.path, inside, set_up)
    walk.made.add(cgroup.name)


def _is_free(walk: _Walk, placed: Placed[Any], key: str, name: str) -> bool:
    """Whether no cgroup of this name is there."""
    there = walk.cgroups.get(name)
    if there is None:
        return True
    if there.child is not None:
        expected = f"a name that is not there yet: it was made as the parent of {there.child}"
    elif there.stage == walk.stage.path:
        expected = "each cgroup name once in a test" if not walk.backdrop and len(walk.stages) == 1 else (
            "a name that is not there yet: this step made it already"
        )  # fmt: skip
    else:
        expected = "another name than that of a cgroup of the backdrop, which is still there"
    node, path = placed.at(key)
    walk.r.wrong(node, path, expected, what=quoted(name))
    return False


def _check_internal(
    walk: _Walk, placed: Placed[Any], key: str, name: str, fresh: Collection[str] = frozenset()
) -> None:
    """No workers in a cgroup with workers or settings below it. ``fresh``: cgroups that are looked at themselves."""
    there = walk.cgroups[name]
    node, path = placed.at(key)
    if there.busy:
        below = (n for n, other in _below(walk, name) if (other.busy or other.set_up) and n not in fresh)
        if (child := next(below, None)) is not None:
            walk.r.wrong(node, path, f"no workers above {child}, which has workers or settings", what=quoted(name))
            return
    if there.busy or there.set_up:
        above = next((n for n in _parents(name) if n in walk.cgroups and walk.cgroups[n].busy), None)
        if above is not None:
            expected = f"no workers or settings below {above}, which has workers itself (workers: 0 gives it none)"
            walk.r.wrong(node, path, expected, what=quoted(name))


def _below(walk: _Walk, name: str) -> Iterator[tuple[str, _There]]:
    return ((n, there) for n, there in walk.cgroups.items() if n.startswith(f"{name}/"))


def _find(walk: _Walk, placed: Placed[Any], key: str, name: str) -> _There | None:
    """A cgroup that is there; None, with the problem recorded, for one that is not."""
    there = walk.cgroups.get(name)
    if there is not None:
        return there
    node, path = placed.at(key)
    own = {cgroup.value.name for cgroup in walk.stage.cgroups}
    later = next((stage.path for stage in _rest(walk) if name in {c.value.name for c in stage.cgroups}), None)
    if name in own and walk.stage.hold.kind != "loop":
        walk.r.wrong(node, path, "a cgroup that is there by then: the ops of a step come before its cgroups",
                     what=quoted(name))  # fmt: skip
    elif name in walk.gone:
        walk.r.wrong(node, path, f"a cgroup that is still there: {walk.gone[name]}", what=quoted(name))
    elif later is not None:
        step = later.rpartition(".")[2]
        walk.r.wrong(node, path, f"a cgroup that is there by then: {step} makes it", what=quoted(name))
    else:
        walk.r.unknown(node._replace(raw=name, value=name), path, "one of the cgroups", tuple(walk.cgroups))
    return None


def _rest(walk: _Walk) -> Sequence[Stage]:
    """The stages after the one that is walked."""
    return walk.stages[list(walk.stages).index(walk.stage) + 1 :]


# Ops.


def _act(walk: _Walk, acts: Sequence[Placed[Op]]) -> None:
    for placed in acts:
        _ACTS[type(placed.value)](walk, placed, placed.value)


def _of_backdrop(walk: _Walk, there: _There) -> bool:
    return walk.stage.path != walk.backdrop and there.stage == walk.backdrop


def _add_op(walk: _Walk, placed: Placed[Any], op: ops.AddCgroup) -> None:
    name = op.cgroup.name
    if not _is_free(walk, placed, "cgroup", name):
        return
    _add(walk, op.cgroup)
    for parent in _parents(name):
        walk.cgroups.setdefault(parent, _There(walk.stage.path, child=name))
        walk.made.add(parent)
    _check_internal(walk, placed, "cgroup", name)


def _remove_op(walk: _Walk, placed: Placed[Any], op: ops.RemoveCgroup) -> None:
    there = _find(walk, placed, "cgroup", op.cgroup)
    if there is None:
        return
    if _of_backdrop(walk, there):
        walk.r.wrong(*placed.at("cgroup"), "a cgroup of this step: those of the backdrop live through all steps")
        return
    for name in [op.cgroup, *(name for name, _ in _below(walk, op.cgroup))]:
        del walk.cgroups[name]
        walk.gone[name] = "it was removed"
        walk.running = {key: stage for key, stage in walk.running.items() if key[1] != name}


def _stop_op(walk: _Walk, placed: Placed[Any], op: ops.StopWorkers) -> None:
    there = _find(walk, placed, "cgroup", op.cgroup)
    if there is None:
        return
    if _of_backdrop(walk, there):
        walk.r.wrong(*placed.at("cgroup"), "a cgroup of this step: the workers of the backdrop live through all steps")
        return
    there.inside = set()
    walk.running = {key: stage for key, stage in walk.running.items() if key[1] != op.cgroup}


def _named(walk: _Walk, placed: Placed[Any], op: Any) -> None:
    _find(walk, placed, "cgroup", op.cgroup)


def _set_op(walk: _Walk, placed: Placed[Any], op: ops.SetCpuset | ops.SetControls) -> None:
    there = _find(walk, placed, "cgroup", op.cgroup)
    if there is not None:
        there.set_up = True
        _check_internal(walk, placed, "cgroup", op.cgroup)


def _swap_op(walk: _Walk, placed: Placed[Any], op: ops.SwapCpusets) -> None:
    node, path = placed.at("cgroups")
    for i, name in enumerate((op.a, op.b)):
        child = node.value[i] if isinstance(node.value, list) else node
        _find(walk, Placed(op, child, f"{path}[{i}]"), "", name)


def _spawn_op(walk: _Walk, placed: Placed[Any], op: ops.Spawn) -> None:
    if op.cgroup is not None:
        _enter(walk, placed, op.cgroup, WORKERS)


def _enter(walk: _Walk, placed: Placed[Any], name: str, what: str) -> None:
    """Workers or a payload get into a cgroup."""
    there = _find(walk, placed, "cgroup", name)
    if there is not None:
        there.inside.add((what, walk.starter))
        _check_internal(walk, placed, "cgroup", name)


def _move_op(walk: _Walk, placed: Placed[Any], op: ops.MoveTasks) -> None:
    source = _find(walk, placed, "from", op.source)
    target = _find(walk, placed, "to", op.target)
    if source is None or target is None:
        return
    if _of_backdrop(walk, source) and target.stage != walk.backdrop:
        walk.r.wrong(*placed.at("to"), "a cgroup of the backdrop: its workers live through all steps")
        return
    moved = {one for one in source.inside if one[0] == WORKERS}
    target.inside |= moved
    source.inside -= moved
    _check_internal(walk, placed, "to", op.target)


def _hotplug_op(walk: _Walk, placed: Placed[Any], op: ops.Hotplug) -> None:
    """CPUs need the topology."""


def _run_op(walk: _Walk, placed: Placed[Any], op: RunPayload) -> None:
    if op.cgroup is not None:
        _enter(walk, placed, op.cgroup, op.payload)
    key = (op.payload, op.cgroup)
    if key in walk.running:
        expected = "a payload that does not run there already: wait for it or kill it first"
        walk.r.wrong(*placed.at("payload"), expected, what=quoted(op.payload))
    walk.running[key] = walk.starter


def _end_op(walk: _Walk, placed: Placed[Any], op: ops.WaitPayload | ops.KillPayload) -> None:
    if op.cgroup is not None and _find(walk, placed, "cgroup", op.cgroup) is None:
        return
    meant = [key for key in walk.running if key[0] == op.payload and op.cgroup in (None, key[1])]
    node, path = placed.at("payload")
    if not meant:
        walk.r.wrong(node, path, "a payload that runs then")
    elif len(meant) > 1:
        places = ", ".join(cgroup or "the agent's own" for _, cgroup in meant)
        walk.r.wrong(node, path, f"cgroup beside it: it runs in {places}")
    for key in meant:
        stage = walk.running.pop(key)
        if key[1] in walk.cgroups:
            walk.cgroups[key[1]].inside.discard((op.payload, stage))


_ACTS: dict[type, Callable[[_Walk, Placed[Any], Any], None]] = {
    ops.AddCgroup: _add_op,
    ops.RemoveCgroup: _remove_op,
    ops.SetCpuset: _set_op,
    ops.ClearCpuset: _named,
    ops.SwapCpusets: _swap_op,
    ops.SetControls: _set_op,
    ops.Freeze: _named,
    ops.Spawn: _spawn_op,
    ops.StopWorkers: _stop_op,
    ops.SetAffinity: _named,
    ops.MoveTasks: _move_op,
    ops.Hotplug: _hotplug_op,
    RunPayload: _run_op,
    ops.WaitPayload: _end_op,
    ops.KillPayload: _end_op,
}
