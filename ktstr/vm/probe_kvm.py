"""Whether KVM runs guests here, by running one.

That ``/dev/kvm`` opens proves nothing: a paravirtual or emulated KVM creates machines and then stops at the
first instruction it cannot emulate. So a probe guest (``vmm_c/probe/probe.c``) does in the VMM what every stock
kernel does. It runs in a process of its own, which a KVM that hangs takes with it; run as a program, this
module is that process. The verdict is kept in the cache for this boot of the host.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from ktstr import resources
from ktstr.cancel import Cancel, Cancelled
from ktstr.config.topology import Topology
from ktstr.errors import HostError, InputError, KtstrError
from ktstr.files import write_atomic
from ktstr.host.cache import cache_root
from ktstr.host.identity import host_identity
from ktstr.host.scratch import scratch
from ktstr.vm.agent import compiler, run_compiler
from ktstr.vm.vmm_build import find_vmm, load_vmm

DEVICE = Path("/dev/kvm")
KVM_GET_API_VERSION = 0xAE00  # _IO(KVMIO, 0x00), include/uapi/linux/kvm.h
KVM_API_VERSION = 12  # the only version any kernel since 2.6.22 answers

GUEST_MS = 900  # for the guest; an emulated host's KVM needs 150 to 250, a real one less than 20
CHILD_S = 2.0  # for the machine: made, run and destroyed
START_S = 20.0  # for the child with its interpreter on a host that is busy
REAP_S = 1.0  # a process stuck in the host's kernel outlives its SIGKILL, and is left
PATIENCE_S = 3600.0  # how long a verdict holds that a busy host may have caused
MEMORY_MIB = 32
LABEL = "1n1l2c1t"
REMEMBERED = "kvm-probe.json"  # in the cache
FLAGS = (
    "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-pic", "-fno-stack-protector",
    "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-mgeneral-regs-only", "-mno-red-zone", "-nostdlib",
    "-static", "-Wl,-e,start", "-Wl,-Ttext-segment=0x1000000", "-Wl,--build-id=none", "-Wl,-z,noexecstack",
)  # fmt: skip


@dataclass(frozen=True)
class Kvm:
    """``usable``: True when a guest ran to its end, False when none can, None when nothing was proven."""

    usable: bool | None
    detail: str
    fix: str | None = None


@dataclass(frozen=True)
class Run:
    """How the child ended: the machine's reason and text, and what the guest had said by then.

    ``reason`` is one of ``VmmExit``, or "refused": the VMM's own sentence and fix for why there is no machine.
    """

    reason: str
    text: str
    console: str = ""
    fix: str | None = None

    @property
    def certain(self) -> bool:
        """It will end like this every time: no other process and no load of the host had a part in it."""
        return self.reason in ("power_off", "reset", "triple_fault", "internal_error", "fail_entry")


def probe(device: Path = DEVICE) -> Kvm:
    """Open the device and ask for its version. Starts no guest, so it never answers ``usable=True``."""
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as err:
        return _unopened(device, err)
    try:
        version = fcntl.ioctl(fd, KVM_GET_API_VERSION, 0)
    except OSError as err:
        return Kvm(False, f"{device} opens, but is no KVM: {err.strerror}")
    finally:
        os.close(fd)
    if version != KVM_API_VERSION:
        return Kvm(False, f"{device} speaks API version {version}, expected {KVM_API_VERSION}")
    return Kvm(None, f"{device} opens, which proves nothing: no guest has run in it")


def judge(environ: Mapping[str, str], *, anew: bool = False, cancel: Cancel | None = None) -> Kvm:
    """Whether guests run in KVM here: the probe guest's verdict, remembered unless ``anew``.

    Compiles the VMM first if it has not been. ``usable`` is None when that is not possible. Raises Cancelled,
    and nothing else.
    """
    found = probe()
    if found.usable is False:
        return found
    try:
        return run_probe(find_vmm(environ, cancel), environ, anew=anew, cancel=cancel)
    except Cancelled:
        raise  # it says nothing of KVM
    except KtstrError as err:
        return Kvm(None, f"{DEVICE} opens, but no guest could be tried: {err.message}", err.fix)
    except OSError as err:
        return Kvm(None, f"{DEVICE} opens, but no guest could be tried: {err}")


def run_probe(extension: Path, environ: Mapping[str, str], *, anew: bool = False, cancel: Cancel | None = None) -> Kvm:
    """The verdict of the probe guest in this VMM: the remembered one, unless ``anew`` or there is none.

    Takes a fraction of a second where KVM works, START_S at most. Raises HostError and InputError when the guest
    cannot be compiled, Cancelled.
    """
    found = probe()
    if found.usable is False:
        return found
    place, key = cache_root(environ) / REMEMBERED, _key(extension, environ)
    known = None if anew else recall(place, key)
    if known is not None:
        return known
    with scratch("ktstr-probe-") as folder:
        guest = folder / "guest"
        build_guest(guest, environ, cancel)
        run = run_guest(extension, guest, cancel)
    found = verdict(run)
    if run.reason != "refused":
        remember(place, key, found, None if run.certain else time.time() + PATIENCE_S)
    return found


def build_guest(out: Path, environ: Mapping[str, str], cancel: Cancel | None = None) -> None:
    """Compile the probe guest, an ELF kernel.

    Raises HostError without a compiler, InputError in its words, Cancelled when ``cancel`` is set meanwhile.
    """
    command = [compiler(environ), *FLAGS, str(_source()), "-o", str(out)]
    done = run_compiler(command, cancel)
    done.check_room(out.parent.parent, "TMPDIR")
    if done.status:
        tail = "\n".join(done.errors.splitlines()[-10:])
        raise InputError(f"the probe guest does not compile:\n{tail}", fix=f"look at {_source()}, or report it")


def run_guest(extension: Path, guest: Path, cancel: Cancel | None = None) -> Run:
    """Run ``guest`` in a machine of a child process. The child ends, or is left behind, whatever KVM does.

    Raises Cancelled when ``cancel`` is set meanwhile.
    """
    with open(os.memfd_create("console", os.MFD_CLOEXEC), "rb") as console:  # noqa: PTH123 - a descriptor
        command = [*_child_command(), str(extension), str(guest), str(console.fileno())]
        status, answer = run_child(command, console, cancel=cancel)
        text = console.seek(0) or console.read().decode("ascii", errors="replace")
    try:
        return Run(console=str(text), **json.loads(answer))
    except (ValueError, TypeError):
        return Run("died", _manner(status, answer), str(text))


def run_child(
    command: Sequence[str], console: IO[bytes], start_s: float = START_S, cancel: Cancel | None = None
) -> tuple[int | None, str]:
    """Run a command that inherits ``console``: its exit status, and the last line it wrote. None: it was killed.

    Raises Cancelled when ``cancel`` is set meanwhile. It is no child of ``host.command``, which waits for the end of
    what it kills: this one may be stuck in the host's kernel.
    """
    cancel = cancel or Cancel()
    cancel.check()
    root = str(Path(resources.__file__).parent.parent)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, *sys.path)))}
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ,
        pass_fds=(console.fileno(),),
    )
    try:
        output = _output_and_end(child, start_s, cancel)
        return child.returncode, output.decode("utf-8", "replace").rstrip().rpartition("\n")[2]
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        _end(child)


def _output_and_end(child: subprocess.Popen[bytes], seconds: float, cancel: Cancel) -> bytes:
    """What it writes until it ends. Raises TimeoutExpired after ``seconds``, Cancelled."""
    assert child.stdout is not None, "run_child makes it a pipe"
    output, deadline = b"", time.monotonic() + seconds
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        ready.register(cancel, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            waiting = [key.fileobj for key, _ in ready.select(left)]
            cancel.check()
            if child.stdout in waiting:
                data = os.read(child.stdout.fileno(), 1 << 16)
                if not data:
                    child.wait(max(0.0, deadline - time.monotonic()))
                    return output
                output += data
    raise subprocess.TimeoutExpired(child.args, seconds)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill it, and wait no longer than a process takes to die."""
    child.kill()
    with suppress(subprocess.TimeoutExpired):
        child.wait(REAP_S)
    if child.stdout is not None:
        child.stdout.close()


