"""The compilers and BPF tools a scheduler is built with, and how they name themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ktstr.errors import HostError
from ktstr.tools.pinned import BpfTools

# The kernel's own sched_ext examples ask for clang 16 (64-bit enumerators in BTF came with 15).
CLANG_MIN = 16
CLANG_FIX = "apt-get install --no-install-recommends clang-19"
CC_FIX = "apt-get install gcc libc6-dev"


@dataclass(frozen=True)
class Toolchain:
    """What builds a scheduler. ``versions`` is what the input digest and the metadata hold.

    ``library`` holds ``libbpf.a`` and, unless the system has them, ``libelf.so.1`` and ``libz.so.1``.
    ``variables`` is the environment that the tools run in, but for what ``environ`` sets.
    """

    clang: str
    cc: str
    bpftool: tuple[str, ...]
    include: Path
    library: Path
    versions: tuple[tuple[str, str], ...]
    variables: Mapping[str, str] = field(default_factory=dict)

    def environ(self) -> dict[str, str]:
        """The environment of every tool: messages in English, no dates in the output."""
        return {**self.variables, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"}

    def stands(self) -> bool:
        """Whether both compilers are still those of ``versions``. Raises HostError when one is gone."""
        return set(_compiler_versions(self.clang, self.cc)) <= set(self.versions)


def find_toolchain(tools: BpfTools, environ: Mapping[str, str]) -> Toolchain:
    """The compilers on ``PATH`` beside ``tools``. Raises HostError naming what is missing."""
    path = environ.get("PATH", os.defpath)
    clang, cc = find_clang(path), _find_cc(path)
    versions = (*_compiler_versions(clang, cc), ("bpf", f"{tools.version} {tools.digest}"))
    return Toolchain(clang, cc, tools.bpftool, tools.include_dir, tools.libbpf_a.parent, versions, dict(environ))


def _compiler_versions(clang: str, cc: str) -> tuple[tuple[str, str], ...]:
    return ("clang", clang_version(clang)), ("cc", first_line([cc, "--version"], fix=CC_FIX))


def find_clang(path: str) -> str:
    """clang-19 if installed, else the newest clang-NN, else clang. Raises HostError when none is there."""
    numbered = _numbered_clangs(path)
    if 19 in numbered:
        return numbered[19]
    newest = max((number for number in numbered if number >= CLANG_MIN), default=None)
    if newest is not None:
        return numbered[newest]
    plain = shutil.which("clang", path=path)
    if plain is None:
        raise HostError(
            f"clang is not installed: a scheduler's BPF half needs clang {CLANG_MIN} or later", fix=CLANG_FIX
        )
    return plain


def clang_version(clang: str) -> str:
    """What ``clang`` calls itself. Raises HostError when it is too old or does not run."""
    line = first_line([clang, "--version"], fix=CLANG_FIX)
    major = re.search(r"clang version (\d+)", line)
    if major is None or int(major[1]) < CLANG_MIN:
        raise HostError(f"{clang}: found {line!r}, expected clang {CLANG_MIN} or later", fix=CLANG_FIX)
    return line


def _numbered_clangs(path: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for folder in path.split(os.pathsep):
        for candidate in Path(folder).glob("clang-[0-9]*") if folder else ():
            number = candidate.name.removeprefix("clang-")
            if number.isdecimal() and os.access(candidate, os.X_OK):
                found.setdefault(int(number), str(candidate))
    return found


def _find_cc(path: str) -> str:
    cc = shutil.which("gcc", path=path) or shutil.which("cc", path=path)
    if cc is None:
        raise HostError("no C compiler: a scheduler's loader needs gcc", fix=CC_FIX)
    return cc


def first_line(command: list[str], *, fix: str) -> str:
    """What a tool prints first; asked once, until its file changes. Raises HostError when it does not run."""
    try:
        tool = Path(command[0]).stat()
        return _first_line(tuple(command), (tool.st_ino, tool.st_mtime_ns, tool.st_size))
    except (OSError, subprocess.SubprocessError) as err:
        raise HostError(f"{' '.join(command)} failed: {err}", fix=fix) from None


@lru_cache(maxsize=16)
def _first_line(command: tuple[str, ...], tool: tuple[int, ...]) -> str:
    env = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env)
    return done.stdout.partition("\n")[0].strip()
