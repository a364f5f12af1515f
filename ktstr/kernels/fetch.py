"""An origin's source tree in the cache: ``sources/KEY/tree``, complete or absent.

``source.json`` stands beside the tree, is written last and says whose tree it is: it is the
graph's target. A local tree is used where it is.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

from ktstr.errors import HostError, InputError
from ktstr.files import file_sha256, read_json
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.host.download import Missing, download
from ktstr.kernels.cache import key_part
from ktstr.kernels.debsrc import fetch_source
from ktstr.kernels.git import fetch_commit
from ktstr.kernels.kernel_org import KernelOrg
from ktstr.kernels.origin import Origin
from ktstr.kernels.spec import GitSpec
from ktstr.kernels.tarball import OnBytes, extract
from ktstr.kernels.tree import check_tree
from ktstr.kernels.version import parse_version
from ktstr.pins.lock import GitPin, Pin, TarballPin

KIND = "sources"
DOWNLOADS = "downloads"
MARKER = "source.json"
VERSION = 1
TREE = "tree"
MAX_TARBALL = 1 << 30  # bytes; linux-6.12.tar.gz is 0.25 GB
MAX_MARKER = 1 << 16
STEM_MAX = 120
FETCH_S = 3600.0  # what the other process may need to fetch it

OnProgress = Callable[[str, int, int | None], None]
"""Told the step (``download`` or ``extract``), bytes done, and bytes in all; None when not known."""


def source_key(origin: Origin) -> str:
    """The tree's name in the cache."""
    stem = key_part(origin.stem)[:STEM_MAX].lstrip(".+=~-") or "source"
    return f"{stem}-{origin.identity[:12]}"


def source_marker(origin: Origin, cache: Cache) -> Path:
    """Where ``source.json``, the graph's target, is or will be. Only for origins that are fetched."""
    return cache.entry(KIND, source_key(origin)) / MARKER


def fetched(origin: Origin, cache: Cache) -> Path | None:
    """The origin's tree when it is at hand and whole; None before it is fetched."""
    if origin.tree is not None:
        return origin.tree.path
    marker = source_marker(origin, cache)
    tree = marker.with_name(TREE)
    try:
        facts = read_json(marker, MAX_MARKER)
    except InputError:
        return None
    whole = (facts.get("version"), facts.get("identity")) == (VERSION, origin.identity)
    return tree if whole and (tree / "Makefile").is_file() else None


def fetch(origin: Origin, cache: Cache, apt: Apt, site: KernelOrg, *, on_progress: OnProgress | None = None) -> Path:
    """The folder of the origin's tree, fetched when it is not there.

    Of two processes that ask at once one fetches. Raises InputError or HostError when it cannot be had, is no
    kernel tree, or the disk is full; the cache is then as before.
    """
    if (tree := fetched(origin, cache)) is not None:
        return tree
    key = source_key(origin)
    with cache.writing(KIND, key, timeout_s=FETCH_S):
        if fetched(origin, cache) is None:
            with cache.storing(KIND, key) as folder:
                _fill(origin, folder / TREE, cache, apt, site, on_progress)
                check_tree(folder / TREE, str(origin.spec))
                _write_marker(origin, folder / MARKER)
    tree = fetched(origin, cache)
    if tree is None:
        raise HostError(f"{cache.entry(KIND, key)}: damaged right after it was fetched", fix="check the disk")
    return tree


def _fill(origin: Origin, tree: Path, cache: Cache, apt: Apt, site: KernelOrg, on_progress: OnProgress | None) -> None:
    """Make ``tree``, and leave nothing else in its folder."""
    pin, spec = origin.pin, origin.spec
    if isinstance(pin, GitPin):
        assert isinstance(spec, GitSpec), "only git specs are pinned to a commit"
        received = _step(on_progress, "download")
        fetch_commit(spec.url, spec.ref, pin.commit, tree, site.net, on_bytes=received)
    elif isinstance(pin, TarballPin):
        _tarball(pin, tree, cache, site, on_progress)
    elif isinstance(pin, Pin):
        fetch_source(pin, apt, tree, name=str(spec), on_bytes=_step(on_progress, "extract"))
    else:
        raise AssertionError(f"{spec}: sources that are fetched are pinned to one version")


def download_path(url: str, cache: Cache) -> Path:
    """Where a tarball is while it is fetched: a transfer that broke off goes on there another time."""
    name = key_part(url.rpartition("/")[2])[:STEM_MAX].lstrip(".+=~-") or "archive"
    return cache.entry(DOWNLOADS, name)


def _tarball(pin: TarballPin, tree: Path, cache: Cache, site: KernelOrg, on_progress: OnProgress | None) -> None:
    archive = download_path(pin.url, cache)
    with cache.writing(DOWNLOADS, archive.name, timeout_s=FETCH_S):
        _download(pin, archive, site, on_progress)
        extract(archive, tree, on_bytes=_step(on_progress, "extract"), cancel=cache.cancel)
        archive.unlink()


def _download(pin: TarballPin, archive: Path, site: KernelOrg, on_progress: OnProgress | None) -> None:
    if not archive.is_file() or file_sha256(archive) != pin.sha256:
        try:
            on_bytes = _step(on_progress, "download")
            download(pin.url, archive, pin.sha256, site.net, limit_bytes=MAX_TARBALL, on_bytes=on_bytes)
        except Missing:
            version = parse_version(pin.version)
            raise site.not_found(version) if version else AssertionError(pin) from None


def _step(on_progress: OnProgress | None, name: str) -> OnBytes | None:
    return None if on_progress is None else functools.partial(on_progress, name)


def _write_marker(origin: Origin, path: Path) -> None:
    facts = {"version": VERSION, "identity": origin.identity, "spec": str(origin.spec), "stem": origin.stem}
    path.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
