"""``doit doctor``: what this host can do, each finding with the fix for what it cannot.

Every probe looks and changes nothing. ``ok`` is True when a need is met, False when it is
not, None when nothing depends on it or nothing could be proven.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ktstr.errors import EXIT_ENVIRONMENT, EXIT_OK, HostError
from ktstr.host import probe_kvm
from ktstr.host.flock import refuse_remote
from ktstr.schedulers.toolchain import clang_version, find_clang
from ktstr.vm import agent

GIB = 1 << 30
# A fetched kernel with its extracted vmlinux and the tools take about 0.3 GiB; results little.
CACHE_FREE_MIN = GIB
RESULTS_FREE_MIN = GIB // 4
# The smallest guest has 0.25 GiB; the emulator beside it about as much again.
MEMORY_MIN = GIB // 2
APT_TOOLS = ("apt-get", "apt-cache", "dpkg-deb")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MARKS = {True: "ok", False: "FAIL", None: "-"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``fix`` is the command or edit that helps, when one does."""

    name: str
    ok: bool | None
    detail: str
    fix: str | None = None


@dataclass(frozen=True)
class Places:
    """The folders that matter; ``tools`` is the unpacked QEMU bundle."""

    results: Path
    cache: Path
    tools: Path


def examine(places: Places, environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """Look at everything, in the order it is printed. Takes about a second, most of it compilers' versions."""
    return (
        python(),
        machine(),
        cpus(),
        memory(),
        kvm(),
        emulator(places.tools),
        c_compiler(environ),
        static_libc(environ),
        bpf_compiler(environ),
        apt(environ),
        folder("cache", places.cache, CACHE_FREE_MIN, "KTSTR_CACHE_DIR=DIR on a local disk with space"),
        cache_size(places.cache),
        folder("results", places.results, RESULTS_FREE_MIN, "KTSTR_RUNS_ROOT=DIR on a local disk with space"),
    )


def exit_code(findings: Iterable[Finding]) -> int:
    """3 when a need is not met, else 0."""
    return EXIT_ENVIRONMENT if any(found.ok is False for found in findings) else EXIT_OK


def to_json(findings: Sequence[Finding]) -> str:
    """One object, as ``schemas/doctor.schema.json`` has it."""
    body = {"ok": exit_code(findings) == EXIT_OK, "findings": [asdict(found) for found in findings]}
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def to_text(findings: Sequence[Finding]) -> str:
    """A line for each finding, and one below it for its fix."""
    width = max(len(found.name) for found in findings)
    lines = []
    for found in findings:
        lines.append(f"{MARKS[found.ok]:<5}{found.name:<{width}}  {found.detail}")
        if found.fix is not None:
            lines.append(f"{'':<{width + 7}}fix: {found.fix}")
    return "\n".join(lines) + "\n"


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


def kvm() -> Finding:
    """Never a need: without it guests are emulated."""
    found = probe_kvm.probe()
    return Finding("kvm", None, f"{found.detail}; accel=auto uses icount", found.fix)


def emulator(tools: Path) -> Finding:
    """The private QEMU: fetched when first needed, so its absence is no failure."""
    binary = tools / "usr/bin/qemu-system-x86_64"
    if binary.is_file():
        return Finding("qemu", True, str(binary))
    return Finding("qemu", None, "not fetched yet; the first test fetches it", "doit tools")


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
        return Finding("libc", False, "no compiler to ask", agent_fix())
    if not Path(found).is_absolute():
        return Finding("libc", False, "no static C library", agent_fix())
    return Finding("libc", True, found)


def agent_fix() -> str:
    """What installs everything that the agent is compiled with, on Debian."""
    return "as root: apt-get install gcc libc6-dev"


def bpf_compiler(environ: Mapping[str, str]) -> Finding:
    """The compiler of schedulers declared by ``source:``."""
    try:
        return Finding("clang", True, clang_version(find_clang(environ.get("PATH", os.defpath))))
    except HostError as err:
        return Finding("clang", False, err.message, err.fix)


def apt(environ: Mapping[str, str], keyring: Path = KEYRING) -> Finding:
    """What fetches kernels and tools from the distribution's archive, and verifies them."""
    lacking = [tool for tool in APT_TOOLS if shutil.which(tool, path=environ.get("PATH")) is None]
    if not lacking and keyring.is_file():
        return Finding("apt", True, f"verifies with {keyring}")
    detail = f"lacks {', '.join(lacking)}" if lacking else f"{keyring} does not exist"
    return Finding("apt", False, detail, "run on Debian 12 or 13, or in a container of it")


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
    return Finding(name, True, detail) if free >= need else Finding(name, False, f"{detail}, needs {need / GIB:g}", fix)


def cache_size(cache: Path) -> Finding:
    """Disk space taken by each class of the cache: a folder of its own in it."""
    try:
        classes = sorted(path for path in cache.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return Finding("cache size", None, "empty")
    sizes = [f"{path.name} {disk_bytes(path) / (1 << 20):.0f} MiB" for path in classes]
    return Finding("cache size", None, ", ".join(sizes) or "empty", f"rm -rf {cache} frees it all" if sizes else None)


def disk_bytes(path: Path) -> int:
    """Bytes allocated for ``path`` and all in it; hard links count once, links are not followed."""
    seen: dict[tuple[int, int], int] = {}
    for parent, _, files in os.walk(path):
        for entry in (parent, *(os.path.join(parent, name) for name in files)):  # noqa: PTH118 - many files
            try:
                stat = os.lstat(entry)
            except OSError:
                continue
            seen[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sum(seen.values())


def _existing(path: Path) -> Path:
    """``path``, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as err:
        raise HostError(f"{' '.join(command)} failed: {err}") from None
    return done.stdout.partition("\n")[0].strip()
