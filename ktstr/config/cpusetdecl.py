"""Types cpuset forms and CPU affinities."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from ktstr.config import scenario_fields as tables
from ktstr.config.fields import Field
from ktstr.config.problems import nearest_of
from ktstr.config.reader import BAD, Reader
from ktstr.config.scenario import Affinity, AffinityKind, Cpuset, CpusetKind
from ktstr.config.typed import read
from ktstr.config.yaml_lines import Node

_INDEX = Field("int", "an index")
_PARTS = Field("int", "a number of parts", 1)
_FRACTION = Field("number", "a fraction", 0, 1)
_CPU_LIST = Field("cpu_list", "")
_SHAPES: dict[CpusetKind, tuple[Field, ...]] = {
    "range": (_FRACTION, _FRACTION),
    "disjoint": (_INDEX, _PARTS),
    "overlap": (_INDEX, _PARTS, _FRACTION),
}
_SHAPE_RULE = {
    "range": "[from, to], two fractions",
    "disjoint": "[index, of], two whole numbers",
    "overlap": "[index, of, fraction]",
}


def read_cpuset(r: Reader, node: Node | None, path: str) -> Cpuset | None:
    """A cpuset form; None without one, or, with the problem recorded, for a wrong one."""
    if node is None:
        return None
    entries = dict(r.mapping(node, path, "a mapping with one of " + ", ".join(tables.CPUSET)))
    if not isinstance(node.value, dict):
        return None
    within = entries.pop(tables.WITHIN, None)
    if len(entries) != 1:
        r.wrong(node, path, "exactly one of " + ", ".join(tables.CPUSET), what=f"{len(entries)} keys")
        return None
    kind, value = next(iter(entries.items()))
    if kind not in tables.CPUSET:
        expected = "one of " + ", ".join(tables.CPUSET)
        r.wrong_key(node, kind, f"{path}.{kind}", expected, nearest_of(kind, tables.CPUSET))
        return None
    if within is not None and kind not in tables.PARTS:
        r.wrong_key(node, tables.WITHIN, f"{path}.{tables.WITHIN}", f"within only beside {', '.join(tables.PARTS)}")
        return None
    where = r.place(node, path)
    if kind == "except":
        inner = read_cpuset(r, value, f"{path}.{kind}")
        return None if inner is None else Cpuset("except", (), where, inner)
    args = _CPUSETS[kind](r, value, f"{path}.{kind}")
    inner = _within(r, within, f"{path}.{tables.WITHIN}")
    return None if args is None else Cpuset(_KINDS[kind], args, where, inner)


def _within(r: Reader, node: Node | None, path: str) -> Cpuset | None:
    if node is not None and node.value == "all":
        return Cpuset("all", (), r.place(node, path))
    return read_cpuset(r, node, path)


def read_affinity(r: Reader, node: Node | None, path: str) -> Affinity | None:
    """A CPU list, a cpuset form, one of the words, ``{lowest: N}`` or ``{each: [...]}``; None as ``read_cpuset``."""
    if node is None:
        return None
    where = r.place(node, path)
    if isinstance(node.value, str) and node.value in tables.AFFINITIES:
        return Affinity(cast(AffinityKind, node.value), where=where)
    if isinstance(node.value, dict) and "each" in node.value:
        return _each(r, node, path)
    if isinstance(node.value, dict) and "lowest" in node.value:
        return _lowest(r, node, path)
    if isinstance(node.value, str) and node.value[:1].isalpha():
        words = (*tables.AFFINITIES, "each", "lowest")
        forms = "a CPU list such as 0-3, a cpuset form, {each: [...]}, {lowest: 2}"
        expected = f"{forms}, or one of {', '.join(tables.AFFINITIES)}"
        r.wrong(node, path, expected, nearest_of(node.value, words))
        return None
    cpuset = _cpus(r, node, path)
    return None if cpuset is None else Affinity("cpuset", (cpuset,), where)


def _lowest(r: Reader, node: Node, path: str) -> Affinity | None:
    entries = r.mapping(node, path)
    for key in entries:
        if key != "lowest":
            r.wrong_key(node, key, f"{path}.{key}", "nothing beside lowest")
    number = read(r, entries["lowest"], f"{path}.lowest", tables.LOWEST)
    return None if number is BAD else Affinity("lowest", where=r.place(node, path), number=number)


def _each(r: Reader, node: Node, path: str) -> Affinity | None:
    entries = r.mapping(node, path)
    for key in entries:
        if key != "each":
            r.wrong_key(node, key, f"{path}.{key}", "nothing beside each")
    rule = "a list of CPU lists or cpuset forms, one for each worker"
    children = r.items(entries["each"], f"{path}.each", rule)
    cpusets = [_cpus(r, child, f"{path}.each[{i}]") for i, child in enumerate(children)]
    found = tuple(cpuset for cpuset in cpusets if cpuset is not None)
    return Affinity("each", found, r.place(node, path)) if found and len(found) == len(cpusets) else None


def _cpus(r: Reader, node: Node, path: str) -> Cpuset | None:
    """A CPU list or a cpuset form."""
    if isinstance(node.value, dict):
        return read_cpuset(r, node, path)
    cpus = _exact(r, node, path)
    return None if cpus is None else Cpuset("exact", cpus, r.place(node, path))


def _index(r: Reader, node: Node, path: str) -> tuple[float, ...] | None:
    value = read(r, node, path, _INDEX)
    return None if value is BAD else (value,)


def _exact(r: Reader, node: Node, path: str) -> tuple[float, ...] | None:
    value = read(r, node, path, _CPU_LIST)
    return None if value is BAD else value


def _parts(kind: CpusetKind) -> Callable[[Reader, Node, str], tuple[float, ...] | None]:
    def read_parts(r: Reader, node: Node, path: str) -> tuple[float, ...] | None:
        shape = _SHAPES[kind]
        if not isinstance(node.value, list) or len(node.value) != len(shape):
            what = f"a list of {len(node.value)}" if isinstance(node.value, list) else None
            r.wrong(node, path, _SHAPE_RULE[kind], what=what)
            return None
        args = [read(r, n, f"{path}[{i}]", f) for i, (n, f) in enumerate(zip(node.value, shape, strict=True))]
        if BAD in args:
            return None
        if args[0] < args[1]:
            return tuple(args)
        if kind == "range":
            r.wrong(node.value[1], f"{path}[1]", f"an end after the start ({args[0]:g})")
        else:
            r.wrong(node.value[0], f"{path}[0]", f"an index below the number of parts ({args[1]})")
        return None

    return read_parts


_CPUSETS: dict[str, Callable[[Reader, Node, str], tuple[float, ...] | None]] = {
    "llc": _index,
    "numa": _index,
    "range": _parts("range"),
    "disjoint": _parts("disjoint"),
    "overlap": _parts("overlap"),
    "exact": _exact,
}
_KINDS: dict[str, CpusetKind] = {
    "llc": "llc", "numa": "numa", "range": "range", "disjoint": "disjoint", "overlap": "overlap", "exact": "exact",
}  # fmt: skip


def refuse_cpu_0(r: Reader, node: Node, path: str, cpuset: Cpuset | None) -> None:
    """Of CPUs that go offline: the kernel cannot do without CPU 0 on x86."""
    if cpuset is not None and cpuset.kind == "exact" and 0 in cpuset.args and isinstance(node.value, dict):
        r.wrong(node.value["exact"], f"{path}.exact", "CPUs other than CPU 0, which cannot go offline", what="CPU 0")
