"""The tasks users can name: one table, from which ``doit list``, help and checks are made."""

from __future__ import annotations

from dataclasses import dataclass

from ktstr.commands.variables import BUILDING, RUNNING, SELECTION, TESTING


@dataclass(frozen=True)
class TaskInfo:
    """One task family. ``plans`` says that its graph has kernels and cells in it."""

    name: str
    group: str
    doc: str
    variables: tuple[str, ...] = ()
    plans: bool = False


_GRAPH = (*SELECTION, *RUNNING)
_BUILD = (
    "version",
    "source",
    "git",
    "ref",
    "kernel",
    *BUILDING,
    "force",
    "clean",
    "cpu_cap",
    "offline",
    "lock_update",
    "json",
)

TASKS: dict[str, TaskInfo] = {
    t.name: t
    for t in (
        TaskInfo("test", "Run", "run the declared cells and judge the scheduler", (*_GRAPH, *TESTING), True),
        TaskInfo("cell", "Run", "the runs themselves: cell:TEST/PRESET/KERNEL/SCHEDULER/ACCEL-sSEED", _GRAPH, True),
        TaskInfo("kernel", "Build", "kernels in the cache, ready to boot", _GRAPH, True),
        TaskInfo("source", "Build", "kernel sources, fetched and unpacked", _GRAPH, True),
        TaskInfo("scheduler", "Build", "scheduler binaries", _GRAPH, True),
        TaskInfo("image", "Build", "guest images: agent, scheduler and libraries", _GRAPH, True),
        TaskInfo("agent", "Build", "the static guest agent", _GRAPH, True),
        TaskInfo("vmm", "Build", "the virtual machine monitor that runs guests on KVM", _GRAPH, True),
        TaskInfo("tools", "Build", "the private QEMU and BPF tools", _GRAPH, True),
        TaskInfo("kernel_list", "Kernels", "what is in the kernel cache", ("json", "range", "offline", *BUILDING)),
        TaskInfo("kernel_build", "Kernels", "fetch and build one kernel, or a range of releases", _BUILD, True),
        TaskInfo(
            "kernel_clean",
            "Kernels",
            "remove kernels from the cache",
            ("keep", "corrupt_only", "force", "dry_run", "json"),
        ),
        TaskInfo("stats_list", "Results", "run directories, newest first", ("json",)),
        TaskInfo("show_thresholds", "Results", "a test's merged thresholds", ("test", "scheduler", "json")),
        TaskInfo("doctor", "Host", "what this host can do, and the fix for what it cannot", ("json",)),
        TaskInfo("locks", "Host", "who holds which lock of ktstr on this host", ("json", "watch")),
        TaskInfo(
            "lab", "Host", "run a command on a machine with a real KVM, emulated", ("command", "timeout", "offline")
        ),
        TaskInfo("check", "Project", "pass the project's own tests (slow=1 adds the sweeps)", ("slow", "jobs")),
    )
}
DOIT_COMMANDS = ("list", "help", "clean", "info", "forget", "ignore", "dumpdb", "strace", "tabcompletion", "reset-dep")
