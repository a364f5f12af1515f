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
from ktstr.vm.kernel_args import cpu_slots, kernel_command_line, many_threads
from ktstr.vm.machine import GuestSpec
from ktstr.vm.memory import nodes_mib

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
_CPU_MODEL = "max"
_MOST_SLOTS = 4096  # max_cpus of hw/i386/pc_q35.c
_CPU = f"{_CPU_MODEL},vendor=GenuineIntel,l3-cache=on,level=0x16,-rdrand,-rdseed,-erms,-fsrm,-fzrm,-fsrs"
# Of a model whose TSC the kernel knows to be constant (early_init_intel; invtsc is not in TCG), so that it measures
# its delay loop on the first vCPU alone: each of the others took 0.1 s of a thread, and as many times as long as the
# host was busy: three quarters of a boot of 32 vCPUs on two CPUs. Counted instructions keep the CPU their results have.
_REAL_TIME_CPU = _CPU.replace("max,", "max,family=6,model=58,", 1)
_RTC = "base=2024-01-01T00:00:00,clock=vm"
_EMULATOR_SEED = "1"  # alone it does not change the schedule; a cell's seed perturbs the program instead

# The kernel starts no vCPU whose APIC id is above this: it would have to remap interrupts ("has invalid APIC ID").
LAST_APIC_ID = 254
# Many vCPUs on host threads (many_threads) come up fast where the firmware has left them in x2APIC mode, which it does
# where ids could be above 255: so there are packages without a CPU behind the last one, of which the kernel is told
# nothing. 128 vCPUs on two CPUs took 80 s to come up without, and 3 s so; 190 and 54 s of CPU time until the agent.

# vCPUs take turns on one host thread and one clock. A turn must hold many instructions, so that no
# vCPU waits long: with vCPUs x 2^shift at 128, a worker was left out for a second (16 at 3, 32 at 2).
_MAX_SHIFT = 3
_MAX_TURN = 48


@dataclass(frozen=True)
class QemuFiles:
    """The files one run of the emulator reads and writes, as its arguments name them.

    ``memory``: the file that holds the RAM of each node that has some. ``monitor``: the options of the socket chardev
    on which QMP is spoken, such as ``fd=7``. ``program``: what a clone is given to run.
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
    cpu = _CPU if accel == "icount" else _REAL_TIME_CPU
    packages = _packages(spec.topology, accel)
    return (
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", "ktstr,debug-threads=on",
        "-machine", _machine(spec.topology), "-cpu", cpu, *_accel(accel, spec.topology.cpus),
        "-seed", _EMULATOR_SEED, "-rtc", _RTC,
        "-smp", _smp(spec.topology, packages), *_plugged(spec.topology), "-m", f"{spec.memory_mib}M",
        *_memory(spec, files), *_numa(spec.topology, packages), "-L", files.firmware,
        *_begin(spec, accel, files, role),
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


def _smp(topology: Topology, packages: int) -> str:
    """One package per NUMA node that has CPUs, its LLCs as dies: QEMU gives each die an L3 of its own."""
    dies = max(map(len, topology.node_llcs))
    slots = cpu_slots(topology)
    if slots > _MOST_SLOTS:
        raise InputError(
            f"topology {topology.label}: found LLCs and nodes so unlike that the emulator needs room for {slots} CPUs,"
            f" expected at most {_MOST_SLOTS}: the nodes, times the LLCs of the largest, times the CPUs of the largest"
        )
    return (
        f"cpus={1 if slots > topology.cpus else topology.cpus},sockets={packages},dies={dies},cores={topology.cores}"
        f",threads={topology.threads},maxcpus={packages * dies * topology.most_cpus_per_llc}"
    )


def _packages(topology: Topology, accel: QemuAccel) -> int:
    """One for each node that has CPUs; behind those as many empty ones as bring the last APIC id above the limit."""
    packages = len(topology.cpu_nodes)
    while many_threads(accel, topology) and last_apic_id(topology, packages) <= LAST_APIC_ID + 1:
        packages += 1
    return packages


def last_apic_id(topology: Topology, packages: int | None = None) -> int:
    """The APIC id of the last CPU of so many packages, by default one for each node that has CPUs: package, LLC, core
    and thread, each in as few bits as hold them all."""
    last = (len(topology.cpu_nodes) if packages is None else packages) - 1
    for count in (max(map(len, topology.node_llcs)), topology.cores, topology.threads):
        last = last << (count - 1).bit_length() | (count - 1)
    return last


def _plugged(topology: Topology) -> Iterator[str]:
    """All CPUs but the first, one by one, where LLCs differ: QEMU's own are all alike, and it has fewer of them than
    it has room for. The guest numbers them by their places, as they are here."""
    if cpu_slots(topology) == topology.cpus:
        return
    for cpu in range(1, topology.cpus):
        llc, node = topology.llc_of(cpu), topology.node_of(cpu)
        core, thread = divmod(cpu - topology.llc_cpus(llc)[0], topology.threads)
        die = llc - topology.node_llcs[node][0]
        place = f"socket-id={node},die-id={die},core-id={core},thread-id={thread}"
        yield from ("-device", f"{_CPU_MODEL}-x86_64-cpu,{place}")


def _has_hmat(topology: Topology) -> bool:
    """Firmware tells how fast memory is where a node is not like the others."""
    return topology.numa_nodes > 1 and bool(topology.nodes)


def _machine(topology: Topology) -> str:
    """RAM of a single node is the machine's own; that of several is dealt out by ``_numa``."""
    if topology.numa_nodes == 1:
        return f"{_MACHINE},memory-backend=node0"
    return f"{_MACHINE},hmat=on" if _has_hmat(topology) else _MACHINE