def _child_command() -> list[str]:
    return [sys.executable, "-P", "-m", __spec__.name]


def _manner(status: int | None, last: str) -> str:
    if status is None:
        return f"it did not come back within {START_S:g} s"
    if status == -signal.SIGALRM:
        return f"the machine was not done after {CHILD_S:g} s"
    if status < 0:
        return f"the VMM was killed by signal {-status}"
    return f"the VMM ended with status {status}: {last}"


def verdict(run: Run) -> Kvm:
    """What the run says of KVM, in one line that names the step it stopped at."""
    if run.reason == "power_off":
        return Kvm(True, "KVM runs guests: the probe guest ran to its end")
    if run.reason == "refused":
        return Kvm(False, f"no machine can be made here: {run.text}", run.fix)
    step = run.console.rstrip("\n").rpartition("\n")[2]
    where = f"stopped at {step!r}" if step else "stopped before its first step"
    why = "with a wrong result" if run.reason == "reset" else run.text.partition(";")[0]
    if run.reason == "deadline":
        why = f"not done after {GUEST_MS} ms"
    return Kvm(False, f"KVM here runs no stock kernel: the probe guest {where}: {why}")


def recall(place: Path, key: str) -> Kvm | None:
    """The verdict remembered for ``key``, unless its time is up."""
    try:
        found = json.loads(place.read_bytes())
        until, kvm = found["until"], Kvm(**found["kvm"])
        fresh = found["key"] == key and (until is None or time.time() < until < time.time() + 2 * PATIENCE_S)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    typed = isinstance(kvm.usable, bool) and isinstance(kvm.detail, str) and isinstance(kvm.fix, str | None)
    return kvm if fresh and typed else None


