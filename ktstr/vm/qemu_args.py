"""The emulator's command line: a pure function of what is to be booted.

Everything that changes a run under ``icount`` is fixed here and written out in full, because the
command line is part of a cell's key. Measured on QEMU 10.0.2 with Linux 7.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ktstr.config.topology import Topology
from ktstr.cpulist import MAX_CPUS
from ktstr.errors import InputError
from ktstr.vm.kernel_args import kernel_command_line
from ktstr.vm.machine import GuestSpec
from ktstr.vm.memory import node_mib

QemuAccel: TypeAlias = Literal["icount", "tcg"]
ACCELS: tuple[QemuAccel, ...] = get_args(QemuAccel)
# A machine boots and runs its program; boots and is parked; or goes on where another was parked.
Role: TypeAlias = Literal["cold", "park", "clone"]
PORT = "ktstr.0"
PROGRAM_FILE = "opt/ktstr/program"  # in fw_cfg: vmm_c/guest/pid1/intake.c
TB_MIB = 256  # translation cache; its default follows host memory, and another size gives another run
VCPU_THREAD = "CPU "  # a vCPU's thread is called "CPU N/TCG" (debug-threads=on)

# q35 without what a scheduler test does not use: 10 % less to boot.
_MACHINE = "q35,hpet=off,sata=off,smbus=off,vmport=off,i8042=off,smm=off,usb=off"
# Intel-style leaves show LLCs and SMT siblings right; level 0x16 because 10.0.2 aborts on dies > 1
# with leaf 0x1f. Without rdrand and rdseed the guest has no entropy of the host's. Without fast
# short string moves the kernel copies in words: TCG emulates "rep movsb" byte by byte, and a boot
# takes a third less.
_CPU = "max,vendor=GenuineIntel,l3-cache=on,level=0x16,-rdrand,-rdseed,-erms,-fsrm,-fzrm,-fsrs"
_RTC = "base=2024-01-01T00:00:00,clock=vm"
_EMULATOR_SEED = "1"  # alone it does not change the schedule; a cell's seed perturbs the program instead

# vCPUs take turns on one host thread and one clock. A turn must hold many instructions, so that no
# vCPU waits long: with vCPUs x 2^shift at 128, a worker was left out for a second (16 at 3, 32 at 2).
_MAX_SHIFT = 3
_MAX_TURN = 48


@dataclass(frozen=True)
class QemuFiles:
    """The files one run of the emulator reads and writes, as its arguments name them.

    ``memory``: the file that holds each node's RAM. ``monitor``: the options of the socket chardev on which QMP is
    spoken, such as ``fd=7``. ``program``: what a clone is given to run.
    """

    firmware: str
    kernel: str
    initrd: str
    console: str
    channel: str
    reset_log: str
    memory: Sequence[str]
    monitor: str
    program: str


# What a cell's key holds in place of paths and descriptors.
PLACEHOLDERS = QemuFiles(
    "firmware", "vmlinux", "initrd.cpio", "console.log", "channel.bin", "reset.log",
    memory=tuple(f"node{node}" for node in range(MAX_CPUS)), monitor="monitor", program="program",
)  # fmt: skip


def icount_shift(cpus: int) -> int:
    """An instruction takes 2^shift virtual ns: the largest shift up to 3 with ``cpus * 2^shift <= 48``, at least 0."""
    return max((s for s in range(_MAX_SHIFT + 1) if cpus << s <= _MAX_TURN), default=0)


def qemu_args(spec: GuestSpec, accel: QemuAccel, files: QemuFiles, role: Role) -> tuple[str, ...]:
    """The arguments after the program's name. Raises InputError when the guest cannot be described."""
    append = ",append=on" if role == "clone" else ""  # behind what the machine that was parked had said
    return (
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", "ktstr,debug-threads=on",
        "-machine", _machine(spec.topology), "-cpu", _CPU, *_accel(accel, spec.topology.cpus),
        "-seed", _EMULATOR_SEED, "-rtc", _RTC,
        "-smp", _smp(spec.topology), "-m", f"{spec.memory_mib}M", *_memory(spec, files), *_numa(spec.topology),
        "-L", files.firmware, *_begin(spec, accel, files, role),
        "-chardev", f"file,id=console{append},path={_escape(files.console)}", "-serial", "chardev:console",
        # ioeventfd would be served by another host thread at a moment of its own.
        "-device", "virtio-serial-pci,ioeventfd=off",
        "-chardev", f"file,id=channel{append},path={_escape(files.channel)}",
        "-device", f"virtserialport,chardev=channel,name={PORT}",
        "-d", "cpu_reset", "-D", files.reset_log,
        "-chardev", f"socket,id=monitor,{files.monitor}", "-mon", "chardev=monitor,mode=control",
    )  # fmt: skip


def _begin(spec: GuestSpec, accel: QemuAccel, files: QemuFiles, role: Role) -> tuple[str, ...]:
    """What the machine begins with. The watchdog stops it where clones go on, and they have the same devices; both
    stand still at first, until they have been spoken to."""
    watchdog = ("-device", "ib700", "-action", "watchdog=pause")
    if role == "clone":
        return (*watchdog, "-fw_cfg", f"name={PROGRAM_FILE},file={_escape(files.program)}", "-incoming", "defer")
    line = kernel_command_line(spec, accel, parks=role == "park")
    boot = ("-kernel", files.kernel, "-initrd", files.initrd, "-append", line)
    return (*boot, *watchdog, "-S") if role == "park" else boot


def _accel(accel: QemuAccel, cpus: int) -> tuple[str, ...]:
    if accel == "tcg":
        return ("-accel", f"tcg,thread=multi,tb-size={TB_MIB}")
    return ("-accel", f"tcg,thread=single,tb-size={TB_MIB}", "-icount", f"shift={icount_shift(cpus)},sleep=off")


def _smp(topology: Topology) -> str:
    """One package per NUMA node, its LLCs as dies: QEMU gives each die an L3 of its own."""
    dies = topology.llcs // topology.numa_nodes
    return (
        f"cpus={topology.cpus},sockets={topology.numa_nodes},dies={dies},cores={topology.cores}"
        f",threads={topology.threads},maxcpus={topology.cpus}"
    )


def _machine(topology: Topology) -> str:
    """RAM of a single node is the machine's own; that of several is dealt out by ``_numa``."""
    return _MACHINE if topology.numa_nodes > 1 else f"{_MACHINE},memory-backend=node0"


def _memory(spec: GuestSpec, files: QemuFiles) -> Iterator[str]:
    """Each node's RAM, in a file that is shared with whoever reads it."""
    topology = spec.topology
    try:
        share = node_mib(topology, spec.memory_mib)
    except ValueError as err:
        raise InputError(f"topology {topology.label}: {err}", fix="make memory a multiple of the nodes") from None
    for node in range(topology.numa_nodes):
        place = f"mem-path={_escape(files.memory[node])},share=on"
        yield from ("-object", f"memory-backend-file,id=node{node},size={share}M,{place}")


def _numa(topology: Topology) -> Iterator[str]:
    nodes = range(topology.numa_nodes)
    if topology.numa_nodes == 1:
        return
    for node in nodes:
        yield from ("-numa", f"node,nodeid={node},memdev=node{node}")
        yield from ("-numa", f"cpu,node-id={node},socket-id={node}")
    for a in nodes:
        for b in nodes:
            if a != b:
                yield from ("-numa", f"dist,src={a},dst={b},val={topology.distance(a, b)}")


def _escape(path: str) -> str:
    """A path inside an option list: a comma is doubled."""
    return path.replace(",", ",,")
