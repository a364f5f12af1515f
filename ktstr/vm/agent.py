"""Building the guest agent: one static C program, the same bytes from the same inputs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import Changed, HostError, InputError
from ktstr.files import file_sha256, full_or_denied, staged
from ktstr.host.command import Ended, run

_ANSWER_S = 30.0
INCLUDED = (  # of vmm_c/include
    "ktstr_program.h",
    "ktstr_report.h",
    "ktstr_proto.h",
    "ktstr_tables.h",
    "ops.def",
    "work_types.def",
)
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
    return _ask(cc, "--version").partition("\n")[0]


def toolchain_identity(cc: str) -> str:
    """The compiler's version and the static C library it links, by hash: what makes the agent beside its sources.

    Raises HostError when the compiler does not run or has no static C library.
    """
    libc = Path(_ask(cc, "-print-file-name=libc.a").strip())
    if not libc.is_file():
        raise HostError(f"{cc} has no static C library (libc.a)", fix="apt-get install libc6-dev")
    return f"{compiler_version(cc)} {file_sha256(libc)}"


def _ask(cc: str, option: str) -> str:
    """A question that is answered at once. Asked by every plan, so without the tether that compiling is on."""
    try:
        done = subprocess.run([cc, option], capture_output=True, text=True, timeout=_ANSWER_S, check=True)
    except (OSError, subprocess.SubprocessError) as err:
        raise HostError(f"{cc} {option} failed: {err}", fix="apt-get install --reinstall gcc") from None
    return done.stdout


def run_compiler(command: Sequence[str], cancel: Cancel | None) -> Ended:
    """Run a C compiler, which answers in English. Raises Cancelled when ``cancel`` is set, HostError without it."""
    return run(command, {**os.environ, "LC_ALL": "C"}, cancel or Cancel())


def sources(c_dir: Path) -> tuple[Path, ...]:
    """Every file the agent is made of, sorted. Raises InputError when the folder holds none."""
    found = sorted((c_dir / "guest").rglob("*.[ch]"))
    if not any(path.suffix == ".c" for path in found):
        raise InputError(f"{c_dir / 'guest'}: found no C files, expected the guest agent's sources")
    return (*found, *(c_dir / "include" / name for name in INCLUDED))


def include_flags(c_dir: Path) -> tuple[str, ...]:
    """Where the agent's sources find what they include."""
    return (f"-I{c_dir / 'include'}", f"-I{c_dir / 'guest'}")


def inputs_digest(c_dir: Path, toolchain: str) -> str:
    """SHA-256 over sources, headers, tables, toolchain and flags."""
    total = hashlib.sha256(repr((toolchain, FLAGS)).encode())
    for path in sources(c_dir):
        data = path.read_bytes()
        total.update(f"{path.relative_to(c_dir)}:{len(data)}:".encode() + data)
    return total.hexdigest()


def build(c_dir: Path, cc: str, out: Path, planned: str | None = None, cancel: Cancel | None = None) -> None:
    """Compile the agent to ``out``, atomically.

    ``planned`` is the digest of inputs under which ``out`` is kept, if it is kept under one. Raises InputError with
    the compiler's own words, HostError when ``out`` cannot be written, Changed when the inputs are not the planned
    ones any more, Cancelled when ``cancel`` is set before it is done.
    """
    files = [str(path) for path in sources(c_dir) if path.suffix == ".c"]
    prefix = f"-ffile-prefix-map={c_dir}=."
    try:
        with staged(out) as temp:
            command = [cc, *FLAGS, prefix, *include_flags(c_dir), *files, "-o", str(temp)]
            done = run_compiler(command, cancel)
            done.check_room(out.parent)
            if planned is not None and inputs_digest(c_dir, toolchain_identity(cc)) != planned:
                raise Changed(f"the guest agent's sources in {c_dir}, or the compiler {cc},")
            if done.status:
                tail = "\n".join(done.errors.splitlines()[-20:])
                raise InputError(f"the guest agent does not compile:\n{tail}", fix=f"look at {c_dir / 'guest'}")
    except OSError as err:
        raise full_or_denied(err, out) from err
