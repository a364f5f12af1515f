"""Whether the guest agent would take a program: every rule that it checks, so that what breaks one is told here first.

Those on the tables are in ``verify_tables``.

What is made when is followed in one pass over the ops, blocks included, as if each block ran once: an op may only use
what is made at that place, and may not make it twice. What was made in a Scope is not made any more after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ktstr.errors import InputError
from ktstr.record import vocabulary
from ktstr.scenarios.program import (
    OWN_CGROUP,
    AddCgroup,
    ClearCpus,
    Kill,
    Move,
    Op,
    Program,
    ReadCgroup,
    RemoveCgroups,
    Repeat,
    Run,
    Scope,
    Selector,
    SetCpus,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Wait,
    WriteCgroup,
)
from ktstr.scenarios.verify_tables import (
    bounded,
    check_cpus,
    check_ns,
    check_one_of,
    check_orders,
    check_path,
    check_text,
    verify_tables,
)
from ktstr.vm.protocol import ON_ERRORS, SCOPES, lib

MAX_U32 = 2**32 - 1
_FILE = re.compile(r"(?!\.)[a-z0-9._]{1,64}")


def verify(program: Program) -> None:
    """Raise InputError, naming the op or the entry of a table, its field and the limit, unless the agent takes it."""
    bounded("seed", program.seed, 0, 2**64 - 1)
    check_ns("deadline_ns", program.deadline_ns)
    verify_tables(program)
    _Flow(program).walk(program.ops)
    check_orders(program)


@dataclass(frozen=True)
class _Made:
    """By its number, the innermost Scope and the innermost step around the op that made it."""

    scope: int | None
    step: int | None


class _Flow:
    """What is made at the op that is looked at."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._count = 0
        self._blocks: list[tuple[int, Scope | Repeat]] = []
        self._cgroups: dict[int, _Made] = {}
        self._works: dict[int, _Made] = {}
        self._payloads: dict[int, _Made] = {}
        self._scheduler: dict[int, _Made] = {}
        self._inhabited: set[int] = set()  # cgroups that were given workers since they were made
        self._checks: dict[str, Callable[[str, Any], object]] = {
            "on_error": lambda what, value: check_one_of(what, value, tuple(ON_ERRORS)),
            "payload": lambda what, value: bounded(what, value, 0, len(program.payloads) - 1),
            "cgroup": lambda what, value: bounded(what, value, 0, len(program.cgroups) - 1),
            "work": lambda what, value: bounded(what, value, 0, len(program.works) - 1),
            "phase": _u32,
            "count": _u32,
            "who": self._selector,
            "cpus": check_cpus,
            "path": check_path,
            "file": _file,
            "text": check_text,
            "body": _body,
        }

    def walk(self, ops: Sequence[Op]) -> None:
        for op in ops:
            index, self._count = self._count, self._count + 1
            if index >= lib.KTSTR_MAX_OPS:
                raise InputError(f"program has more than {lib.KTSTR_MAX_OPS} ops, expected at most that")
            where = f"op {index} ({type(op).__name__})"
            self._fields(where, op)
            self._follow(where, op)
            if isinstance(op, (Scope, Repeat)):
                self._block(where, index, op)

    def _fields(self, where: str, op: Op) -> None:
        """Each field for itself."""
        for field in fields(op):
            check = check_ns if field.name.endswith("_ns") else self._checks.get(field.name)
            if check is not None:
                check(f"{where}: {field.name}", getattr(op, field.name))

    def _block(self, where: str, index: int, op: Scope | Repeat) -> None:
        bounded(f"{where}: depth of blocks", len(self._blocks) + 1, 1, lib.KTSTR_MAX_DEPTH)
        if isinstance(op, Repeat) and not op.count and not op.duration_ns:
            raise InputError(f"{where}: count and duration_ns are 0, expected a limit by one of them")
        self._blocks.append((index, op))
        self.walk(op.body)
        self._blocks.pop()
        if isinstance(op, Scope):
            for made in (self._cgroups, self._works, self._payloads, self._scheduler):
                _forget(made, lambda _, how: how.scope == index)

    def _follow(self, where: str, op: Op) -> None:
        """What the op needs and makes."""
        if vocabulary.OPS[type(op).__name__].makes and self._blocks and isinstance(self._blocks[-1][1], Repeat):
            raise InputError(f"{where}: stands in a Repeat, expected it in a Scope in there, which ends what it makes")
        match op:
            case StartScheduler():
                self._start_scheduler(where, op)
            case StopScheduler():
                self._scheduler.clear()
            case AddCgroup():
                self._make(f"{where}: cgroup", op.cgroup, self._cgroups)
                self._inhabited.discard(op.cgroup)
            case Spawn():
                self._make(f"{where}: work", op.work, self._works)
                self._inhabit(where, self._program.works[op.work].cgroup)
            case Run():
                self._make(f"{where}: payload", op.payload, self._payloads)
                self._inhabit(where, self._program.payloads[op.payload].cgroup)
            case Wait() | Kill():
                _need(f"{where}: payload", op.payload, self._payloads)
                if isinstance(op, Kill):
                    del self._payloads[op.payload]
            case Move():
                self._inhabit(where, op.cgroup)
                self._leave(op.who)
            case SetCpus() | ClearCpus() | WriteCgroup() | ReadCgroup():
                _need(f"{where}: cgroup", op.cgroup, self._cgroups)
            case StopWorkers():
                self._stop_workers(op.who)
            case RemoveCgroups():
                self._remove_cgroups(where, op.who)

    def _start_scheduler(self, where: str, op: StartScheduler) -> None:
        if self._scheduler:
            raise InputError(f"{where}: a scheduler is started, expected its StopScheduler before the second")
        self._make(f"{where}: payload", op.payload, self._scheduler)
        self._inhabit(where, self._program.payloads[op.payload].cgroup)

    def _make(self, what: str, index: int, made: dict[int, _Made]) -> None:
        if index in made:
            raise InputError(f"{what} {index} is made already, expected one that is not")
        scopes = [(number, block) for number, block in self._blocks if isinstance(block, Scope)]
        made[index] = _Made(scopes[-1][0] if scopes else None, self._step())

    def _step(self) -> int | None:
        """The innermost step that is being run."""
        steps = [number for number, block in self._blocks if isinstance(block, Scope) and block.step]
        return steps[-1] if steps else None

    def _inhabit(self, where: str, cgroup: int) -> None:
        """cgroup v2: a cgroup whose children have controllers holds no tasks beside theirs (no internal processes)."""
        if cgroup == OWN_CGROUP:
            return
        _need(f"{where}: cgroup", cgroup, self._cgroups)
        name = self._program.cgroups[cgroup].name
        for other in sorted(self._inhabited & self._cgroups.keys()):
            outer, inner = sorted((name, self._program.cgroups[other].name), key=len)
            if inner.startswith(outer + "/"):
                raise InputError(
                    f"{where}: cgroups {outer} and {inner} both hold workers, expected only the innermost to hold any"
                )
        self._inhabited.add(cgroup)

    def _leave(self, who: Selector) -> None:
        """All workers of a cgroup go elsewhere, or stop."""
        if who.cgroup is not None and who.work is None and who.scope == "any":
            self._inhabited.discard(who.cgroup)

    def _selector(self, what: str, who: Selector) -> None:
        check_one_of(f"{what}.scope", who.scope, tuple(SCOPES))
        if who.scope == "step" and self._step() is None:
            raise InputError(f"{what}.scope is 'step', expected it in a Scope that is a step")
        if who.cgroup is not None:
            bounded(f"{what}.cgroup", who.cgroup, 0, len(self._program.cgroups) - 1)
        if who.work is None:
            if who.first_worker or who.workers:
                raise InputError(f"{what} names some workers of any work, expected a work beside them")
            return
        bounded(f"{what}.work", who.work, 0, len(self._program.works) - 1)
        count = len(self._program.works[who.work].workers)
        bounded(f"{what}.first_worker", who.first_worker, 0, count - 1 if who.workers else 0)
        bounded(f"{what}.workers", who.workers, 0, count - who.first_worker)

    def _in_scope(self, who: Selector, made: _Made) -> bool:
        if who.scope == "any":
            return True
        return made.step == (None if who.scope == "backdrop" else self._step())

    def _stop_workers(self, who: Selector) -> None:
        """Some workers of a work leave it spawned."""
        if who.workers:
            return
        self._leave(who)
        works = self._program.works

        def named(index: int, made: _Made) -> bool:
            return who.work in (None, index) and who.cgroup in (None, works[index].cgroup) and self._in_scope(who, made)

        _forget(self._works, named)

    def _remove_cgroups(self, where: str, who: Selector) -> None:
        if who.work is not None:
            raise InputError(f"{where}: who.work is {who.work}, expected none: it names cgroups")
        cgroups = self._program.cgroups
        gone = [
            cgroups[index].name
            for index, made in self._cgroups.items()
            if who.cgroup in (None, index) and self._in_scope(who, made)
        ]
        _forget(self._cgroups, lambda index, _: any(f"{cgroups[index].name}/".startswith(f"{name}/") for name in gone))


def _need(what: str, index: int, made: dict[int, _Made]) -> None:
    if index not in made:
        raise InputError(f"{what} {index} is not made here, expected one that is")


def _forget(made: dict[int, _Made], which: Callable[[int, _Made], bool]) -> None:
    for index in [index for index, how in made.items() if which(index, how)]:
        del made[index]


def _u32(what: str, value: int) -> None:
    bounded(what, value, 0, MAX_U32)


def _file(what: str, name: str) -> None:
    if _FILE.fullmatch(name) is None:
        raise InputError(f"{what} is {name!r:.80}, expected the name of a file of a cgroup")


def _body(what: str, body: tuple[Op, ...]) -> None:
    if not body:
        raise InputError(f"{what} is empty, expected at least one op")
