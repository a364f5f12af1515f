"""Boot to the agent on KVM, in the nested lab: our VMM against QEMU's smallest machine, microvm.

Both boot the minimal 6.12 with the same initramfs, memory and vCPUs, each with the kernel arguments
that ktstr gives to such a machine; both have PCI, as the kernel has no other virtio transport. kvmtool
is no peer here: it boots no vmlinux, and has no named port for the agent to report on. A boot is from
the start of the process to the first byte that the agent sends on its channel. The first
instruction is where KVM first enters a guest, by the lab kernel's own trace; a clone's is its
guest's next one after a snapshot of an agent that waits. The machines are run in turns in one lab,
and only ratios say something: all its CPUs are emulated.

``python -m benchmarks.vmm SPEC OUT`` is the part that runs in the lab.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.project import ROOT, front_end, project
from benchmarks.table import Row
from ktstr.config.topology import Topology
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.host.deb import unpack
from ktstr.kernels.listing import MATCHES
from ktstr.lab.environ import passed_on
from ktstr.lab.run import run_in_lab
from ktstr.pins.lock import Lock, read_lock
from ktstr.resources import c_dir
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import Program
from ktstr.tools.pinned import ensure_qemu
from ktstr.vm import agent
from ktstr.vm.guest_image import base_part, run_part
from ktstr.vm.kernel_args import WAIT_ARGUMENT, kernel_command_line
from ktstr.vm.machine import GuestSpec
from ktstr.vm.memory import memory_mib
from ktstr.vm.qemu_args import PORT

RUNS = 10
CPUS = (2, 8)
KERNEL = "debsrc:6.12"
BOOT_BUDGET = 0.5
FIRST_BUDGET = 0.5
CLONE_BUDGET = 0.15
CLONE = "clone"
SNAPSHOT = "snapshot"  # prefix of its files
BOOTED_MS = 30_000  # by then the agent waits
CLONE_MS = 500  # how long a clone may go on
DEADLINE_NS = 20_000_000_000
RUN_S = 60.0
ATTEMPTS = 3
SESSION_S = 2400.0
TRACING = Path("/sys/kernel/tracing")
CHANNEL = "channel"  # in the folder that a machine is run in


@dataclass(frozen=True)
class Peer:
    """QEMU: how to start it, and the folders of its firmware, microvm's first."""

    argv_prefix: tuple[str, ...]
    firmware: tuple[Path, ...]
    env: Mapping[str, str]


@dataclass(frozen=True)
class Guest:
    """What all machines boot."""

    kernel: Path
    initrd: Path

    def arguments(self, cpus: int, accel: str) -> str:
        """The kernel's, as a cell under ``accel`` has them."""
        return kernel_command_line(self._spec(cpus), accel)

    def memory(self, cpus: int) -> int:
        return self._spec(cpus).memory_mib

    def _spec(self, cpus: int) -> GuestSpec:
        topology = Topology(1, 1, cpus, 1)
        return GuestSpec(self.kernel, (self.initrd,), topology, memory_mib(topology))


@dataclass(frozen=True)
class Command:
    """How the lab starts a machine, and whether its agent has something to say."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    speaks: bool = True


@dataclass(frozen=True)
class Times:
    """Seconds from the start of the process to the agent's first byte and to the first instruction, a run each."""

    agent: list[float]
    first: list[float]


def rows() -> list[Row]:
    """Boot to the agent by number of vCPUs, and to the first instruction."""
    with TemporaryDirectory(prefix="ktstr-bench-") as name:
        times = measure(Path(name), RUNS)
    boots = [
        Row(
            f"VMM: boot to agent on nested KVM, {cpus} vCPUs, against microvm",
            median(times[f"ktstr {cpus}"].agent),
            "s",
            median(times[f"microvm {cpus}"].agent),
            BOOT_BUDGET,
        )
        for cpus in CPUS
    ]
    ours, peer = (median(times[f"{name} {CPUS[0]}"].first) * 1000 for name in ("ktstr", "microvm"))
    clone, boot_ms = median(times[CLONE].first) * 1000, median(times[f"ktstr {CPUS[0]}"].agent) * 1000
    return [
        *boots,
        Row("VMM: process to first instruction, against microvm", ours, "ms", peer, FIRST_BUDGET),
        Row(f"VMM: clone goes on, {CPUS[0]} vCPUs, against boot to agent", clone, "ms", boot_ms, CLONE_BUDGET),
    ]


def measure(folder: Path, runs: int) -> dict[str, Times]:
    """The times of each machine, by its name and its vCPUs, as the lab measured them."""
    cache, pins = Cache(cache_root(os.environ)), read_lock(ROOT / "ktstr.lock")
    apt = Apt(cache.apt)
    guest = Guest(minimal_kernel(), folder / "initrd")
    peer = microvm(pins, cache, apt, folder)
    vmm = compile_vmm(folder / "vmm_run")
    guest.initrd.write_bytes(initramfs(folder))
    commands = {}
    for cpus in CPUS:
        commands[f"ktstr {cpus}"] = ktstr_command(vmm, guest, cpus)
        commands[f"microvm {cpus}"] = microvm_command(peer, guest, cpus)
    commands[CLONE] = clone_command(vmm, guest, CPUS[0])
    first = snapshot_command(vmm, guest, CPUS[0])
    return in_lab(first, commands, runs, folder, pins, cache, apt)


