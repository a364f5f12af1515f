from __future__ import annotations

import dataclasses
import gzip
import hashlib
import lzma
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktstr.errors import HostError, InputError
from ktstr.host import download as module
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.host.download import Net, Tampered
from ktstr.kernels.fetch import fetch
from ktstr.kernels.kernel_org import KernelOrg
from ktstr.kernels.origins import Resolved, resolve_sources
from ktstr.kernels.spec import (
    DebSourceSpec,
    GitSpec,
    RangeSpec,
    Spec,
    StableSpec,
    VersionSpec,
)
from ktstr.pins.lock import AnyPin, GitPin, Lock, RangePin, TarballPin
from tests.host.archive import Archive
from tests.host.web import Web, web_server
from tests.kernels.repositories import commit_files, make_repository
from tests.kernels.tarballs import TREE, member, packed
from tests.kernels.test_debsrc import source_deb
from tests.kernels.test_kernel_org import SUMS, release_file

FOLDER = "/pub/linux/kernel/v6.x"
ROWS = [("mainline", "6.16-rc3"), ("stable", "6.15.3"), ("stable", "6.14.12"), ("longterm", "6.12.34")]
DIGITS = {"6.15.3": "3", "6.14.12": "4", "6.12.34": "2", "6.14.2": "5", "6.9.12": "9"}
CANDIDATE = "/torvalds/t/linux-6.16-rc3.tar.gz"
ARCHIVE = gzip.compress(packed((*TREE, member("linux-6.12/Kconfig", b"\n"))), mtime=0)


def sums(versions: dict[str, str]) -> bytes:
    return "".join(f"{digit * 64}  linux-{version}.tar.xz\n" for version, digit in versions.items()).encode()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(module, "BACKOFF_S", 0.01)
    with web_server() as found:
        found.files["/releases.json"] = release_file(ROWS)
        found.files[SUMS] = sums(DIGITS)
        found.files[CANDIDATE] = ARCHIVE
        yield found


@dataclasses.dataclass
class Host:
    """Resolves on this machine; ``offline`` is that of the web and of git."""

    web: Web
    cache: Cache
    apt: Apt
    lock: Lock = dataclasses.field(default_factory=Lock)

    def __call__(self, spec: Spec, *, update: bool = False, offline: bool = False) -> Resolved:
        apt = dataclasses.replace(self.apt, offline=offline)
        found = resolve_sources(spec, self.lock, cache=self.cache, apt=apt, site=self.site(offline), update=update)
        for name, pin in found.pins.items():
            self.lock = self.lock.with_kernel(name, pin)
        return found

    def site(self, offline: bool = False) -> KernelOrg:
        return KernelOrg(self.web.url, Net({}, offline, stall_s=5.0))

    def fetch(self, spec: Spec) -> Path:
        """Resolve one spec, and fetch its tree."""
        (origin,) = self(spec).origins
        return fetch(origin, self.cache, self.apt, self.site())

    def left(self) -> list[str]:
        """The files below the cache, but locks."""
        paths = (path.relative_to(self.cache.root) for path in self.cache.root.rglob("*") if path.is_file())
        return sorted(str(path) for path in paths if path.parts[0] != ".locks")


@pytest.fixture
def host(web: Web, tmp_path: Path) -> Host:
    return Host(web, Cache(tmp_path / "cache"), Apt(tmp_path / "apt"))


def tarball(version: str) -> TarballPin:
    """What the lock has: it is shared, so it names kernel.org and no mirror."""
    return TarballPin(version, f"https://cdn.kernel.org{FOLDER}/linux-{version}.tar.xz", DIGITS[version] * 64)


def publish(web: Web, version: str) -> bytes:
    """Put a release with a tree in it on the mirror."""
    data = lzma.compress(gzip.decompress(ARCHIVE))
    web.files[f"{FOLDER}/linux-{version}.tar.xz"] = data
    web.files[SUMS] += f"{hashlib.sha256(data).hexdigest()}  linux-{version}.tar.xz\n".encode()
    return data


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        (VersionSpec("6.14.2"), "6.14.2"),  # exact: need not be listed any more
        (VersionSpec("6.15"), "6.15.3"),
        (VersionSpec("6.9"), "6.9.12"),  # an ended series
        (StableSpec(), "6.14.12"),  # 6.15 has had three maintenance releases
    ],
)
def test_a_release_is_pinned_with_its_published_sum(host: Host, spec: Spec, version: str) -> None:
    pin = tarball(version)
    near = dataclasses.replace(pin, url=f"{host.web.url}{FOLDER}/linux-{version}.tar.xz")
    found = host(spec)
    assert found.pins == {str(spec): pin}
    (origin,) = found.origins
    assert (origin.spec, origin.stem, origin.version) == (spec, f"{version}-tarball", version)
    assert (origin.identity, origin.pin, origin.tree) == (DIGITS[version] * 64, near, None)


