"""What runs the guests of one plan: chosen, and the step that it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from ktstr import resources
from ktstr.planning.kernel import Archive
from ktstr.planning.request import Request
from ktstr.planning.steps import Step, Steps
from ktstr.planning.tools import ToolSteps
from ktstr.vm import agent, steady
from ktstr.vm.machine import Machine
from ktstr.vm.qemu import QemuMachine


@dataclass(frozen=True)
class ChosenMachine:
    """``tasks`` make it; ``reason``: why ``accel=auto`` chose it, None when the user did."""

    machine: Machine
    tasks: tuple[str, ...]
    reason: str | None = None


def choose_machine(request: Request, archive: Archive, tools: ToolSteps, steps: Steps) -> ChosenMachine:
    """The machine that ``accel=`` names; ``auto`` is kvm where a probe guest runs to its end in it, else icount.

    Raises HostError when it can neither be found nor made here.
    """
    accel, reason = request.options.select.accel, None
    if accel == "auto":
        from ktstr.vm import probe_kvm

        kvm = probe_kvm.judge(request.environ, cancel=request.cancel)
        accel, reason = "kvm" if kvm.usable else "icount", kvm.detail
        request.progress.step(f"accel={accel}: {reason}")
    if accel == "kvm" or request.vmm:
        from ktstr.vm import vmm_build

        extension = vmm_build.planned(archive.cache, request.environ)
        task = steps.add(Step("vmm", "", extension.path, lambda: extension.make(request.cancel)))
    if accel == "kvm":
        from ktstr.vm.kvm import KvmMachine  # this takes a while, and most runs are emulated or have nothing to do

        return ChosenMachine(KvmMachine(extension), (task,), reason)
    qemu = tools.qemu()
    if accel == "tcg":
        return ChosenMachine(QemuMachine(qemu, accel), ("tools:qemu",), reason)
    made = steady.planned(resources.c_dir(), agent.compiler(request.environ), archive.cache)
    task = steps.add(Step("tools", "steady", made.path, lambda: made.build(request.cancel)))
    return ChosenMachine(QemuMachine(qemu, accel, made), ("tools:qemu", task), reason)
