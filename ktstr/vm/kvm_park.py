"""Parking a machine of the C VMM's: it boots, does its setup, and is saved when its agent waits for a program.

An attached scheduler and its loader run on while the agent waits, so the machine is held at one moment for all that is
saved of it: memory, state, and what it has said by then. A clone's clocks go on from that moment.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from ktstr.vm.delivery import is_ready
from ktstr.vm.descriptors import memory_file
from ktstr.vm.guest_files import CHANNEL, CONSOLE
from ktstr.vm.kvm_guest import KvmGuest
from ktstr.vm.kvm_launch import Launch
from ktstr.vm.machine import GuestEnded
from ktstr.vm.snapshot import Parked, Unparked
from ktstr.vm.vmm import VmmError

_SOON_S = 0.01  # how often a machine that boots is asked whether its agent waits


def park(launch: Launch) -> Parked | Unparked:
    """What the machine was when its agent waited, or how it ended before. Raises as ``Launch.boot``."""
    with launch.boot(parks=True) as guest:
        try:
            if _comes_to_wait(launch, guest):
                guest.pause()
                return _save(launch, guest)
        except GuestEnded:
            pass
        end = guest.wait().end
        return Unparked(end=end, cold=None, channel=_said(launch, CHANNEL), console=_said(launch, CONSOLE))


def _comes_to_wait(launch: Launch, guest: KvmGuest) -> bool:
    while not is_ready(_said(launch, CHANNEL)):
        if guest.ends_within(_SOON_S):
            return False
    return True


def _save(launch: Launch, guest: KvmGuest) -> Parked | Unparked:
    """Of a machine that stands still. What it wrote is in the files by then: ``vmm_snapshot`` sees to that."""
    with ExitStack() as unless_saved:
        files: list[int] = []
        for name in ("ktstr-memory", "ktstr-state"):
            files.append(memory_file(name, 0))
            unless_saved.callback(os.close, files[-1])
        try:
            guest.vmm.snapshot(*files)
        except VmmError as err:
            if guest.ends_within(0):
                raise GuestEnded("snapshot") from err
            cold = f"no snapshot: {err.message}"
            return Unparked(end=None, cold=cold, channel=_said(launch, CHANNEL), console=_said(launch, CONSOLE))
        memory, state = files
        parked = Parked(
            kind="attached" if launch.spec.setup else "booted",
            memory=(memory,),
            state=os.pread(state, os.fstat(state).st_size, 0),
            channel=_said(launch, CHANNEL),
            console=_said(launch, CONSOLE),
        )
        os.close(state)
        unless_saved.pop_all()
        return parked


def _said(launch: Launch, name: str) -> bytes:
    return (launch.workdir / name).read_bytes()
