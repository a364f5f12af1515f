from __future__ import annotations

import errno
import functools
import hashlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pygit2
import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError, InputError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.host.download import Net
from ktstr.kernels.cleaning import choose, perform
from ktstr.kernels.fetch import fetch, fetched, source_key, source_marker
from ktstr.kernels.kernel_org import KernelOrg
from ktstr.kernels.listing import leftovers
from ktstr.kernels.origin import Origin
from ktstr.kernels.spec import GitSpec, TreeSpec, VersionSpec
from ktstr.kernels.tree import commit_identity, tree_origin
from ktstr.pins.lock import GitPin, TarballPin
from tests.host.waits import cancelled_soon, held_elsewhere
from tests.kernels.repositories import commit_files, make_repository, serving
from tests.kernels.tarballs import TREE, Member, member, packed, symlink

LINUX = (*TREE, member("linux-6.12/Kconfig", b"\n"))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def apt(tmp_path: Path) -> Apt:
    return Apt(tmp_path / "apt")


@pytest.fixture
def site() -> KernelOrg:
    return KernelOrg(None, Net({**os.environ, "no_proxy": "127.0.0.1"}))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a server for ``tmp_path/web``."""
    (tmp_path / "web").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def git_origin(url: str, commit: str, ref: str = "main") -> Origin:
    return Origin(GitSpec(url, ref), f"{ref}-git-{commit[:7]}", None, commit_identity(commit), GitPin(commit))


def tar_origin(web: str, tmp_path: Path, *members: Member) -> Origin:
    raw = packed(members)
    (tmp_path / "web/linux-6.12.tar").write_bytes(raw)
    digest = hashlib.sha256(raw).hexdigest()
    pin = TarballPin("6.12", f"{web}/linux-6.12.tar", digest)
    return Origin(VersionSpec("6.12"), "6.12-tarball", "6.12", digest, pin)


def left(cache: Cache) -> list[str]:
    return sorted(path.name for path in (cache.root / "sources").glob("*"))


def test_a_commit_is_fetched_once_and_then_at_hand(cache: Cache, apt: Apt, site: KernelOrg, tmp_path: Path) -> None:
    commit = commit_files(make_repository(tmp_path / "repo"))
    origin = git_origin(str(tmp_path / "repo"), commit)
    assert fetched(origin, cache) is None
    tree = fetch(origin, cache, apt, site)
    key = f"main-git-{commit[:7]}-{hashlib.sha256(f'git {commit}'.encode()).hexdigest()[:12]}"
    assert tree == cache.root / "sources" / key / "tree" and (tree / "Makefile").read_text() == "VERSION = 6\n"
    assert left(cache) == [key] == [source_key(origin)]
    assert sorted(path.name for path in tree.parent.iterdir()) == ["source.json", "tree"]
    told = json.loads(source_marker(origin, cache).read_text())
    assert told == {
        **{"version": 1, "identity": origin.identity, "stem": origin.stem},
        "spec": f"git+{tmp_path}/repo#main",
    }
    (tmp_path / "repo").rename(tmp_path / "gone")
    assert fetch(origin, cache, apt, site) == fetched(origin, cache) == tree


def test_a_moved_ref_is_another_tree(cache: Cache, apt: Apt, site: KernelOrg, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    first = git_origin(str(tmp_path / "repo"), commit_files(repository))
    second = git_origin(str(tmp_path / "repo"), commit_files(repository, {"Makefile": "VERSION = 7\n"}))
    texts = [(fetch(origin, cache, apt, site) / "Makefile").read_text() for origin in (second, first)]
    assert texts == ["VERSION = 7\n", "VERSION = 6\n"]


def test_a_ref_with_slashes_gives_a_plain_folder(cache: Cache, apt: Apt, site: KernelOrg, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    commit = commit_files(repository)
    repository.references.create("refs/heads/topic/for-next", commit)
    tree = fetch(git_origin(str(tmp_path / "repo"), commit, "topic/for-next"), cache, apt, site)
    assert tree.parent.name.startswith(f"topic_for-next-git-{commit[:7]}-")


def test_cleaning_while_a_tarball_is_fetched_takes_nothing_from_under_it(
    cache: Cache, apt: Apt, site: KernelOrg, tmp_path: Path, web: str
) -> None:
    origin = tar_origin(web, tmp_path, *LINUX)
    kept: set[str] = set()

    def clean(*_: object) -> None:
        cleaned = perform(cache, choose((), leftovers(cache), keep=None, corrupt_only=False))
        kept.update(victim.path.name for victim, _ in cleaned.kept)

    assert (fetch(origin, cache, apt, site, on_progress=clean) / "Makefile").is_file()
    assert {"linux-6.12.tar.part", "linux-6.12.tar.part.json", "linux-6.12.tar"} <= kept


def test_a_tarball_is_fetched_checked_and_not_kept(
    cache: Cache, apt: Apt, site: KernelOrg, web: str, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int | None]] = []
    origin = tar_origin(web, tmp_path, *LINUX)
    tree = fetch(origin, cache, apt, site, on_progress=lambda *words: told.append(words))
    assert (tree / "Makefile").read_text() == "VERSION = 6\n"
    assert sorted(path.name for path in tree.parent.iterdir()) == ["source.json", "tree"]
    size = (tmp_path / "web/linux-6.12.tar").stat().st_size
    assert list(dict.fromkeys(step for step, *_ in told)) == ["download", "extract"]
    assert told[-1] == ("extract", size, size)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (symlink("linux-6.12/evil", "/etc"), "a link to '/etc'"),
        (member("linux-6.12/../../../evil", b"x"), "'..'"),
    ],
)
def test_a_hostile_tarball_leaves_the_cache_as_it_was(
    cache: Cache, apt: Apt, site: KernelOrg, web: str, tmp_path: Path, bad: Member, words: str
) -> None:
    good = tar_origin(web, tmp_path, *LINUX)
    fetch(good, cache, apt, site)
    with pytest.raises(HostError) as caught:
        fetch(tar_origin(web, tmp_path, *LINUX, bad), cache, apt, site)
    assert words in caught.value.message and caught.value.exit_code == 3
    assert left(cache) == [source_key(good)] and fetched(good, cache) is not None


def test_a_tarball_of_another_hash_is_refused(
    cache: Cache, apt: Apt, site: KernelOrg, web: str, tmp_path: Path
) -> None:
    origin = tar_origin(web, tmp_path, *LINUX)
    (tmp_path / "web/linux-6.12.tar").write_bytes(packed([*LINUX, member("linux-6.12/x")]))
    with pytest.raises(HostError):
        fetch(origin, cache, apt, site)
    assert left(cache) == []


def test_what_is_no_kernel_is_refused_and_not_stored(
    cache: Cache, apt: Apt, site: KernelOrg, web: str, tmp_path: Path
) -> None:
    commit = commit_files(make_repository(tmp_path / "repo"), {"README": "no kernel\n"})
    with pytest.raises(InputError, match=r"kernel git\+.*/repo#main: not a kernel source tree: found no Makefile"):
        fetch(git_origin(str(tmp_path / "repo"), commit), cache, apt, site)
    with pytest.raises(InputError, match=r"kernel 6\.12: not a kernel source tree: found no Kconfig"):
        fetch(tar_origin(web, tmp_path, *TREE), cache, apt, site)
    assert left(cache) == []


def test_a_full_disk_is_told_and_leaves_nothing(
    cache: Cache, apt: Apt, site: KernelOrg, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = tar_origin(web, tmp_path, *LINUX)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fchmod", full)
        with pytest.raises(HostError, match="the disk is full") as caught:
            fetch(origin, cache, apt, site)
    assert caught.value.fix is not None and "KTSTR_CACHE_DIR" in caught.value.fix
    assert left(cache) == []
    assert (fetch(origin, cache, apt, site) / "Kconfig").is_file()


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"version": 1, "identity": "other"}', "[" * 100_000, '{"version": 1, "version": 1}']
)
def test_an_entry_whose_marker_is_damaged_is_fetched_again(
    cache: Cache, apt: Apt, site: KernelOrg, tmp_path: Path, damage: str
) -> None:
    origin = git_origin(str(tmp_path / "repo"), commit_files(make_repository(tmp_path / "repo")))
    tree = fetch(origin, cache, apt, site)
    source_marker(origin, cache).write_text(damage)
    (tree / "stray").write_text("x")
    assert fetched(origin, cache) is None
    assert fetch(origin, cache, apt, site) == tree and not (tree / "stray").exists()


def test_of_two_that_ask_at_once_one_fetches(cache: Cache, apt: Apt, site: KernelOrg, tmp_path: Path) -> None:
    commit = commit_files(make_repository(tmp_path / "srv/linux.git", bare=True))
    with serving(tmp_path / "srv") as (url, requests), ThreadPoolExecutor(4) as pool:
        origin = git_origin(f"{url}/linux.git", commit)
        trees = list(pool.map(lambda _: fetch(origin, cache, apt, site), range(4)))
        assert len(set(trees)) == 1 and (trees[0] / "Makefile").is_file()
        once = len(requests)
        other = Cache(tmp_path / "other")
        fetch(origin, other, apt, site)
        assert len(requests) == 2 * once


def test_offline_names_what_would_be_fetched(cache: Cache, tmp_path: Path, web: str) -> None:
    commit = commit_files(make_repository(tmp_path / "srv/linux.git", bare=True))
    offline, site = Apt(tmp_path / "apt", offline=True), KernelOrg(None, Net(dict(os.environ), True))
    with serving(tmp_path / "srv") as (url, requests):
        with pytest.raises(HostError, match=r"offline=1.*linux\.git#main"):
            fetch(git_origin(f"{url}/linux.git", commit), cache, offline, site)
        assert requests == []
    with pytest.raises(HostError, match="offline=1"):
        fetch(tar_origin(web, tmp_path, *LINUX), cache, offline, site)
    assert left(cache) == []
    local = git_origin(str(tmp_path / "srv/linux.git"), commit)
    assert (fetch(local, cache, offline, site) / "Makefile").is_file()


def test_a_local_tree_is_used_where_it_is(cache: Cache, apt: Apt, site: KernelOrg, tmp_path: Path) -> None:
    commit_files(make_repository(tmp_path / "linux"))
    origin = tree_origin(TreeSpec(tmp_path / "linux"))
    assert fetch(origin, cache, apt, site) == fetched(origin, cache) == tmp_path / "linux"
    assert not cache.root.exists()


def test_a_commit_that_is_gone_leaves_nothing(cache: Cache, apt: Apt, site: KernelOrg, tmp_path: Path) -> None:
    repository: pygit2.Repository = make_repository(tmp_path / "repo")
    commit_files(repository)
    with pytest.raises(InputError, match="the repository has no commit"):
        fetch(git_origin(str(tmp_path / "repo"), "1" * 40), cache, apt, site)
    assert left(cache) == []


def test_after_a_cancelled_wait_nothing_is_downloaded_or_unpacked(web: str, apt: Apt, tmp_path: Path) -> None:
    """An interruption while another process fetched the same sources went on to fetch them: half a minute."""
    origin, cancel = tar_origin(web, tmp_path, *LINUX), Cancel()
    cache = Cache(tmp_path / "cache", cancel)
    site = KernelOrg(None, Net({"no_proxy": "127.0.0.1"}, cancel=cancel))
    with held_elsewhere(cache.lock_file("sources", source_key(origin))), cancelled_soon(cancel):
        fetch(origin, cache, apt, site)
    with pytest.raises(Cancelled):
        fetch(origin, cache, apt, site)  # the lock is free now
    assert not (cache.root / "sources").exists() and not (cache.root / "downloads").exists()


def test_a_wait_for_the_same_tarball_is_cancelled_too_and_leaves_no_half(web: str, apt: Apt, tmp_path: Path) -> None:
    origin, cancel = tar_origin(web, tmp_path, *LINUX), Cancel()
    cache = Cache(tmp_path / "cache", cancel)
    site = KernelOrg(None, Net({"no_proxy": "127.0.0.1"}, cancel=cancel))
    with held_elsewhere(cache.lock_file("downloads", "linux-6.12.tar")), cancelled_soon(cancel):
        fetch(origin, cache, apt, site)
    assert left(cache) == [] and not (cache.root / "downloads").exists()
