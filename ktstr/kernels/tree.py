"""A local kernel tree: whether it is one, what state it is in, and the origin it gives.

Git's view is pygit2's: HEAD's tree against the index, and the index against the files. Only a
repository or worktree of exactly this folder counts, never one around it.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, FileStatus, RepositoryOpenFlag

from ktstr.errors import HostError, InputError
from ktstr.files import reason
from ktstr.kernels.origin import Origin, TreeState
from ktstr.kernels.spec import TreeSpec

MAX_CONFIG = 4 << 20
# Untracked files that a build may read: kbuild compiles nothing else, and scripts run by name.
_SOURCE = re.compile(r"(.*\.([chS]|rs|lds|sh|pl|py)|.*\.lds\..*|(Makefile|Kconfig|Kbuild).*)", re.DOTALL)
# What a build leaves in a tree (the kernel's .gitignore, which distributions replace by one of theirs).
_PRODUCT = re.compile(
    r"\..*|.*\.(a|o|ko|s|i|mod|mod\.c|order|dtb|dtbo|su|symversions|symtypes|tab\.[ch]|lex\.c|asn1\.[ch]|gz|bz2|xz|lzo|lz4|zst|elf|bin)"
    r"|vmlinux(\.(map|relocs|symvers|unstripped|export\.c|bin\..*))?|bzImage|System\.map|Module\.symvers"
    r"|modules\.builtin.*|modules-only\.symvers|TAGS|tags|cscope\..*|compile_commands\.json"
    r"|inat-tables\.c|utsversion-tmp\.h|devicetable-offsets\.h|crc32table\.h|defkeymap\.c|consolemap_deftbl\.c",
    re.DOTALL,
)
_GENERATED = re.compile(r"include/(config|generated)|arch/[^/]+/include/generated")
_BUILT = (".config", "include/config", "arch/x86/include/generated")  # outputmakefile in the kernel's Makefile


def check_tree(path: Path, name: str | None = None) -> None:
    """Raise InputError unless ``path`` is a folder with the kernel's Makefile and Kconfig.

    ``name`` is what the user calls fetched sources; without it the path is the user's own.
    """
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise InputError(f"kernel {name or path}: found {found}, expected the folder of a kernel source tree")
    missing = [file for file in ("Makefile", "Kconfig") if not (path / file).is_file()]
    if not missing:
        return
    fix = "name the top folder of a kernel tree"
    if name is not None:
        fix = "use the address of a kernel's sources"
    elif (path / "HEAD").is_file() and (path / "objects").is_dir():
        fix = f"kernel=git+{path}#BRANCH builds from a bare repository"
    raise InputError(
        f"kernel {name or path}: not a kernel source tree: found no {' and no '.join(missing)} in it", fix=fix
    )


def inspect_tree(path: Path) -> TreeState:
    """What the tree is now; its files are read, nothing is written.

    Dirty: tracked files differ from HEAD, or untracked files that are not ignored can matter to a build
    (C, Rust, assembly, linker and other scripts, makefiles, Kconfig). Submodules are ignored.
    Raises InputError for what is no kernel tree or has no commit yet, HostError for one that cannot be read.
    """
    path = Path(os.path.realpath(path))
    check_tree(path)
    try:
        repository = _open(path)
        if repository is None:
            commit, identity, dirty = None, _stamp(path), True
        else:
            commit = _head(repository, path)
            changed = _changed(repository)
            dirty = bool(changed)
            identity = _identity(path, commit, changed) if dirty else commit_identity(commit)
        in_place = any((path / name).exists() for name in _BUILT)
        return TreeState(path, commit, dirty, identity, _config(path), in_place)
    except (pygit2.GitError, KeyError) as err:
        raise HostError(f"kernel {path}: its git repository cannot be read: {err}", fix=f"git -C {path} fsck") from None
    except OSError as err:
        where = err.filename or path
        raise HostError(f"kernel {path}: {where} cannot be read: {reason(err)}", fix="make it readable") from None


def tree_origin(spec: TreeSpec) -> Origin:
    """The origin of a local tree as it is now. Raises what ``inspect_tree`` raises."""
    state = inspect_tree(spec.path)
    if state.commit is not None and not state.dirty:
        stem = f"local-{state.commit[:7]}"
    else:
        stem = f"local-unknown-{zlib.crc32(os.fsencode(state.path)):08x}"
    return Origin(spec, stem, None, state.identity, tree=state)


def commit_identity(commit: str) -> str:
    """The identity of sources that are exactly a git commit, given by its 40 hex digits."""
    return hashlib.sha256(f"git {commit}".encode()).hexdigest()


def _open(path: Path) -> pygit2.Repository | None:
    """The repository or worktree whose working tree is ``path``; None when there is no ``.git`` in it."""
    if not os.path.lexists(path / ".git"):
        return None
    try:
        repository = pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH)
    except pygit2.GitError as err:
        owner = "not owned by" in str(err)
        raise HostError(
            f"kernel {path}: its git repository cannot be opened: {err}",
            fix=f"git config --global --add safe.directory {path}"
            if owner
            else f"git -C {path} status, or remove .git",
        ) from None
    return repository


def _head(repository: pygit2.Repository, path: Path) -> str:
    if repository.head_is_unborn:
        raise InputError(
            f"kernel {path}: its git HEAD has no commit yet",
            fix=f"git -C {path} commit, or git -C {path} switch BRANCH",
        )
    return str(repository.head.peel(pygit2.Commit).id)


def _changed(repository: pygit2.Repository) -> list[str]:
    """Paths of files that differ from HEAD and can matter, sorted."""
    links = {entry.path for entry in repository.index if entry.mode == FileMode.COMMIT}
    return sorted(
        name
        for name, status in repository.status(untracked_files="all", ignored=False).items()
        if name.rstrip("/") not in links and (status != FileStatus.WT_NEW or _SOURCE.fullmatch(name.rpartition("/")[2]))
    )


def _identity(path: Path, commit: str, changed: list[str]) -> str:
    """SHA-256 over the commit and what the files that differ from it hold now."""
    whole = hashlib.sha256(f"git {commit}".encode())
    for name in changed:
        file = path / name
        whole.update(b"\0" + os.fsencode(name) + b"\0" + _content(file))
    return whole.hexdigest()


def _content(file: Path) -> bytes:
    """What a file holds, as a kind and a digest; a folder in a file's place counts as nothing."""
    if file.is_symlink():
        return b"link " + hashlib.sha256(os.fsencode(file.readlink())).digest()
    if not file.is_file():
        return b"none"
    kind = b"program " if os.access(file, os.X_OK) else b"file "
    with file.open("rb") as opened:
        return kind + hashlib.file_digest(opened, "sha256").digest()


