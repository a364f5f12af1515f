"""Kernel sources from git, by pygit2 alone: what a ref points to now, and the files of one commit.

A repository on this machine is read where it is, offline too. Of one behind a URL a single
commit is fetched (depth 1); where the server refuses that, the whole history of the ref.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import pygit2
from pygit2.enums import CheckoutStrategy
from pygit2.remotes import TransferProgress

from ktstr.cancel import Cancel
from ktstr.config.suggest import nearest
from ktstr.errors import HostError, InputError, KtstrError
from ktstr.host.abandon import abandonable
from ktstr.host.download import Net
from ktstr.host.scratch import scratch

CONNECT_MS, ANSWER_MS = 30_000, 120_000
MAX_FETCHED = 8 << 30  # bytes: the kernel's whole history is about 6 GB
MAX_REFS = 1_000_000
_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_SHORT = re.compile(r"[0-9a-fA-F]{4,39}")
_REMOTE = re.compile(r"[a-z+]+://(?<!file://)|[^/]+@[^/]+:")
_SERVED = ("https://", "http://", "git://")
_CHECKOUT = CheckoutStrategy.FORCE | CheckoutStrategy.DONT_UPDATE_INDEX | CheckoutStrategy.DISABLE_PATHSPEC_MATCH

OnBytes = Callable[[int, int | None], None]
"""Told bytes done and bytes in all; None when not known."""


def is_local(url: str) -> bool:
    """Whether ``url`` is a path or ``file://``: a repository on this machine."""
    return not _REMOTE.match(url)


def remote_commit(url: str, ref: str, net: Net) -> str:
    """The commit, 40 hex digits, that ``ref`` of the repository at ``url`` points to now.

    A branch, a tag (what it points to in the end), ``HEAD``, a full ``refs/...`` name or 40 hex digits, which are
    the commit itself and ask nobody. Raises InputError for a ref or repository that does not exist, a short
    hash, or a name that is a branch and a tag; HostError when the server cannot be asked, or may not by ``net``.
    """
    if _COMMIT.fullmatch(ref):
        return ref.lower()
    where = f"kernel git+{_shown(url)}#{ref}"
    _may_ask(url, net, where)
    with _translated(url, where), scratch("ktstr-git-") as work:
        repository = _repository(work)
        refs = abandonable(lambda: _refs(repository, _place(url)), net.cancel)
    return _choose(refs, ref, where)


def fetch_commit(url: str, ref: str, commit: str, folder: Path, net: Net, *, on_bytes: OnBytes | None = None) -> None:
    """Write the files of ``commit`` into ``folder``, which is made; no ``.git`` is left in it.

    ``ref`` is fetched where the server does not give out commits by their hash. Submodules stay empty folders.
    Raises InputError when the repository has no such commit; HostError when the server cannot be asked or may not
    by ``net``, or the ref moved away from the commit; Cancelled. The folder is then the caller's to remove.
    """
    where = f"kernel git+{_shown(url)}#{ref}"
    _may_ask(url, net, where)
    folder.mkdir(parents=True, exist_ok=True)
    with _translated(url, where):
        if is_local(url):
            _check_out(pygit2.Repository(_place(url)), commit, folder, where)
            return
        with scratch(f".{folder.name}-git-", folder.parent) as work:
            progress = _Progress(on_bytes, net.cancel)
            repository = abandonable(lambda: _fetch(work, url, ref, commit, progress), net.cancel)
            _check_out(repository, commit, folder, where)


def _may_ask(url: str, net: Net, where: str) -> None:
    net.cancel.check()
    if not is_local(url) and not url.startswith(_SERVED):
        raise InputError(
            f"{where}: found an address that needs a login or is no git server's",
            fix="expected https://, http://, git://, file:// or a path; clone it here to use ssh: kernel=PATH",
        )
    if net.offline and not is_local(url):
        raise HostError(f"offline=1: {where}: its server would be asked", fix="run once without offline=1")


def _spellings(ref: str) -> tuple[str, ...]:
    """The names a ref may have, in the order of gitrevisions(7)."""
    return (ref, f"refs/{ref}", f"refs/tags/{ref}", f"refs/heads/{ref}")


def _choose(refs: dict[str, str], ref: str, where: str) -> str:
    """The commit of ``ref`` among what the server listed; ``NAME^{}`` is what the tag NAME points to."""
    names = [name for name in _spellings(ref) if name in refs]
    commits = {refs.get(name + "^{}", refs[name]) for name in names}
    if len(commits) > 1:
        raise InputError(
            f"{where}: found {' and '.join(names)}, which differ",
            fix=f"write the whole name: #{names[0]} or #{names[-1]}",
        )
    if commits:
        return commits.pop()
    if not refs:
        raise InputError(f"{where}: the repository has no such ref: it is empty", fix="commit something to it first")
    if _SHORT.fullmatch(ref):
        raise InputError(
            f"{where}: found a shortened commit, which no server can look up",
            fix="write all 40 digits, a branch or a tag",
        )
    shown = [name.removeprefix("refs/heads/").removeprefix("refs/tags/") for name in refs if not name.endswith("^{}")]
    near = nearest(ref, shown)
    raise InputError(
        f"{where}: the repository has no such ref" + (f"; nearest is {near}" if near else ""),
        fix="expected a branch, a tag, refs/..., HEAD or a commit of 40 hex digits",
    )


def _refs(repository: pygit2.Repository, url: str) -> dict[str, str]:
    """What the repository at ``url`` lists: names, and ``NAME^{}`` for what an annotated tag points to."""
    remote = repository.remotes.create_anonymous(url)
    heads = remote.list_heads(callbacks=pygit2.RemoteCallbacks(), proxy=True)
    return {head.name: str(head.oid) for head in heads[:MAX_REFS] if head.name}


