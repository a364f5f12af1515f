"""What a plan is made from: where the user stands, what was asked for, and who is told how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ktstr.cancel import Cancel
from ktstr.config.model import CellKey, Config
from ktstr.config.project import Project
from ktstr.host.tokens import TokenPool
from ktstr.options import GraphOptions, Shard
from ktstr.planning.hosts import RunHost
from ktstr.progress import Progress


@dataclass(frozen=True)
class Narrowing:
    """Which of the selected cells are wanted: the failed ones, one slice, those named, what fits into ``budget_s``
    seconds; all without any of these.

    ``keys``: these, whatever is selected and whatever the matrices have.
    """

    failed: bool = False
    shard: Shard | None = None
    cells: tuple[str, ...] = ()
    keys: tuple[CellKey, ...] | None = None
    budget_s: float | None = None


@dataclass(frozen=True)
class Rebuild:
    """``force``: build a kernel again though it is in the cache; ``clean``: without objects of earlier builds."""

    force: bool = False
    clean: bool = False


def _as_declared(config: Config) -> Config:
    return config


@dataclass(frozen=True)
class Request:
    """One plan's inputs. ``tokens`` are the host CPUs and memory that builds and cells share.

    ``vmm``: plan the VMM, whatever is to run the guests. ``side``: which of two commits that are compared this one is;
    names and run directories begin with it, so that they are nobody else's. ``declared``: what is planned in place of
    what ktstr.yaml declares. ``hosts``: the workers of a cluster that cells run on; none where they run on this host.
    """

    project: Project
    environ: Mapping[str, str]
    options: GraphOptions
    progress: Progress
    tokens: TokenPool
    cancel: Cancel = field(default_factory=Cancel)
    narrowing: Narrowing = Narrowing()
    rebuild: Rebuild = Rebuild()
    vmm: bool = False
    side: str | None = None
    declared: Callable[[Config], Config] = _as_declared
    hosts: tuple[RunHost, ...] = ()
