"""A tool bundle: a program of the archive with every library it needs, unpacked privately.

Made of pinned packages only, its C library and loader included, so it is the same build on any
x86-64 Linux. Only what the recipe names and what the programs need is kept.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from msgspec import Meta, Struct

from ktstr.errors import HostError, InputError
from ktstr.files import full_or_denied, read_json
from ktstr.host.apt import Apt, Gone, gone
from ktstr.host.cache import Cache
from ktstr.host.deb import DebPackage, unpack
from ktstr.host.elf import BadElf, needed_libraries
from ktstr.host.scratch import scratch
from ktstr.pins.lock import Pin

FORMAT = 1  # raised when a bundle's layout changes: older ones are made again
METADATA = "tool.json"
MAX_METADATA = 1 << 20  # bytes
LOADER = "ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib"
COMMANDS = "commands"
_LIBRARY_FOLDERS = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")


@dataclass(frozen=True)
class Recipe:
    """How a bundle is made. ``programs`` and ``files`` are paths in the packages, ``files`` with globs.

    ``closure`` names the packages whose dependencies apt computes; ``kept`` stay although no
    program links to them. ``commands`` are those of ``programs`` that others start by name, from a PATH: each gets
    a script of its name in ``Bundle.commands``.
    """

    name: str
    suite: str
    closure: tuple[str, ...]
    kept: tuple[str, ...]
    programs: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    main: str
    commands: tuple[str, ...] = ()


class Facts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``tool.json`` says of every entry of the cache's tools. ``files``: size in bytes by path in the entry."""

    format: int
    name: str
    version: str
    digest: str
    files: dict[str, Annotated[int, Meta(ge=0)]]


F = TypeVar("F", bound=Facts)


