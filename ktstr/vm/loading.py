"""How long a scheduler may take to attach, in the guest's time.

What loading takes is instructions, above all the verifier's: the machine decides how long that is, not the scheduler.
scx_lavd 1.1 is the slowest of the schedulers that were measured: 121 s at 8 ns an instruction, 15 thousand million.
"""

from __future__ import annotations

from ktstr.config.topology import Topology
from ktstr.vm.qemu_args import icount_shift

REAL_NS = 30_000_000_000  # in real time, at a nanosecond an instruction or less: twice what scx_lavd takes
# What a host thread emulates is about what icount counts at its highest shift: 8 ns an instruction.
_TCG_SHIFT = 3
# Counted vCPUs share one clock, and what each does while the loader runs takes of it too: scx_bpfland attached after
# 2.53 s (4 vCPUs, shift 3), 0.77 s (16, shift 1) and 0.55 s (40, shift 0), which is 0.29 s of 1 ns and 1/48 per vCPU.
_CPUS_THAT_DOUBLE = 48


def attach_timeout_ns(accel: str, topology: Topology) -> int:
    """The default of ``attach_timeout`` on a machine.

    kvm: 30 s. icount: 30 s x ns an instruction (2^shift) x (1 + vCPUs / 48), which is 260 s for 4 vCPUs at shift 3.
    tcg: 30 s x 8, its time being real, and its speed an emulator's.
    """
    if accel == "icount":
        return (REAL_NS << icount_shift(topology.cpus)) * (_CPUS_THAT_DOUBLE + topology.cpus) // _CPUS_THAT_DOUBLE
    return REAL_NS << _TCG_SHIFT if accel == "tcg" else REAL_NS
