"""``doit introspect core=FILE``: look into the memory of a guest that is over, with drgn."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import EXIT_VERDICT, HostError, InputError
from ktstr.options import PATH, variable

if TYPE_CHECKING:
    from ktstr.host.cache import Cache
    from ktstr.introspect.program import GuestProgram
    from ktstr.introspect.vmcore import Core
    from ktstr.kernels.entry import KernelEntry


@dataclass(frozen=True)
class Options:
    """What to look into, and how."""

    core: str | None = variable(PATH, "a core dump of a guest's memory, as vmcore=1 writes it", None, environment=False)
    script: str | None = variable(
        PATH, "a Python file, run with drgn's prog and ktstr's guest", None, environment=False
    )


def run(invocation: Invocation, options: Options) -> Report:
    """A drgn session on a terminal, a script's output, or a summary."""
    from ktstr.host.cache import Cache, cache_root
    from ktstr.introspect.program import Unreadable, open_program, read_kernel
    from ktstr.introspect.summary import summary
    from ktstr.introspect.vmcore import Core

    if options.core is None:
        raise InputError("introspect: expected core=FILE", fix="doit introspect core=target/ktstr/.../x.vmcore")
    stand = invocation.project.stand
    script = None if options.script is None else _script(stand / options.script)
    cache = Cache(cache_root(invocation.environ), invocation.cancel)
    path = stand / options.core
    with Core(path) as core:
        entry = _kernel_of(path, core, cache)
        try:
            program = open_program(core, read_kernel(entry, cache), core.registers)
        except Unreadable as err:
            raise InputError(f"core={path}: {err}", fix="a core of a guest whose kernel was up") from None
        if script is not None:
            return _run_script(script, _names(program, entry))
        if sys.stdin.isatty() and sys.stdout.isatty():
            _session(program, entry)
            return Report()
        return Report(summary(program, entry.hz))


def _kernel_of(path: Path, core: Core, cache: Cache) -> KernelEntry:
    """The cache entry of the kernel that a core is of. Raises InputError, HostError."""
    from ktstr.kernels.listing import read_cache

    if core.note is None:
        raise InputError(f"core={path}: does not say which kernel it is of", fix="a file that vmcore=1 wrote")
    same = [row.entry for row in read_cache(cache) if row.entry is not None and row.entry.digest == core.note.vmlinux]
    if same:  # of several with one vmlinux, its own tells more, such as HZ
        return next((entry for entry in same if entry.key == core.note.key), same[0])
    raise HostError(
        f"core={path}: is of kernel {core.note.release} ({core.note.key}), which is not in the cache",
        fix="run the same cell again, which makes or fetches the kernel",
    )


def _names(program: GuestProgram, entry: KernelEntry) -> dict[str, Any]:
    """What a script begins with, beside what drgn gives its own."""
    from drgn.cli import default_globals

    return {**default_globals(program.prog), "guest": program, "hz": entry.hz}


def _script(path: Path) -> str:
    from ktstr.files import unreadable

    try:
        compile(source := path.read_text(encoding="utf-8"), str(path), "exec")
    except OSError as err:
        raise unreadable(err, path) from err
    except (SyntaxError, ValueError) as err:
        raise InputError(f"script={path}: {err}", fix="a Python 3 file") from None
    return source


def _run_script(source: str, names: Mapping[str, Any]) -> Report:
    """Its output is what it prints. One that fails fails the command."""
    import traceback

    try:
        exec(source, {"__name__": "__main__", **names})
    except SystemExit as err:
        return Report(code=0 if err.code in (None, 0) else EXIT_VERDICT)
    except Exception:
        sys.stderr.write(traceback.format_exc())
        return Report(code=EXIT_VERDICT)
    return Report()


def _session(program: GuestProgram, entry: KernelEntry) -> None:
    from drgn.cli import run_interactive

    def add(names: dict[str, Any]) -> dict[str, Any]:
        return {**names, "guest": program, "hz": entry.hz}

    run_interactive(
        program.prog,
        banner_func=lambda banner: f"{banner}\n>>> guest  # ktstr.introspect.program.GuestProgram",
        globals_func=add,
    )


COMMAND = Command("introspect", "Results", "look into a guest's memory that vmcore=1 kept", Options, run)
