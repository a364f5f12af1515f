"""Everything that decides a scheduler which is built: its files, the kernel's BTF, the tools and their flags."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import Changed, InputError
from ktstr.files import SIDECAR_CAP, read_json_value, staging_name, write_atomic
from ktstr.schedulers.includes import SEARCH_VARIABLES, file_name, source_files
from ktstr.schedulers.toolchain import Toolchain

SCHEMA = 2  # raised when the same inputs are built in another way
BPF_FLAGS = (
    "-target", "bpf", "-mcpu=v3", "-std=gnu11", "-O2", "-g", "-D__TARGET_ARCH_x86",
    "-Wall", "-Wextra", "-Wno-unused-parameter",
)  # fmt: skip
CC_FLAGS = ("-std=gnu11", "-O2", "-D_GNU_SOURCE", "-Wall", "-Wextra")
LINK_FLAGS = ("-l:libbpf.a", "-l:libelf.so.1", "-l:libz.so.1", "-Wl,--as-needed", "-lm")
# What else of the environment makes gcc and clang use other programs and libraries.
DRIVER_VARIABLES = ("CCC_OVERRIDE_OPTIONS", "COMPILER_PATH", "GCC_EXEC_PREFIX", "LIBRARY_PATH")


@dataclass(frozen=True)
class Inputs:
    """The inputs of the scheduler ``name`` at one moment. ``digest`` is SHA-256 over all of them.

    ``source``: the folder, resolved. ``kernel``: what stands for the kernel's BTF. ``files``: SHA-256 by name, as
    ``source_files`` gives it. ``record``: where the names of files are kept that only the compilers see; ``kept``
    are those that were known.
    """

    source: Path
    name: str
    kernel: str
    toolchain: Toolchain
    files: Mapping[str, str]
    record: Path | None
    kept: tuple[str, ...]
    digest: str

    def verify(self) -> None:
        """Raise Changed naming what is not as it was, InputError for a file that cannot be read any more."""
        now = source_files(self.source, self.toolchain.variables, self.kept)
        names = sorted({name for name, _ in self.files.items() ^ now.items()})
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise Changed(f"scheduler source {self.source}: {', '.join(names[:3])}{more}")
        if not self.toolchain.stands():
            raise Changed(f"scheduler {self.name}: a compiler")

    def keep_unseen(self, read: Iterable[str]) -> None:
        """Of the files that the compilers read, keep the names of those that ``files`` lacks.

        From then on they are inputs: what was built from them in this run is built once more in the next.
        Raises HostError when the record cannot be written.
        """
        seen = {os.path.realpath(self.source / name) for name in self.files}
        names = {file_name(self.source, name) for name in read}
        unseen = {name for name in names if os.path.realpath(self.source / name) not in seen}
        if unseen and self.record is not None:
            kept = sorted({*unseen, *self.kept})
            write_atomic(self.record, json.dumps(kept).encode(), staging_name("includes"))


def read_inputs(source: Path, kernel: str, toolchain: Toolchain, record: Path | None = None) -> Inputs:
    """The inputs of the scheduler in ``source`` as they are now; arguments and result as in ``Inputs``.

    Raises InputError when ``source`` is not a scheduler's folder or a file in it cannot be read.
    """
    source = source.resolve()
    name = scheduler_name(source)
    kept = _kept(record)
    files = source_files(source, toolchain.variables, kept)
    driver = [(variable, toolchain.variables.get(variable, "")) for variable in DRIVER_VARIABLES]
    recipe = (SCHEMA, name, kernel, toolchain.versions, BPF_FLAGS, CC_FLAGS, LINK_FLAGS, driver, sorted(files.items()))
    digest = hashlib.sha256(repr(recipe).encode()).hexdigest()
    return Inputs(source, name, kernel, toolchain, files, record, kept, digest)


def record_key(source: Path, variables: Mapping[str, str]) -> str:
    """What a record of unseen files is called: it holds for one folder and one search path."""
    search = [variables.get(variable, "") for variable in SEARCH_VARIABLES]
    return hashlib.sha256(repr((str(source.resolve()), search)).encode()).hexdigest()


def scheduler_name(source: Path) -> str:
    """NAME of the one pair NAME.bpf.c and NAME.c in ``source``. Raises InputError when it is not one."""
    if not source.is_dir():
        raise InputError(f"scheduler source {source}: found no such folder")
    names = sorted(path.name.removesuffix(".bpf.c") for path in source.glob("*.bpf.c"))
    pairs = [name for name in names if (source / f"{name}.c").is_file()]
    if len(pairs) != 1:
        found = f"found {', '.join(pairs)}" if pairs else f"found {len(names)} *.bpf.c and no loader of the same name"
        raise InputError(f"scheduler source {source}: {found}, expected one pair NAME.bpf.c and NAME.c")
    return pairs[0]


def _kept(record: Path | None) -> tuple[str, ...]:
    """The names in a record; none when there is none, or it is damaged: the next build makes it again."""
    if record is None:
        return ()
    try:
        names = read_json_value(record, SIDECAR_CAP)
    except InputError:
        return ()
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
