"""Building what is loaded into QEMU when it counts instructions, so that nothing of the host's time reaches a guest
(``vmm_c/qemu/steady.c``), and the host can look at it at moments of the guest's own time (``moments.c``)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import Changed, InputError
from ktstr.files import full_or_denied, staged
from ktstr.host.cache import Cache
from ktstr.vm.agent import run_compiler

FILE = "steady.so"  # in its entry of the cache
SOURCES = ("qemu/steady.c", "qemu/moments.c")
HEADERS = ("qemu/moments.h",)
FLAGS = (
    "-std=c11", "-O2", "-g0", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-fno-ident", "-Wl,--build-id=none",
)  # fmt: skip


@dataclass(frozen=True)
class Steady:
    """The library as it is or will be. ``identity``: of what it does, whoever compiles it."""

    c_dir: Path
    cc: str
    identity: str
    path: Path

    def build(self, cancel: Cancel | None = None) -> None:
        """Compile it, atomically. Raises InputError with the compiler's own words, HostError when it cannot be
        written, Changed when the source is not the planned one any more, Cancelled."""
        try:
            with staged(self.path) as temp:
                done = run_compiler(
                    [self.cc, *FLAGS, *(str(self.c_dir / name) for name in SOURCES), "-o", str(temp)], cancel
                )
                done.check_room(self.path.parent)
                if _identity(self.c_dir) != self.identity:
                    raise Changed(f"{self.c_dir / 'qemu'}")
                if done.status:
                    tail = "\n".join(done.errors.splitlines()[-20:])
                    raise InputError(f"{self.c_dir / 'qemu'} does not compile:\n{tail}", fix="look at it")
        except OSError as err:
            raise full_or_denied(err, self.path) from err


def compiled(c_dir: Path, path: Path) -> Steady:
    """The library at ``path``, which somebody else compiled from this source."""
    return Steady(c_dir, "", _identity(c_dir), path)


def planned(c_dir: Path, cc: str, cache: Cache) -> Steady:
    """The library of this source; ``cc`` compiles it where that is not done yet."""
    identity = _identity(c_dir)
    key = hashlib.sha256(repr((identity, FLAGS)).encode()).hexdigest()
    return Steady(c_dir, cc, identity, cache.entry("agents", key) / FILE)


def _identity(c_dir: Path) -> str:
    digest = hashlib.sha256()
    for name in (*SOURCES, *HEADERS):
        source = (c_dir / name).read_bytes()
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()