def _stamp(path: Path) -> str:
    """SHA-256 over path, size and modification time of every source file: 90 k files take about a second."""
    whole = hashlib.sha256(b"tree")
    for name, stat in _sources(str(path), ""):
        whole.update(b"\0" + os.fsencode(name) + f"\0{stat.st_size} {stat.st_mtime_ns}".encode())
    return whole.hexdigest()


def _sources(folder: str, below: str) -> Iterator[tuple[str, os.stat_result]]:
    """Files that are not a build's products, in a fixed order. Kbuild notes how it made ``x`` in ``.x.cmd``."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    names = {entry.name for entry in entries}
    for entry in entries:
        name = below + entry.name
        if entry.is_dir(follow_symlinks=False):
            if not entry.name.startswith(".") and not _GENERATED.fullmatch(name):
                yield from _sources(entry.path, name + "/")
        elif f".{entry.name}.cmd" not in names and not _PRODUCT.fullmatch(entry.name):
            yield name, entry.stat(follow_symlinks=False)


def _config(path: Path) -> str | None:
    file = path / ".config"
    if not file.is_file():
        return None
    with file.open("rb") as opened:
        raw = opened.read(MAX_CONFIG + 1)
    if len(raw) > MAX_CONFIG:
        raise InputError(f"kernel {path}: .config: found more than {MAX_CONFIG} bytes, expected a kernel configuration")
    return raw.decode("utf-8", errors="replace")