def in_lab(
    first: tuple[str, ...], commands: Mapping[str, Command], runs: int, folder: Path, pins: Lock, cache: Cache, apt: Apt
) -> dict[str, Times]:
    """Run ``first``, then ``commands`` in turns, ``runs`` times each, in one lab."""
    out, spec_path = folder / "out", folder / "spec.json"
    out.mkdir()
    plain = {name: asdict(command) for name, command in commands.items()}
    spec = {"runs": runs, "first": first, "commands": plain}
    spec_path.write_text(json.dumps(spec), encoding="utf-8")
    result = run_in_lab(
        [sys.executable, "-m", "benchmarks.vmm", str(spec_path), str(out / "times.json")],
        checkout=ROOT, cache=cache, apt=apt, lock=pins, environ=passed_on(os.environ), timeout_s=SESSION_S,
        writable=out,
    )  # fmt: skip
    if result.status:
        raise RuntimeError(f"the lab's part ended {result.status}: {result.output.decode(errors='replace')[-2000:]}")
    found = json.loads((out / "times.json").read_text(encoding="utf-8"))
    return {name: Times(**times) for name, times in found.items()}


def minimal_kernel() -> Path:
    """The vmlinux of the minimal 6.12, built when it is not in the cache."""
    with project("tests: {one: {duration: 1s, cgroups: [{name: all, workers: 1}]}}\n") as folder:
        front_end(folder, "kernel", "test=one", f"kernel={KERNEL}", f"lock_update={KERNEL}")
        entries = json.loads(front_end(folder, "kernel_list", "json=1"))["entries"]
    built = (e for e in entries if e["source"]["type"] == "debsrc" and e["release"].startswith("6.12."))
    current = next(e for e in built if e["kconfig_status"] == MATCHES)
    return Path(current["path"]) / "vmlinux"


def initramfs(folder: Path) -> bytes:
    """The agent, and a program of no steps."""
    agent.build(c_dir(), agent.compiler(os.environ), folder / "agent")
    return base_part(folder / "agent") + run_part(b"", encode(Program(0, DEADLINE_NS)))


def compile_vmm(out: Path) -> Path:
    """Our VMM as a program, without Python."""
    sources = [ROOT / "tests/c/vmm_run.c", *sorted((c_dir() / "core").glob("*.c"))]
    includes = [f"-I{c_dir() / name}" for name in ("include", "core")]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-pthread"]
    compiler = agent.compiler(os.environ)
    subprocess.run([compiler, *flags, *includes, *map(str, sources), "-o", str(out)], check=True)
    return out


def ktstr_command(vmm: Path, guest: Guest, cpus: int) -> Command:
    """Our VMM's: one node, one LLC, no threads."""
    arguments = ("-a", guest.arguments(cpus, "kvm"), "-c", CHANNEL)
    return Command((*_machine(vmm, guest, cpus), *arguments, str(guest.kernel), str(guest.initrd)), {})


def snapshot_command(vmm: Path, guest: Guest, cpus: int) -> tuple[str, ...]:
    """What writes the snapshot: of an agent that waits for its program."""
    arguments = ("-a", f"{guest.arguments(cpus, 'kvm')} {WAIT_ARGUMENT}", "-S", SNAPSHOT, "-w", str(BOOTED_MS), "-k")
    return (*_machine(vmm, guest, cpus), *arguments, str(guest.kernel), str(guest.initrd))


def clone_command(vmm: Path, guest: Guest, cpus: int) -> Command:
    """Goes on from the snapshot. Nobody gives its agent a program."""
    return Command((*_machine(vmm, guest, cpus), "-d", str(CLONE_MS), "-C", SNAPSHOT), {}, speaks=False)


def _machine(vmm: Path, guest: Guest, cpus: int) -> tuple[str, ...]:
    return (str(vmm), "-t", f"1n1l{cpus}c1t", "-m", str(guest.memory(cpus)))


def microvm(pins: Lock, cache: Cache, apt: Apt, folder: Path) -> Peer:
    """The pinned QEMU with microvm's firmware, which our own machine has no use for."""
    pin = pins.tools["qemu"]
    tool = ensure_qemu(pin, cache, apt)
    data = [package for package in pin.packages if package.name == "qemu-system-data"]
    unpack(apt.download(data, folder)["qemu-system-data"], folder / "data")
    return Peer(tool.argv_prefix, (folder / "data/usr/share/qemu", tool.data_dir), tool.env)


