"""Boot to the agent and back, against bare QEMU with an init that does nothing; and the agent's own time.

Both boot the same kernel on the same emulator build with as many vCPUs and as much memory. The bare
command line is what a kernel developer types; ours has the channel, and runs a program of no steps.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.project import ROOT
from benchmarks.table import Row, interleaved
from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.kernels.prebuilt import ensure
from ktstr.kernels.resolve import resolve
from ktstr.kernels.spec import DEFAULT
from ktstr.pins.lock import read_lock
from ktstr.resources import c_dir
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Hold,
    Program,
    Release,
    RemoveCgroups,
    Spawn,
    StopWorkers,
    Work,
    Worker,
)
from ktstr.tools.pinned import Tool, ensure_qemu
from ktstr.vm import agent, steady
from ktstr.vm.cpio import archive, regular
from ktstr.vm.guest_image import base_part
from ktstr.vm.machine import GuestSpec
from ktstr.vm.memory import memory_mib
from ktstr.vm.messages import decode_channel
from ktstr.vm.qemu import QemuMachine
from ktstr.vm.qemu_args import icount_shift

FOUR = Topology(1, 1, 4, 1)
BOOT_BUDGET = 1.5
AGENT_BUDGET_MS = 100.0
HOLD_NS = 500_000_000
DEADLINE_NS = 20_000_000_000
NO_OPS = Program(0, DEADLINE_NS)


@dataclass(frozen=True)
class Lab:
    """The pinned emulator and kernel, and both initramfs."""

    tool: Tool
    steady: steady.Steady
    kernel: Path
    image: Path
    nothing: Path
    folder: Path

    def run(self, accel: str, of: Program = NO_OPS) -> tuple[float, Path]:
        """Host seconds of one guest of ours, and what it sent."""
        library = self.steady if accel == "icount" else None
        spec = GuestSpec(self.kernel, (self.image,), FOUR, memory_mib(FOUR), program=encode(of))
        with QemuMachine(self.tool, accel, library).start(spec, self.folder, 300, Cancel()) as guest:
            result = guest.wait()
        if result.end.reason != "clean":
            raise RuntimeError(f"{accel}: {result.end.reason} {result.end.detail}")
        return result.end.host_seconds, result.channel

    def bare(self, accel: str) -> float:
        """Host seconds of a bare guest, start to power-off."""
        counted = ("-accel", "tcg,thread=single", "-icount", f"shift={icount_shift(FOUR.cpus)},sleep=off")
        command = (
            *self.tool.argv_prefix, "-L", str(self.tool.data_dir), "-M", "q35", "-nodefaults", "-display", "none",
            "-cpu", "max", "-smp", str(FOUR.cpus), "-m", f"{memory_mib(FOUR)}M", "-no-reboot",
            "-kernel", str(self.kernel), "-initrd", str(self.nothing), "-append", "console=ttyS0 panic=-1 rdinit=/init",
            "-serial", f"file:{self.folder / 'bare.log'}",
            *(counted if accel == "icount" else ("-accel", "tcg,thread=multi")),
        )  # fmt: skip
        began = time.monotonic()
        subprocess.run(command, env={**os.environ, **self.tool.env}, check=True, timeout=300)
        return time.monotonic() - began


def lab(folder: Path) -> Lab:
    """Fetch and build what is missing."""
    cache = Cache(cache_root(os.environ))
    pins, apt = read_lock(ROOT / "ktstr.lock"), Apt(cache.apt)
    kernel = ensure(resolve(DEFAULT, pins, cache, apt), cache, apt)
    cc = agent.compiler(os.environ)
    agent.build(c_dir(), cc, folder / "agent")
    (folder / "image.cpio").write_bytes(base_part(folder / "agent"))
    source = Path(__file__).parent / "do_nothing.c"
    subprocess.run([cc, "-O2", "-static", str(source), "-o", str(folder / "nothing")], check=True)
    (folder / "nothing.cpio").write_bytes(archive([regular("init", (folder / "nothing").read_bytes(), 0o755)]))
    tool = ensure_qemu(pins.tools["qemu"], cache, apt)
    made = steady.planned(c_dir(), cc, cache)
    made.build()
    return Lab(tool, made, kernel.vmlinux, folder / "image.cpio", folder / "nothing.cpio", folder)


def scenario() -> Program:
    """Two cgroups of four spinners each, held for half a second."""
    cgroups = (Cgroup("c0"), Cgroup("c1"))
    works = tuple(Work("SpinWait", i, (Worker(),) * 4) for i in (0, 1))
    crews = (op for i in (0, 1) for op in (AddCgroup(i), Spawn(i)))
    ops = (*crews, Release(), Hold(HOLD_NS), StopWorkers(), RemoveCgroups())
    return Program(0, DEADLINE_NS, cgroups, works, ops=ops)


def agent_ms(channel: Path) -> float:
    """Guest milliseconds from the first step to the end, less the hold."""
    guest, broken = decode_channel(channel.read_bytes())
    if broken is not None or guest.end_ns is None:
        raise RuntimeError(f"the guest did not end its report: {broken}")
    return (guest.end_ns - HOLD_NS) / 1e6


def rows() -> list[Row]:
    """Boot by machine, and the agent's overhead in guest time."""
    with TemporaryDirectory(prefix="ktstr-bench-") as name:
        made = lab(Path(name))
        found = [_boot(made, accel) for accel in ("tcg", "icount")]
        _, channel = made.run("icount", scenario())
        return [
            *found,
            Row("agent outside its holds, 8 workers (guest time)", agent_ms(channel), "ms", None, AGENT_BUDGET_MS),
        ]


def _boot(made: Lab, accel: str) -> Row:
    ours: Callable[[], float] = lambda: made.run(accel)[0]  # noqa: E731
    seconds, bare = interleaved(3, ours, lambda: made.bare(accel))
    return Row(f"boot to agent and off, {accel}, 4 vCPUs, against bare QEMU", seconds, "s", bare, BOOT_BUDGET)
