from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktstr.errors import HostError, InputError
from ktstr.host import download as module
from ktstr.host.download import Net, Tampered, download
from ktstr.kernels.kernel_org import KernelOrg, official_url
from ktstr.kernels.version import Version, parse_version
from tests.host.web import Web, web_server

SUMS = "/pub/linux/kernel/v6.x/sha256sums.asc"
ROWS = [("mainline", "6.16-rc3"), ("stable", "6.15.3"), ("longterm", "6.12.34"), ("linux-next", "next-20250620")]
TARBALL = b"not really xz"
PUBLISHED = {
    "6.15.3": hashlib.sha256(TARBALL).hexdigest(),
    "6.12": "1" * 64,
    "6.9.2": "2" * 64,
    "6.9.10": "3" * 64,
    "6.9.12": "4" * 64,  # there never was a 6.9.11
    "6.7": "5" * 64,  # a series that had its first release only
}


def release_file(rows: list[tuple[str, str]] = ROWS) -> bytes:
    return json.dumps({"releases": [{"moniker": m, "version": v, "iseol": False} for m, v in rows]}).encode()


def sums_file() -> bytes:
    lines = [f"{digest}  linux-{version}.tar.xz" for version, digest in PUBLISHED.items()]
    other = [f"{'e' * 64}  linux-6.15.4.tar.gz", f"{'f' * 64}  patch-6.15.5.xz", f"{'f' * 64}  ChangeLog-6.15.6"]
    head = ["-----BEGIN PGP SIGNED MESSAGE-----", "Hash: SHA256", ""]
    tail = ["-----BEGIN PGP SIGNATURE-----", "", "iQIzBAEBCAAdFiEE", "-----END PGP SIGNATURE-----", ""]
    return "\n".join([*head, *other, *lines, *tail]).encode()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", 0.01)


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as found:
        found.files["/releases.json"] = release_file()
        found.files[SUMS] = sums_file()
        found.files["/pub/linux/kernel/v6.x/linux-6.15.3.tar.xz"] = TARBALL
        yield found


def site(web: Web, *, offline: bool = False) -> KernelOrg:
    return KernelOrg(web.url, Net({}, offline, connect_s=5.0, stall_s=2.0))


def version(text: str) -> Version:
    found = parse_version(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("6.14.2", "https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.14.2.tar.xz"),
        ("6.14", "https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.14.tar.xz"),
        ("6.14.0", "https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.14.tar.xz"),
        ("5.4.295", "https://cdn.kernel.org/pub/linux/kernel/v5.x/linux-5.4.295.tar.xz"),
        ("6.15-rc3", "https://git.kernel.org/torvalds/t/linux-6.15-rc3.tar.gz"),
    ],
)
def test_tarballs_are_where_kernel_org_has_them(text: str, url: str) -> None:
    assert KernelOrg(None, Net({})).tarball(version(text)) == url


def test_a_mirror_stands_for_all_three_hosts() -> None:
    mirror = KernelOrg("http://mirror.example/k/", Net({}))
    assert mirror.tarball(version("6.14.2")) == "http://mirror.example/k/pub/linux/kernel/v6.x/linux-6.14.2.tar.xz"
    assert mirror.tarball(version("6.15-rc3")) == "http://mirror.example/k/torvalds/t/linux-6.15-rc3.tar.gz"


@pytest.mark.parametrize("base", ["ftp://h", "/srv/mirror", "h:80", "http://[", "http://", "https:///x"])
def test_a_mirror_that_is_no_web_address_is_refused(base: str) -> None:
    with pytest.raises(InputError, match="KTSTR_KERNEL_ORG="):
        KernelOrg(base, Net({}))


def test_releases_are_asked_for_once(web: Web) -> None:
    here = site(web)
    assert [str(release.version) for release in here.releases()] == ["6.16-rc3", "6.15.3", "6.12.34"]
    assert here.releases() is here.releases()
    assert len(web.asked("/releases.json")) == 1


def test_a_failure_is_not_remembered(web: Web) -> None:
    here = site(web)
    web.faults["/releases.json"] = ["500"] * 3
    with pytest.raises(HostError, match=r"releases\.json: answered 500"):
        here.releases()
    assert len(here.releases()) == 3


def test_a_truncated_answer_is_asked_for_again(web: Web) -> None:
    web.faults["/releases.json"] = ["cut 40"]
    assert len(site(web).releases()) == 3


@pytest.mark.parametrize(
    ("fault", "words"), [("html", "HTML instead"), ("404", "not found"), ("stall 10", "broke off"), ("403", "403")]
)
def test_no_answer_is_a_host_error(web: Web, fault: str, words: str) -> None:
    web.faults["/releases.json"] = [fault] * 3
    with pytest.raises(HostError, match=words):
        KernelOrg(web.url, Net({}, stall_s=0.1)).releases()


def test_an_unreachable_host_is_a_host_error() -> None:
    with pytest.raises(HostError, match=r"http://127\.0\.0\.1:1/releases\.json: cannot be reached"):
        KernelOrg("http://127.0.0.1:1", Net({})).releases()


