"""Whether the guest agent would take a program: every rule that it checks, so that what breaks one is told here first.

Rules on strings and masks in all are in ``encode``, which makes them unique.

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
    Cgroup,
    Kill,
    Move,
    Op,
    Payload,
    Program,
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
    Work,
    spawn_order,
)
from ktstr.vm.protocol import ON_ERRORS, POLICIES, SCOPES, lib

MAX_U32 = 2**32 - 1
_NAME_PART = re.compile(r"(?!\.)[!-.0-~]{1,64}")


def verify(program: Program) -> None:
    """Raise InputError, naming the op or the entry of a table, its field and the limit, unless the agent takes it."""
    bounded("seed", program.seed, 0, 2**64 - 1)
    _ns("deadline_ns", program.deadline_ns)
    _tables(program)
    _Flow(program).walk(program.ops)
    _orders(program)


def bounded(what: str, value: int, low: int, high: int) -> int:
    """The value. Raises InputError, naming it and its bounds (inclusive), when it is outside of them."""
    if not low <= value <= high:
        raise InputError(f"{what} is {value}, expected {low} to {high}")
    return value


def utf8(what: str, text: str) -> bytes:
    """The bytes of a text without NUL. Raises InputError, naming it, when it has none or holds one."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{what} is {text!r:.80}, expected what UTF-8 can hold") from None
    if b"\0" in data:
        raise InputError(f"{what} is {text!r:.80}, expected no NUL in it")
    return data


def _ns(what: str, value: int) -> None:
    bounded(what, value, 0, lib.KTSTR_MAX_NS)


def _numbers(what: str, thing: str, values: Sequence[int] | None, limit: int) -> None:
    """CPUs or nodes of a mask; None is no mask."""
    if values is None:
        return
    for value in values:
        bounded(f"{what}: {thing}", value, 0, limit - 1)
    if not values:
        raise InputError(f"{what} holds no {thing}, expected at least one")


def _cpus(what: str, cpus: Sequence[int] | None) -> None:
    _numbers(what, "CPU", cpus, lib.KTSTR_MAX_CPUS)


def _one_of(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f"{what} is {value!r}, expected one of {', '.join(known)}")


# Tables.


def _tables(program: Program) -> None:
    bounded("number of cgroups", len(program.cgroups), 0, lib.KTSTR_MAX_CGROUPS)
    bounded("number of works", len(program.works), 0, lib.KTSTR_MAX_WORKS)
    bounded("number of workers", sum(len(work.workers) for work in program.works), 0, lib.KTSTR_MAX_WORKERS)
    bounded("number of payloads", len(program.payloads), 0, lib.KTSTR_MAX_PAYLOADS)
    names: set[str] = set()
    for index, cgroup in enumerate(program.cgroups):
        _cgroup(f"cgroup {index}", cgroup)
        if cgroup.name in names:
            raise InputError(f"cgroup {index}: name {cgroup.name!r} is there twice, expected each once")
        names.add(cgroup.name)
    for index, work in enumerate(program.works):
        _work(f"work {index}", work, len(program.cgroups))
    for index, payload in enumerate(program.payloads):
        _payload(f"payload {index}", payload, len(program.cgroups))


def _cgroup(where: str, cgroup: Cgroup) -> None:
    name = cgroup.name
    if len(name) >= lib.KTSTR_CGROUP_NAME_BYTES or not all(map(_NAME_PART.fullmatch, name.split("/"))):
        raise InputError(
            f"{where}: name {name!r}: expected parts of 1 to 64 printable ASCII characters joined by '/', none"
            f" beginning with '.', {lib.KTSTR_CGROUP_NAME_BYTES - 1} bytes in all"
        )
    _cpus(f"{where}: cpus", cgroup.cpus)
    _numbers(f"{where}: mems", "node", cgroup.mems, lib.KTSTR_MAX_NODES)