def _fetch(scratch: Path, url: str, ref: str, commit: str, progress: _Progress) -> pygit2.Repository:
    """A repository with ``commit``, when the server has it."""
    wishes = _wishes(_refs(_repository(scratch / "0"), url), ref, commit)
    for number, wish in enumerate(wishes, 1):
        progress.cancel.check()
        repository = _repository(scratch / str(number))  # a shallow one is not deepened: its tip would count as had
        try:
            remote = repository.remotes.create_anonymous(url)
            remote.fetch([wish.refspec], callbacks=progress, proxy=True, depth=wish.depth)
        except pygit2.GitError as err:
            if number == len(wishes) or _is_network(str(err)):
                raise
        if commit in repository:
            break
    return repository


@dataclass(frozen=True)
class _Wish:
    """What to ask a server for; ``depth`` 0 is with all history."""

    refspec: str
    depth: int


def _wishes(refs: dict[str, str], ref: str, commit: str) -> list[_Wish]:
    """What to ask for, one after the other, until one has the commit.

    Alone, as what the ref points to now, else by its hash, which not every server gives out (and libgit2 then
    refuses by itself). At last with all history: of the ref, which has moved on, or of every branch.
    """
    names = [name for name in _spellings(ref) if name in refs]
    tips = [name for name in names if refs.get(name + "^{}", refs[name]) == commit]
    if tips:
        return [_Wish(f"+{tips[0]}:refs/ktstr/0", 1)]
    wide = [f"+{name}:refs/ktstr/0" for name in names] or ["+refs/heads/*:refs/ktstr/*"]
    return [_Wish(f"+{commit}:refs/ktstr/0", 1), *(_Wish(refspec, 0) for refspec in wide)]


class _Progress(pygit2.RemoteCallbacks):
    """Reports received bytes, and ends a fetch that has no end or is not wanted any more."""

    def __init__(self, on_bytes: OnBytes | None, cancel: Cancel) -> None:
        super().__init__()
        self._on_bytes, self.cancel = on_bytes, cancel

    def transfer_progress(self, stats: TransferProgress) -> None:
        self.cancel.check()
        if stats.received_bytes > MAX_FETCHED:
            raise HostError(
                f"the git server sent more than {MAX_FETCHED} bytes, expected the history of a kernel",
                fix="use a tarball, or a local clone: kernel=PATH",
            )
        if self._on_bytes is not None:
            self._on_bytes(stats.received_bytes, None)


def _check_out(repository: pygit2.Repository, commit: str, folder: Path, where: str) -> None:
    """Write the files of ``commit``, as they are in git: no line ends or filters of the user's configuration."""
    if commit not in repository:
        raise InputError(
            f"{where}: the repository has no commit {commit}",
            fix=f"if its history was rewritten: lock_update={where.removeprefix('kernel ')}; else name another commit",
        )
    found = repository[commit]
    if not isinstance(found, pygit2.Commit):
        raise InputError(f"{where}: found a {found.type_str} in {commit}, expected a commit")
    repository.checkout_tree(found.tree, directory=str(folder), strategy=_CHECKOUT)


def _repository(folder: Path) -> pygit2.Repository:
    """An empty bare repository; servers that hang are left after a while."""
    pygit2.settings.server_connect_timeout = CONNECT_MS
    pygit2.settings.server_timeout = ANSWER_MS
    repository = pygit2.init_repository(str(folder), bare=True)
    repository.config["core.autocrlf"] = "false"
    return repository


def _place(url: str) -> str:
    """``url`` as libgit2 takes it: an absolute path for a repository on this machine."""
    if not is_local(url):
        return url
    path = unquote(urlsplit(url).path) if url.startswith("file://") else os.path.expanduser(url)  # noqa: PTH111
    if not Path(path).exists():
        raise InputError(f"kernel git+{url}: found nothing at {path}, expected a git repository")
    return str(Path(path).absolute())


def _shown(url: str) -> str:
    """``url`` without the password that it may hold."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:...@{host}"))


def _is_network(words: str) -> bool:
    return re.search(r"resolve address|connect|timed out|timeout|SSL|certificate|proxy|reset", words) is not None


_KINDS: tuple[tuple[str, type[KtstrError], str, str], ...] = (
    (r"(?i)No space left|disk quota", HostError, "the disk is full", "free some space, or set KTSTR_CACHE_DIR"),
    (r"not owned by", HostError, "git trusts it only when told to", "git config --global --add safe.directory {place}"),
    (r"certificate|SSL", HostError, "the server's certificate", "apt-get install ca-certificates"),
    (r"status code: 40[0134]|authentication", InputError, "found no public repository there", "check the address"),
    (r"(?i)could not find repository|repository not found", InputError, "found no repository there", "check the path"),
    (r"specific object", HostError, "the server gives out no single commits", "name the branch that has it: #BRANCH"),
)


@contextmanager
def _translated(url: str, where: str) -> Iterator[None]:
    """Turn libgit2's errors into ours."""
    try:
        yield
    except pygit2.GitError as err:
        words = str(err).replace(url, _shown(url))
        for pattern, kind, what, fix in _KINDS:
            if re.search(pattern, words):
                raise kind(f"{where}: {what}: {words}", fix=fix.format(place=url)) from None
        if _is_network(words):
            fix = "check the address and this machine's network"
            raise HostError(f"{where}: no answer from the git server: {words}", fix=fix) from None
        raise HostError(f"{where}: git failed: {words}", fix="try again, or use a local clone: kernel=PATH") from None
    except (KeyError, ValueError) as err:  # pygit2's for objects that are missing or names that cannot be
        raise HostError(f"{where}: git failed: {err}", fix="check the repository: git fsck") from None
