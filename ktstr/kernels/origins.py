"""What the name of kernel sources means now: releases, ranges, git refs, a distribution's sources."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.host.download import Missing, download
from ktstr.kernels.cache import key_part
from ktstr.kernels.kernel_org import KernelOrg, official_url
from ktstr.kernels.origin import Origin
from ktstr.kernels.releases import expand_range, latest_stable
from ktstr.kernels.spec import (
    DebSourceSpec,
    GitSpec,
    RangeSpec,
    Spec,
    StableSpec,
    VersionSpec,
)
from ktstr.kernels.version import Version, parse_version
from ktstr.pins.lock import AnyPin, GitPin, Lock, Pin, RangePin, TarballPin

MAX_CANDIDATE = 1 << 30  # bytes; linux-6.12.tar.gz has 0.25 GB
MAX_UNPACKED = 8 << 30  # bytes; that one unpacks to 1.5 GB


@dataclass(frozen=True)
class Resolved:
    """Sources that a spec stands for, and the pins to remember: by canonical spec."""

    origins: tuple[Origin, ...]
    pins: Mapping[str, AnyPin]


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
            _check_gzip(archive, url, site.net.cancel)
            return digest
    except Missing:
        raise site.not_found(version) from None


def _check_gzip(archive: Path, url: str, cancel: Cancel) -> None:
    """Read it all, to its checksum; one that is not whole is removed. A transfer can be cut without anyone noticing."""
    try:
        size = 0
        with gzip.open(archive) as file:
            while size <= MAX_UNPACKED and (data := file.read(1 << 20)):
                size += len(data)
                cancel.check()
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