def _work(where: str, work: Work, cgroups: int) -> None:
    _one_of(f"{where}: type", work.type, tuple(vocabulary.WORK_TYPES))
    _one_of(f"{where}: policy", work.policy, tuple(POLICIES))
    facts = vocabulary.WORK_TYPES[work.type]
    where = f"{where} ({work.type})"
    bounded(f"{where}: cgroup", work.cgroup, OWN_CGROUP, cgroups - 1)
    if not work.workers or len(work.workers) % facts.group_size:
        raise InputError(f"{where}: {len(work.workers)} workers, expected a positive multiple of {facts.group_size}")
    for worker in work.workers:
        _ns(f"{where}: start_offset_ns", worker.start_offset_ns)
    if len(work.params) != len(facts.params):
        raise InputError(f"{where}: found {len(work.params)} parameters, expected {len(facts.params)}")
    for param, value in zip(facts.params, work.params, strict=True):
        bounded(f"{where}: {param.name}", value, param.low, param.high)
    low, high = (1, vocabulary.MAX_PRIORITY) if vocabulary.POLICIES[work.policy].has_priority else (0, 0)
    bounded(f"{where}: priority under policy {work.policy}", work.priority, low, high)
    bounded(f"{where}: nice", work.nice, -20, 19)
    _cpus(f"{where}: affinity", work.affinity)


def _payload(where: str, payload: Payload, cgroups: int) -> None:
    bounded(f"{where}: number of arguments", len(payload.argv), 1, lib.KTSTR_MAX_ARGS)
    size = sum(len(utf8(f"{where}: argument", arg)) + 1 for arg in payload.argv)
    bounded(f"{where}: bytes of arguments", size, 1, lib.KTSTR_MAX_ARG_BYTES)
    if not payload.argv[0]:
        raise InputError(f"{where}: found an empty program name, expected its path")
    bounded(f"{where}: cgroup", payload.cgroup, OWN_CGROUP, cgroups - 1)
    _cpus(f"{where}: affinity", payload.affinity)


def _orders(program: Program) -> None:
    """A place among all workers for each, or for none."""
    orders = [worker.order for index in spawn_order(program) for worker in program.works[index].workers]
    given = [order for order in orders if order is not None]
    if given and (len(given) != len(orders) or sorted(given) != list(range(len(orders)))):
        raise InputError(f"order of workers: expected each of 0 to {len(orders) - 1} once, or none for any worker")


# Ops.


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
        self._inhabited: set[str] = set()
        self._checks: dict[str, Callable[[str, Any], object]] = {
            "on_error": lambda what, value: _one_of(what, value, tuple(ON_ERRORS)),
            "payload": lambda what, value: bounded(what, value, 0, len(program.payloads) - 1),
            "cgroup": lambda what, value: bounded(what, value, 0, len(program.cgroups) - 1),
            "work": lambda what, value: bounded(what, value, 0, len(program.works) - 1),
            "phase": _u32,
            "count": _u32,
            "who": self._selector,
            "cpus": _cpus,
            "path": _path,
            "text": _text,
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
            check = _ns if field.name.endswith("_ns") else self._checks.get(field.name)
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
            case SetCpus():
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
        for other in self._inhabited:
            outer, inner = sorted((name, other), key=len)
            if inner.startswith(outer + "/"):
                raise InputError(
                    f"{where}: cgroups {outer} and {inner} both hold workers, expected only the innermost to hold any"
                )
        self._inhabited.add(name)

    def _selector(self, what: str, who: Selector) -> None:
        _one_of(f"{what}.scope", who.scope, tuple(SCOPES))
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
        works = self._program.works

        def named(index: int, made: _Made) -> bool:
            return who.work in (None, index) and who.cgroup in (None, works[index].cgroup) and self._in_scope(who, made)

        _forget(self._works, named)

    def _remove_cgroups(self, where: str, who: Selector) -> None:
        if who.work is not None:
            raise InputError(f"{where}: who.work is {who.work}, expected none: it names cgroups")
        _forget(self._cgroups, lambda index, made: who.cgroup in (None, index) and self._in_scope(who, made))


def _need(what: str, index: int, made: dict[int, _Made]) -> None:
    if index not in made:
        raise InputError(f"{what} {index} is not made here, expected one that is")


def _forget(made: dict[int, _Made], which: Callable[[int, _Made], bool]) -> None:
    for index in [index for index, how in made.items() if which(index, how)]:
        del made[index]


def _u32(what: str, value: int) -> None:
    bounded(what, value, 0, MAX_U32)


def _text(what: str, text: str) -> None:
    bounded(f"{what}: bytes", len(utf8(what, text)), 0, lib.KTSTR_MAX_TEXT_BYTES - 1)


def _path(what: str, path: str) -> None:
    data = utf8(what, path)
    if not path.startswith("/") or any(byte < 0x20 or byte == 0x7F for byte in data):
        raise InputError(f"{what} is {path!r:.80}, expected an absolute path without control characters")
    _text(what, path)


def _body(what: str, body: tuple[Op, ...]) -> None:
    if not body:
        raise InputError(f"{what} is empty, expected at least one op")
