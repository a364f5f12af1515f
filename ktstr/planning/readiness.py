"""What this host can do for runs, each finding with the fix for what it cannot.

Every probe looks and changes nothing, but that of KVM compiles the VMM if nobody has yet. ``ok`` is
True when a need is met, False when it is not, None when nothing depends on it or nothing could be proven.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError, InputError
from ktstr.host.apt import KEYRINGS
from ktstr.host.cache import cache_root
from ktstr.host.cache_classes import CacheClass, read_classes
from ktstr.host.flock import refuse_remote
from ktstr.kernels.pahole import IMPLICIT_ARGS_SINCE, writes_implicit_args
from ktstr.kernels.toolchain import find_toolchain
from ktstr.schedulers.cargo import find_cargo
from ktstr.schedulers.toolchain import clang_version, find_clang
from ktstr.vm import agent, probe_kvm
from ktstr.vm.snapshot_store import KIND as MACHINES
from ktstr.vm.snapshot_store import limit_bytes

GIB = 1 << 30
# A fetched kernel with its extracted vmlinux and the tools take about 0.3 GiB; results little.
CACHE_FREE_MIN = GIB
RESULTS_FREE_MIN = GIB // 4
# The smallest guest has 0.25 GiB; the emulator beside it about as much again.
MEMORY_MIN = GIB // 2
CACHE_FIX = "KTSTR_CACHE_DIR=DIR on a local disk with space"
RESULTS_FIX = "KTSTR_RUNS_ROOT=DIR on a local disk with space"
STATIC_FIX = "as root: apt-get install gcc libc6-dev"
APT_TOOLS = ("apt-get", "apt-cache", "dpkg-deb")


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``fix`` is the command or edit that helps, when one does."""

    name: str
    ok: bool | None
    detail: str
    fix: str | None = None


def examine(
    results: Path, environ: Mapping[str, str] | None = None, cancel: Cancel | None = None
) -> tuple[Finding, ...]:
    """Look at everything, in the order it is printed. ``results``: the folder that runs are written to.

    Takes about a second, most of it the probe guest and the compilers' versions, and some more where the VMM is
    yet to be compiled. ``environ`` is the process's own unless given. Raises Cancelled.
    """
    environ = os.environ if environ is None else environ
    host = (python(), machine(), cpus(), memory(), kvm(environ, cancel))
    compilers = (c_compiler(environ), static_libc(environ), bpf_compiler(environ))
    builds = (crate_builds(environ), kernel_builds(environ), apt(environ))
    return (*host, *compilers, *builds, *cached(environ), folder("results", results, RESULTS_FREE_MIN, RESULTS_FIX))


def python() -> Finding:
    """The Python that runs us; the packages beside it were checked by their lock."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", sys.version_info >= (3, 11), f"{version} in {sys.prefix}")


def machine() -> Finding:
    """The architecture: guests are x86-64 and so is the guest agent."""
    uname = os.uname()
    detail = f"{uname.sysname} {uname.release} {uname.machine}"
    return Finding("machine", uname.machine == "x86_64", detail, None if uname.machine == "x86_64" else "use x86_64")


def cpus() -> Finding:
    """CPUs this process may run on, of those there are."""
    usable, online = len(os.sched_getaffinity(0)), os.cpu_count() or 0
    return Finding("cpus", None, f"{usable} of {online} usable")


def memory() -> Finding:
    """Memory available now, by ``/proc/meminfo``'s MemAvailable."""
    import psutil

    found = psutil.virtual_memory()
    detail = f"{found.available / GIB:.1f} GiB available of {found.total / GIB:.1f} GiB"
    fits = bool(found.available >= MEMORY_MIN)
    return Finding("memory", fits, detail, None if fits else f"free {MEMORY_MIN / GIB:g} GiB, or run with jobs=1")


def kvm(environ: Mapping[str, str], cancel: Cancel | None = None) -> Finding:
    """What the probe guest found just now. Never a need: without KVM guests are emulated."""
    found = probe_kvm.judge(environ, anew=True, cancel=cancel)
    accel = "kvm" if found.usable else "icount"
    return Finding("kvm", True if found.usable else None, f"{found.detail}; accel=auto uses {accel}", found.fix)


def c_compiler(environ: Mapping[str, str]) -> Finding:
    """The compiler of the guest agent."""
    try:
        found = agent.compiler(environ)
        return Finding("gcc", True, f"{agent.compiler_version(found)}")
    except HostError as err:
        return Finding("gcc", False, err.message, err.fix)


def static_libc(environ: Mapping[str, str]) -> Finding:
    """The agent is linked statically; gcc answers a bare name for a file it cannot find."""
    try:
        found = _first_line([agent.compiler(environ), "-print-file-name=libc.a"])
    except HostError:
        return Finding("libc", False, "no compiler to ask", STATIC_FIX)
    if not Path(found).is_absolute():
        return Finding("libc", False, "no static C library", STATIC_FIX)
    return Finding("libc", True, found)


