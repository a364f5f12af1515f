"""Kernel sources from the distribution: package ``linux-source-SERIES``, a tarball below usr/src.

A package serves the newest stable release of its series that Debian has. Which suite has it
depends on the release: bookworm's 6.12 is in bookworm-security.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ktstr.errors import HostError, InputError
from ktstr.host.apt import Apt, Gone, gone, suites_for
from ktstr.host.apt_sources import CODENAMES, Source, debian_source
from ktstr.host.deb import DebPackage, unpack
from ktstr.kernels.spec import DebSpec
from ktstr.kernels.tarball import OnBytes, extract
from ktstr.pins.lock import Pin

PACKAGE = "linux-source-"
LAST = "experimental"
_SERIES = re.compile(r"linux-source-(\d+\.\d+)")
_RELEASE = Path("/etc/os-release")


def pin_source(version: str, apt: Apt) -> Pin:
    """The package with the sources of series ``version`` (``6.12``), from the first suite that has one.

    Suites: those of the release the machine's apt is set to, security and backports too, then those of newer
    releases. Raises InputError listing the series there are; HostError when the archive cannot be asked.
    """
    name, seen = PACKAGE + version, set[str]()
    for suite in source_suites(apt):
        names = _serving(apt, suite)
        if name in names:
            package = _package(apt, suite, name)
            return Pin(package.version, (package,))
        seen.update(names)
    series = sorted((found.removeprefix(PACKAGE) for found in seen), key=_numbers)
    near = min(series, key=lambda other: _apart(version, other), default=None)
    raise InputError(
        f"kernel sources {version}: Debian has no package {name}" + (f"; nearest is {near}" if near else ""),
        fix=f"expected one of {', '.join(series) or 'none: this mirror has no kernel sources'}",
    )


def series_of(version: str) -> str:
    """The series of a kernel package's version: ``7.2`` of ``7.2.12-1``. Raises HostError for another form."""
    found = re.match(r"(\d+\.\d+)", version)
    if found is None:
        raise HostError(f"kernel package version {version}: found no series in it, expected such as 7.2.12-1")
    return found.group(1)


def pin_same_source(spec: DebSpec, version: str, apt: Apt) -> Pin:
    """The package with the sources that the kernel ``spec`` of this package version was built from.

    Raises HostError when its suite has none, or one of another version: a suite that moves drops the old ones.
    """
    name = PACKAGE + series_of(version)
    fix = f"lock_update={spec} for the newest kernel and its sources, or kernel=debsrc:{series_of(version)}"
    what = f"kernel {spec}: its sources, {name} {version},"
    if name not in _serving(apt, spec.suite):
        raise HostError(f"{what} are not in the suite {spec.suite}", fix=fix)
    package = _package(apt, spec.suite, name)
    if package.version != version:
        raise HostError(f"{what} are not in the suite {spec.suite} any more, which has {package.version}", fix=fix)
    return Pin(package.version, (package,))


def source_suites(apt: Apt) -> tuple[str, ...]:
    """The suites to look for sources in, in order, of those whose archive this machine's apt knows."""
    sources = apt.sources()
    first = _installed(sources)
    wanted = [suite for name in CODENAMES[CODENAMES.index(first) :] for suite in _of_release(name)]
    found = tuple(suite for suite in (*wanted, LAST) if debian_source(sources, suite) is not None)
    if not found:
        apt.source(first)  # raises: no Debian source at all
    return found


def fetch_source(pin: Pin, apt: Apt, folder: Path, *, name: str = "", on_bytes: OnBytes | None = None) -> None:
    """Download the pinned package and extract its tarball into ``folder``; ``name`` is what the user calls it.

    Works beside ``folder``, and leaves nothing there when it ends well. ``on_bytes`` is told of the extraction.
    Raises HostError when the archive dropped the package or it holds no sources.
    """
    scratch = folder.with_name(f".{folder.name}-deb")
    try:
        (file,) = apt.download(pin.packages, scratch).values()
    except Gone as err:
        raise gone(apt, pin.packages, name or pin.packages[0].name, err) from None
    unpack(file, scratch / "root", apt.cancel)
    file.unlink()
    archive = _tarball(scratch / "root", pin.packages[0])
    extract(archive, folder, on_bytes=on_bytes, cancel=apt.cancel)
    shutil.rmtree(scratch)


def _tarball(root: Path, package: DebPackage) -> Path:
    """The archive a source package holds, a regular file of the package itself."""
    found = [path for path in sorted(root.glob(f"usr/src/{package.name}.tar*")) if path.is_file()]
    inside = [path for path in found if path.resolve().is_relative_to(root.resolve())]
    if not inside:
        raise HostError(
            f"{package.filename}: found no usr/src/{package.name}.tar.xz in it", fix="use another series or a tarball"
        )
    return inside[0]


def _package(apt: Apt, suite: str, name: str) -> DebPackage:
    """What a suite serves; the private root of a security or backports suite serves its base's packages too."""
    if len(suites_for(suite)) == 1:
        return apt.resolve(suite, name)
    found = [package for package in apt.closure(suite, (name,)) if package.name == name]
    if not found:
        raise HostError(f"package {name}: suite {suite} lists it but does not serve it", fix="use another mirror")
    return found[0]


def _serving(apt: Apt, suite: str) -> tuple[str, ...]:
    """The source packages of a suite now; none when the archive has no such suite (a release may lack backports)."""
    try:
        apt.update(suite)
        return tuple(name for name in apt.names(suite, PACKAGE) if _SERIES.fullmatch(name))
    except InputError:
        return ()


def _of_release(name: str) -> Iterator[str]:
    """A release's suites: its security suite first, whose root knows the release itself too."""
    if name == "sid":
        yield name
        return
    yield f"{name}-security"
    yield name
    yield f"{name}-backports"


def _installed(sources: tuple[Source, ...]) -> str:
    """The oldest release that the machine's Debian sources name; else the one it says it is."""
    named = {suite.split("-")[0].split("/")[0] for source in sources for suite in source.suites}
    text = _RELEASE.read_text(encoding="utf-8", errors="replace") if _RELEASE.is_file() else ""
    running = re.search(r'^VERSION_CODENAME="?([a-z]+)', text, re.MULTILINE)
    known = [name for name in CODENAMES if name in named]
    if running is not None and running.group(1) in CODENAMES:
        known.append(running.group(1))
    return known[0] if known else "sid"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _apart(version: str, other: str) -> tuple[int, ...]:
    """How far two series are from each other: major numbers first."""
    return tuple(abs(a - b) for a, b in zip(_numbers(version), _numbers(other), strict=False))
