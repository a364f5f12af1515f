"""Compiles C to objects, once for all tests of a run: whichever file they are in, and whichever process runs them."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from ktstr.vm import agent

HERE = Path(__file__).parent
C_DIR = HERE.parent.parent / "vmm_c"
LANGUAGE = ("-std=c11", "-D_GNU_SOURCE", "-g", "-Wall", "-Wextra", "-Werror")
FLAGS = (*LANGUAGE, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CORE_INCLUDES = (f"-I{C_DIR / 'include'}", f"-I{C_DIR / 'core'}")
AGENT_INCLUDES = agent.include_flags(C_DIR)


def run(command: list[str], timeout: float = 300) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{command[0]} ended {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def compiled(place: Path, compiler: str, sources: Iterable[Path], *flags: str) -> dict[Path, Path]:
    """The object of each source, compiled side by side where ``place`` has none of this compiler and these flags.

    ``place`` is a folder that other processes may fill at the same time; what it has is taken as it is.
    """
    folder = place / sha256(repr((compiler, flags)).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    objects = {source: folder / f"{source.parent.name}.{source.stem}.o" for source in sources}
    command = [compiler, *flags, "-c"]
    with (folder / "lock").open("w") as lock, ThreadPoolExecutor(os.cpu_count()) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [(source, made) for source, made in objects.items() if not made.exists()]
        list(pool.map(lambda pair: run([*command, str(pair[0]), "-o", str(pair[1])]), missing))
    return objects


def agent_objects(place: Path, compiler: str, *flags: str) -> dict[Path, Path]:
    """All of the agent."""
    sources = [path for path in agent.sources(C_DIR) if path.suffix == ".c"]
    return compiled(place, compiler, sources, *flags, *AGENT_INCLUDES)


def core_objects(place: Path, compiler: str, *flags: str) -> dict[Path, Path]:
    """All of the VMM."""
    return compiled(place, compiler, sorted((C_DIR / "core").glob("*.c")), *flags, "-pthread", *CORE_INCLUDES)


def link(compiler: str, program: str, objects: Iterable[Path], folder: Path, *flags: str) -> Path:
    """One test program with these objects, of the VMM or of the agent."""
    out = folder / program
    includes = (*CORE_INCLUDES, *AGENT_INCLUDES)
    run([compiler, *flags, "-pthread", *includes, str(HERE / f"{program}.c"), *map(str, objects), "-o", str(out)])
    return out
