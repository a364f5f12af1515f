"""``ktstr.lock``: which packages, tarball or commit a kernel spec or tool means, by version, place and hash.

JSON, sorted, one committable file. A name that is pinned needs no network to be resolved,
and its files are trusted by their hash alone. Shape: ``schemas/lock.schema.json``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from ktstr.errors import InputError
from ktstr.files import full_or_denied, parse_json, unreadable, write_atomic
from ktstr.host.deb import DebPackage

VERSION = 1
MAX_BYTES = 4 << 20
_NUMBER = r"(0|[1-9][0-9]{0,5})"  # as ktstr.kernels.version reads them
_RELEASE = rf"{_NUMBER}(\.{_NUMBER}){{1,2}}(-rc{_NUMBER})?"
_FIX = "take it back from version control, or delete it to resolve every name anew"
_FIELDS = {
    "name": re.compile(r"[a-z0-9][a-z0-9+.-]{0,199}"),
    "version": re.compile(r"[A-Za-z0-9.+:~-]{1,200}"),
    "arch": re.compile(r"[a-z0-9-]{1,32}"),
    "suite": re.compile(r"[a-z][a-z0-9-]{0,63}(/updates)?"),
    "path": re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._+~:%@=/-]{0,500}\.deb"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
}


@dataclass(frozen=True)
class Pin:
    """What a name was resolved to: the packages, and the version a reader would call it by."""

    version: str
    packages: tuple[DebPackage, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over sorted package names and hashes: the same on every machine and mirror."""
        lines = sorted(f"{package.name} {package.sha256}\n" for package in self.packages)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class TarballPin:
    """A release's tarball. ``sha256`` is the published sum, or of a candidate that of the first fetch."""

    version: str
    url: str
    sha256: str

    @property
    def digest(self) -> str:
        """The same wherever the tarball comes from."""
        return self.sha256


@dataclass(frozen=True)
class GitPin:
    """The commit that a branch or tag stood for: 40 hex digits."""

    commit: str

    @property
    def version(self) -> str:
        return self.commit[:12]

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"git {self.commit}".encode()).hexdigest()


@dataclass(frozen=True)
class RangePin:
    """The releases that a range stood for, ascending."""

    versions: tuple[str, ...]

    @property
    def version(self) -> str:
        return f"{len(self.versions)} releases"

    @property
    def digest(self) -> str:
        return hashlib.sha256(" ".join(self.versions).encode()).hexdigest()


AnyPin: TypeAlias = Pin | TarballPin | GitPin | RangePin


@dataclass(frozen=True)
class Lock:
    """The pins of a project: canonical kernel specs and tool names to what they mean."""

    kernels: Mapping[str, AnyPin] = field(default_factory=dict)
    tools: Mapping[str, Pin] = field(default_factory=dict)

    def over(self, base: Lock) -> Lock:
        """These pins, and those of ``base`` for names not pinned here."""
        return Lock({**base.kernels, **self.kernels}, {**base.tools, **self.tools})

    def with_kernel(self, spec: str, pin: AnyPin) -> Lock:
        return Lock({**self.kernels, spec: pin}, self.tools)

    def with_tool(self, name: str, pin: Pin) -> Lock:
        return Lock(self.kernels, {**self.tools, name: pin})


def _fail(path: Path, where: str, found: object, expected: str) -> InputError:
    text = json.dumps(found, default=str)
    shown = text if len(text) <= 80 else text[:77] + "..."
    return InputError(
        f"{path}: {where}: found {shown}, expected {expected}",
        fix=_FIX,
    )