@pytest.mark.parametrize(
    "spec",
    [VersionSpec("6.15"), VersionSpec("6.14.2"), VersionSpec("6.16-rc3"), StableSpec(), RangeSpec("6.12", "6.15")],
)
def test_what_is_pinned_needs_no_network_and_stays(host: Host, spec: Spec) -> None:
    first = host(spec)
    asked = len(host.web.seen)
    host.web.files["/releases.json"] = release_file([("stable", "6.15.99"), ("longterm", "6.12.99")])
    assert host(spec, offline=True) == first
    assert len(host.web.seen) == asked


def test_lock_update_moves_a_series_on(host: Host) -> None:
    host(VersionSpec("6.15"))
    host.web.files["/releases.json"] = release_file([("stable", "6.15.4")])
    host.web.files[SUMS] = sums({"6.15.4": "7"})
    assert host(VersionSpec("6.15")).origins[0].version == "6.15.3"
    (origin,) = host(VersionSpec("6.15"), update=True).origins
    assert (origin.version, origin.identity) == ("6.15.4", "7" * 64)


def test_a_range_is_pinned_and_so_is_each_member(host: Host) -> None:
    found = host(RangeSpec("6.12", "6.15"))  # 6.15 is 6.15.0
    assert found.pins == {
        "6.12..6.15": RangePin(("6.12.34", "6.14.12")),
        "6.12.34": tarball("6.12.34"),
        "6.14.12": tarball("6.14.12"),
    }
    assert [origin.spec for origin in found.origins] == [VersionSpec("6.12.34"), VersionSpec("6.14.12")]
    assert [origin.stem for origin in found.origins] == ["6.12.34-tarball", "6.14.12-tarball"]


def test_a_member_of_a_range_is_the_same_kernel_as_its_version(host: Host) -> None:
    member = host(RangeSpec("6.12", "6.15")).origins[0]
    assert host(VersionSpec("6.12.34"), offline=True).origins == (member,)


def test_an_empty_range_is_the_users_error(host: Host) -> None:
    with pytest.raises(InputError, match="expanded to 0"):
        host(RangeSpec("6.13", "6.13.5"))


def test_no_such_version_names_the_newest_of_its_series(host: Host) -> None:
    with pytest.raises(InputError, match=r"6\.15\.9: not found at kernel\.org; the newest of 6\.15 is 6\.15\.3"):
        host(VersionSpec("6.15.9"))
    with pytest.raises(InputError, match="no tarball found"):
        host(VersionSpec("6.3"))


def test_a_candidate_is_trusted_on_first_use(host: Host) -> None:
    digest = hashlib.sha256(ARCHIVE).hexdigest()
    found = host(VersionSpec("6.16-rc3"))
    assert found.pins == {"6.16-rc3": TarballPin("6.16-rc3", f"https://git.kernel.org{CANDIDATE}", digest)}
    assert (found.origins[0].stem, found.origins[0].identity) == ("6.16-rc3-tarball", digest)
    assert host.left() == ["downloads/linux-6.16-rc3.tar.gz"]


def test_a_candidate_is_fetched_once_and_a_changed_one_is_refused(host: Host) -> None:
    assert (host.fetch(VersionSpec("6.16-rc3")) / "Makefile").is_file()
    assert len(host.web.asked(CANDIDATE)) == 1
    assert not [name for name in host.left() if name.startswith("downloads/")]
    shutil.rmtree(host.cache.root / "sources")
    host.web.files[CANDIDATE] = gzip.compress(gzip.decompress(ARCHIVE), 1)
    with pytest.raises(Tampered, match=f"expected {hashlib.sha256(ARCHIVE).hexdigest()}"):
        host.fetch(VersionSpec("6.16-rc3"))
    assert host.left() == []
    (origin,) = host(VersionSpec("6.16-rc3"), update=True).origins
    assert origin.identity == hashlib.sha256(host.web.files[CANDIDATE]).hexdigest()


@pytest.mark.parametrize(
    "body", [b"", b"a page", ARCHIVE[:-1], ARCHIVE[:-9] + b"xxxxxxxxx", gzip.compress(b"", mtime=0)]
)
def test_a_candidate_that_is_no_whole_archive_is_not_trusted(host: Host, body: bytes) -> None:
    host.web.files[CANDIDATE] = body
    with pytest.raises(HostError, match=r"linux-6\.16-rc3\.tar\.gz: found no whole \.tar\.gz"):
        host(VersionSpec("6.16-rc3"))
    assert (host.lock, host.left()) == (Lock(), [])


