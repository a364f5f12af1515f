"""Building what is loaded into QEMU when it counts instructions, so that nothing of the host's time reaches a guest
(``vmm_c/qemu/steady.c``)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import Changed, InputError
from ktstr.files import full_or_denied, staged
from ktstr.host.cache import Cache
from ktstr.vm.agent import run_compiler

SOURCE = "qemu/steady.c"
FLAGS = (
    "-std=c11", "-O2", "-g0", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-fno-ident", "-Wl,--build-id=none",
)  # fmt: skip


@dataclass(frozen=True)
class Steady:
    """The library as it is or will be. ``identity``: of what it does, whoever compiles it."""

    source: Path
    cc: str
    identity: str
    path: Path

    def build(self, cancel: Cancel | None = None) -> None:
        """Compile it, atomically. Raises InputError with the compiler's own words, HostError when it cannot be
        written, Changed when the source is not the planned one any more, Cancelled."""
        try:
            with staged(self.path) as temp:
                done = run_compiler([self.cc, *FLAGS, str(self.source), "-o", str(temp)], cancel)
                done.check_room(self.path.parent)
                if _identity(self.source) != self.identity:
                    raise Changed(f"{self.source}")
                if done.status:
                    tail = "\n".join(done.errors.splitlines()[-20:])
                    raise InputError(f"{self.source} does not compile:\n{tail}", fix="look at it")
        except OSError as err:
            raise full_or_denied(err, self.path) from err


def planned(c_dir: Path, cc: str, cache: Cache) -> Steady:
    """The library of this source; ``cc`` compiles it where that is not done yet."""
    source = c_dir / SOURCE
    identity = _identity(source)
    key = hashlib.sha256(repr((identity, FLAGS)).encode()).hexdigest()
    return Steady(source, cc, identity, cache.entry("agents", key) / "steady.so")


def _identity(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()