def bpf_compiler(environ: Mapping[str, str]) -> Finding:
    """The compiler of schedulers declared by ``source:``."""
    try:
        return Finding("clang", True, clang_version(find_clang(environ.get("PATH", os.defpath))))
    except HostError as err:
        return Finding("clang", False, err.message, err.fix)


def crate_builds(environ: Mapping[str, str]) -> Finding:
    """What schedulers declared by ``crate:`` are built with; nothing else needs it."""
    try:
        versions = dict(find_cargo(environ).versions)
    except HostError as err:
        return Finding("crate builds", None, err.message, err.fix)
    return Finding("crate builds", True, f"{versions['cargo']}, {versions['rustc']}")


def kernel_builds(environ: Mapping[str, str]) -> Finding:
    """What kernels are built with; nothing but building one needs it."""
    try:
        tools = find_toolchain(environ)
    except HostError as err:
        return Finding("kernel builds", None, err.message, f"as root: {err.fix}")
    newer = "" if writes_implicit_args(tools.pahole) else f", from {IMPLICIT_ARGS_SINCE}.0 on ktstr's own"
    return Finding("kernel builds", True, f"{tools.cc}, pahole {tools.pahole}{newer}")


def apt(environ: Mapping[str, str], keyrings: Sequence[str] = KEYRINGS) -> Finding:
    """What fetches kernels and tools from the distribution's archive, and verifies them."""
    lacking = [tool for tool in APT_TOOLS if shutil.which(tool, path=environ.get("PATH")) is None]
    keyring = next((ring for ring in keyrings if Path(ring).is_file()), None)
    if not lacking and keyring is not None:
        return Finding("apt", True, f"verifies with {keyring}")
    detail = f"lacks {', '.join(lacking)}" if lacking else f"found none of the keyrings {', '.join(keyrings)}"
    return Finding("apt", False, detail, "run on Debian 12 or 13, or in a container of it")


def cached(environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """The cache: its folder, the tools in it, the space it takes and its parked machines."""
    try:
        root = cache_root(environ)
    except HostError as err:
        return (Finding("cache", False, err.message, err.fix),)
    classes = read_classes(root)
    return (
        tool("qemu", root, "usr/bin/qemu-system-x86_64"),
        tool("bpftool", root, "usr/sbin/bpftool"),
        tool("pahole", root, "usr/bin/pahole", f"the first kernel from {IMPLICIT_ARGS_SINCE}.0 on", None),
        folder("cache", root, CACHE_FREE_MIN, CACHE_FIX),
        cache_size(classes),
        machines(classes, environ),
    )


def tool(name: str, cache: Path, inside: str, first: str = "the first test", fix: str | None = "doit tools") -> Finding:
    """A private tool, the newest of those cached. Its absence is no failure: ``first``, which needs it, fetches it."""
    # An entry's name is a digest; what begins with a dot was never finished.
    found = sorted(cache.glob(f"tools/[!.]*/{inside}"), key=lambda path: path.lstat().st_mtime)
    if found:
        return Finding(name, True, str(found[-1]))
    return Finding(name, None, f"not fetched yet; {first} fetches it", fix)


def folder(name: str, path: Path, need: int, fix: str) -> Finding:
    """Whether ``path`` can be written, is on a local filesystem and has ``need`` bytes free."""
    existing = _existing(path)
    try:
        refuse_remote(existing)
        free = shutil.disk_usage(existing).free
    except HostError as err:
        return Finding(name, False, err.message, fix)
    except OSError as err:
        return Finding(name, False, f"{path}: {err.strerror}", fix)
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(name, False, f"{path}: not writable by this user", fix)
    detail = f"{path}: {free / GIB:.1f} GiB free"
    return (
        Finding(name, True, detail)
        if free >= need
        else Finding(name, False, f"{detail}, needs {need / GIB:.2f} GiB", fix)
    )


def cache_size(classes: Sequence[CacheClass]) -> Finding:
    """Disk space taken by each class of the cache."""
    sizes = [f"{one.name} {_mib(one.disk_bytes)}" for one in classes]
    return Finding("cache size", None, ", ".join(sizes) or "empty")


def machines(classes: Sequence[CacheClass], environ: Mapping[str, str]) -> Finding:
    """The parked machines: what they take of what they may."""
    found = next((one for one in classes if one.name == MACHINES), CacheClass(MACHINES, 0, 0))
    try:
        limit = limit_bytes(environ)
    except InputError as err:
        return Finding("machines", False, err.message, err.fix)
    return Finding("machines", None, f"{found.entries} parked, {_mib(found.disk_bytes)} of at most {_mib(limit)}")


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"


def _existing(path: Path) -> Path:
    """``path``, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as err:
        raise HostError(f"{' '.join(command)} failed: {err}") from None
    return done.stdout.partition("\n")[0].strip()
