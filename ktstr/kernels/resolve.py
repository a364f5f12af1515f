"""From a kernel spec to what it means now: pinned packages, sources, or a file by its hash.

A pinned spec is resolved without the network. Knows nothing of tasks or the graph.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ktstr.config.suggest import nearest
from ktstr.errors import HostError, InputError
from ktstr.files import file_sha256, unreadable
from ktstr.host.apt import ARCH, Apt
from ktstr.host.cache import Cache
from ktstr.host.download import Missing, download
from ktstr.kernels.cache import KIND, Corrupt, key_part, lookup_entry, read_entry
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.image import load_image
from ktstr.kernels.kernel_org import KernelOrg, official_url
from ktstr.kernels.origin import Origin
from ktstr.kernels.releases import expand_range, latest_stable
from ktstr.kernels.spec import (
    FORMS,
    DebSourceSpec,
    DebSpec,
    GitSpec,
    ImageSpec,
    KeySpec,
    RangeSpec,
    Spec,
    StableSpec,
    VersionSpec,
)
from ktstr.kernels.version import Version, parse_version
from ktstr.pins.lock import AnyPin, GitPin, Lock, Pin, RangePin, TarballPin

MAX_CANDIDATE = 1 << 30  # bytes; linux-6.12.tar.gz has 0.25 GB
MAX_UNPACKED = 8 << 30  # bytes; that one unpacks to 1.5 GB
_VERSIONED = re.compile(r"linux-image-(?:unsigned-)?(\d.*)")


@dataclass(frozen=True)
class Resolution:
    """What a spec means. ``key`` is its place in the cache, ``identity`` the SHA-256 of what it is made from.

    ``version`` is the package version, or the image's file name. ``pin`` belongs in the lock; None for an image.
    """

    spec: DebSpec | ImageSpec
    key: str
    version: str
    identity: str
    pin: Pin | None


@dataclass(frozen=True)
class Resolved:
    """Sources that a spec stands for, and the pins to remember: by canonical spec."""

    origins: tuple[Origin, ...]
    pins: Mapping[str, AnyPin]


def resolve(spec: DebSpec | ImageSpec, lock: Lock, cache: Cache, apt: Apt, *, update: bool = False) -> Resolution:
    """Resolve ``spec``: from ``lock`` unless ``update`` or it is not there, else from the archive.

    Raises InputError for an unknown suite or flavour, or a file that is no kernel; HostError when
    the archive cannot be asked.
    """
    if isinstance(spec, ImageSpec):
        return _resolve_image(spec, cache)
    pin = lock.kernels.get(str(spec))
    return deb_resolution(spec, pin if isinstance(pin, Pin) and not update else pin_deb(spec, apt))


def deb_resolution(spec: DebSpec, pin: Pin) -> Resolution:
    """The resolution that a pin stands for."""
    key = key_part(f"deb-{spec.suite}-{pin.version}-{spec.flavour}-{ARCH}")
    return Resolution(spec, key, pin.version, pin.digest, pin)


def _resolve_image(spec: ImageSpec, cache: Cache) -> Resolution:
    try:
        if not spec.path.exists():
            raise InputError(f"kernel {spec}: cannot be read: found nothing there", fix=f"expected {FORMS}")
        if not spec.path.is_file():
            load_image(spec.path)
        digest = file_sha256(spec.path)
    except OSError as err:
        raise unreadable(err, f"kernel {spec.path}") from None
    key = f"image-{digest[:12]}"
    if lookup_entry(cache, key, digest) is None:
        load_image(spec.path)  # refuse now what is no kernel, before anything runs
    return Resolution(spec, key, spec.path.name, digest, None)


def pin_deb(spec: DebSpec, apt: Apt) -> Pin:
    """The packages that hold the suite's newest kernel of that flavour: its image, and its config.

    ``linux-image-FLAVOUR`` depends on the versioned ``linux-image-RELEASE``. That one holds everything
    in bookworm; in forky the image is in ``linux-binary-RELEASE`` and the config in ``linux-base-RELEASE``.
    """
    apt.update(spec.suite)
    meta = f"linux-image-{spec.flavour}"
    flavours = _flavours(apt, spec.suite)
    if spec.flavour not in flavours:
        near = nearest(spec.flavour, flavours)
        raise InputError(
            f"kernel {spec}: suite {spec.suite} has no flavour {spec.flavour}"
            + (f"; nearest is {near}" if near else ""),
            fix=f"expected one of {', '.join(flavours) or 'none: this suite has no kernels'}",
        )
    releases = [match.group(1) for name in apt.depends(spec.suite, meta) if (match := _VERSIONED.fullmatch(name))]
    if not releases:
        raise HostError(f"kernel {spec}: package {meta} depends on no kernel image")
    wanted = re.compile(rf"linux-(image|binary|base)-(unsigned-|signed-)?{re.escape(releases[0])}")
    packages = tuple(package for package in apt.closure(spec.suite, (meta,)) if wanted.fullmatch(package.name))
    if not packages:
        raise HostError(f"kernel {spec}: the suite lists no package with the image of {releases[0]}")
    image = next((p for p in packages if p.name == f"linux-image-{releases[0]}"), packages[0])
    return Pin(image.version, packages)


def _flavours(apt: Apt, suite: str) -> tuple[str, ...]:
    """The flavours a suite has: names of ``linux-image-*`` without a version, debug or template packages."""
    names = (name.removeprefix("linux-image-") for name in apt.names(suite, "linux-image-"))
    return tuple(name for name in names if not re.search(r"\d+\.\d+|-dbg$|-template$", name) and "unsigned" not in name)


def resolve_cached(spec: KeySpec, cache: Cache) -> KernelEntry:
    """The entry with that key. Raises InputError when the cache has none, HostError when it is damaged."""
    try:
        return read_entry(cache.entry(KIND, spec.key))
    except Corrupt as err:
        if err.kind != "missing":
            raise HostError(
                f"kernel {spec}: its cache entry is damaged: {err}", fix="kernel_clean corrupt_only=1"
            ) from None
    folder = cache.root / KIND
    keys = [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    near = nearest(spec.key, keys)
    raise InputError(
        f"kernel {spec}: not found in the cache" + (f", nearest key {near!r}" if near else ""), fix="doit kernel_list"
    )


def resolve_sources(
    spec: Spec, lock: Lock, *, cache: Cache, apt: Apt, site: KernelOrg, update: bool = False
) -> Resolved:
    """The sources that a release, range, git or distribution source spec means.

    From ``lock`` unless ``update`` or it is not there, else from the network. Raises InputError for what does not
    exist, HostError when nobody can be asked.
    """
    pins: dict[str, AnyPin] = {}
    members: tuple[Spec, ...] = (spec,)
    if isinstance(spec, RangeSpec):
        members = _members(spec, lock, site, update, pins)
    origins = []
    for member in members:
        pin = None if update else lock.kernels.get(str(member))
        if not isinstance(pin, _PINNED_AS[type(member)]):
            pin = _pin(member, cache, apt, site)
        pins[str(member)] = pin
        origins.append(_origin(member, _nearby(pin, site)))
    return Resolved(tuple(origins), pins)


_PINNED_AS: Mapping[type[Spec], type[AnyPin]] = {
    VersionSpec: TarballPin,
    StableSpec: TarballPin,
    GitSpec: GitPin,
    DebSourceSpec: Pin,
}


def _members(
    spec: RangeSpec, lock: Lock, site: KernelOrg, update: bool, pins: dict[str, AnyPin]
) -> tuple[VersionSpec, ...]:
    pin = None if update else lock.kernels.get(str(spec))
    if not isinstance(pin, RangePin):
        start, end = parse_version(spec.start), parse_version(spec.end)
        assert start is not None and end is not None
        pin = RangePin(tuple(map(str, expand_range(site.releases(), start, end))))
    pins[str(spec)] = pin
    return tuple(VersionSpec(version) for version in pin.versions)


def _pin(spec: Spec, cache: Cache, apt: Apt, site: KernelOrg) -> AnyPin:
    if isinstance(spec, GitSpec):
        from ktstr.kernels.git import remote_commit

        return GitPin(remote_commit(spec.url, spec.ref, site.net))
    if isinstance(spec, DebSourceSpec):
        from ktstr.kernels.debsrc import pin_source

        return pin_source(spec.version, apt)
    if isinstance(spec, StableSpec):
        return _pin_release(latest_stable(site.releases()), cache, site)
    assert isinstance(spec, VersionSpec), spec
    version = spec.parsed
    return _pin_release(site.newest_of(version) if version.is_prefix else version, cache, site)


def _nearby(pin: AnyPin, site: KernelOrg) -> AnyPin:
    """The pin to fetch by. The lock names kernel.org, for it is shared; this machine may have a mirror."""
    return replace(pin, url=site.nearby(pin.url)) if isinstance(pin, TarballPin) else pin


def _pin_release(version: Version, cache: Cache, site: KernelOrg) -> TarballPin:
    digest = site.published_sha256(version) if version.rc is None else _first_sight(version, cache, site)
    return TarballPin(str(version), official_url(version), digest)


def _first_sight(version: Version, cache: Cache, site: KernelOrg) -> str:
    """A candidate's sum is published nowhere: what is fetched now is what it will have to be ever after.

    So it has to be a whole archive. The tarball stays where ``fetch`` looks for it.
    """
    from ktstr.kernels.fetch import DOWNLOADS, FETCH_S, download_path

    url = site.tarball(version)
    archive = download_path(url, cache)
    try:
        with cache.writing(DOWNLOADS, archive.name, timeout_s=FETCH_S):
            digest = download(url, archive, None, site.net, limit_bytes=MAX_CANDIDATE)
            _check_gzip(archive, url)
            return digest
    except Missing:
        raise site.not_found(version) from None


def _check_gzip(archive: Path, url: str) -> None:
    """Read it all, to its checksum; one that is not whole is removed. A transfer can be cut without anyone noticing."""
    try:
        size = 0
        with gzip.open(archive) as file:
            while size <= MAX_UNPACKED and (data := file.read(1 << 20)):
                size += len(data)
        if 0 < size <= MAX_UNPACKED:
            return
        reason = f"unpacks to {'more than ' if size else ''}{min(size, MAX_UNPACKED)} bytes"
    except (OSError, EOFError, zlib.error) as err:
        reason = str(err)
    archive.unlink(missing_ok=True)
    raise HostError(f"{url}: found no whole .tar.gz: {reason}", fix="try again; check the proxy")


def _origin(spec: Spec, pin: AnyPin) -> Origin:
    if isinstance(pin, GitPin):
        assert isinstance(spec, GitSpec)
        return Origin(
            spec, f"{key_part(spec.ref)[:60].lstrip('.+=~-') or 'ref'}-git-{pin.commit[:7]}", None, pin.digest, pin
        )
    if isinstance(pin, TarballPin):
        return Origin(spec, f"{pin.version}-tarball", pin.version, pin.digest, pin)
    assert isinstance(pin, Pin), pin
    return Origin(spec, f"{key_part(pin.version)}-debsrc", pin.version, pin.digest, pin)
