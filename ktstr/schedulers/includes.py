"""The files that a scheduler's sources are made of, wherever they lie.

Known without a compiler, because the names of everything that follows from them are needed before the kernel's
vmlinux.h, the skeleton and even libbpf's headers are there: a preprocessor asked without those would take other
branches than one asked with them. So includes are followed as text, whatever the conditions around them, to every
file that they could mean. What no text shows (``#include MACRO``) is known from the compilers' own lists, when a
build has been made.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ktstr.errors import InputError

# Where gcc and clang look for C headers beside the folders on their command line. What lies in their own folders
# is no input of a scheduler: their versions stand for it, as with make's -MMD.
SEARCH_VARIABLES = ("CPATH", "C_INCLUDE_PATH")
ABSENT = "absent"
_INCLUDE = re.compile(
    rb'^[ \t]*(?:#|%:)[ \t]*(?:include(?:_next)?|import|embed)[ \t]*(?:"([^"\r\n]+)"|<([^>\r\n]+)>)', re.MULTILINE
)
_WORD = re.compile(r"(?:[^\s\\]|\\.)+")


def source_files(source: Path, variables: Mapping[str, str], also: Iterable[str] = ()) -> dict[str, str]:
    """SHA-256 of every file by name: each ``.c`` and ``.h`` below ``source``, ``also``, and what these include.

    Names are relative to ``source``, with ``..`` where it takes that; absolute for what is found through one of
    SEARCH_VARIABLES. A file of ``also`` that is gone is ABSENT. Raises InputError for one that cannot be read.
    """
    folders = [Path(), Path("include"), *_search_folders(variables)]
    digests = dict.fromkeys((name for name in also if not (source / name).is_file()), ABSENT)
    todo = [*_below(source), *also]
    while todo:
        name = todo.pop()
        if name not in digests:
            data = _content(source / name, source)
            digests[name] = hashlib.sha256(data).hexdigest()
            todo += _included(source, name, data, folders)
    return digests


def prerequisites(depfile: str) -> list[str]:
    """The files that gcc's or clang's ``-MMD`` lists, from the one rule it writes for make."""
    words = _WORD.findall(depfile.replace("\\\n", " ").partition(": ")[2])
    return [re.sub(r"\\([ #])", r"\1", word).replace("$$", "$") for word in words]


def _search_folders(variables: Mapping[str, str]) -> Iterator[Path]:
    """The folders of SEARCH_VARIABLES; to the compilers, which run in the source folder, an empty item is that one."""
    for variable in SEARCH_VARIABLES:
        if value := variables.get(variable):
            yield from map(Path, value.split(os.pathsep))


def _below(source: Path) -> Iterator[str]:
    for path in source.rglob("*.[ch]"):
        if path.is_file():
            yield str(path.relative_to(source))


def _content(path: Path, source: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise InputError(f"scheduler source {source}: {path}: {err.strerror}", fix="make it readable") from None


def _included(source: Path, name: str, data: bytes, folders: list[Path]) -> Iterator[str]:
    """The names of all files that the includes of the file ``name`` could mean."""
    for quoted, angled in _INCLUDE.findall(data):
        spelling = os.fsdecode(quoted or angled)
        beside = [Path(name).parent] if quoted else []
        for folder in (*beside, *folders):
            candidate = folder / spelling
            if (source / candidate).is_file():
                yield file_name(source, candidate)


def file_name(source: Path, name: str | Path) -> str:
    """The one name of a file that a compiler reads in ``source`` under ``name``, however that is spelt.

    Where a folder before a ``..`` is a link, the kernel's answer and not the text's is what the compiler reads.
    """
    plain = os.path.normpath(name)
    if os.path.realpath(source / name) == os.path.realpath(source / plain):
        return plain
    return os.path.relpath(os.path.realpath(source / name), source)
