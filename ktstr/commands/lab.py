"""``doit lab command=...``: run a command on a machine with a real KVM, emulated."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import EXIT_OK, EXIT_VERDICT, InputError
from ktstr.options import DURATION, TEXT, Fetching, variable

if TYPE_CHECKING:
    from ktstr.host.apt import Apt
    from ktstr.pins.lock import Lock


@dataclass(frozen=True)
class Options:
    """What to run."""

    command: str | None = variable(TEXT, "what to run in the lab, as sh -c would", None)
    timeout: float = variable(DURATION, "wall-clock limit of the lab", 900.0)
    fetching: Fetching = Fetching()


def _pinned(invocation: Invocation, options: Options, apt: Apt) -> Lock:
    """The project's pins, those of the lab's kernel and of its QEMU among them."""
    from ktstr.lab import kernel
    from ktstr.planning.pins import project_pins

    pins = project_pins(invocation.project, options.fetching.lock_update, invocation.cancel)
    pins.check_updates((kernel.NAME, "qemu"))
    pins.tool("qemu", apt)
    pins.keep_tool(kernel.NAME, kernel.resolve(pins.lock, apt, update=pins.updating(kernel.NAME)))
    return pins.lock


def run(invocation: Invocation, options: Options) -> Report:
    """The command's output as it comes; a status other than 0 is a failure."""
    from ktstr.host.apt import Apt
    from ktstr.host.cache import Cache, cache_root
    from ktstr.lab.environ import passed_on
    from ktstr.lab.run import run_in_lab

    if options.command is None:
        raise InputError("lab: expected command=", fix="doit lab command='ls -l /dev/kvm'")

    def sink(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()

    cache = Cache(cache_root(invocation.environ), invocation.cancel)
    apt = Apt(cache.apt, options.fetching.offline, invocation.environ, invocation.cancel)
    done = run_in_lab(
        ["sh", "-c", options.command],
        checkout=invocation.project.stand,
        cache=cache,
        apt=apt,
        lock=_pinned(invocation, options, apt),
        environ=passed_on(invocation.environ),
        timeout_s=options.timeout,
        sink=sink,
        cancel=invocation.cancel,
    )
    if done.status == 0:
        return Report(code=EXIT_OK)
    invocation.progress.step(f"lab: the command ended with status {done.status}")
    return Report(code=EXIT_VERDICT)


COMMAND = Command("lab", "Host", "run a command on a machine with a real KVM, emulated", Options, run)