def _memory(spec: GuestSpec, files: QemuFiles) -> Iterator[str]:
    """Each node's RAM, in a file that is shared with whoever reads it."""
    topology = spec.topology
    try:
        shares = nodes_mib(topology, spec.memory_mib)
    except ValueError as err:
        raise InputError(f"topology {topology.label}: {err}", fix="make memory a multiple of the nodes") from None
    for node, file in zip(topology.memory_nodes, files.memory, strict=False):
        place = f"mem-path={_escape(file)},share=on"
        yield from ("-object", f"memory-backend-file,id=node{node},size={shares[node]}M,{place}")


def _numa(topology: Topology, packages: int) -> Iterator[str]:
    nodes = range(topology.numa_nodes)
    if topology.numa_nodes == 1:
        return
    for node in nodes:
        memory = f",memdev=node{node}" if node in topology.memory_nodes else ""
        near = "" if topology.node_llcs[node] else f",initiator={topology.nearest(node, topology.cpu_nodes)[0]}"
        yield from ("-numa", f"node,nodeid={node}{memory}{near}")
        if topology.node_llcs[node]:
            yield from ("-numa", f"cpu,node-id={node},socket-id={node}")
    for empty in range(len(topology.cpu_nodes), packages):
        yield from ("-numa", f"cpu,node-id={topology.cpu_nodes[0]},socket-id={empty}")
    for a in nodes:
        for b in nodes:
            if a != b:
                yield from ("-numa", f"dist,src={a},dst={b},val={topology.distance(a, b)}")
    if _has_hmat(topology):
        yield from _hmat(topology)


def _hmat(topology: Topology) -> Iterator[str]:
    """The same numbers as the C VMM's (vmm_c/core/acpi.c): 100 ns and 51,200 MB/s at distance 10."""
    for initiator in topology.cpu_nodes:
        for target in topology.memory_nodes:
            distance = topology.distance(initiator, target)
            pair = f"hmat-lb,initiator={initiator},target={target},hierarchy=memory,data-type=access-"
            yield from ("-numa", f"{pair}latency,latency={10 * distance}")
            yield from ("-numa", f"{pair}bandwidth,bandwidth={51200 // distance * 10}M")


def _escape(path: str) -> str:
    """A path inside an option list: a comma is doubled."""
    return path.replace(",", ",,")
