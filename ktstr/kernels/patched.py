"""Sources with patches: one tree beside the fetched one, that takes the form of whatever patches are wanted.

Fetched sources are never written to. ``builds/patched-SOURCES/tree`` is made of hard links to them; a file that a patch
changes is replaced there, and written back when the next patch does not change it. So the objects beside it serve all
patches of the same sources, and make compiles only what differs from the last one built. Whoever uses the tree holds
the lock of its folder.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ktstr.errors import HostError, InputError
from ktstr.files import full_or_denied, read_json, write_atomic
from ktstr.host.cache import Cache
from ktstr.kernels.fetch import source_key
from ktstr.kernels.origin import Origin
from ktstr.kernels.patch import Patch, apply

BUILDS = "builds"
TREE = "tree"
JOURNAL = "changed.json"  # which files may differ from the fetched ones
_MAX_JOURNAL = 1 << 22
_VERSION = 1
_STEM_END = re.compile(r"(?=-(?:tarball$|debsrc$|git-[0-9a-f]{7}$))")
_HASH = 8  # hex digits of the patches' digest that keys have


def with_patches(origin: Origin, patches: Sequence[Patch]) -> Origin:
    """The fetched sources ``origin`` with patches, in order. Its key and its identity are others than those without."""
    assert origin.tree is None, "a tree of the user's own is never written to"
    whole = hashlib.sha256("\n".join((origin.identity, *(patch.digest for patch in patches))).encode()).hexdigest()
    marks = hashlib.sha256("\n".join(patch.digest for patch in patches).encode()).hexdigest()
    stem = _STEM_END.sub(f"+p{marks[:_HASH]}", origin.stem, count=1)
    return replace(origin, stem=stem, identity=whole, patches=tuple(patches), base=origin)


def unpatched(origin: Origin) -> Origin:
    """The sources as they are fetched."""
    return origin.base or origin


def bench(origin: Origin, cache: Cache) -> Path:
    """The folder of the tree that takes patches, and of what is compiled from it; its name is its lock's."""
    return cache.entry(BUILDS, f"patched-{source_key(unpatched(origin))}"[:200])


def is_made(folder: Path) -> bool:
    """Whether there is such a tree, in a state that is known."""
    return (folder / TREE).is_dir() and _changed_files(folder) is not None


def patched_tree(origin: Origin, source: Path, folder: Path) -> Path:
    """The tree in ``folder`` (``bench``) made to be ``source``, the fetched one, with the origin's patches.

    The caller holds the folder's lock, and keeps ``source`` from being removed. Raises InputError for a patch that does
    not fit or leads out of the tree, HostError when the disk is full.
    """
    wanted = apply(origin.patches, lambda name: _read(source, name), str(unpatched(origin).stem))
    try:
        before = _changed_files(folder)
        if before is None or not (folder / TREE).is_dir():
            _make(source, folder)
            before = []
        _note(folder, {*before, *wanted})
        for name in sorted({*before, *wanted}):
            content = wanted[name] if name in wanted else _read(source, name)
            _put(folder / TREE, name, content)
        _note(folder, wanted)
    except OSError as err:
        raise full_or_denied(err, folder) from err
    return folder / TREE


def check_fits(origin: Origin, source: Path) -> None:
    """Raise InputError for patches that do not fit the fetched sources in ``source``; nothing is written."""
    apply(origin.patches, lambda name: _read(source, name), str(unpatched(origin).stem))


def _make(source: Path, folder: Path) -> None:
    """The tree as it is fetched, without anything that was compiled from an earlier one: times say what make does."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _note(folder, ())
    shutil.copytree(source, folder / f".{TREE}", symlinks=True, copy_function=_link)
    (folder / f".{TREE}").rename(folder / TREE)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as err:
        if err.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP):
            raise
        shutil.copy2(source, target, follow_symlinks=False)


def _note(folder: Path, names: Iterable[str]) -> None:
    """Say which files may differ, before they do."""
    facts = {"version": _VERSION, "files": sorted(names)}
    write_atomic(folder / JOURNAL, json.dumps(facts).encode())


def _changed_files(folder: Path) -> list[str] | None:
    """Which files may differ; None when nobody can say."""
    try:
        facts = read_json(folder / JOURNAL, _MAX_JOURNAL)
    except InputError:
        return None
    files = facts.get("files")
    if facts.get("version") != _VERSION or not isinstance(files, list) or not all(map(_is_inside, files)):
        return None
    return files


def _is_inside(name: object) -> bool:
    return isinstance(name, str) and name != "" and not {"", ".", ".."} & set(name.split("/"))


def _read(tree: Path, name: str) -> bytes | None:
    """A file of a tree. Raises InputError for one that is none, or that a symbolic link leads to: it may lead out."""
    place = tree
    *folders, last = name.split("/")
    for part in folders:
        place /= part
        if place.is_symlink() or (os.path.lexists(place) and not place.is_dir()):
            raise InputError(f"patch of {name}: {place.relative_to(tree)} is no folder in these sources")
    place /= last
    if not os.path.lexists(place):
        return None
    if place.is_symlink() or not place.is_file():
        raise InputError(f"patch of {name}: found no regular file of that name in these sources, expected one")
    try:
        return place.read_bytes()
    except OSError as err:
        raise HostError(
            f"{place}: cannot be read: {err.strerror}", fix="kernel_clean, and run the command again"
        ) from None


def _put(tree: Path, name: str, content: bytes | None) -> None:
    """Make a file hold this, as a new file with a time of its own, unless it does; None: make it vanish."""
    path = tree / name
    if content is None:
        path.unlink(missing_ok=True)
        return
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.is_file() else 0o644
    temp = path.with_name(f".{path.name}.ktstr")
    temp.write_bytes(content)
    temp.chmod(mode)
    temp.replace(path)
