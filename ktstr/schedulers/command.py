"""``build:`` schedulers: what a command of the user's makes, once for the files that it is made from.

The command runs in the folder of ktstr.yaml. Of the user's environment it sees what finds programs and registries
(``cargo.kept_variables``), beside that only what is declared. What it made is copied to the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ktstr.config.model import Command
from ktstr.errors import HostError, InputError
from ktstr.files import file_sha256, full_or_denied
from ktstr.host.command import disk_full, read, start
from ktstr.host.libraries import needed_files
from ktstr.schedulers.artifact import Artifact, Build
from ktstr.schedulers.binary import check_binary
from ktstr.schedulers.build import ERROR_LINES, METADATA, load_built
from ktstr.schedulers.cargo import kept_variables
from ktstr.schedulers.crate import RUNTIME, SIZE
from ktstr.schedulers.kept import KIND, kept_artifact

FOLDERS = "builds"  # locks of the folders that commands run in: two at once would be in each other's way
SCHEMA = 1  # raised when the same inputs are built in another way
BUILD_WAIT_S = 7200.0  # for another process that builds in the same folder
MAX_INPUTS = 20_000  # files of one scheduler


def command_artifact(name: str, command: Command, where: str, request: Build) -> Artifact:
    """The artifact of the scheduler ``name``, declared at ``where`` by ``build:``; the same for every kernel.

    Runs nothing. Raises InputError for globs that name no file, more than MAX_INPUTS or one that cannot be read.
    """
    files = input_files(command, where)
    parts = (SCHEMA, command.argv, command.output, command.env, sorted(files.items()))
    inputs = hashlib.sha256(repr(parts).encode()).hexdigest()
    kept = kept_artifact(name, Path(command.output).name, inputs, RUNTIME, request.cache)
    return replace(kept, size=SIZE, build=lambda: _build(name, command, where, files, inputs, request))


def input_files(command: Command, where: str) -> dict[str, str]:
    """SHA-256 of every file that the globs name, by its path from the folder; the output is none of them.

    A glob that ends in ``**``, or names a folder, means all files below. Raises as ``command_artifact``.
    """
    named: set[Path] = set()
    for glob in command.inputs:
        if not glob.startswith("!"):
            found = set(_matches(command.base, glob))
            if not found:
                raise InputError(f"{where}: build.inputs: {glob} names no file in {command.base}")
            named |= found
    for glob in command.inputs:
        if glob.startswith("!"):
            named -= set(_matches(command.base, glob[1:]))
    named.discard(command.base / command.output)
    if len(named) > MAX_INPUTS:
        raise InputError(
            f"{where}: build.inputs: found {len(named)} files, expected at most {MAX_INPUTS}",
            fix="leave out what the command makes, such as '!target/**'",
        )
    try:
        return {str(path.relative_to(command.base)): file_sha256(path) for path in sorted(named)}
    except OSError as err:
        raise InputError(f"{where}: build.inputs: {err.filename}: {err.strerror}") from None


def _matches(base: Path, glob: str) -> Iterator[Path]:
    for path in base.glob(f"{glob}/*" if glob.endswith("**") else glob):
        if path.is_dir() and not glob.endswith("*"):
            yield from (below for below in path.rglob("*") if below.is_file())
        elif path.is_file():
            yield path


def _build(name: str, command: Command, where: str, files: Mapping[str, str], inputs: str, request: Build) -> None:
    """Make the entry, when nobody else builds in the same folder."""
    cache, folder_key = request.cache, f"command-{zlib.crc32(os.fsencode(command.base)):08x}"
    with (
        request.turn() as cpus,
        cache.writing(FOLDERS, folder_key, timeout_s=BUILD_WAIT_S),
        cache.writing(KIND, inputs, timeout_s=BUILD_WAIT_S),
    ):
        if cpus is None or load_built(cache.entry(KIND, inputs), inputs) is not None:
            return
        log = cache.root / "logs" / f"{name}-{inputs[:12]}.log"
        status = _run(command, log, cpus, request)
        if status:
            raise _failure(command, where, status, log)
        _check_unchanged(command, where, files)
        with cache.storing(KIND, inputs) as folder:
            _fill(folder, command, where, inputs)


def _run(command: Command, log: Path, cpus: tuple[int, ...], request: Build) -> int:
    """The command's exit status, minus the signal that killed it; its output is in ``log``."""
    program, *rest = command.argv
    if "/" in program:
        program = str(command.base / program)
    cancel = request.cache.cancel
    cancel.check()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            process = start([program, *rest], _environment(command, request), subprocess.STDOUT, command.base)
            os.sched_setaffinity(process.pid, cpus)
            with closing(read(process, cancel)) as chunks:
                for data in chunks:
                    file.write(data)
            return process.wait()
    except OSError as err:
        raise full_or_denied(err, log) from err


def _environment(command: Command, request: Build) -> dict[str, str]:
    offline = {"CARGO_NET_OFFLINE": "true"} if request.offline else {}
    ours = {"LC_ALL": "C", "SOURCE_DATE_EPOCH": "0", "CARGO_TERM_COLOR": "never"}
    return {**kept_variables(request.environ), **ours, **offline, **dict(command.env)}


def _failure(command: Command, where: str, status: int, log: Path) -> InputError | HostError:
    text = log.read_bytes()[-(1 << 20) :].decode("utf-8", "replace")
    full = disk_full(text)
    if full is not None:
        return full_or_denied(full, command.base, None)
    shown = "".join(f"\n  {line}" for line in text.splitlines()[-ERROR_LINES:])
    how = f"ended with exit status {status}" if status > 0 else f"was killed by signal {-status}"
    words = shown or " it said nothing"
    return InputError(
        f"{where}: build: {shlex.join(command.argv)} in {command.base} {how}:{words}",
        fix=f"mend it; the whole output is in {log}",
    )


def _check_unchanged(command: Command, where: str, files: Mapping[str, str]) -> None:
    """Refuse what was built from files that changed meanwhile: it would be neither state."""
    now = input_files(command, where)
    changed = sorted({name for name, _ in files.items() ^ now.items()})
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise InputError(
            f"{where}: build.inputs: {', '.join(changed[:3])}{more} changed while the command ran",
            fix="run again; or, if the command makes them, leave them out: inputs: [..., '!GLOB']",
        )


def _fill(folder: Path, command: Command, where: str, inputs: str) -> None:
    """Put the program and its metadata into ``folder``."""
    made = command.base / command.output
    if not made.is_file():
        raise InputError(
            f"{where}: build.output: {shlex.join(command.argv)} ended well, and there is no {made}",
            fix="name the file that the command makes",
        )
    binary = folder / made.name
    shutil.copy(made, binary)
    check_binary(binary, f"{where}: build.output")
    others = sorted(set(needed_files(binary, (), f"{where}: build.output: {made}").libraries) - set(RUNTIME))
    if others:
        raise InputError(
            f"{where}: build.output: {made} needs {', '.join(others)}, expected none but {', '.join(RUNTIME)}",
            fix="link it statically; or build it yourself, and declare the program by path:",
        )
    facts = {
        "schema": SCHEMA,
        "name": made.name,
        "binary": binary.name,
        "binary_sha256": file_sha256(binary),
        "inputs_digest": inputs,
        "command": list(command.argv),
    }
    (folder / METADATA).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
