"""Guests that are looked into: booted once, stopped at a moment when all is said, and kept as they were."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.introspect.program import GuestProgram, Kernel, Unreadable, open_program, read_kernel
from ktstr.introspect.tasks import read_tasks
from ktstr.kernels.cache import read_entry
from ktstr.kernels.entry import KernelEntry
from ktstr.pins.lock import read_lock
from ktstr.record.guest import GuestRecord
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    OWN_CGROUP,
    Hold,
    Op,
    Payload,
    Program,
    Release,
    Run,
    Spawn,
    StartScheduler,
    Wait,
    Work,
    Worker,
    Write,
)
from ktstr.tools.pinned import ensure_bpf
from ktstr.vm import agent
from ktstr.vm.cpio import archive, regular
from ktstr.vm.guest_image import config_part, scheduler_part
from ktstr.vm.guest_memory import Layout
from ktstr.vm.machine import Guest, GuestSpec, Registers
from ktstr.vm.memory import memory_mib
from ktstr.vm.messages import decode_channel
from ktstr.vm.qemu import QemuMachine
from tests.e2e.programs import SCHEDULER, Guests, S, printed, scx_ktstr_part

FOUR = Topology.parse("1n2l2c1t")
READY = "ready"
_HERE = Path(__file__).parent
_CHUNK = 1 << 20
BPFTOOL = ("/lib64/ld-linux-x86-64.so.2", "--library-path", "/sched/lib", "/sched/bin/bpftool")
STATS = "/proc/sys/kernel/bpf_stats_enabled"


class SavedMemory:
    """A guest's memory as it was (``vm.guest_memory.GuestMemory``). Writing changes the copy alone."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.reads = 0
        self.read_bytes = 0
        sizes = [0] * (1 + max(piece.node for piece in layout.pieces))
        for piece in layout.pieces:
            sizes[piece.node] += piece.size
        self._nodes = [mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for size in sizes]

    def read(self, address: int, size: int) -> bytes:
        extents = self.layout.extents(address, size)
        self.reads += 1
        self.read_bytes += size
        return b"".join([self._nodes[e.node][e.offset : e.offset + e.size] for e in extents])

    def write(self, address: int, data: bytes) -> None:
        at = 0
        for extent in self.layout.extents(address, len(data)):
            self._nodes[extent.node][extent.offset : extent.offset + extent.size] = data[at : at + extent.size]
            at += extent.size


def saved(guest: Guest) -> SavedMemory:
    """A copy of a guest's memory: it should stand still."""
    copy = SavedMemory(guest.memory.layout)
    zeros = bytes(_CHUNK)
    for piece in guest.memory.layout.pieces:
        for at in range(0, piece.size, _CHUNK):
            data = guest.memory.read(piece.address + at, min(_CHUNK, piece.size - at))
            if data != zeros[: len(data)]:
                copy.write(piece.address + at, data)
    return copy


@dataclass(frozen=True)
class Taken:
    """A guest as it was when its program had printed everything, and what it had printed, by payload."""

    entry: KernelEntry
    kernel: Kernel
    memory: SavedMemory
    registers: tuple[Registers, ...]
    program: Program
    record: GuestRecord

    def open(self) -> GuestProgram:
        return open_program(self.memory, self.kernel, self.registers)

    def said(self, payload: int) -> str:
        return printed(self.record, payload)

    def json(self, payload: int) -> Any:
        return json.loads(self.said(payload))


@dataclass(frozen=True)
class Facts:
    """What guests that are looked into have in their images beside the agent."""

    guests: Guests
    parts: tuple[Path, ...]
    entry: KernelEntry
    kernel: Kernel

    def spec(self, program: Program, topology: Topology = FOUR, kernel: Path | None = None) -> GuestSpec:
        parts = (self.guests.agent, self.guests.rest, *self.parts)
        return GuestSpec(kernel or self.guests.kernel, parts, topology, memory_mib(topology), program=encode(program))

    def take(self, folder: Path, program: Program, spec: GuestSpec | None = None) -> Taken:
        """Run a guest under counted instructions, keep it as it is when a task called ``READY`` is there, and let it
        go on to its end."""
        spec = replace(spec or self.spec(program), watched=True)
        folder.mkdir(exist_ok=True)
        machine = QemuMachine(self.guests.tool, "icount", self.guests.steady)
        kept: tuple[SavedMemory, tuple[Registers, ...]] | None = None
        with machine.start(spec, folder, 200, Cancel()) as guest:
            for _ in guest.moments():
                if kept is None and is_ready(guest, self.kernel):
                    kept = saved(guest), guest.registers()
            result = guest.wait()
        record, error = decode_channel(result.channel.read_bytes())
        assert (error, result.end.reason) == (None, "clean"), f"{error} {result.end.detail} {record.errors}"
        assert kept is not None, f"no task called {READY} was ever there"
        return Taken(self.entry, self.kernel, *kept, program, record)