class BundleFacts(Facts, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Those of a bundle. ``packages``: version by name."""

    packages: dict[str, str]


@dataclass(frozen=True)
class Bundle:
    """A bundle in the cache. ``digest`` is its pin's; ``metadata`` its target for the graph."""

    name: str
    folder: Path
    version: str
    digest: str

    @property
    def metadata(self) -> Path:
        return self.folder / METADATA

    @property
    def commands(self) -> Path:
        """A folder for a PATH, with the recipe's ``commands`` and nothing else."""
        return self.folder / COMMANDS

    def argv(self, program: str) -> tuple[str, ...]:
        """How to start a program of the bundle: through its own loader and libraries, never the host's."""
        libraries = self.folder / LIBRARIES
        loader = (str(libraries / LOADER), "--inhibit-cache", "--library-path", str(libraries))
        return (*loader, str(self.folder / program))


def upstream(version: str) -> str:
    """The upstream part of a Debian version: ``1:10.0.2+ds-2~bpo12+1`` is ``10.0.2``."""
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return match.group(1) if match else version


def pin(recipe: Recipe, apt: Apt) -> Pin:
    """Resolve a recipe against the archive now: downloads the whole closure, keeps what is needed."""
    apt.update(recipe.suite)
    packages = {package.name: package for package in apt.closure(recipe.suite, recipe.closure)}
    for name in recipe.kept:
        packages.setdefault(name, apt.resolve(recipe.suite, name))
    with _work_folder(apt) as folder:
        root = folder / "root"
        owners = _unpack_all(apt, list(packages.values()), folder / "debs", root)
        found = _libraries(root, recipe)
        used = {owners[path.resolve().relative_to(root.resolve())] for path in found.values()}
        used |= {owners[Path(program)] for program in recipe.programs}
    chosen = [packages[name] for name in sorted(used | set(recipe.kept))]
    return Pin(upstream(packages[recipe.main].version), tuple(chosen))


def resolve(recipe: Recipe, pinned: Pin | None, apt: Apt, *, update: bool = False) -> Pin:
    """The pin of a recipe: the locked one, or the archive's newest when there is none or ``update``."""
    return pinned if pinned is not None and not update else pin(recipe, apt)


def lookup(recipe: Recipe, pinned: Pin, cache: Cache) -> Bundle | None:
    """The bundle when it is in the cache and whole (every file there with its size), else None."""
    folder = cache.entry("tools", pinned.digest)
    facts = read_facts(BundleFacts, folder, FORMAT, recipe.name, recipe.programs)
    return None if facts is None else Bundle(recipe.name, folder, facts.version, pinned.digest)


def read_facts(cls: type[F], folder: Path, version: int, name: str, needed: Sequence[str]) -> F | None:
    """What ``tool.json`` says of the entry in ``folder``; None when it is not whole.

    Whole is one of this ``version`` of its layout and this ``name``, with the ``needed`` files, and every file there
    with its size.
    """
    from ktstr.record.codec import decode

    try:
        facts = decode(cls, read_json(folder / METADATA, MAX_METADATA), METADATA)
        complete = all((folder / path).stat().st_size == size for path, size in facts.files.items())
    except (InputError, OSError, ValueError):  # ValueError: another shape, or what can be no path
        return None
    ours = (facts.format, facts.name) == (version, name) and facts.files.keys() >= set(needed)
    return facts if ours and complete else None


def write_facts(folder: Path, facts: Facts) -> None:
    """Write ``tool.json``, the last file of an entry. Raises OSError."""
    from ktstr.record.codec import encode

    text = json.dumps(encode(facts), indent=2, sort_keys=True) + "\n"
    (folder / METADATA).write_text(text, encoding="utf-8")


def ensure(recipe: Recipe, pinned: Pin, cache: Cache, apt: Apt) -> Bundle:
    """The bundle, made when it is not in the cache or damaged. Raises HostError when it cannot be."""
    if (found := lookup(recipe, pinned, cache)) is not None:
        return found
    with cache.writing("tools", pinned.digest):
        if (found := lookup(recipe, pinned, cache)) is None:
            _make(recipe, pinned, cache, apt)
            found = lookup(recipe, pinned, cache)
    if found is None:
        raise HostError(f"{cache.entry('tools', pinned.digest)}: damaged right after it was made", fix="check the disk")
    return found


def _make(recipe: Recipe, pinned: Pin, cache: Cache, apt: Apt) -> None:
    with cache.storing("tools", pinned.digest) as out:
        scratch = out / "scratch"
        try:
            _unpack_all(apt, pinned.packages, scratch / "debs", scratch / "root")
        except Gone as err:
            raise gone(apt, pinned.packages, recipe.name, err) from None
        _fill(recipe, scratch / "root", out)
        shutil.rmtree(scratch)
        files = {str(p.relative_to(out)): p.stat().st_size for p in sorted(out.rglob("*")) if p.is_file()}
        facts = BundleFacts(
            format=FORMAT,
            name=recipe.name,
            version=pinned.version,
            digest=pinned.digest,
            packages={package.name: package.version for package in pinned.packages},
            files=files,
        )
        write_facts(out, facts)


def _fill(recipe: Recipe, root: Path, out: Path) -> None:
    """Copy programs, the libraries they need and the recipe's files out of the unpacked packages."""
    for program in recipe.programs:
        _copy(_inside(root, root / program), out / program)
    for name, path in _libraries(root, recipe).items():
        _copy(_inside(root, path), out / LIBRARIES / name)
    for program in recipe.commands:
        _write_command(program, out)
    for pattern, target in recipe.files:
        matches = [path for path in sorted(root.glob(pattern)) if path.is_file()]
        if not matches:
            raise HostError(f"tool {recipe.name}: its packages hold no {pattern}", fix=f"lock_update={recipe.name}")
        for path in matches:
            _copy(_inside(root, path), out / target / path.name)


def _write_command(program: str, out: Path) -> None:
    """What ``Bundle.argv`` does, as a script: it finds the bundle from where it lies itself."""
    loader = f'"$bundle/{LIBRARIES}/{LOADER}" --inhibit-cache --library-path "$bundle/{LIBRARIES}"'
    script = out / COMMANDS / Path(program).name
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nbundle=${{0%/*}}/..\nexec {loader} "$bundle/{program}" "$@"\n', encoding="utf-8")
    script.chmod(0o755)


def _inside(root: Path, path: Path) -> Path:
    """The file behind ``path``; a symbolic link that leaves ``root`` is refused."""
    real = path.resolve()
    if not real.is_relative_to(root.resolve()) or not real.is_file():
        raise HostError(f"package file {path.name}: found no such file in its package, or a link out of it")
    return real


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(source.stat().st_mode & 0o755 | 0o444)


def _libraries(root: Path, recipe: Recipe) -> dict[str, Path]:
    """Library name to file for all programs of the recipe. Raises HostError for one that no package has."""
    folders = [root / name for name in _LIBRARY_FOLDERS]
    every: dict[str, Path] = {}
    for program in recipe.programs:
        try:
            needed = needed_libraries(root / program, folders)
        except (BadElf, OSError) as err:
            raise HostError(f"tool {recipe.name}: {program}: {err}", fix=f"lock_update={recipe.name}") from None
        if needed.missing:
            names = ", ".join(sorted(needed.missing))
            raise HostError(
                f"tool {recipe.name}: {program} needs {names}, which none of its packages has",
                fix=f"lock_update={recipe.name}",
            )
        every.update(needed.found)
    return every


def _unpack_all(apt: Apt, packages: Sequence[DebPackage], debs: Path, root: Path) -> dict[Path, str]:
    """Download and unpack; gives each file's package. The downloads are removed as they are unpacked."""
    owners: dict[Path, str] = {}
    for name, file in apt.download(packages, debs).items():
        single = root.with_name(f"one-{name}")
        unpack(file, single, apt.cancel)
        file.unlink()
        for path in single.rglob("*"):
            if path.is_file() or path.is_symlink():
                owners[path.relative_to(single)] = name
        _merge(single, root)
    return owners


def _merge(source: Path, target: Path) -> None:
    """Move a tree into another; a folder of ``target`` is entered, never followed when it is a link."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        other = target / path.name
        if path.is_dir() and not path.is_symlink() and other.is_dir() and not other.is_symlink():
            _merge(path, other)
        else:
            path.replace(other)
    source.rmdir()


@contextlib.contextmanager
def _work_folder(apt: Apt) -> Iterator[Path]:
    try:
        apt.root.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise full_or_denied(err, apt.root) from err
    with scratch(".pin-", apt.root) as folder:
        yield folder
