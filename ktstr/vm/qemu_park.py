"""Parking a machine of QEMU's: it boots, does its setup, and is stopped for good where clones go on.

The agent arms the guest's watchdog and sleeps (``vmm_c/guest/pid1/park.c``). Under counted instructions the machine
then stops at the same instruction each time, and its RAM is the same each time; of the devices' state some twenty
bytes differ. In real time no two are the same, and where each vCPU stopped matters to none of their clones.
"""

from __future__ import annotations

from ktstr.cpulist import render
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.vm.delivery import is_ready, unparked
from ktstr.vm.guest_files import CHANNEL, CONSOLE
from ktstr.vm.machine import GuestEnded
from ktstr.vm.qemu_guest import QemuGuest
from ktstr.vm.qemu_launch import Launch, migrate
from ktstr.vm.qemu_registers import COMMAND, parse_awake
from ktstr.vm.qmp import Qmp
from ktstr.vm.snapshot import Kind, Parked, Unparked

_STATE = "state"


def _go(monitor: Qmp) -> None:
    monitor.execute("cont")


def park(launch: Launch) -> Parked | Unparked:
    """What the machine left when it was stopped, or how it ended before. Raises as ``Launch.start``."""
    try:
        with launch.start("park", lambda: launch.pack(parks=True), _go) as guest:
            try:
                return _parked(launch, guest)
            except GuestEnded:
                return _ended(launch, guest)
    except OSError as err:
        raise full_or_denied(err, launch.workdir, "KTSTR_RUNS_ROOT") from err
    finally:
        (launch.workdir / _STATE).unlink(missing_ok=True)


def _parked(launch: Launch, guest: QemuGuest) -> Parked | Unparked:
    """Block until its watchdog has stopped it, and take what clones begin with. Raises GuestEnded."""
    guest.converse(lambda monitor: monitor.await_event("STOP"), "park")
    channel, console = _words(launch)
    if not is_ready(channel):
        raise HostError("the machine that was to be parked stopped before its agent was ready")
    if launch.emulator.accel == "icount":
        awake = parse_awake(guest.converse(lambda monitor: monitor.human(COMMAND), COMMAND), launch.spec.topology.cpus)
        if len(awake) > 1:  # one is where the stop is exact; of several, how far the others came is not
            cold = f"when the machine was to be parked, its CPUs {render(awake)} were busy"
            return Unparked(end=None, cold=cold, channel=channel, console=console)
    state = launch.workdir / _STATE
    guest.converse(lambda monitor: migrate(monitor, "migrate", f"file:{state}"), "migrate")
    guest.kill()
    guest.wait()
    kind: Kind = "attached" if launch.spec.setup else "booted"
    devices = state.read_bytes()
    return Parked(kind, guest.memory.release(), devices, channel, console)


def _ended(launch: Launch, guest: QemuGuest) -> Unparked:
    end = guest.wait().end
    channel, console = _words(launch)
    cold = unparked(channel)
    return Unparked(end=None if cold else end, cold=cold, channel=channel, console=console)


def _words(launch: Launch) -> tuple[bytes, bytes]:
    return (launch.workdir / CHANNEL).read_bytes(), (launch.workdir / CONSOLE).read_bytes()
