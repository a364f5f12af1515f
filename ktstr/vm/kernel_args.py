"""The guest kernel's command line: what ktstr sets on every machine, what one machine adds, and the user's own."""

from __future__ import annotations

from ktstr.config.fields import RESERVED_KARGS
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.vm.machine import GuestSpec

# Console and early console: a kernel that dies before its drivers is heard. Errors and worse only.
# panic, oops, reboot: any death of the kernel is a reset at once, without ACPI, which ends the machine.
# KASLR and the CPU's random numbers would differ from run to run; crypto self-tests would take CPU time
# from the workers for seconds; NUMA balancing moves tasks on its own; the rest saves boot time. The TSC is
# the same on every vCPU, emulated or KVM's. A guest without memory ends at once: the agent is real-time, and where it
# allocates while the only CPU has a process to kill, neither comes to an end. trace_buf_size: of each CPU, for the
# agent's instance of tracefs (vmm_c/guest/watch/scx_dump.c), which is made with buffers of that size, by default
# 1.4 MB: on 64 vCPUs 95 MB and 100 ms to make and shrink it, of which 35 MB stay; so, 11 MB and 22 ms. The kernel
# counts and times the calls of BPF programs, unless a test's ``sysctls`` say no.
_KERNEL_ARGS = (
    "loglevel=4", "console=ttyS0", "earlyprintk=serial,ttyS0,115200", "panic=-1", "oops=panic", "{reboot}", "nokaslr",
    "random.trust_cpu=off", "cryptomgr.notests=1", "numa_balancing=disable", "mitigations=off", "init_on_alloc=0",
    "tsc=reliable", "trace_buf_size=128K", "sysctl.vm.panic_on_oom=1", "sysctl.kernel.bpf_stats_enabled=1",
    "rdinit=/init",
)  # fmt: skip
# A reset is port 0xcf9 of QEMU's q35; the VMM has a keyboard controller for it.
_REBOOT = {"icount": "reboot=p", "tcg": "reboot=p", "kvm": "reboot=k"}
# The virtual TSC counts nanoseconds. Under KVM an access to a device is an exit, and each of 512 nodes of legacy
# ptys two wakeups across CPUs: no ptys, one serial port, no early look for quirks of chipsets. On host threads vCPUs
# come up one after the other: in parallel (6.5 and later) all spin until it is their turn (cpuhp_ap_sync_alive), and
# with 128 of them on two host CPUs none had come up after 100 s. Nor are the timer's ticks counted for 60 ms at boot:
# on a busy host they are late, and the kernel would take the timer for broken (so the kernel itself under KVM).
_MORE = {
    "icount": ("tsc_early_khz=1000000",),
    "tcg": ("cpuhp.parallel=0", "no_timer_check"),
    "kvm": ("pty.legacy_count=0", "8250.nr_uarts=1", "pci=noearly"),
}
# What tells the agent that its program comes later, and how: vmm_c/guest/pid1/intake.c.
PARK_ARGUMENT, WAIT_ARGUMENT = "ktstr.park", "ktstr.wait"
CGROUP_ARGUMENT = "ktstr.cgroup"  # the cgroup below which the agent makes a scenario's: vmm_c/guest/proc/cgroup.c
_PARKS = {"icount": PARK_ARGUMENT, "tcg": PARK_ARGUMENT, "kvm": WAIT_ARGUMENT}
_FEW_CPUS = 32
_MAX_COMMAND_LINE = 2047  # COMMAND_LINE_SIZE of x86, less its NUL


def kernel_command_line(spec: GuestSpec, accel: str, *, parks: bool = False) -> str:
    """The guest's kernel arguments, the user's last. Raises InputError for one that cannot be passed.

    ``parks``: the machine is parked before its program comes.
    """
    for arg in spec.kernel_args:
        _check_kernel_arg(arg)
    ours = (*(arg.format(reboot=_REBOOT[accel]) for arg in _KERNEL_ARGS), *_MORE.get(accel, ()), *_count(spec, accel))
    parent = () if spec.cgroup_parent is None else (f"{CGROUP_ARGUMENT}={spec.cgroup_parent}",)
    ours += _possible(spec.topology) if accel != "kvm" else ()
    line = " ".join((*ours, *((_PARKS[accel],) if parks else ()), *parent, *spec.kernel_args))
    if len(line.encode()) > _MAX_COMMAND_LINE:
        raise InputError(
            f"kernel arguments: found {len(line.encode())} bytes with ktstr's own, expected at most {_MAX_COMMAND_LINE}"
        )
    return line


def cpu_slots(topology: Topology) -> int:
    """The CPUs that an emulator has room for whose LLCs, and nodes with CPUs, are all alike."""
    return len(topology.cpu_nodes) * max(map(len, topology.node_llcs)) * topology.most_cpus_per_llc


def _possible(topology: Topology) -> tuple[str, ...]:
    """No more CPUs than there are: what firmware has room for counts as possible (setup_possible_cpus, and from 6.9 on
    topology_init_possible_cpus)."""
    return (f"possible_cpus={topology.cpus}",) if cpu_slots(topology) > topology.cpus else ()


def many_threads(accel: str, topology: Topology) -> bool:
    """Whether a guest is one of many vCPUs on host threads, which takes more than the usual to boot (``qemu_args``)."""
    return accel == "tcg" and topology.cpus > _FEW_CPUS


def _count(spec: GuestSpec, accel: str) -> tuple[str, ...]:
    """Where there are packages without a CPU (``qemu_args``), the kernel is to make no room for any."""
    return (f"nr_cpus={spec.topology.cpus}",) if many_threads(accel, spec.topology) else ()


def _check_kernel_arg(arg: str) -> None:
    if not arg or not arg.isprintable() or any(c.isspace() for c in arg):
        raise InputError(f"kernel argument {arg!r}: expected one printable word without spaces")
    name = arg.partition("=")[0]
    if name in RESERVED_KARGS:
        raise InputError(f"kernel argument {arg!r}: ktstr sets {name} itself", fix=f"remove {arg}")
