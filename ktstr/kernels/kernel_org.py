"""kernel.org, or a mirror of it: which releases there are, where their tarballs are, and their published sums.

The sums are those of ``sha256sums.asc`` beside the tarballs. Its PGP signature is not checked here: the sums are
as good as the TLS connection they come over. Candidates have no published sums.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from ktstr.errors import HostError, InputError
from ktstr.host.download import Missing, Net, fetch_bytes, head
from ktstr.kernels.releases import MAX_BYTES, Release, newest_of_series, parse_releases
from ktstr.kernels.version import Version, parse_version

RELEASES = "https://www.kernel.org/releases.json"
CDN = "https://cdn.kernel.org/pub/linux/kernel"
GIT = "https://git.kernel.org/torvalds/t"
MAX_SUMS = 16 << 20
_SUM = re.compile(r"^([0-9a-f]{64})  linux-([0-9.]+)\.tar\.xz\r?$", re.MULTILINE)


@dataclass(frozen=True)
class KernelOrg:
    """The site: kernel.org, or with ``base`` a mirror.

    A mirror has ``/releases.json``, ``/pub/linux/kernel/v6.x/`` and ``/torvalds/t/`` below its address. Answers are
    asked for once, and kept when they are good.
    """

    base: str | None
    net: Net
    _known: list[tuple[Release, ...]] = field(default_factory=list, compare=False, repr=False)
    _sums: dict[str, Mapping[str, str]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.base and not _is_web_address(self.base):
            raise InputError(
                f"KTSTR_KERNEL_ORG={self.base}: expected the http or https address of a mirror",
                fix="KTSTR_KERNEL_ORG=https://HOST, or unset it for kernel.org itself",
            )

    def _url(self, own: str, path: str) -> str:
        return f"{self.base.rstrip('/')}{path}" if self.base else own

    def releases(self) -> tuple[Release, ...]:
        """Today's rows, asked once. Raises HostError when they cannot be had."""
        if not self._known:
            url = self._url(RELEASES, "/releases.json")
            self._known.append(parse_releases(self._bytes(url, MAX_BYTES)))
        return self._known[0]

    def _bytes(self, url: str, limit: int) -> bytes:
        return fetch_bytes(url, limit, self.net)

    def _folder(self, version: Version) -> str:
        return self._url(CDN, "/pub/linux/kernel") + f"/v{version.major}.x"

    def tarball(self, version: Version) -> str:
        """Where a release's tarball is; candidates are made on demand from git's tags."""
        if version.rc is not None:
            return self._url(GIT, "/torvalds/t") + f"/linux-{version}.tar.gz"
        return f"{self._folder(version)}/linux-{_written(version)}.tar.xz"

    def nearby(self, url: str) -> str:
        """Where to fetch what kernel.org has at ``url``: from the mirror, if there is one. Other addresses stay."""
        for own, path in ((CDN, "/pub/linux/kernel"), (GIT, "/torvalds/t")):
            if url.startswith(f"{own}/"):
                return self._url(own, path) + url.removeprefix(own)
        return url

    def published_sha256(self, version: Version) -> str:
        """The sum published for a release's tarball. Raises InputError for a release that does not exist.

        HostError when it exists and its sum is not published (yet).
        """
        found = self._published(version).get(_written(version))
        if found is not None:
            return found
        url = self.tarball(version)
        if head(url, self.net):
            raise HostError(
                f"{url}: found no SHA-256 of it in sha256sums.asc beside it", fix="name another version, or try later"
            )
        raise self.not_found(version)

    def _published(self, version: Version) -> Mapping[str, str]:
        """The sums of all releases of one major version, by version; empty when there never was one."""
        folder = self._folder(version)
        if folder not in self._sums:
            try:
                text = self._bytes(f"{folder}/sha256sums.asc", MAX_SUMS).decode("utf-8", "replace")
            except Missing:
                return {}
            self._sums[folder] = {found[2]: found[1] for found in _SUM.finditer(text)}
        return self._sums[folder]

    def not_found(self, version: Version) -> InputError:
        """The error for a release that kernel.org does not have."""
        if version.rc is not None:
            return InputError(
                f"kernel {version}: RC tarball not found: candidates vanish when their release is out",
                fix=f"kernel={version.series}, or a git tag: git+https://git.kernel.org/pub/scm/linux/kernel/git/"
                f"torvalds/linux.git#v{version}",
            )
        try:
            newest = newest_of_series(self.releases(), version) or self._newest_published(version)
        except HostError:
            newest = None
        if newest and newest.order == version.order:
            return InputError(f"kernel {version}: not found at kernel.org, but listed there", fix="try again later")
        hint = f"; the newest of {version.series} is {newest}" if newest else ""
        return InputError(f"kernel {version}: not found at kernel.org{hint}", fix=f"kernel={newest or 'stable'}")

    def newest_of(self, prefix: Version) -> Version:
        """The newest release of a series: of a current one by releases.json, of an ended one by the published sums.

        These list every tarball there is, so a gap in the patch numbers hides nothing. Raises InputError for none.
        """
        return newest_of_series(self.releases(), prefix) or self._ended(prefix)

    def _newest_published(self, prefix: Version) -> Version | None:
        found = [version for text in self._published(prefix) if (version := parse_version(text)) is not None]
        return max((v for v in found if v.series == prefix.series), key=lambda v: v.order, default=None)

    def _ended(self, prefix: Version) -> Version:
        newest = self._newest_published(prefix)
        if newest is not None:
            return newest
        candidates = [row.version for row in self.releases() if row.version.series == prefix.series]
        hint = f", and the candidate {candidates[0]}" if candidates else ""
        raise InputError(
            f"kernel {prefix}: no tarball found for this series at kernel.org{hint}",
            fix=f"kernel={candidates[0] if candidates else 'stable'}, or check the number",
        )


def official_url(version: Version) -> str:
    """Where kernel.org itself has a release's tarball: what a lock file that others use may name."""
    return KernelOrg(None, Net({})).tarball(version)


def _is_web_address(text: str) -> bool:
    try:
        place = urllib.parse.urlsplit(text)
    except ValueError:
        return False
    return place.scheme in ("http", "https") and bool(place.hostname)


def _written(version: Version) -> str:
    """As in file names: the first release of a series has no patch number."""
    return version.series if not version.patch and version.rc is None else str(version)
