"""Types the ops of steps: one table of fields and one function for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ktstr.config import ops
from ktstr.config import scenario_fields as tables
from ktstr.config.controls import check_partition, read_controls
from ktstr.config.cpusetdecl import read_affinity, read_cpuset, refuse_cpu_0
from ktstr.config.ops import Op, RunPayload
from ktstr.config.placed import Placed, at, read_list
from ktstr.config.reader import BAD, Reader
from ktstr.config.scenario import Cgroup
from ktstr.config.typed import read, read_table
from ktstr.config.workdecl import Scope, read_work
from ktstr.config.yaml_lines import Node

_RULE = "a list of ops, such as [{op: freeze, cgroup: a}]"


def read_ops(r: Reader, node: Node | None, path: str, scope: Scope) -> tuple[Placed[Op], ...]:
    """A list of ops. Problems are recorded in the reader; what is wrong is left out."""
    return read_list(r, node, path, _RULE, lambda child, at: _op(r, child, at, scope))


def read_runs(r: Reader, node: Node | None, path: str, scope: Scope) -> tuple[Placed[RunPayload], ...]:
    """Payloads that are started: names, or mappings."""
    return read_list(
        r, node, path, "a list of payloads, such as [bench]", lambda child, at: _run_of(r, child, at, scope)
    )


def _run_of(r: Reader, node: Node, path: str, scope: Scope) -> RunPayload | None:
    if isinstance(node.value, dict):
        return _run(r, node, read_table(r, node, path, tables.RUN), path, scope)
    name = read(r, node, path, tables.RUN["payload"])
    if name is BAD or not _is_declared(r, node, path, scope):
        return None
    return RunPayload(name, where=r.place(node, path))


def _is_declared(r: Reader, node: Node, path: str, scope: Scope) -> bool:
    if node.raw in scope.payloads:
        return True
    r.unknown(node, path, "one of the payloads", scope.payloads)
    return False


def _op(r: Reader, node: Node, path: str, scope: Scope) -> Op | None:
    entries = r.mapping(node, path, "a mapping with op, such as {op: freeze, cgroup: a}")
    if not isinstance(node.value, dict):
        return None
    if "op" not in entries:
        r.wrong(node, f"{path}.op", f"one of {', '.join(tables.OPS)}", what="nothing")
        return None
    name = read(r, entries["op"], f"{path}.op", tables.OP_NAME)
    if name is BAD:
        return None
    table = tables.OPS[name]
    before = len(r.problems)
    values = read_table(r, node, path, table)
    if any(field.required and key not in values for key, field in table.items()):
        return None
    op = _MAKERS[name](r, node, values, path, scope)
    return op if len(r.problems) == before else None


_Maker = Callable[[Reader, Node, dict[str, Any], str, Scope], Op | None]


def _add(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    cpuset = read_cpuset(r, values.get("cpuset"), f"{path}.cpuset")
    controls, where = read_controls(r, node, values, path), r.place(node, path)
    check_partition(r, node, values, path)
    cgroup = Cgroup(values["cgroup"], cpuset=cpuset, mems=values.get("mems"), controls=controls, where=where)
    return ops.AddCgroup(cgroup, where=where)


def _remove(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    return ops.RemoveCgroup(values["cgroup"], where=r.place(node, path))


def _set_cpuset(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    cpuset = read_cpuset(r, values["cpuset"], f"{path}.cpuset")
    return None if cpuset is None else ops.SetCpuset(values["cgroup"], cpuset, where=r.place(node, path))


def _clear_cpuset(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    return ops.ClearCpuset(values["cgroup"], where=r.place(node, path))


def _swap(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    a, b = values["cgroups"]
    return ops.SwapCpusets(a, b, where=r.place(node, path))


def _set(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    controls = read_controls(r, node, values, path)
    if isinstance(node.value, dict) and not tables.CONTROLS.keys() & node.value.keys():
        r.wrong(node, path, "at least one of " + ", ".join(tables.CONTROLS), what="nothing to set")
        return None
    return ops.SetControls(values["cgroup"], controls, where=r.place(node, path))


def _freeze(frozen: bool) -> _Maker:
    def make(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
        return ops.Freeze(values["cgroup"], frozen, where=r.place(node, path))

    return make


def _spawn(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    work = read_work(r, node, values, path, scope)
    return ops.Spawn(values.get("cgroup"), work, where=r.place(node, path))


def _stop(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    return ops.StopWorkers(values["cgroup"], where=r.place(node, path))


def _set_affinity(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    affinity = read_affinity(r, values["affinity"], f"{path}.affinity")
    return None if affinity is None else ops.SetAffinity(values["cgroup"], affinity, where=r.place(node, path))


def _move(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    if values["from"] == values["to"]:
        r.wrong(at(node, "to"), f"{path}.to", "another cgroup than that of from")
        return None
    return ops.MoveTasks(values["from"], values["to"], where=r.place(node, path))


def _hotplug(online: bool) -> _Maker:
    def make(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
        cpus = read_cpuset(r, values["cpus"], f"{path}.cpus")
        if not online:
            refuse_cpu_0(r, values["cpus"], f"{path}.cpus", cpus)
        return None if cpus is None else ops.Hotplug(cpus, online, where=r.place(node, path))

    return make


def _run(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> RunPayload | None:
    if "payload" not in values or not _is_declared(r, at(node, "payload"), f"{path}.payload", scope):
        return None
    check_args(r, node, values.get("args", ()), path)
    return RunPayload(values["payload"], values.get("cgroup"), values.get("args"), where=r.place(node, path))


def check_args(r: Reader, node: Node, args: tuple[str, ...], path: str) -> None:
    """As many as the agent takes."""
    size = sum(len(arg.encode()) + 1 for arg in args)
    if len(args) > tables.MAX_ARGS:
        r.wrong(at(node, "args"), f"{path}.args", f"at most {tables.MAX_ARGS}", what=f"{len(args)} arguments")
    elif size > tables.MAX_ARG_BYTES:
        r.wrong(at(node, "args"), f"{path}.args", f"at most {tables.MAX_ARG_BYTES}", what=f"{size} bytes")


def _wait(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    if not _is_declared(r, at(node, "payload"), f"{path}.payload", scope):
        return None
    timeout = values.get("timeout", ops.WaitPayload.timeout_ns)
    return ops.WaitPayload(values["payload"], values.get("cgroup"), timeout, where=r.place(node, path))


def _kill(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Op | None:
    if not _is_declared(r, at(node, "payload"), f"{path}.payload", scope):
        return None
    return ops.KillPayload(values["payload"], values.get("cgroup"), where=r.place(node, path))


_MAKERS: dict[str, _Maker] = {
    "add_cgroup": _add,
    "remove_cgroup": _remove,
    "set_cpuset": _set_cpuset,
    "clear_cpuset": _clear_cpuset,
    "swap_cpusets": _swap,
    "set": _set,
    "freeze": _freeze(True),
    "unfreeze": _freeze(False),
    "spawn": _spawn,
    "spawn_host": _spawn,
    "stop": _stop,
    "set_affinity": _set_affinity,
    "move_tasks": _move,
    "offline": _hotplug(False),
    "online": _hotplug(True),
    "run": _run,
    "wait": _wait,
    "kill": _kill,
}
