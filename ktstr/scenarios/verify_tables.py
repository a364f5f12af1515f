"""Whether the guest agent would take the tables of a program: every rule that it checks of them.

Rules on strings and masks in all are in ``encode``, which makes them unique.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ktstr.errors import InputError
from ktstr.record import vocabulary
from ktstr.scenarios.program import OWN_CGROUP, Cgroup, MemPolicy, Payload, Program, Work, spawn_order
from ktstr.vm.protocol import MEM_POLICIES, POLICIES, lib

# MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES and MPOL_F_NUMA_BALANCING of include/uapi/linux/mempolicy.h.
_STATIC_NODES, _RELATIVE_NODES, _NUMA_BALANCING = 1 << 15, 1 << 14, 1 << 13
_MEM_FLAGS = _STATIC_NODES | _RELATIVE_NODES | _NUMA_BALANCING
_NAME_PART = re.compile(r"(?!\.)[!-.0-~]{1,64}")
_COMM = re.compile(r"[ -.0-~]*")


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


def check_ns(what: str, value: int) -> None:
    bounded(what, value, 0, lib.KTSTR_MAX_NS)


def _numbers(what: str, thing: str, values: Sequence[int] | None, limit: int) -> None:
    """CPUs or nodes of a mask; None is no mask."""
    if values is None:
        return
    for value in values:
        bounded(f"{what}: {thing}", value, 0, limit - 1)
    if not values:
        raise InputError(f"{what} holds no {thing}, expected at least one")


def check_cpus(what: str, cpus: Sequence[int] | None) -> None:
    _numbers(what, "CPU", cpus, lib.KTSTR_MAX_CPUS)


def check_one_of(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f"{what} is {value!r}, expected one of {', '.join(known)}")


def verify_tables(program: Program) -> None:
    """Raise InputError, naming the entry of a table, its field and the limit, unless the agent takes them all."""
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
    parts, deepest = name.split("/"), lib.KTSTR_MAX_CGROUP_DEPTH
    if len(name) >= lib.KTSTR_CGROUP_NAME_BYTES or len(parts) > deepest or not all(map(_NAME_PART.fullmatch, parts)):
        raise InputError(
            f"{where}: name {name!r}: expected 1 to {deepest} parts of 1 to 64 printable ASCII characters joined by"
            f" '/', none beginning with '.', {lib.KTSTR_CGROUP_NAME_BYTES - 1} bytes in all"
        )
    check_cpus(f"{where}: cpus", cgroup.cpus)
    _numbers(f"{where}: mems", "node", cgroup.mems, lib.KTSTR_MAX_NODES)


def _work(where: str, work: Work, cgroups: int) -> None:
    check_one_of(f"{where}: type", work.type, tuple(vocabulary.WORK_TYPES))
    check_one_of(f"{where}: policy", work.policy, tuple(POLICIES))
    facts = vocabulary.WORK_TYPES[work.type]
    where = f"{where} ({work.type})"
    bounded(f"{where}: cgroup", work.cgroup, OWN_CGROUP, cgroups - 1)
    for worker in work.workers:
        check_ns(f"{where}: start_offset_ns", worker.start_offset_ns)
    if len(work.params) != len(facts.params):
        raise InputError(f"{where}: found {len(work.params)} parameters, expected {len(facts.params)}")
    for param, value in zip(facts.params, work.params, strict=True):
        bounded(f"{where}: {param.name}", value, param.low, param.high)
    if not work.workers or len(work.workers) % facts.group(work.params):
        expected = f"a positive multiple of {facts.group(work.params)}"
        raise InputError(f"{where}: {len(work.workers)} workers, expected {expected}")
    _priority(where, work)
    bounded(f"{where}: nice", work.nice, -20, 19)
    check_cpus(f"{where}: affinity", work.affinity)
    for worker in work.workers:
        check_cpus(f"{where}: affinity of a worker", worker.affinity)
    _deadline(where, work)
    if work.mem_policy is not None:
        _mem_policy(f"{where}: mem_policy", work.mem_policy)
    for name in ("comm", "pcomm"):
        _comm(f"{where}: {name}", getattr(work, name))
    if work.pcomm and not work.threads:
        raise InputError(f"{where}: pcomm is {work.pcomm!r}, expected it of threads only")


def _comm(what: str, name: str) -> None:
    """What a task may be called; a slash is left to those that the agent names itself."""
    if len(name) > lib.KTSTR_MAX_COMM or _COMM.fullmatch(name) is None:
        raise InputError(f"{what} is {name!r:.80}, expected at most {lib.KTSTR_MAX_COMM} printable ASCII without '/'")


def _deadline(where: str, work: Work) -> None:
    """As sched_setattr(2) takes it (__checkparam_dl): 1024 <= runtime <= deadline <= period."""
    if (work.deadline is not None) is not (work.policy == "deadline"):
        raise InputError(f"{where}: policy is {work.policy}, expected a deadline with policy deadline and no other")
    if (given := work.deadline) is None:
        return
    bounded(f"{where}: runtime_ns", given.runtime_ns, 1024, lib.KTSTR_MAX_NS)
    bounded(f"{where}: deadline_ns", given.deadline_ns, given.runtime_ns, lib.KTSTR_MAX_NS)
    bounded(f"{where}: period_ns", given.period_ns, given.deadline_ns, lib.KTSTR_MAX_NS)


def _mem_policy(where: str, policy: MemPolicy) -> None:
    check_one_of(f"{where}.mode", policy.mode, tuple(MEM_POLICIES))
    _numbers(f"{where}.nodes", "node", policy.nodes, lib.KTSTR_MAX_NODES)
    if (policy.nodes is None) is not (policy.mode == "local"):
        raise InputError(f"{where}.nodes: found {policy.nodes} for {policy.mode}, expected nodes for all but local")
    if policy.flags & ~(0 if policy.mode == "local" else _MEM_FLAGS):
        raise InputError(f"{where}.flags is {policy.flags:#x}, expected some of {_MEM_FLAGS:#x}, and none for local")
    if policy.flags & _STATIC_NODES and policy.flags & _RELATIVE_NODES:
        raise InputError(f"{where}.flags is {policy.flags:#x}, expected static or relative nodes, not both")


def _payload(where: str, payload: Payload, cgroups: int) -> None:
    bounded(f"{where}: number of arguments", len(payload.argv), 1, lib.KTSTR_MAX_ARGS)
    size = sum(len(utf8(f"{where}: argument", arg)) + 1 for arg in payload.argv)
    bounded(f"{where}: bytes of arguments", size, 1, lib.KTSTR_MAX_ARG_BYTES)
    if not payload.argv[0]:
        raise InputError(f"{where}: found an empty program name, expected its path")
    bounded(f"{where}: cgroup", payload.cgroup, OWN_CGROUP, cgroups - 1)
    check_cpus(f"{where}: affinity", payload.affinity)
    bounded(f"{where}: number of variables", len(payload.env), 0, lib.KTSTR_MAX_ENV)
    for variable in payload.env:
        if "=" not in variable[1:]:
            raise InputError(f"{where}: variable {variable!r:.80}, expected NAME=VALUE")
    size = sum(len(utf8(f"{where}: variable", variable)) + 1 for variable in payload.env)
    bounded(f"{where}: bytes of variables", size, 0, lib.KTSTR_MAX_ARG_BYTES)
    if payload.folder:
        check_path(f"{where}: folder", payload.folder)
    check_one_of(f"{where}: policy", payload.policy, tuple(name for name in POLICIES if name != "deadline"))
    _priority(where, payload)
    bounded(f"{where}: nice", payload.nice, -20, 19)


def _priority(where: str, of: Work | Payload) -> None:
    low, high = (1, vocabulary.MAX_PRIORITY) if vocabulary.POLICIES[of.policy].has_priority else (0, 0)
    bounded(f"{where}: priority under policy {of.policy}", of.priority, low, high)


def check_orders(program: Program) -> None:
    """A place among all workers for each, or for none. Which works its ops spawn has to be right already."""
    orders = [worker.order for index in spawn_order(program) for worker in program.works[index].workers]
    given = [order for order in orders if order is not None]
    if given and (len(given) != len(orders) or sorted(given) != list(range(len(orders)))):
        raise InputError(f"order of workers: expected each of 0 to {len(orders) - 1} once, or none for any worker")


def check_text(what: str, text: str) -> None:
    bounded(f"{what}: bytes", len(utf8(what, text)), 0, lib.KTSTR_MAX_TEXT_BYTES - 1)


def check_path(what: str, path: str) -> None:
    data = utf8(what, path)
    if not path.startswith("/") or any(byte < 0x20 or byte == 0x7F for byte in data):
        raise InputError(f"{what} is {path!r:.80}, expected an absolute path without control characters")
    check_text(what, path)
