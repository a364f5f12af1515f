"""What a guest's initramfs holds, as cpio archives that the kernel unpacks one over the other.

base part: the agent as /init, and the folders it mounts on. Scheduler part, in a folder of its own
(/sched, or one below it): the binary in bin, its libraries in lib, its loader where the binary
names it, its environment, and in files what was declared to go with it. Configuration part: the
kernel's own, in /boot. Run part: /ktstr/setup and /ktstr/program. No shell, and nothing that depends on when or
where it was packed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ktstr.errors import InputError
from ktstr.host.libraries import needed_files, read_program
from ktstr.schedulers.surroundings import ALONE, Surroundings, is_program
from ktstr.vm.cpio import MAX_DATA, Entry, archive, char_device, directory, regular

FORMAT = 2  # raised when the same parts are packed in another way: part of every image's digest
SETUP, PROGRAM = "ktstr/setup", "ktstr/program"
# Mount points. The agent mounts devtmpfs on /dev; until then the kernel opens /dev/console for it.
_FOLDERS = ("dev", "ktstr", "proc", "run", "sched", "sched/bin", "sched/lib", "sys", "tmp")
_NODES = (("dev/console", 5, 1, 0o600), ("dev/null", 1, 3, 0o666))  # Documentation/admin-guide/devices.txt


def base_part(agent: Path) -> bytes:
    """What every guest starts from. Raises InputError when the agent is no static x86-64 program."""
    if read_program(agent, "guest agent").interpreter is not None:
        raise InputError(f"guest agent {agent}: is dynamically linked, expected a static program")
    folders = [directory(path, 0o1777 if path == "tmp" else 0o755) for path in _FOLDERS]
    nodes = [char_device(path, major, minor, mode) for path, major, minor, mode in _NODES]
    return archive([*folders, *nodes, regular("init", _content(agent, "guest agent"), 0o755)])


def scheduler_part(binary: Path, folders: Sequence[Path] = (), around: Surroundings = ALONE) -> bytes:
    """A scheduler and all it needs to start, with its surroundings; a static one needs no libraries.

    Libraries are sought in the binary's RUNPATH, then in ``folders``, then where this machine's
    loader looks. Raises InputError naming the library that is missing and the file that needs it,
    or saying why ``binary`` is no x86-64 program.
    """
    home = around.home.lstrip("/")
    entries = [regular(f"{home}/bin/{binary.name}", _content(binary, "scheduler binary"), 0o755)]
    for place, library in sorted(library_places(binary, folders, home).items()):
        entries.append(regular(place, _content(library, "library"), 0o755))
    lines = "".join(f"{name}={value}\n" for name, value in sorted(around.environment.items()))
    entries += [regular(f"{home}/environment", lines.encode()), directory(f"{home}/files")]
    for place, path in sorted(around.files.items()):
        mode = 0o755 if is_program(path) else 0o644
        entries.append(regular(f"{home}/files/{place}", _content(path, "file"), mode))
    return _archive(entries, binary)


def run_part(setup: bytes, program: bytes) -> bytes:
    """What one machine is to do, appended to the image that it shares with others: its setup, its program; none of
    those that are empty."""
    return archive([regular(place, data) for place, data in ((SETUP, setup), (PROGRAM, program)) if data])


def config_part(release: str, config: bytes | None) -> bytes:
    """The kernel's configuration where libbpf looks for it (``bpf_object__read_kconfig_file``), for ``extern``
    variables in ``.kconfig``; an empty folder for a kernel of which none is known.
    """
    entries = [] if config is None else [regular(f"boot/config-{release}", config)]
    return archive([directory("boot"), *entries])


def library_places(binary: Path, folders: Sequence[Path] = (), home: str = "sched") -> dict[str, Path]:
    """Where each file that ``binary`` needs goes in the guest, and where it is here. Raises as ``scheduler_part``."""
    needed = needed_files(binary, folders, "scheduler binary")
    places = {f"{home}/lib/{name}": path for name, path in needed.libraries.items()}
    return places | {place.lstrip("/"): path for place, path in needed.loaders.items()}


def concatenate(parts: Sequence[Path], out: Path) -> None:
    """Write the files ``parts`` as the one initramfs ``out``, each begun at 4 bytes, as the kernel needs it."""
    with out.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                while chunk := source.read(1 << 20):
                    file.write(chunk)
            file.write(bytes(-file.tell() % 4))


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