def test_offline_asks_nobody_and_says_what_it_would(web: Web) -> None:
    here = site(web, offline=True)
    with pytest.raises(HostError, match=r"releases\.json: would be fetched, and offline=1"):
        here.releases()
    with pytest.raises(HostError, match=r"sha256sums\.asc: would be fetched"):
        here.published_sha256(version("6.15.3"))
    assert web.seen == []


def test_the_sum_of_a_tarball_is_the_published_one(web: Web, tmp_path: Path) -> None:
    here = site(web)
    assert [here.published_sha256(version(text)) for text in ("6.15.3", "6.12", "6.12.0")] == [
        hashlib.sha256(TARBALL).hexdigest(), "1" * 64, "1" * 64,
    ]  # fmt: skip
    assert len(web.asked(SUMS)) == 1
    found = download(
        here.tarball(version("6.15.3")),
        tmp_path / "t",
        here.published_sha256(version("6.15.3")),
        Net({}),
        limit_bytes=99,
    )
    assert found == hashlib.sha256(TARBALL).hexdigest()


def test_a_tarball_that_is_not_the_published_one_is_refused(web: Web, tmp_path: Path) -> None:
    here = site(web)
    url, expected = here.tarball(version("6.15.3")), here.published_sha256(version("6.15.3"))
    web.files["/pub/linux/kernel/v6.x/linux-6.15.3.tar.xz"] = TARBALL + b"!"
    with pytest.raises(Tampered, match=f"expected {expected}"):
        download(url, tmp_path / "t", expected, Net({}), limit_bytes=99)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words", "fix"),
    [
        ("6.15.9", r"kernel 6\.15\.9: not found at kernel\.org; the newest of 6\.15 is 6\.15\.3", "kernel=6.15.3"),
        ("6.15.4", "not found", "kernel=6.15.3"),  # has a .tar.gz line only
        ("6.3.99", r"kernel 6\.3\.99: not found at kernel\.org$", "kernel=stable"),
        ("6.9.99", r"kernel 6\.9\.99: not found at kernel\.org; the newest of 6\.9 is 6\.9\.12$", "kernel=6.9.12"),
        ("99.1.2", r"kernel 99\.1\.2: not found at kernel\.org$", "kernel=stable"),
    ],
)
def test_no_such_release_is_the_users_error_with_the_newest_of_its_series(
    web: Web, text: str, words: str, fix: str
) -> None:
    with pytest.raises(InputError) as caught:
        site(web).published_sha256(version(text))
    assert caught.value.fix == fix
    with pytest.raises(InputError, match=words):
        raise InputError(caught.value.message)


def test_a_release_that_is_listed_but_not_there_yet_is_not_suggested(web: Web) -> None:
    web.files["/releases.json"] = release_file([("stable", "6.15.4")])
    with pytest.raises(
        InputError, match=r"6\.15\.4: not found at kernel\.org, but listed there\n  fix: try again later"
    ):
        site(web).published_sha256(version("6.15.4"))


def test_a_mirror_has_what_kernel_org_has_and_nothing_else() -> None:
    mirror, own = KernelOrg("http://mirror.example/k/", Net({})), KernelOrg(None, Net({}))
    for text in ("6.14.2", "6.15-rc3"):
        official = official_url(version(text))
        assert official == own.tarball(version(text)) == own.nearby(official)
        assert mirror.nearby(official) == mirror.tarball(version(text))
    for other in ("https://cdn.kernel.org/pub/linux/kernelx", "https://kernel.example/pub/linux/kernel/v6.x/a"):
        assert mirror.nearby(other) == other


def test_a_release_without_a_sum_is_not_said_to_be_missing(web: Web) -> None:
    web.files["/pub/linux/kernel/v6.x/linux-6.15.4.tar.xz"] = b"fresh"
    with pytest.raises(HostError, match=r"linux-6\.15\.4\.tar\.xz: found no SHA-256"):
        site(web).published_sha256(version("6.15.4"))


@pytest.mark.parametrize(
    ("prefix", "newest"),
    [("6.15", "6.15.3"), ("6.12", "6.12.34"), ("6.9", "6.9.12"), ("6.7", "6.7")],
)
def test_a_series_means_its_newest_release_ended_or_not(web: Web, prefix: str, newest: str) -> None:
    assert str(site(web).newest_of(version(prefix))) == newest


def test_a_current_series_needs_no_sums(web: Web) -> None:
    site(web).newest_of(version("6.15"))
    assert web.asked(SUMS) == []


@pytest.mark.parametrize(("prefix", "words"), [("6.3", "no tarball found"), ("99.0", "no tarball found")])
def test_a_series_that_never_was_is_the_users_error(web: Web, prefix: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        site(web).newest_of(version(prefix))


def test_a_series_that_has_candidates_only_names_them(web: Web) -> None:
    with pytest.raises(InputError, match=r"no tarball found.*, and the candidate 6\.16-rc3") as caught:
        site(web).newest_of(version("6.16"))
    assert caught.value.fix is not None and caught.value.fix.startswith("kernel=6.16-rc3")


def test_a_candidate_that_vanished_is_explained(web: Web) -> None:
    error = site(web).not_found(version("6.15-rc3"))
    assert "RC tarball not found: candidates vanish when their release is out" in error.message
    assert error.fix is not None and error.fix.startswith("kernel=6.15,") and error.fix.endswith("#v6.15-rc3")
