from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pygit2
import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError, InputError
from ktstr.host.download import Net
from ktstr.kernels.git import fetch_commit, is_local, remote_commit
from tests.host.waits import cancelled_soon, silent_server
from tests.kernels.repositories import WHO, commit_files, make_repository, serving


@pytest.fixture
def bare(tmp_path: Path) -> pygit2.Repository:
    """main has two commits, branch for-next a third, tags v1 (annotated) and light at the first."""
    repository = make_repository(tmp_path / "srv" / "linux.git", bare=True)
    first = commit_files(repository)
    repository.create_tag("v1", pygit2.Oid(hex=first), pygit2.enums.ObjectType.COMMIT, WHO, "one")
    repository.references.create("refs/tags/light", first)
    second = commit_files(repository, {"Makefile": "VERSION = 7\n"})
    repository.references.create("refs/heads/topic/for-next", second)
    commit_files(repository, {"new.c": "int y;\n"}, "refs/heads/topic/for-next")
    return repository


@pytest.fixture
def server(bare: pygit2.Repository, tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    with serving(tmp_path / "srv") as (url, requests):
        yield f"{url}/linux.git", requests


def commit_of(repository: pygit2.Repository, name: str) -> str:
    done = subprocess.run(
        ["git", "--git-dir", repository.path, "rev-parse", f"{name}^{{commit}}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


NET, OFFLINE = Net({}), Net({}, offline=True)
REFS = ["HEAD", "main", "topic/for-next", "v1", "light", "refs/heads/main", "refs/tags/v1", "tags/v1"]


@pytest.mark.parametrize("ref", REFS)
def test_a_ref_is_the_commit_that_git_says(
    bare: pygit2.Repository, server: tuple[str, list[str]], tmp_path: Path, ref: str
) -> None:
    expected = commit_of(bare, ref)
    place = tmp_path / "srv" / "linux.git"
    assert [remote_commit(url, ref, NET) for url in (server[0], str(place), f"file://{place}")] == [expected] * 3


def test_a_whole_commit_is_itself_and_asks_nobody() -> None:
    assert remote_commit("http://127.0.0.1:1/x.git", "AB" * 20, NET) == "ab" * 20


@pytest.mark.parametrize(
    ("ref", "words", "fix"),
    [
        ("mian", "the repository has no such ref; nearest is main", "expected a branch"),
        ("abc1234", "found a shortened commit", "write all 40 digits"),
    ],
)
def test_a_ref_that_does_not_exist_is_the_users_mistake(
    server: tuple[str, list[str]], ref: str, words: str, fix: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        remote_commit(server[0], ref, NET)
    assert caught.value.fix is not None and caught.value.fix.startswith(fix)
    assert f"git+{server[0]}#{ref}" in caught.value.message


def test_a_name_that_is_a_branch_and_a_tag_is_not_guessed(bare: pygit2.Repository) -> None:
    bare.references.create("refs/heads/v1", commit_of(bare, "main"))
    with pytest.raises(InputError, match="refs/tags/v1 and refs/heads/v1, which differ"):
        remote_commit(bare.path, "v1", NET)
    assert remote_commit(bare.path, "refs/heads/v1", NET) == commit_of(bare, "main")


def test_one_commit_is_fetched_and_no_history(
    bare: pygit2.Repository, server: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs: list[int] = []
    original: Callable[..., None] = pygit2.Repository.checkout_tree

    def spy(repository: pygit2.Repository, *args: object, **rest: object) -> None:
        packs.append(sum(1 for oid in repository if repository[oid].type_str == "commit"))
        original(repository, *args, **rest)

    monkeypatch.setattr(pygit2.Repository, "checkout_tree", spy)
    commit = remote_commit(server[0], "topic/for-next", NET)
    fetch_commit(server[0], "topic/for-next", commit, tmp_path / "out" / "tree", NET)
    assert packs == [1]
    assert files(tmp_path / "out") == [
        f"tree/{name}" for name in (".gitignore", "Kconfig", "Makefile", "kernel/sched/core.c", "new.c")
    ]
    assert (tmp_path / "out/tree/Makefile").read_text() == "VERSION = 7\n"


@pytest.mark.parametrize("ref", ["v1", "refs/tags/v1", "light", "main", "HEAD"])
@pytest.mark.parametrize("by_hash", [True, False])
def test_a_pinned_commit_is_had_after_the_ref_moved_on(
    bare: pygit2.Repository, server: tuple[str, list[str]], tmp_path: Path, ref: str, by_hash: bool
) -> None:
    bare.config["uploadpack.allowReachableSHA1InWant"] = by_hash
    commit = remote_commit(server[0], ref, NET)
    commit_files(bare, {"Makefile": "VERSION = 8\n"})
    fetch_commit(server[0], ref, commit, tmp_path / "tree", NET)
    at_first = ref in ("v1", "refs/tags/v1", "light")
    assert (tmp_path / "tree/Makefile").read_text() == ("VERSION = 6\n" if at_first else "VERSION = 7\n")


@pytest.mark.parametrize("by_hash", [True, False])
def test_a_commit_named_by_its_hash_alone_is_had_from_any_server(
    bare: pygit2.Repository, server: tuple[str, list[str]], tmp_path: Path, by_hash: bool
) -> None:
    bare.config["uploadpack.allowReachableSHA1InWant"] = by_hash
    commit = commit_of(bare, "main~1")
    fetch_commit(server[0], commit, commit, tmp_path / "tree", NET)
    assert (tmp_path / "tree/Makefile").read_text() == "VERSION = 6\n"


def test_a_commit_the_repository_does_not_have_is_refused(
    server: tuple[str, list[str]], bare: pygit2.Repository, tmp_path: Path
) -> None:
    for url in (server[0], bare.path):
        with pytest.raises(InputError, match="the repository has no commit " + "1" * 40):
            fetch_commit(url, "main", "1" * 40, tmp_path / "tree", NET)
    assert files(tmp_path / "tree") == []


def test_a_commit_by_hash_alone_that_nobody_has_is_refused(server: tuple[str, list[str]], tmp_path: Path) -> None:
    with pytest.raises((InputError, HostError), match="1" * 40):
        fetch_commit(server[0], "1" * 40, "1" * 40, tmp_path / "tree", NET)


@pytest.mark.parametrize("kind", ["working tree", "worktree", "bare"])
def test_a_repository_on_this_machine_is_read_where_it_is_and_left_alone(tmp_path: Path, kind: str) -> None:
    repository = make_repository(tmp_path / "repo", bare=kind == "bare")
    first = commit_files(repository)
    commit_files(repository, {"Makefile": "VERSION = 7\n"})
    place = tmp_path / "repo"
    if kind == "worktree":
        place = tmp_path / "other"
        repository.add_worktree("other", str(place))
    before = subprocess.run(["git", "-C", place, "log", "--oneline", "--all"], capture_output=True, check=True).stdout
    index = (tmp_path / "repo/.git/index").read_bytes() if kind != "bare" else b""
    fetch_commit(str(place), "main", first, tmp_path / "tree", OFFLINE)
    assert (tmp_path / "tree/Makefile").read_text() == "VERSION = 6\n"
    assert files(tmp_path / "tree") == [".gitignore", "Kconfig", "Makefile", "kernel/sched/core.c"]
    after = subprocess.run(["git", "-C", place, "log", "--oneline", "--all"], capture_output=True, check=True).stdout
    assert before == after
    if kind != "bare":
        assert index == (tmp_path / "repo/.git/index").read_bytes()
        assert (tmp_path / "repo/Makefile").read_text() == "VERSION = 7\n"


def test_a_submodule_stays_an_empty_folder(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    commit = commit_files(repository, submodule="sub")
    fetch_commit(str(tmp_path / "repo"), "main", commit, tmp_path / "tree", NET)
    assert files(tmp_path / "tree") == [".gitignore", "Kconfig", "Makefile", "kernel/sched/core.c"]


def test_a_folder_or_address_that_is_no_repository_is_named(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    with pytest.raises(InputError, match=r"found nothing at /.+/none,"):
        remote_commit(str(tmp_path / "none"), "main", NET)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        remote_commit(str(tmp_path / "empty"), "main", NET)
    with pytest.raises(InputError, match="found no public repository there"):
        remote_commit(server[0].replace("linux", "none"), "main", NET)


def test_an_empty_repository_has_no_ref(tmp_path: Path) -> None:
    make_repository(tmp_path / "repo", bare=True)
    with pytest.raises(InputError, match="no such ref"):
        remote_commit(str(tmp_path / "repo"), "HEAD", NET)


def test_an_unreachable_server_is_the_environments_fault(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:1/x.git", "https://no-such-host.invalid/x.git"):
        with pytest.raises(HostError, match="no answer from the git server"):
            remote_commit(url, "main", NET)
        with pytest.raises(HostError, match="no answer from the git server"):
            fetch_commit(url, "main", "1" * 40, tmp_path / "tree", NET)


def test_offline_asks_no_server(server: tuple[str, list[str]], bare: pygit2.Repository, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="offline=1"):
        remote_commit(server[0], "main", OFFLINE)
    with pytest.raises(HostError, match="offline=1"):
        fetch_commit(server[0], "main", "1" * 40, tmp_path / "tree", OFFLINE)
    assert server[1] == []
    assert remote_commit(bare.path, "main", OFFLINE) == commit_of(bare, "main")


def test_a_password_is_not_shown() -> None:
    with pytest.raises(HostError) as caught:
        remote_commit("http://me:secret@127.0.0.1:1/x.git", "main", NET)
    assert "secret" not in str(caught.value) and "me:...@127.0.0.1:1" in str(caught.value)


def test_received_bytes_are_told(server: tuple[str, list[str]], tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    commit = remote_commit(server[0], "main", NET)
    fetch_commit(
        server[0], "main", commit, tmp_path / "tree", NET, on_bytes=lambda done, total: told.append((done, total))
    )
    assert told and told[-1][0] > 0 and told[-1][1] is None


def test_what_is_on_this_machine() -> None:
    assert [is_local(url) for url in ("/a", "./a", "~/a", "file:///a", "a/b:c")] == [True] * 5
    assert [is_local(url) for url in ("https://h/a", "http://h/a", "ssh://h/a", "git@h:a/b", "git://h/a")] == [
        False
    ] * 5


def test_a_git_server_that_says_nothing_is_left_at_once(tmp_path: Path) -> None:
    with silent_server() as port:
        url = f"git://127.0.0.1:{port}/linux.git"
        cancel = Cancel()
        with cancelled_soon(cancel):
            remote_commit(url, "main", Net({}, cancel=cancel))
        cancel = Cancel()
        with cancelled_soon(cancel):
            fetch_commit(url, "main", "1" * 40, tmp_path / "tree", Net({}, cancel=cancel))
    assert list((tmp_path / "tree").iterdir()) == []


def test_a_fetch_ends_where_it_is_when_it_is_cancelled(server: tuple[str, list[str]], tmp_path: Path) -> None:
    commit, cancel = remote_commit(server[0], "main", NET), Cancel()
    net = Net({}, cancel=cancel)
    with pytest.raises(Cancelled):
        fetch_commit(server[0], "main", commit, tmp_path / "tree", net, on_bytes=lambda done, total: cancel.set())
    assert list((tmp_path / "tree").iterdir()) == [], "nothing is checked out"
    asked = len(server[1])
    with pytest.raises(Cancelled):
        remote_commit(server[0], "main", net)
    assert len(server[1]) == asked