def _object(path: Path, where: str, value: object, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _fail(path, where, value, "an object")
    if keys is not None and sorted(value) != sorted(keys):
        raise _fail(path, where, sorted(value), f"the keys {', '.join(sorted(keys))}")
    return value


def _package(path: Path, where: str, value: object) -> DebPackage:
    fields = _object(path, where, value, (*_FIELDS, "size"))
    for key, pattern in _FIELDS.items():
        if not isinstance(fields[key], str) or not pattern.fullmatch(fields[key]):
            raise _fail(path, f"{where}.{key}", fields[key], f"text like {pattern.pattern}")
    size = fields["size"]
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size < 1 << 40:
        raise _fail(path, f"{where}.size", size, "a size in bytes")
    return DebPackage(**fields)


def _packages(path: Path, where: str, raw: object) -> Pin:
    fields = _object(path, where, raw, ("version", "packages"))
    if not isinstance(fields["version"], str) or not 0 < len(fields["version"]) <= 200:
        raise _fail(path, f"{where}.version", fields["version"], "a version")
    if not isinstance(fields["packages"], list) or not fields["packages"]:
        raise _fail(path, f"{where}.packages", fields["packages"], "a list of packages")
    packages = [_package(path, f"{where}.packages[{i}]", item) for i, item in enumerate(fields["packages"])]
    names = [package.name for package in packages]
    if len(set(names)) != len(names):
        raise _fail(path, f"{where}.packages", names, "each package once")
    return Pin(fields["version"], tuple(packages))


def _text(path: Path, where: str, value: object, pattern: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise _fail(path, where, value, f"text like {pattern}")
    return value


def _kernel_pin(path: Path, where: str, raw: object) -> AnyPin:
    """A pin of any shape, told apart by its keys."""
    keys = set(raw) if isinstance(raw, dict) else set()
    if "url" in keys:
        fields = _object(path, where, raw, ("version", "url", "sha256"))
        version = _text(path, f"{where}.version", fields["version"], _RELEASE)
        url = _text(path, f"{where}.url", fields["url"], r"https?://[!-~]{1,500}")
        return TarballPin(version, url, _text(path, f"{where}.sha256", fields["sha256"], r"[0-9a-f]{64}"))
    if "commit" in keys:
        fields = _object(path, where, raw, ("commit",))
        return GitPin(_text(path, f"{where}.commit", fields["commit"], r"[0-9a-f]{40}"))
    if "versions" in keys:
        versions = _object(path, where, raw, ("versions",))["versions"]
        if not isinstance(versions, list) or not 0 < len(versions) <= 500:
            raise _fail(path, f"{where}.versions", versions, "a list of releases")
        found = tuple(_text(path, f"{where}.versions[{i}]", item, _RELEASE) for i, item in enumerate(versions))
        if len(set(found)) != len(found):
            raise _fail(path, f"{where}.versions", versions, "each release once")
        return RangePin(found)
    return _packages(path, where, raw)


P = TypeVar("P")


def _pins(path: Path, section: str, value: object, read: Callable[[Path, str, object], P]) -> dict[str, P]:
    return {name: read(path, f"{section}[{name}]", raw) for name, raw in _object(path, section, value).items()}


def read_lock(path: Path) -> Lock:
    """Read a lock file; one that does not exist is empty. Raises InputError naming the place in it."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Lock()
    except OSError as err:
        raise unreadable(err, path) from err
    try:
        loaded = parse_json(raw, path, MAX_BYTES)
    except InputError as err:
        raise InputError(err.message, fix=_FIX) from err
    top = _object(path, "file", loaded, ("version", "kernels", "tools"))
    if top["version"] != VERSION or isinstance(top["version"], bool):
        raise _fail(path, "version", top["version"], f"{VERSION} (made by another ktstr?)")
    return Lock(_pins(path, "kernels", top["kernels"], _kernel_pin), _pins(path, "tools", top["tools"], _packages))


def _pin_object(pin: AnyPin) -> dict[str, object]:
    if not isinstance(pin, Pin):
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(pin).items()}
    packages = sorted(pin.packages, key=lambda package: package.name)
    return {"version": pin.version, "packages": [vars(package) for package in packages]}


def lock_text(lock: Lock) -> str:
    """The file's text: the same pins give the same bytes."""
    top = {
        "version": VERSION,
        "kernels": {name: _pin_object(pin) for name, pin in lock.kernels.items()},
        "tools": {name: _pin_object(pin) for name, pin in lock.tools.items()},
    }
    return json.dumps(top, indent=2, sort_keys=True) + "\n"


def write_lock(path: Path, lock: Lock) -> None:
    """Write the lock file in one step; an unchanged one is left alone. Raises HostError when it cannot."""
    data = lock_text(lock).encode()
    try:
        if path.is_file() and path.read_bytes() == data:
            return
    except OSError as err:
        raise full_or_denied(err, path, None) from err
    write_atomic(path, data, fsync=True)