def is_ready(guest: Guest, kernel: Kernel) -> bool:
    try:
        program = open_program(guest.memory, kernel)
    except Unreadable:
        return False
    return any(task.comm == READY for task in read_tasks(program, None).tasks)


def facts_in(folder: Path, guests: Guests, kernel: KernelEntry | None = None) -> Facts:
    """Build what the images need. ``kernel``: another one than the guests were built for."""
    cache = Cache(cache_root(os.environ))
    pins = read_lock(guests.rest.parent / "ktstr.lock")
    tools = ensure_bpf(pins.tools["bpf"], cache, Apt(cache.apt))
    entry = kernel or read_entry(guests.kernel.parent)
    bpftool = Path(tools.bpftool[-1])
    config = (entry.metadata.parent / "config").read_bytes()
    parts = {
        "bpftool.cpio": scheduler_part(bpftool, (bpftool.parent.parent / "lib",)),
        "facts.cpio": facts_part(folder),
        "config.cpio": config_part(entry.version, config),
    }
    if kernel is not None:
        parts["scheduler.cpio"] = scx_ktstr_part(kernel.btf, pins, cache)
        guests = replace(guests, kernel=kernel.vmlinux)
    for name, part in parts.items():
        (folder / name).write_bytes(part)
    return Facts(guests, tuple(folder / name for name in parts), entry, read_kernel(entry, cache))


def facts_part(folder: Path) -> bytes:
    """The image's part with what tells of the guest's kernel: ``/bin/facts``, and ``READY`` by that name."""
    built = folder / "kernel_facts"
    flags = ("-O2", "-static", "-Wall", "-Wextra", "-Werror")
    source = str(_HERE / "kernel_facts.c")
    subprocess.run([agent.compiler(os.environ), *flags, source, "-o", str(built)], check=True)
    data = built.read_bytes()
    return archive([regular("bin/facts", data, 0o755), regular(f"bin/{READY}", data, 0o755)])


SCX, MAPS, PROGS, SHOW, VERIFIED, BSS, RODATA, HASH, ARRAY, PERCPU, SYMBOLS, LAST = range(12)


def everything() -> Program:
    """scx_ktstr with six spinners on it, maps of known contents, and all that bpftool and the kernel say of both; the
    programs' counters stand still while they are printed."""
    payloads = (
        Payload((SCHEDULER,)),
        Payload(("/bin/facts", "maps")),
        Payload((*BPFTOOL, "prog", "show", "-j")),
        Payload((*BPFTOOL, "map", "show", "-j")),
        Payload(("/bin/facts", "programs")),
        *(
            Payload((*BPFTOOL, "map", "dump", "name", name, "-j"))
            for name in ("scx_ktst.bss", "scx_ktst.rodata", "facts_hash", "facts_array", "facts_percpu")
        ),
        Payload(("/bin/facts", "symbols")),
        Payload((f"/bin/{READY}",)),
    )
    asked: list[Op] = []
    for payload in range(PROGS, LAST):
        asked += [Run(payload), Wait(payload, 20 * S)]
    work = Work("SpinWait", OWN_CGROUP, tuple(Worker() for _ in range(6)))
    ops = (
        Write(STATS, "1"), StartScheduler(SCX, 100 * S), Run(MAPS), Spawn(0), Release(), Hold(S // 2),
        Write(STATS, "0"), *asked, Run(LAST), Hold(S // 2),
    )  # fmt: skip
    return Program(0, 400 * S, works=(work,), payloads=payloads, ops=ops)