def microvm_command(peer: Peer, guest: Guest, cpus: int) -> Command:
    """QEMU's, with all of microvm that a boot does not need switched off."""
    firmware = [word for folder in peer.firmware for word in ("-L", str(folder))]
    argv = (
        *peer.argv_prefix, *firmware, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "microvm,pit=off,pic=off,rtc=off,pcie=on,isa-serial=on", "-accel", "kvm", "-cpu", "host",
        "-smp", str(cpus), "-m", f"{guest.memory(cpus)}M", "-kernel", str(guest.kernel), "-initrd", str(guest.initrd),
        "-append", guest.arguments(cpus, "tcg").replace("reboot=p", "reboot=t"), "-serial", "stdio",
        "-device", "virtio-serial-pci", "-chardev", f"file,id=channel,path={CHANNEL}",
        "-device", f"virtserialport,chardev=channel,name={PORT}",
    )  # fmt: skip
    return Command(argv, dict(peer.env))


class Trace:
    """The lab kernel's: when KVM enters a guest for the first time, on the monotonic clock."""

    def __init__(self) -> None:
        if not (TRACING / "trace").exists():
            subprocess.run(["mount", "-t", "tracefs", "tracefs", str(TRACING)], check=True)
        self._write("trace_clock", "mono")
        self._write("events/kvm/kvm_entry/trigger", "traceoff:1")  # after the one that pulls it
        self._write("events/kvm/kvm_entry/enable", "1")

    def _write(self, name: str, text: str) -> None:
        (TRACING / name).write_text(text, encoding="ascii")

    def begin(self) -> None:
        """Forget what was seen. A trigger fires once, so it is set anew."""
        self._write("events/kvm/kvm_entry/trigger", "!traceoff:1")
        self._write("trace", "")
        self._write("events/kvm/kvm_entry/trigger", "traceoff:1")
        self._write("tracing_on", "1")

    def first(self) -> float:
        """The moment of the first entry since. Raises RuntimeError when there was none."""
        for line in (TRACING / "trace").read_text(encoding="utf-8").splitlines():
            before, found, _ = line.partition(": kvm_entry:")
            if found:
                return float(before.split()[-1])
        raise RuntimeError("no guest was entered")


def boot(command: Command, folder: Path, trace: Trace) -> tuple[float | None, float]:
    """Run a machine until a guest lives, and tell of those that did not: what emulates the lab's SVM ends one in some
    fifty boots, QEMU's and ours. Raises RuntimeError for what dies each time."""
    for _ in range(ATTEMPTS - 1):
        try:
            return attempt(command, folder, trace)
        except RuntimeError as err:
            sys.stdout.write(f"{err}\n")
    return attempt(command, folder, trace)


def attempt(command: Command, folder: Path, trace: Trace) -> tuple[float | None, float]:
    """Run a machine to its end: seconds to the agent's first byte, if any, and to the guest's first instruction."""
    channel = folder / CHANNEL
    with suppress(FileNotFoundError):
        channel.unlink()
    os.mkfifo(channel)
    reader = os.open(channel, os.O_RDONLY | os.O_NONBLOCK)
    with (folder / "console").open("w+b") as console:
        trace.begin()
        began = time.monotonic()
        machine = subprocess.Popen(
            command.argv, env={**os.environ, **command.env}, cwd=folder, stdin=subprocess.DEVNULL, stdout=console,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        arrived = first_byte(machine, reader, began + RUN_S)
        os.close(reader)
        if (arrived is not None) != command.speaks:
            console.seek(0)
            raise RuntimeError(f"{command.argv}: agent heard after {arrived}: {console.read()[-2000:]!r}")
    return None if arrived is None else arrived - began, trace.first() - began


def first_byte(machine: subprocess.Popen[bytes], reader: int, deadline: float) -> float | None:
    """When the FIFO gave something, None when it never did. What follows is read until the machine ends."""
    arrived = None
    ready = select.poll()
    ready.register(reader, select.POLLIN)
    while machine.poll() is None and time.monotonic() < deadline:
        if not any(event & select.POLLIN for _, event in ready.poll(10)):
            time.sleep(0.002)  # without a writer poll returns at once
            continue
        arrived = arrived or time.monotonic()
        os.read(reader, 1 << 16)
    machine.kill()
    machine.wait()
    return arrived


def main(spec: Path, out: Path) -> None:
    """In the lab: run the machines in turns."""
    asked = json.loads(spec.read_text(encoding="utf-8"))
    commands = {name: Command(**command) for name, command in asked["commands"].items()}
    times = {name: Times([], []) for name in commands}
    trace = Trace()
    with TemporaryDirectory() as folder:
        subprocess.run(asked["first"], cwd=folder, timeout=RUN_S, check=False)  # its machine is stopped: status 1
        for _ in range(asked["runs"]):
            for name, command in commands.items():
                seconds, first = boot(command, Path(folder), trace)
                times[name].agent.extend([] if seconds is None else [seconds])
                times[name].first.append(first)
                sys.stdout.write(f"{name}: agent after {seconds} s, first instruction after {first} s\n")
                sys.stdout.flush()
    out.write_text(json.dumps({name: asdict(found) for name, found in times.items()}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
