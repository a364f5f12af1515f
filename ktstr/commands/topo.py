"""``doit topo``: the topologies there are, which tests each is for and whether this host can have it; and this host."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.options import ACCEL, DURATION, FLAG, LIST, variable

if TYPE_CHECKING:
    from ktstr.config.model import Config
    from ktstr.host.cpu_topology import HostTopology
    from ktstr.planning.capacity import Capacity


@dataclass(frozen=True)
class Options:
    """Which topologies, and what is to run them."""

    preset: tuple[str, ...] = variable(LIST, "topologies, by glob or bare substring; default: all", ())
    accel: str = variable(ACCEL, "auto, kvm, icount or tcg", "auto")
    timeout: float = variable(DURATION, "wall-clock limit of one cell's machine", 900.0)
    host: bool = variable(FLAG, "this host's CPUs, caches and nodes alone", False, environment=False)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


@dataclass(frozen=True)
class _Preset:
    """A topology. ``tests``: those of the project whose constraints it meets; ``boot_s``: expected; ``skip``: why this
    host cannot have it."""

    name: str
    label: str
    nodes: int
    llcs: int
    cpus: int
    threads: int
    accel: str
    boot_s: float
    skip: str | None
    tests: tuple[str, ...]


def run(invocation: Invocation, options: Options) -> Report:
    """The host, and unless ``host=1`` is given the topologies. Raises InputError for a pattern that names none."""
    from ktstr.config.load import load
    from ktstr.planning.capacity import this_host

    host = this_host(options.timeout)
    if options.host:
        return Report(_json(host, ()) if options.json else "\n".join(_host_lines(host)) + "\n")
    presets = _presets(load(invocation.project.config), options, _accel(invocation, options.accel), host)
    return Report(_json(host, presets) if options.json else _text(host, presets))


def _accel(invocation: Invocation, asked: str) -> str:
    """What ``doit test`` would choose."""
    if asked != "auto":
        return asked
    from ktstr.vm import probe_kvm

    return "kvm" if probe_kvm.judge(invocation.environ, cancel=invocation.cancel).usable else "icount"


def _presets(config: Config, options: Options, accel: str, host: Capacity) -> tuple[_Preset, ...]:
    from ktstr.config.select import named_presets, unfit
    from ktstr.planning.capacity import Wanted, shortage
    from ktstr.planning.estimate import boot_seconds

    found = []
    for name in named_presets(config, options.preset):
        topology = config.presets[name]
        tests = (test.name for test in config.tests.values() if not test.demo and unfit(test, topology) is None)
        found.append(
            _Preset(
                name,
                topology.label,
                topology.numa_nodes,
                topology.llcs,
                topology.cpus,
                topology.threads,
                accel,
                round(boot_seconds(accel, topology.cpus, host.cpus), 1),
                shortage(Wanted(topology, accel), host),
                tuple(tests),
            )
        )
    return tuple(found)


def _text(host: Capacity, presets: tuple[_Preset, ...]) -> str:
    from ktstr.columns import prose, table

    rows = [
        (p.name, p.label, str(p.nodes), str(p.llcs), str(p.cpus), str(p.threads), str(len(p.tests)), _runs(p))
        for p in presets
    ]
    header = ("TOPOLOGY", "LABEL", "NODES", "LLCS", "CPUS", "SMT", "TESTS", presets[0].accel.upper())
    lines = [*_host_lines(host), "", *table(header, rows, frozenset({2, 3, 4, 5, 6, 7}))]
    skipped = [p for p in presets if p.skip is not None]
    if skipped:
        lines += ["", "Skipped here (no_skip=1 tries them):"]
        for p in skipped:
            lines += prose(f"{p.name}: {p.skip}", "  ")
    return "\n".join(lines) + "\n"


def _runs(preset: _Preset) -> str:
    return f"boots {preset.boot_s:.0f} s" if preset.skip is None else "skip"


def _host_lines(host: Capacity) -> list[str]:
    from ktstr import cpulist
    from ktstr.columns import prose

    topology = host.topology
    nodes = sorted(set(topology.node_of.values()))
    lines = prose(
        f"This host: {len(topology.cpus)} CPUs, {len(topology.llcs)} LLCs, {max(1, len(nodes))} NUMA nodes;"
        f" ktstr may use {host.cpus} CPUs ({cpulist.render(sorted(host.allowed))}) and {host.memory_mib} MiB.",
        "",
    )
    for llc in topology.llcs:
        node = "" if llc.node is None else f", node {llc.node}"
        lines.append(f"  LLC {llc.index}: CPUs {cpulist.render(llc.cpus)}{node}")
    return lines


def _json(host: Capacity, presets: tuple[_Preset, ...]) -> str:
    found = {"host": {**_host(host.topology), "usable_cpus": host.cpus, "memory_mib": host.memory_mib}}
    whole = {**found, **({"topologies": [asdict(p) for p in presets]} if presets else {})}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _host(topology: HostTopology) -> dict[str, object]:
    return {
        "cpus": len(topology.cpus),
        "nodes": sorted(set(topology.node_of.values())),
        "llcs": [{"index": llc.index, "cpus": list(llc.cpus), "node": llc.node} for llc in topology.llcs],
    }


COMMAND = Command("topo", "Host", "the topologies there are, and which of them this host can have", Options, run)
