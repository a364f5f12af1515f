"""The VMM as a Python extension: our C sources and cffi's binding of their public header, compiled once.

It is addressed by its inputs like the guest agent. A wheel may bring one that pip compiled; a checkout never
does, so an edited source is always compiled again.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
import sysconfig
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktstr import resources
from ktstr.cancel import Cancel
from ktstr.errors import Changed, HostError, InputError
from ktstr.files import file_sha256, full_or_denied, replace_file
from ktstr.host.cache import Cache, cache_root
from ktstr.host.scratch import scratch
from ktstr.vm import agent

MODULE = "_ktstr_vmm"
FILE = f"{MODULE}.abi3.so"
HEADER = "ktstr_vmm.h"
KIND = "vmm"  # its class in the cache
FLAGS = ("-std=c11", "-O2", "-g", "-fPIC", "-pthread", "-fvisibility=hidden", "-D_GNU_SOURCE")
STRICT = ("-Wall", "-Wextra", "-Werror")  # for our sources; cffi's code is not ours
_PYTHON_FIX = "as root: apt-get install python3-dev"


def declarations(header: str) -> str:
    """What cffi reads of the header: all but the preprocessor's lines, of which it has its guard and includes only."""
    lines = [line for line in header.splitlines() if not line.startswith("#")]
    return "\n".join(lines)


def write_glue(c_dir: Path, out: Path) -> None:
    """Write cffi's binding, in API mode: the C compiler checks every declaration against the header."""
    from cffi import FFI  # not needed to plan
    from cffi.recompiler import make_c_source

    ffi = FFI()
    ffi.cdef(declarations((c_dir / "include" / HEADER).read_text(encoding="ascii")))
    make_c_source(ffi, MODULE, f'#include "{HEADER}"\n', str(out))


def sources(c_dir: Path) -> tuple[Path, ...]:
    """Every file the VMM is made of, sorted. Raises InputError when there are none."""
    found = sorted((c_dir / "core").glob("*.[ch]"))
    if not found:
        raise InputError(f"{c_dir / 'core'}: found no C files, expected the VMM's sources")
    return (*found, c_dir / "include" / HEADER)


def inputs_digest(c_dir: Path, cc: str) -> str:
    """SHA-256 over sources, header, compiler, flags and Python's own headers. Raises HostError, InputError."""
    place = _python_headers()
    known = (agent.compiler_version(cc), FLAGS, STRICT, file_sha256(place / "patchlevel.h"))
    total = hashlib.sha256(repr(known).encode())
    for path in sources(c_dir):
        data = path.read_bytes()
        total.update(f"{path.parent.name}/{path.name}:{len(data)}:".encode() + data)
    return total.hexdigest()


def build(c_dir: Path, cc: str, out: Path, planned: str | None = None, cancel: Cancel | None = None) -> None:
    """Compile the extension to ``out``, atomically.

    ``planned`` is the digest of inputs under which ``out`` is kept, if it is kept under one. Raises InputError with
    the compiler's own words, HostError when Python's headers are missing or ``out`` cannot be written, Changed when
    the inputs are not the planned ones any more, Cancelled when ``cancel`` is set before it is done.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with scratch(".vmm-", out.parent) as work:
            try:
                made = _compile(c_dir, cc, work, cancel)
            except InputError:
                _verify(c_dir, cc, planned)  # of an edit the user is told before what it did to the compiler
                raise
            _verify(c_dir, cc, planned)
            replace_file(made, out)
    except OSError as err:
        raise full_or_denied(err, out.parent) from err


def _verify(c_dir: Path, cc: str, planned: str | None) -> None:
    if planned is not None and inputs_digest(c_dir, cc) != planned:
        raise Changed(f"the VMM's sources in {c_dir}, the compiler {cc}, or Python's headers,")


def _compile(c_dir: Path, cc: str, work: Path, cancel: Cancel | None) -> Path:
    """The extension, made in the folder ``work``: every source by itself, on as many CPUs as there are."""
    include = ("-I", str(c_dir / "include"), "-I", str(c_dir / "core"), "-I", str(_python_headers()))
    glue = work / f"{MODULE}.c"
    write_glue(c_dir, glue)
    commands = [
        [cc, *FLAGS, *(STRICT if path != glue else ()), f"-ffile-prefix-map={c_dir}=.", *include, "-c",
         str(path), "-o", str(work / f"{path.stem}.o")]
        for path in (*(path for path in sources(c_dir) if path.suffix == ".c"), glue)
    ]  # fmt: skip
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda command: _run(command, work, cancel), commands))
    made = work / FILE
    _run([cc, "-shared", "-pthread", *(command[-1] for command in commands), "-o", str(made)], work, cancel)
    return made


def _run(command: Sequence[str], work: Path, cancel: Cancel | None) -> None:
    done = agent.run_compiler(command, cancel)
    done.check_room(work.parent)
    if done.status:
        tail = "\n".join(done.errors.splitlines()[-20:])
        raise InputError(f"the VMM does not compile:\n{tail}", fix="look at vmm_c/core, or report it")


def _python_headers() -> Path:
    """Where this Python's ``Python.h`` is. Raises HostError."""
    folder = Path(sysconfig.get_path("include"))
    if not (folder / "Python.h").is_file():
        raise HostError(f"{folder / 'Python.h'}: the headers of this Python are not installed", fix=_PYTHON_FIX)
    return folder


@dataclass(frozen=True)
class Extension:
    """The compiled VMM: where it is or will be, the digest of what it is made from, and the compiler that makes it.

    ``cc`` is None for one that pip made.
    """

    path: Path
    digest: str
    cc: str | None

    def make(self, cancel: Cancel | None = None) -> None:
        """Compile it. Raises as ``build``."""
        if self.cc is not None:
            build(resources.c_dir(), self.cc, self.path, self.digest, cancel)


def planned(cache: Cache, environ: Mapping[str, str]) -> Extension:
    """The extension for this host. Raises HostError when it can neither be found nor made."""
    packaged = Path(__file__).parent / FILE
    if packaged.is_file():
        return Extension(packaged, file_sha256(packaged), None)
    cc = agent.compiler(environ)
    digest = inputs_digest(resources.c_dir(), cc)
    return Extension(cache.entry(KIND, digest) / FILE, digest, cc)


def find_vmm(environ: Mapping[str, str], cancel: Cancel | None = None) -> Path:
    """The extension, compiled now if need be. Raises HostError when it cannot be made here, Cancelled."""
    cache = Cache(cache_root(environ), cancel or Cancel())
    found = planned(cache, environ)
    if not found.path.is_file():
        found.make(cache.cancel)
    return found.path


def load_vmm(path: Path) -> Any:
    """Import the extension: a module with ``ffi`` and ``lib``. Raises HostError when this Python cannot."""
    spec = importlib.util.spec_from_loader(MODULE, importlib.machinery.ExtensionFileLoader(MODULE, str(path)))
    assert spec is not None and spec.loader is not None
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as err:
        raise HostError(f"{path}: cannot be loaded: {err}", fix=f"rm -r {path.parent}") from err
    return module
