"""What a guest's initramfs holds, as cpio archives that the kernel unpacks one over the other.

base part: the agent as /init, and the folders it mounts on. Scheduler part: the binary in
/sched/bin, its libraries in /sched/lib, its loader where the binary names it. Cell part:
/ktstr/program. No shell, and nothing that depends on when or where it was packed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from ktstr.errors import InputError
from ktstr.host.elf import BadElf, Dynamic, needed_libraries, read_dynamic, system_folders
from ktstr.vm.cpio import MAX_DATA, Entry, archive, char_device, directory, regular

FORMAT = 1  # raised when the same parts are packed in another way: part of every image's digest
PROGRAM = "ktstr/program"
SCHEDULER_BIN = "sched/bin"
SCHEDULER_LIB = "sched/lib"
# Mount points. The agent mounts devtmpfs on /dev; until then the kernel opens /dev/console for it.
_FOLDERS = ("dev", "ktstr", "proc", "run", "sched", "sched/bin", "sched/lib", "sys", "tmp")
_NODES = (("dev/console", 5, 1, 0o600), ("dev/null", 1, 3, 0o666))  # Documentation/admin-guide/devices.txt


def base_part(agent: Path) -> bytes:
    """What every guest starts from. Raises InputError when the agent is no static x86-64 program."""
    if _read_program(agent, "guest agent").interpreter is not None:
        raise InputError(f"guest agent {agent}: is dynamically linked, expected a static program")
    folders = [directory(path, 0o1777 if path == "tmp" else 0o755) for path in _FOLDERS]
    nodes = [char_device(path, major, minor, mode) for path, major, minor, mode in _NODES]
    return archive([*folders, *nodes, regular("init", _content(agent, "guest agent"), 0o755)])


def scheduler_part(binary: Path, folders: Sequence[Path] = ()) -> bytes:
    """A scheduler and all it needs to start; a static one needs nothing.

    Libraries are sought in the binary's RUNPATH, then in ``folders``, then where this machine's
    loader looks. Raises InputError naming the library that is missing and the file that needs it,
    or saying why ``binary`` is no x86-64 program.
    """
    entries = [regular(f"{SCHEDULER_BIN}/{binary.name}", _content(binary, "scheduler binary"), 0o755)]
    for place, library in sorted(library_places(binary, folders).items()):
        entries.append(regular(place, _content(library, "library"), 0o755))
    return _archive(entries, binary)


def cell_part(program: bytes) -> bytes:
    """One cell's program, appended to the image that it shares with others."""
    return archive([regular(PROGRAM, program)])


def library_places(binary: Path, folders: Sequence[Path] = ()) -> dict[str, Path]:
    """Where each file that ``binary`` needs goes in the guest, and where it is here. Raises as ``scheduler_part``."""
    own = _read_program(binary, "scheduler binary")
    libraries = needed_libraries(binary, [*folders, *system_folders()])
    found, missing = libraries.found, dict(libraries.missing)
    places = {f"{SCHEDULER_LIB}/{name}": path for name, path in found.items()}
    if own.interpreter is not None:
        loader = _loader(own.interpreter, binary, found)
        missing.pop(PurePosixPath(own.interpreter).name, None)
        places.pop(f"{SCHEDULER_LIB}/{PurePosixPath(own.interpreter).name}", None)
        places[own.interpreter.lstrip("/")] = loader
    if missing:
        name, needer = next(iter(missing.items()))
        raise InputError(
            f"scheduler binary {binary}: {needer.name} needs the library {name}, which was not found",
            fix=f"install {name}, set LD_LIBRARY_PATH to its folder, or link statically",
        )
    return places


def library_path(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The folders of ``LD_LIBRARY_PATH``; relative and empty items are passed over."""
    return tuple(Path(item) for item in environ.get("LD_LIBRARY_PATH", "").split(":") if item.startswith("/"))


def concatenate(parts: Sequence[Path], out: Path) -> None:
    """Write the files ``parts`` as the one initramfs ``out``, each begun at 4 bytes, as the kernel needs it."""
    with out.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                while chunk := source.read(1 << 20):
                    file.write(chunk)
            file.write(bytes(-file.tell() % 4))


def _loader(interpreter: str, binary: Path, found: Mapping[str, Path]) -> Path:
    """The file at the path the binary names as its loader, else the machine's own of that name."""
    parts = PurePosixPath(interpreter).parts
    if parts[:1] != ("/",) or ".." in parts or "//" in interpreter:
        raise InputError(f"scheduler binary {binary}: its loader is {interpreter!r}, expected an absolute path")
    path = Path(interpreter)
    loader = path if path.is_file() else found.get(path.name)
    if loader is None:
        raise InputError(
            f"scheduler binary {binary}: its loader {interpreter} was not found",
            fix="install the libc it was built for, or link statically",
        )
    return loader


def _read_program(path: Path, what: str) -> Dynamic:
    try:
        with path.open("rb") as file:
            if file.read(2) == b"#!":
                raise InputError(f"{what} {path}: is a script (the guest has no shell), expected an x86-64 program")
        return read_dynamic(path)
    except BadElf as err:
        raise InputError(f"{what} {path}: is no x86-64 program: {err}") from None
    except OSError as err:
        raise InputError(f"{what} {path}: {err.strerror}") from None


def _content(path: Path, what: str) -> bytes:
    try:
        if path.stat().st_size > MAX_DATA:
            raise InputError(f"{what} {path}: is too large for an initramfs, expected less than 4 GiB")
        return path.read_bytes()
    except OSError as err:
        raise InputError(f"{what} {path}: {err.strerror}") from None


def _archive(entries: Sequence[Entry], binary: Path) -> bytes:
    try:
        return archive(entries)
    except ValueError as err:
        raise InputError(f"scheduler binary {binary}: {err}") from None
