"""What ``kernel=`` may say, as a sum type.

The parser is pure: it looks at text, and asks a function whether a path is a file or a folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ktstr.config.suggest import nearest
from ktstr.errors import InputError
from ktstr.host.cache import check_key
from ktstr.kernels.version import Version, parse_version

FORMS = (
    "a version (6.14.2, 6.14, 6.15-rc3), a range (6.12..6.14), stable, default, the path of a tree or an image,"
    " git+URL#REF, deb:SUITE/FLAVOUR, debsrc:VERSION, or a key of doit kernel_list"
)
_SUITE = re.compile(r"[a-z][a-z0-9-]{0,63}")
_FLAVOUR = re.compile(r"[a-z0-9][a-z0-9+.-]{0,63}")
_NEARLY = re.compile(r"(?:v|linux-)?(\d+(?:\.\d+){0,2}(?:-rc\d+)?)(?:\.\d+)*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff]")  # and what stands for no byte of a name
Kind: TypeAlias = Literal["file", "folder"]


@dataclass(frozen=True)
class DebSpec:
    """The kernel that ``linux-image-FLAVOUR`` of a Debian suite stands for."""

    suite: str
    flavour: str

    def __str__(self) -> str:
        return f"deb:{self.suite}/{self.flavour}"


@dataclass(frozen=True)
class DebSourceSpec:
    """Debian's ``linux-source-VERSION``: a full tree."""

    version: str

    def __str__(self) -> str:
        return f"debsrc:{self.version}"


@dataclass(frozen=True)
class ImageSpec:
    """A kernel image file, by absolute path."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class TreeSpec:
    """A kernel source tree, by absolute path."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class VersionSpec:
    """A release of kernel.org; a series (``6.14``) stands for its newest one."""

    version: str

    def __str__(self) -> str:
        return self.version

    @property
    def parsed(self) -> Version:
        found = parse_version(self.version)
        assert found is not None
        return found

    @property
    def is_prefix(self) -> bool:
        return self.parsed.is_prefix


@dataclass(frozen=True)
class StableSpec:
    """The newest release of the newest series that has had eight maintenance releases."""

    def __str__(self) -> str:
        return "stable"


@dataclass(frozen=True)
class RangeSpec:
    """Every stable and longterm release from ``start`` to ``end``, both included."""

    start: str
    end: str

    def __str__(self) -> str:
        return f"{self.start}..{self.end}"


@dataclass(frozen=True)
class GitSpec:
    """A branch, tag or commit of a repository."""

    url: str
    ref: str

    def __str__(self) -> str:
        return f"git+{self.url}#{self.ref}"


@dataclass(frozen=True)
class KeySpec:
    """An entry of the cache, by its key."""

    key: str

    def __str__(self) -> str:
        return self.key


Spec: TypeAlias = (
    DebSpec | DebSourceSpec | ImageSpec | TreeSpec | VersionSpec | StableSpec | RangeSpec | GitSpec | KeySpec
)

# The suite whose cloud kernel has CONFIG_SCHED_CLASS_EXT; those of bookworm have it off.
DEFAULT = DebSpec("forky", "cloud-amd64")


def parse_spec(text: str, folder: Path) -> Spec:
    """Read one kernel spec; relative paths are relative to ``folder``. Raises InputError with the accepted forms.

    A word with ``/``, a leading ``.`` or ``~``, or the name of something in ``folder`` is a path. What is not there
    (yet) is refused when it is resolved, not here.
    """
    return parse(text, folder, _kind_of)


def _kind_of(path: Path) -> Kind | None:
    try:
        return "folder" if path.is_dir() else "file" if path.exists() else None
    except OSError:  # a name too long, or below a folder that may not be entered
        return None


