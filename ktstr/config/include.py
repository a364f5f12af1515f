"""``include``: the files that a ktstr.yaml is made of, read and put together before anything is typed.

Files are called by their paths from the folder of the main one, those that come with ktstr by ``ktstr:`` and theirs.
Each is read once, wherever it is included. Of a test, payload or definition that comes with ktstr and that the user
declares too, under the same name, the user's holds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ktstr.config import fields, yaml_lines
from ktstr.config.problems import error, nearest_of, quoted
from ktstr.config.reader import OURS, Reader, is_text
from ktstr.config.transform import is_too_large, with_entries, without
from ktstr.config.yaml_lines import MAX_NODES, Node, Place
from ktstr.errors import HostError, InputError
from ktstr.resources import include_dir

INCLUDE = "include"
MERGED = ("kernels", "schedulers", "presets", "payloads", "define", "tests", "matrices")
MAX_FILES = 256
_SUFFIX = ".yaml"
_RULE = "the path of a file, relative to this one, or a list of paths"


@dataclass(frozen=True)
class Sources:
    """A document with all that it includes. ``digest``: of the bytes of all files, and of what they are called."""

    path: Path
    root: Node
    digest: str
    files: tuple[str, ...]


@dataclass
class _Reading:
    """What is read so far: each file's document by its name, in order. ``open``: those that are being read."""

    r: Reader
    documents: dict[str, Node] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)
    hashed: list[bytes] = field(default_factory=list)


def read_sources(path: Path) -> Sources:
    """``path`` and what it includes. Raises as ``sources_of``; InputError when there is no such file, HostError when it
    cannot be read."""
    return sources_of(read_bytes(path), path)


def sources_of(data: bytes, path: Path) -> Sources:
    """As ``read_sources``, from the bytes of ``path``. Raises InputError naming every place that is not plain YAML, and
    every file that cannot be included."""
    r = Reader(path.name, path.absolute().parent)
    reading = _Reading(r)
    _take(reading, data, path.name)
    if r.problems:
        raise error(path.name, r.problems)
    root = _merged(r, reading.documents, path.name)
    if r.problems:
        raise error(path.name, r.problems)
    digest = hashlib.sha256(b"".join(reading.hashed)).hexdigest()
    return Sources(path, root, digest, tuple(reading.documents))


def read_bytes(path: Path) -> bytes:
    """The bytes of a ktstr.yaml. Raises InputError when there is none, HostError when it cannot be read."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: found no file, expected the declarations", fix="ktstr init") from None
    except IsADirectoryError:
        raise InputError(f"{path}: found a folder, expected a file with the declarations") from None
    except OSError as err:
        raise HostError(f"{path}: cannot be read ({os.strerror(err.errno or 0)})", fix=f"ls -l {path}") from None


def _take(reading: _Reading, data: bytes, name: str) -> None:
    """Read one file, and then those that it includes."""
    root = yaml_lines.read(data, name)
    reading.documents[name] = root
    reading.hashed += [hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest(), hashlib.sha256(data).digest()]
    if not isinstance(root.value, dict) or INCLUDE not in root.value:
        return
    reading.open.append(name)
    for node, path in _entries(reading.r, root.value[INCLUDE]):
        _include(reading, node, path)
    reading.open.pop()


def _entries(r: Reader, node: Node) -> Iterator[tuple[Node, str]]:
    children = [(node, INCLUDE)]
    if isinstance(node.value, list):
        children = [(child, f"{INCLUDE}[{i}]") for i, child in enumerate(r.items(node, INCLUDE, _RULE))]
    for child, path in children:
        if is_text(child) and child.raw and child.raw.isprintable() and not child.raw.startswith(("/", "~")):
            yield child, path
        else:
            r.wrong(child, path, _RULE)


def _include(reading: _Reading, node: Node, path: str) -> None:
    r = reading.r
    if node.raw.startswith(OURS) and node.raw not in ours():
        r.unknown(node, path, "what comes with ktstr", ours())
        return
    target = _target(r, node)
    name = _name_of(r, node, target)
    if name in reading.open:
        circle = " -> ".join((*reading.open[reading.open.index(name) :], name))
        r.wrong(node, path, "a file that does not include itself", what=f"{quoted(node.raw)} ({circle})")
    elif name not in reading.documents:
        if len(reading.documents) >= MAX_FILES:
            r.wrong(node, path, f"at most {MAX_FILES} files", what="one more")
            return
        try:
            data = target.read_bytes()
        except OSError as err:
            what = f"{quoted(node.raw)} ({os.strerror(err.errno or 0)})"
            r.wrong(node, path, "a file that can be read", _nearest_file(target), what)
            return
        _take(reading, data, name)


def ours() -> tuple[str, ...]:
    """What ``include`` may name of the files that come with ktstr, such as ``ktstr:catalogue``."""
    folder = include_dir()
    return tuple(
        OURS + path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.rglob(f"*{_SUFFIX}"))
    )


def is_ours(file: str) -> bool:
    """Whether a file, by what messages call it, comes with ktstr."""
    return file.startswith(OURS)


def _target(r: Reader, node: Node) -> Path:
    if is_ours(node.raw):
        return include_dir() / f"{node.raw.removeprefix(OURS)}{_SUFFIX}"
    return Path(os.path.normpath(r.folder(node) / node.raw))


def _name_of(r: Reader, node: Node, target: Path) -> str:
    """What messages call a file: of one that comes with ktstr, the same wherever that is installed."""
    if is_ours(node.raw) or is_ours(node.file):
        return OURS + os.path.relpath(target, include_dir())
    return os.path.relpath(target, r.base)


def _nearest_file(target: Path) -> str | None:
    try:
        names = sorted(entry.name for entry in target.parent.iterdir() if entry.is_file())
        return nearest_of(target.name, names[:1000])
    except OSError:  # nor can the folder be read
        return None


def _merged(r: Reader, documents: dict[str, Node], main: str) -> Node:
    """The main document with the declarations of all others after its own."""
    root = documents[main]
    if len(documents) == 1 or not isinstance(root.value, dict):
        return without(root, INCLUDE)
    entries, keys = dict(root.value), dict(root.keys)
    for name in sorted(documents, key=is_ours):
        document = documents[name]
        if name == main:
            continue
        for key, child in r.mapping(document, "").items():
            if key in MERGED:
                entries[key] = child if key not in entries else _joined(r, entries[key], child, key)
                keys.setdefault(key, document.keys[key])
            elif key != INCLUDE:
                expected = "one of " + ", ".join((INCLUDE, *MERGED))
                r.wrong_key(document, key, key, expected, nearest_of(key, fields.TOP))
    made = without(with_entries(root, entries, keys), INCLUDE)
    if is_too_large(made):
        r.wrong(root, "", f"at most {MAX_NODES} values", what=f"{made.size} in all files")
    return made


def _joined(r: Reader, node: Node, more: Node, path: str) -> Node:
    """Two mappings by name as one; a name twice is a problem."""
    if not isinstance(node.value, dict) or not isinstance(more.value, dict):
        return more if isinstance(node.value, dict) else node  # the wrong one, which is what is told
    entries: dict[str, Node] = dict(node.value)
    keys: dict[str, Place] = dict(node.keys)
    for name, child in more.value.items():
        if name in entries and is_ours(child.file) and not is_ours(entries[name].file):
            continue
        if name in entries:
            line, column = keys[name]
            first = f"{entries[name].file or r.file}:{line}:{column}"
            r.wrong_key(more, name, f"{path}.{name}", f"each name once (first at {first})")
        else:
            entries[name], keys[name] = child, more.keys[name]
    return with_entries(node, entries, keys)
