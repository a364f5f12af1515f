"""Sources of a kernel: what a spec means now, before anything of it is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ktstr.kernels.patch import Patch
from ktstr.kernels.spec import Spec
from ktstr.pins.lock import AnyPin


@dataclass(frozen=True)
class TreeState:
    """What a local tree is at this moment.

    ``commit`` is HEAD, 40 hex digits, None outside git. A tree that is not git is ``dirty``.
    ``identity`` is a SHA-256 over all that can change the build but ``config``; of a clean tree it
    depends on the commit alone, so a second clone has the same. ``config`` is the text of the
    tree's own ``.config``; ``in_place``: objects of an earlier build are in the tree, so that the
    kernel's Makefile refuses ``O=``.
    """

    path: Path
    commit: str | None
    dirty: bool
    identity: str
    config: str | None
    in_place: bool


@dataclass(frozen=True)
class Origin:
    """Sources that a spec was resolved to.

    ``stem`` begins the cache key: ``6.14.2-tarball``, ``REF-git-HASH7``, ``6.12.95-1-debsrc``,
    ``local-HASH7``. ``version`` is None for git and trees. ``identity`` is a SHA-256, the same
    wherever the same sources come from. ``pin`` belongs in the lock, None for a tree. ``base``: the sources as they are
    fetched, where ``patches`` are applied to them.
    """

    spec: Spec
    stem: str
    version: str | None
    identity: str
    pin: AnyPin | None = None
    tree: TreeState | None = None
    patches: tuple[Patch, ...] = ()
    base: Origin | None = None