def parse(text: str, folder: Path, kind_of: Callable[[Path], Kind | None]) -> Spec:
    """``parse_spec`` without the file system; ``kind_of`` says what is at a path."""
    if _CONTROL.search(text) or len(text) > 4096:
        raise InputError(f"kernel {text[:40]!r}...: found a control character or too long a text, expected {FORMS}")
    if text in ("default", "stable"):
        return DEFAULT if text == "default" else StableSpec()
    if text.startswith(("deb:", "debsrc:")):
        return _deb(text) if text.startswith("deb:") else _debsrc(text)
    if text.startswith("git+"):
        return _git(text)
    start, dots, end = text.partition("..")
    if dots and parse_version(start) and parse_version(end):
        return _range(start, end)
    path = folder / os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises for an unknown user
    if "/" in text or text.startswith((".", "~")):
        return _path(path, kind_of(path))
    if parse_version(text):
        return VersionSpec(text)  # also beside a folder called 6.14: ./6.14 means that one
    if text and (kind := kind_of(path)) is not None:
        return _path(path, kind)
    if dots and (parse_version(start) or parse_version(end)):
        raise _half_range(text, end if parse_version(start) else start)
    return _key(text)


def parse_list(text: str, folder: Path) -> tuple[Spec, ...]:
    """Specs separated by commas, in order; empty ones are passed over."""
    return tuple(parse_spec(part.strip(), folder) for part in text.split(",") if part.strip())


def _deb(text: str) -> DebSpec:
    suite, slash, flavour = text.removeprefix("deb:").partition("/")
    if not slash or not _SUITE.fullmatch(suite) or not _FLAVOUR.fullmatch(flavour):
        raise InputError(f"kernel {text[:80]!r}: expected deb:SUITE/FLAVOUR, such as {DEFAULT}")
    return DebSpec(suite, flavour)


def _debsrc(text: str) -> DebSourceSpec:
    version = parse_version(text.removeprefix("debsrc:"))
    if version is None or not version.is_prefix:
        raise InputError(
            f"kernel {text[:80]!r}: expected debsrc:VERSION with the version of a series, such as debsrc:6.12"
        )
    return DebSourceSpec(str(version))


def _git(text: str) -> GitSpec:
    url, hash_, ref = text.removeprefix("git+").rpartition("#")
    if not hash_ or not url or not ref:
        raise InputError(f"kernel {text[:200]!r}: expected git+URL#REF, where REF is a branch, a tag or a commit")
    return GitSpec(url, ref)


def _range(start: str, end: str) -> RangeSpec:
    first, last = parse_version(start), parse_version(end)
    assert first is not None and last is not None
    if first.order > last.order:
        raise InputError(f"kernel {start}..{end}: inverted kernel range", fix=f"write it as {end}..{start}")
    return RangeSpec(start, end)


def _half_range(text: str, end: str) -> InputError:
    return InputError(
        f"kernel {text[:80]}: not a parseable version: {end[:40]!r}",
        fix="expected a range such as 6.12..6.14, or 6.12.3..6.14.2",
    )


def _path(path: Path, kind: Kind | None) -> ImageSpec | TreeSpec:
    full = Path(os.path.normpath(path.absolute()))
    return TreeSpec(full) if kind == "folder" else ImageSpec(full)


def _key(text: str) -> KeySpec:
    near = _NEARLY.fullmatch(text)
    written = near[1] if near else ""
    if near and parse_version(written) and written != text:
        raise InputError(f"kernel {text!r}: found no form of kernel known here", fix=f"write {written}")
    if text.isdecimal():
        raise InputError(f"kernel {text[:20]!r}: found half a version", fix="write a series, such as 6.14, or stable")
    try:
        check_key(text)
        if "-" not in text or not any(c.isdigit() for c in text):
            raise ValueError
    except ValueError:
        hint = nearest(text, ("default", "stable", str(DEFAULT), "debsrc:6.12"))
        hint = f", nearest is {hint}" if hint else ""
        raise InputError(
            f"kernel {text[:80]!r}: found no form of kernel and no cache key{hint}", fix=f"expected {FORMS}"
        ) from None
    return KeySpec(text)
