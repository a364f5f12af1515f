"""What runs the guests of one plan: chosen, and the step that it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ktstr import resources
from ktstr.planning.hosts import Accel, auto_accel
from ktstr.planning.kernel import Archive
from ktstr.planning.request import Request
from ktstr.planning.steps import Step, Steps
from ktstr.planning.tools import ToolSteps
from ktstr.vm import agent, steady
from ktstr.vm.machine import Machine
from ktstr.vm.qemu import QemuMachine


@dataclass(frozen=True)
class ChosenMachine:
    """``tasks`` make it; ``reason``: why ``accel=auto`` chose it, None when the user did. ``entries``: the folders of
    the cache that it is in."""

    machine: Machine
    tasks: tuple[str, ...]
    reason: str | None = None
    entries: tuple[Path, ...] = ()


def chosen_accel(request: Request) -> Accel | None:
    """What ``accel=auto`` means for the hosts of a request; None where the user named what runs the guests."""
    if request.options.select.accel != "auto":
        return None
    if request.hosts:
        chosen = auto_accel(request.hosts)
    else:
        from ktstr.vm import probe_kvm

        kvm = probe_kvm.judge(request.environ, cancel=request.cancel)
        chosen = Accel("kvm" if kvm.usable else "icount", kvm.detail)
    request.progress.step(f"accel={chosen.accel}: {chosen.reason}")
    return chosen


def choose_machine(request: Request, archive: Archive, tools: ToolSteps, steps: Steps) -> ChosenMachine:
    """The machine that ``accel=`` names; ``auto`` is kvm where a probe guest runs to its end in it, else icount.
    Workers of a cluster are sent what it is made of.

    Raises HostError when it can neither be found nor made here.
    """
    auto = chosen_accel(request)
    accel, reason = (request.options.select.accel, None) if auto is None else (auto.accel, auto.reason)
    if accel == "kvm" or request.vmm:
        from ktstr.vm import vmm_build

        extension = vmm_build.planned(archive.cache, request.environ)
        task = steps.add(Step("vmm", "", extension.path, lambda: extension.make(request.cancel)))
    if accel == "kvm":
        from ktstr.vm.kvm import KvmMachine  # this takes a while, and most runs are emulated or have nothing to do

        made_here = () if extension.cc is None else (extension.path.parent,)
        return ChosenMachine(KvmMachine(extension), (task,), reason, made_here)
    qemu = tools.qemu()
    bundle = qemu.metadata.parent
    if accel == "tcg":
        return ChosenMachine(QemuMachine(qemu, accel), ("tools:qemu",), reason, (bundle,))
    made = steady.planned(resources.c_dir(), agent.compiler(request.environ), archive.cache)
    task = steps.add(Step("tools", "steady", made.path, lambda: made.build(request.cancel)))
    machine = QemuMachine(qemu, accel, made)
    return ChosenMachine(machine, ("tools:qemu", task), reason, (bundle, made.path.parent))
