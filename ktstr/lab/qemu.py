"""The lab's emulator: its files and command line. Measured on QEMU 10.0.2 with Linux 6.12."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# 7.2 made the lab's kernel panic in one of two sessions (code patching under threaded TCG); 10.0.2 does not.
# EPYC brings SVM, nested paging and AVX2; the rest of it that TCG lacks is only warned about.
_MACHINE = "q35,hpet=off,sata=off,smbus=off,vmport=off,i8042=off,smm=off,usb=off"
_CPU = "EPYC,+svm,+npt"
# A CPU that hangs in the emulated SVM for a minute (twice watchdog_thresh) is a panic too: else the lab never ends. So
# is one that hangs in a guest and takes no interrupts any more, not even its own watchdog's: the others miss it.
_KERNEL_ARGS = (
    "console=ttyS0 loglevel=4 panic=-1 oops=panic reboot=p mitigations=off cryptomgr.notests=1 tsc=reliable"
    " watchdog_thresh=30 softlockup_panic=1 sysctl.kernel.panic_on_rcu_stall=1 rcupdate.rcu_cpu_stall_timeout=60"
    " init_on_alloc=0 audit=0 rdinit=/init"
)


@dataclass(frozen=True)
class LabFiles:
    """What one lab reads and writes; all but firmware, kernel and shared folder are in ``work``."""

    work: Path
    firmware: Path
    kernel: Path
    shared: Path | None

    @property
    def initrd(self) -> Path:
        return self.work / "initrd.cpio"

    @property
    def console(self) -> Path:
        return self.work / "console.log"

    @property
    def output(self) -> Path:
        return self.work / "output.log"

    @property
    def status(self) -> Path:
        return self.work / "status"

    @property
    def emulator(self) -> Path:
        return self.work / "emulator.log"


def qemu_args(files: LabFiles, memory_mib: int, kernel_args: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The arguments after the program's name. The root is exported read-only, by QEMU itself."""
    return (
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", "ktstr-lab,debug-threads=on",
        "-machine", _MACHINE, "-cpu", _CPU, "-accel", "tcg,thread=multi", "-smp", "2", "-m", f"{memory_mib}M",
        "-L", str(files.firmware), "-kernel", str(files.kernel), "-initrd", str(files.initrd),
        "-append", " ".join((_KERNEL_ARGS, *kernel_args)),
        "-chardev", f"file,id=console,path={_escape(files.console)}", "-serial", "chardev:console",
        "-device", "virtio-serial-pci", "-device", "virtio-rng-pci",
        *_port("out", files.output), *_port("status", files.status),
        *_share("hostroot", Path("/"), ",readonly=on"),
        *(() if files.shared is None else _share("shared", files.shared, "")),
    )  # fmt: skip


def _port(name: str, path: Path) -> Iterator[str]:
    yield from ("-chardev", f"file,id={name},path={_escape(path)}")
    yield from ("-device", f"virtserialport,chardev={name},name=lab.{name}")


def _share(tag: str, path: Path, more: str) -> Iterator[str]:
    options = f"mount_tag={tag},security_model=none,multidevs=remap{more}"
    yield from ("-virtfs", f"local,path={_escape(path)},{options}")


def _escape(path: Path) -> str:
    """A path inside an option list: a comma is doubled."""
    return str(path).replace(",", ",,")
