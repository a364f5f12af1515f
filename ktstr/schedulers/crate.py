"""``crate:`` schedulers: a published Rust crate, built once by this machine's cargo."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

from ktstr.config.model import Crate
from ktstr.errors import Changed, InputError
from ktstr.files import file_sha256
from ktstr.host.libraries import needed_files
from ktstr.schedulers.artifact import Artifact, Build
from ktstr.schedulers.binary import check_binary
from ktstr.schedulers.build import METADATA, load_built
from ktstr.schedulers.cargo import Cargo, Installing, find_cargo, install
from ktstr.schedulers.kept import KIND, kept_artifact

SCHEMA = 1  # raised when the same inputs are built in another way
BUILD_WAIT_S = 7200.0  # for another process that builds the same crate
# What a guest's memory is sized by: its size must not depend on whether the crate was built before. The largest
# published scheduler, scx_layered 1.1.4, is 34 MB with its libraries.
SIZE = 34 << 20
# Every library of this machine that a crate may link to: they are in the image's key before it is built.
RUNTIME = (
    "ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1",
    "libgcc_s.so.1", "libstdc++.so.6", "libelf.so.1", "libz.so.1", "libzstd.so.1", "liblzma.so.5", "libbz2.so.1.0",
    "libseccomp.so.2",
)  # fmt: skip


def crate_artifact(crate: Crate, where: str, request: Build) -> Artifact:
    """The artifact of a ``crate``, declared at ``where``; the same for every kernel.

    Asks cargo for nothing but its version. Raises HostError when it is missing.
    """
    cargo = find_cargo(request.environ)
    parts = (SCHEMA, crate.name, crate.version, crate.features, cargo.versions, cargo.settings)
    inputs = hashlib.sha256(repr(parts).encode()).hexdigest()
    kept = kept_artifact(f"{crate.name}@{crate.version}", crate.name, inputs, RUNTIME, request.cache)
    return replace(kept, size=SIZE, build=lambda: _build(crate, where, cargo, inputs, request))


def _build(crate: Crate, where: str, cargo: Cargo, inputs: str, request: Build) -> None:
    """Make the entry; of two processes that ask at once one builds. What cargo compiled stays for other crates."""
    cache, name = request.cache, f"{crate.name}@{crate.version}"
    with request.turn() as cpus:
        if cpus is None:
            return
        with cache.writing(KIND, inputs, timeout_s=BUILD_WAIT_S):
            if load_built(cache.entry(KIND, inputs), inputs) is not None:
                return
            log = cache.root / "logs" / f"{name}.log"
            target, progress = cache.root / "cargo", request.progress(f"scheduler {name}")
            what = Installing(crate, where, target, log, cpus, request.offline, progress)
            with cache.storing(KIND, inputs) as folder:
                install(cargo, what, folder / "root", cache.cancel)
                if not cargo.stands():
                    raise Changed(f"scheduler {name}: a compiler")
                _fill(folder, what, cargo, inputs)


def _fill(folder: Path, what: Installing, cargo: Cargo, inputs: str) -> None:
    """Put the program and its metadata into ``folder``, and take away all else."""
    binary = folder / what.crate.name
    shutil.copy(_program(folder / "root" / "bin", what), binary)  # cargo's is a hard link into its target folder
    shutil.rmtree(folder / "root")
    check_binary(binary, what.where)
    _check_libraries(binary, what)
    facts = {
        "schema": SCHEMA,
        "name": what.crate.name,
        "version": what.crate.version,
        "features": list(what.crate.features),
        "binary": binary.name,
        "binary_sha256": file_sha256(binary),
        "inputs_digest": inputs,
        "toolchain": dict(cargo.versions),
        "settings": dict(cargo.settings),
    }
    (folder / METADATA).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")


def _program(folder: Path, what: Installing) -> Path:
    """The program called as the crate is, else the only one."""
    programs = sorted(folder.iterdir()) if folder.is_dir() else []
    named = [path for path in programs if path.name == what.crate.name] or programs
    if len(named) != 1:
        found = ", ".join(path.name for path in programs) or "none"
        raise InputError(
            f"{what.where}: crate {what.name}: found the programs {found}, expected one called {what.crate.name}",
            fix="install it yourself, and declare the program by path:",
        )
    return named[0]


def _check_libraries(binary: Path, what: Installing) -> None:
    """Refuse what needs a library that the image's key does not know."""
    needed = needed_files(binary, (), f"{what.where}: crate {what.name}: its program")
    others = sorted(set(needed.libraries) - set(RUNTIME))
    if others:
        raise InputError(
            f"{what.where}: crate {what.name}: needs {', '.join(others)}, expected none but {', '.join(RUNTIME)}",
            fix="install it yourself, and declare the program by path:",
        )