def test_a_candidate_that_unpacks_to_too_much_is_not_trusted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktstr.kernels.origins.MAX_UNPACKED", len(gzip.decompress(ARCHIVE)) - 1)
    with pytest.raises(HostError, match=r"found no whole \.tar\.gz: unpacks to more than"):
        host(VersionSpec("6.16-rc3"))
    assert host.left() == []


@pytest.mark.parametrize("spec", [VersionSpec("6.9.30"), VersionSpec("6.9"), RangeSpec("6.9.30", "6.9.30")])
def test_a_release_is_fetched_from_the_mirror_by_its_published_sum(host: Host, spec: Spec) -> None:
    host.web.files["/releases.json"] = release_file([("stable", "6.9.30")])
    publish(host.web, "6.9.30")
    assert (host.fetch(spec) / "Makefile").read_text() == "VERSION = 6\n"
    assert len(host.web.asked(f"{FOLDER}/linux-6.9.30.tar.xz")) == 1


def test_a_tampered_release_is_refused_and_nothing_is_stored(host: Host) -> None:
    host.web.files[f"{FOLDER}/linux-6.9.30.tar.xz"] = publish(host.web, "6.9.30") + b"\0" * 4
    with pytest.raises(Tampered, match="SHA-256 is"):
        host.fetch(VersionSpec("6.9.30"))
    assert host.left() == []


def test_a_pin_of_another_place_is_fetched_from_there(host: Host) -> None:
    pin = TarballPin("6.15.3", "https://kernel.example/linux-6.15.3.tar.xz", "3" * 64)
    host.lock = Lock({"6.15": pin})
    found = host(VersionSpec("6.15"), offline=True)
    assert (found.pins["6.15"], found.origins[0].pin) == (pin, pin)


def test_a_candidate_that_vanished_is_explained(host: Host) -> None:
    with pytest.raises(InputError, match="RC tarball not found: candidates vanish"):
        host(VersionSpec("6.15-rc3"))


def test_nothing_pinned_and_offline_says_what_would_be_fetched(host: Host) -> None:
    for spec, place in (
        (VersionSpec("6.15"), "releases.json"),
        (VersionSpec("6.14.2"), "sha256sums.asc"),
        (VersionSpec("6.16-rc3"), "linux-6.16-rc3.tar.gz"),
        (RangeSpec("6.12", "6.15"), "releases.json"),
    ):
        with pytest.raises(HostError, match=rf"{place}: would be fetched, and offline=1"):
            host(spec, offline=True)
    assert host.web.seen == []


def test_a_branch_is_pinned_to_the_commit_it_is_at(host: Host, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "linux")
    first = commit_files(repository)
    repository.create_branch("for-next/x", repository[first])  # type: ignore[arg-type]
    spec = GitSpec(str(tmp_path / "linux"), "for-next/x")
    (origin,) = host(spec).origins
    assert (origin.stem, origin.version, origin.pin) == (f"for-next_x-git-{first[:7]}", None, GitPin(first))
    assert origin.identity == hashlib.sha256(b"git " + first.encode()).hexdigest()
    second = commit_files(repository, {"Makefile": "VERSION = 7\n"}, "refs/heads/for-next/x")
    assert host(spec).origins == (origin,)
    assert host(spec, update=True).pins == {str(spec): GitPin(second)}


def test_a_source_package_is_pinned_like_any_package(host: Host, archive: Archive, tmp_path: Path) -> None:
    archive.serve("bookworm", source_deb(archive, "6.12", "6.12.95-1~bpo12+1"))
    host.apt = archive.machine(tmp_path / "machine")
    found = host(DebSourceSpec("6.12"))
    (origin,) = found.origins
    assert (origin.stem, origin.version) == ("6.12.95-1~bpo12+1-debsrc", "6.12.95-1~bpo12+1")
    assert origin.pin is found.pins["debsrc:6.12"] and origin.pin is not None
    assert origin.identity == origin.pin.digest
    assert host(DebSourceSpec("6.12"), offline=True) == found


@pytest.mark.parametrize("pin", [GitPin("c" * 40), RangePin(("6.15.3",))])
def test_a_pin_of_another_kind_does_not_stand_for_a_release(host: Host, pin: AnyPin) -> None:
    host.lock = Lock({"6.15": pin})
    assert host(VersionSpec("6.15")).pins == {"6.15": tarball("6.15.3")}
