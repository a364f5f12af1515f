"""The tools that build kernels: found before anything is built, and identified for the cache key."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ktstr.errors import HostError
from ktstr.kernels.pahole import parse_pahole
from ktstr.tools.bundle import Bundle

# Command or header, and the Debian package that has it (Documentation/process/changes.rst).
_TOOLS = {
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",  # kernel/time/timeconst.h
    "pahole": "dwarves",
    "python3": "python3",  # scripts/bpf_doc.py, for resolve_btfids' libbpf
    "objcopy": "binutils",
}
_HEADERS = {"gelf.h": "libelf-dev"}  # objtool and resolve_btfids read ELF files
MIN_PAHOLE = (1, 16)  # the first that writes BTF
_TIMEOUT_S = 30


@dataclass(frozen=True)
class KernelToolchain:
    """How to call make, and what its output depends on. ``versions``: tool to what it says of itself."""

    make_args: tuple[str, ...]
    versions: Mapping[str, str]
    path: str

    @property
    def cc(self) -> str:
        """The compiler's own words."""
        return self.versions["cc"]

    @property
    def pahole(self) -> str:
        return self.versions["pahole"]

    def with_pahole(self, pahole: Bundle) -> KernelToolchain:
        """These tools with that pahole in place of the machine's."""
        said = f"v{pahole.version}, ktstr's own {pahole.digest[:12]}"
        return replace(
            self, versions={**self.versions, "pahole": said}, path=f"{pahole.commands}{os.pathsep}{self.path}"
        )

    @property
    def digest(self) -> str:
        """SHA-256 over what decides the code: compiler, linker, pahole. ccache changes nothing and is left out."""
        lines = sorted(f"{tool} {version}" for tool, version in self.versions.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def find_toolchain(environ: Mapping[str, str], cc: str | None = None, llvm: str | None = None) -> KernelToolchain:
    """The tools for ``make CC=cc`` or ``make LLVM=llvm`` (1, a version suffix such as -19, or a folder).

    Raises HostError that lists everything missing at once, with the command that installs it.
    """
    path = environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    chosen = _compilers(cc, llvm)
    compiler = chosen.compiler
    missing = {tool: package for tool, package in _TOOLS.items() if shutil.which(tool, path=path) is None}
    missing |= {tool: package for tool, package in chosen.packages.items() if shutil.which(tool, path=path) is None}
    if compiler not in missing:
        missing |= {name: package for name, package in _HEADERS.items() if not _has_header(compiler, name, path)}
    if missing:
        raise HostError(
            f"kernels cannot be built here: found no {', '.join(missing)}",
            fix=f"apt-get install {' '.join(dict.fromkeys(missing.values()))}",
        )
    versions = {
        "cc": _first_line(compiler, path),
        "ld": _first_line(chosen.linker, path),
        "pahole": _pahole(path),
    }
    return KernelToolchain(_make_args(cc, llvm, path), versions, path)


@dataclass(frozen=True)
class _Compilers:
    """What compiles and links; ``packages``: tool to the Debian package that has it."""

    compiler: str
    linker: str
    packages: Mapping[str, str]


def _compilers(cc: str | None, llvm: str | None) -> _Compilers:
    """The tools that make uses for these (Documentation/kbuild/llvm.rst)."""
    if not llvm or llvm == "0":
        compiler = cc or "gcc"
        return _Compilers(compiler, "ld", {compiler: compiler, "gcc": "gcc", "ld": "binutils"})
    prefix, suffix = (llvm, "") if llvm.endswith("/") else ("", llvm if llvm.startswith("-") else "")
    compiler, linker = cc or f"{prefix}clang{suffix}", f"{prefix}ld.lld{suffix}"
    packages = {compiler: f"clang{suffix}", linker: f"lld{suffix}", f"{prefix}llvm-ar{suffix}": f"llvm{suffix}"}
    return _Compilers(compiler, linker, packages)


def _make_args(cc: str | None, llvm: str | None, path: str) -> tuple[str, ...]:
    args = [f"LLVM={llvm}"] if llvm and llvm != "0" else []
    cached = shutil.which("ccache", path=path) is not None
    if cc is not None or cached:
        compiler = _compilers(cc, llvm).compiler
        args.append(f"CC=ccache {compiler}" if cached else f"CC={compiler}")
    return tuple(args)


def _has_header(compiler: str, name: str, path: str) -> bool:
    done = subprocess.run(
        [compiler, "-E", "-x", "c", "-"],
        input=f"#include <{name}>\n",
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        env={"PATH": path, "LC_ALL": "C"},
    )
    return done.returncode == 0


def _first_line(tool: str, path: str) -> str:
    try:
        done = subprocess.run(
            [tool, "--version"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
            env={"PATH": path, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError) as err:
        raise HostError(f"{tool} --version failed: {err}", fix=f"reinstall {tool}") from None
    return (done.stdout or done.stderr).partition("\n")[0].strip()


def _pahole(path: str) -> str:
    version = _first_line("pahole", path)
    found = parse_pahole(version)
    if found is None or found < MIN_PAHOLE:
        raise HostError(
            f"pahole is {version!r}, expected at least v1.16, the first that writes BTF", fix="apt-get install dwarves"
        )
    return version
