"""The lab's initramfs: its init (``vmm_c/lab``), kernel modules, and what to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError, InputError
from ktstr.lab.kernel import LabKernel
from ktstr.vm.agent import FLAGS, run_compiler
from ktstr.vm.cpio import archive, char_device, directory, regular

MAX_REQUEST = 4 << 20  # bytes, as in vmm_c/lab/request.c
_MOUNT_POINTS = ("proc", "sys", "dev", "host", "layer", "root")


@dataclass(frozen=True)
class Request:
    """What the lab is to run: ``argv`` in the folder ``cwd``, with exactly ``environ``.

    ``shared``, when there is one, is the host's folder that takes writes.
    """

    argv: tuple[str, ...]
    cwd: Path
    environ: Mapping[str, str]
    shared: Path | None = None


def build_init(c_dir: Path, cc: str, out: Path, cancel: Cancel | None = None) -> None:
    """Compile the lab's init, a static program.

    Raises InputError with the compiler's own words, HostError without a compiler or room, Cancelled.
    """
    sources = sorted(str(path) for path in (c_dir / "lab").glob("*.c"))
    if not sources:
        raise HostError(f"{c_dir / 'lab'}: found no C files, expected the lab's init", fix="install ktstr again")
    done = run_compiler([cc, *FLAGS, *sources, "-o", str(out)], cancel)
    done.check_room(out.parent, "TMPDIR")
    if done.status:
        tail = "\n".join(done.errors.splitlines()[-20:])
        raise InputError(f"the lab's init does not compile:\n{tail}", fix=f"look at {c_dir / 'lab'}")


def initramfs(init: bytes, kernel: LabKernel, request: Request) -> bytes:
    """The whole initramfs. Raises InputError as ``encode_request``."""
    modules = [f"modules/{path.name}" for path in kernel.modules]
    entries = [regular("init", init, 0o755), char_device("dev/console", 5, 1)]
    entries += [directory(name) for name in _MOUNT_POINTS if name != "dev"]
    entries += [regular(name, path.read_bytes()) for name, path in zip(modules, kernel.modules, strict=True)]
    entries.append(regular("request", encode_request(request, modules)))
    return archive(entries)


def encode_request(request: Request, modules: Sequence[str]) -> bytes:
    """The file ``/request``, as vmm_c/lab/request.h describes it.

    Raises InputError for a word with a NUL, no command, or more than ``MAX_REQUEST`` bytes.
    """
    if not request.argv or not request.argv[0]:
        raise InputError("lab: found no command", fix="name the program to run")
    words = [f"c{request.cwd}", *(f"m/{name}" for name in modules)]
    words += [f"s{request.shared}"] if request.shared is not None else []
    words += [f"e{name}={value}" for name, value in request.environ.items()]
    words += [f"a{word}" for word in request.argv]
    if any("\0" in word for word in words):
        raise InputError("lab: found a NUL in the command or its environment, expected text without")
    data = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)
    if len(data) > MAX_REQUEST:
        raise InputError(f"lab: command and environment have {len(data)} bytes, at most {MAX_REQUEST} fit")
    return data