def remember(place: Path, key: str, found: Kvm, until: float | None) -> None:
    """Store a verdict, to be forgotten at ``until`` (Unix time). A cache that cannot be written stays as it is."""
    text = json.dumps({"key": key, "until": until, "kvm": asdict(found)}) + "\n"
    with suppress(HostError):
        write_atomic(place, text.encode())


def _key(extension: Path, environ: Mapping[str, str]) -> str:
    """The digest of all a verdict depends on: this boot of this host, the device, the VMM, the guest."""
    device, binary = DEVICE.stat(), extension.stat()
    known = (
        host_identity(),
        (device.st_dev, device.st_ino, device.st_rdev, device.st_ctime_ns),
        (str(extension), binary.st_size, binary.st_mtime_ns),
        (compiler(environ), FLAGS, [path.read_bytes() for path in sorted(_source().parent.glob("*.[ch]"))]),
    )
    return hashlib.sha256(repr(known).encode()).hexdigest()


def _source() -> Path:
    return resources.c_dir() / "probe" / "probe.c"


def _unopened(device: Path, err: OSError) -> Kvm:
    if err.errno in (errno.EACCES, errno.EPERM):
        return Kvm(False, f"{device} may not be opened by this user", f"as root: usermod -aG kvm {_user()}")
    if err.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return Kvm(False, f"{device} does not exist", "as root: modprobe kvm_intel || modprobe kvm_amd")
    return Kvm(False, f"{device} cannot be opened: {err.strerror}")


def _user() -> str:
    return os.environ.get("USER") or str(os.getuid())


def _in_child(extension: Path, guest: Path, console_fd: int) -> Run:
    """Run the guest in this process, which the kernel's alarm ends if KVM does not."""
    from ktstr.vm.vmm import Vmm, VmmConfig

    config = VmmConfig(
        guest, Topology.parse(LABEL), MEMORY_MIB, console_fd=console_fd, console_limit=4096, deadline_ms=GUEST_MS
    )
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, CHILD_S)
    try:
        with Vmm(load_vmm(extension), config) as vmm:
            vmm.start()
            ended = vmm.wait(None)
    except KtstrError as err:
        return Run("refused", err.message, fix=err.fix)
    assert ended is not None
    return Run("refused" if ended.reason == "host_error" else ended.reason, ended.text)


def _main(extension: str, guest: str, console_fd: str) -> None:
    run = asdict(_in_child(Path(extension), Path(guest), int(console_fd)))
    del run["console"]  # the parent has it, even of a child that died
    print(json.dumps(run))


if __name__ == "__main__":
    _main(*sys.argv[1:])
