"""``doit host_state_capture`` and ``host_state_compare``: what the threads of a host did, kept and set side by side."""

from __future__ import annotations

from dataclasses import dataclass

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import InputError
from ktstr.options import LIST, PATH, Kind, variable

_GROUPS = ("pcomm", "cgroup", "comm")


def group_by(text: str) -> str:
    """What threads are grouped by."""
    if text not in _GROUPS:
        raise ValueError(f"expected {', '.join(_GROUPS[:-1])} or {_GROUPS[-1]}")
    return text


GROUP_BY: Kind[str] = Kind("word", group_by, choices=_GROUPS)


@dataclass(frozen=True)
class CaptureOptions:
    """Where the snapshot goes."""

    output: str | None = variable(PATH, "the file to write, such as before.hst.zst", None)


@dataclass(frozen=True)
class CompareOptions:
    """Which snapshots, and how their threads are grouped."""

    a: str | None = variable(PATH, "the snapshot to compare with", None)
    b: str | None = variable(PATH, "the snapshot that is compared", None)
    group_by: str = variable(GROUP_BY, "pcomm (the process's name), cgroup or comm (the thread's)", "pcomm")
    cgroup_flatten: tuple[str, ...] = variable(LIST, "globs of cgroup paths, each of which makes one group", ())


def capture(invocation: Invocation, options: CaptureOptions) -> Report:
    """Every thread of this host, into a file."""
    from ktstr.host import threads_capture
    from ktstr.host.threads_file import write_state

    path = invocation.project.stand / _given("output", options.output, "doit host_state_capture output=FILE")
    state = threads_capture.capture()
    write_state(path, state)
    return Report(f"{path}: {len(state.threads)} threads in {len(state.cgroup_stats)} cgroups\n")


def compare(invocation: Invocation, options: CompareOptions) -> Report:
    """Two files, group by group. Whatever they differ in, it exits 0."""
    from ktstr.host import threads_compare
    from ktstr.host.threads_file import read_state

    fix = "doit host_state_compare a=FILE b=FILE"
    if options.cgroup_flatten and options.group_by != "cgroup":
        raise InputError(f"cgroup_flatten=: found group_by={options.group_by}, expected cgroup", fix="group_by=cgroup")
    old, new = (read_state(invocation.project.stand / _given(name, getattr(options, name), fix)) for name in ("a", "b"))
    return Report(threads_compare.to_text(threads_compare.compare(old, new, options.group_by, options.cgroup_flatten)))


def _given(name: str, path: str | None, fix: str) -> str:
    if path is None:
        raise InputError(f"{name}=: found none, expected a file", fix=fix)
    return path


COMMANDS = (
    Command("host_state_capture", "Host", "a snapshot of every thread, into a file", CaptureOptions, capture),
    Command("host_state_compare", "Host", "two snapshots of threads side by side", CompareOptions, compare),
)
