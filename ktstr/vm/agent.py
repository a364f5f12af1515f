"""Building the guest agent: one static C program, the same bytes from the same inputs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ktstr.errors import HostError, InputError

FLAGS = (
    "-std=c11",
    "-O2",
    "-g0",
    "-static",
    "-D_GNU_SOURCE",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fno-ident",
    "-Wl,--build-id=none",
)


def compiler(environ: Mapping[str, str]) -> str:
    """The C compiler: ``CC``, else gcc. Raises HostError when there is none."""
    name = environ.get("CC") or "gcc"
    found = shutil.which(name, path=environ.get("PATH"))
    if found is None:
        raise HostError(f"the C compiler {name!r} is not installed", fix="apt-get install gcc libc6-dev")
    return found


def compiler_version(cc: str) -> str:
    """What the compiler calls itself. Raises HostError when it does not run."""
    try:
        done = subprocess.run([cc, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as err:
        raise HostError(f"{cc} --version failed: {err}", fix="apt-get install --reinstall gcc") from None
    return done.stdout.splitlines()[0] if done.stdout else ""


def sources(c_dir: Path) -> tuple[Path, ...]:
    """Every file the agent is made of, sorted. Raises InputError when the folder holds none."""
    found = sorted((c_dir / "guest").glob("*.[ch]")) + sorted((c_dir / "include").glob("*.h"))
    if not any(path.suffix == ".c" for path in found):
        raise InputError(f"{c_dir / 'guest'}: found no C files, expected the guest agent's sources")
    return tuple(found)


def inputs_digest(c_dir: Path, version: str) -> str:
    """SHA-256 over sources, header, compiler version and flags."""
    total = hashlib.sha256(repr((version, FLAGS)).encode())
    for path in sources(c_dir):
        data = path.read_bytes()
        total.update(f"{path.parent.name}/{path.name}:{len(data)}:".encode() + data)
    return total.hexdigest()


def build(c_dir: Path, cc: str, out: Path) -> None:
    """Compile the agent to ``out``, atomically. Raises InputError with the compiler's own words."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temp = out.with_name(f".{out.name}.tmp.{os.getpid()}")
    files = [str(path) for path in sources(c_dir) if path.suffix == ".c"]
    prefix = f"-ffile-prefix-map={c_dir}=."
    try:
        done = subprocess.run(
            [cc, *FLAGS, prefix, f"-I{c_dir / 'include'}", *files, "-o", str(temp)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            tail = "\n".join(done.stderr.splitlines()[-20:])
            raise InputError(f"the guest agent does not compile:\n{tail}", fix=f"look at {c_dir / 'guest'}")
        temp.replace(out)
    finally:
        temp.unlink(missing_ok=True)
