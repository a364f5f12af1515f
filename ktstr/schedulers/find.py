"""Where the program of a declared scheduler comes from, by kind.

A kind is a dataclass in ``config.model`` with its key in ``config.fields`` and ``config.load``, a module here that
makes its artifact, and one case in each function below; the type checker names what is missing.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, assert_never

from ktstr.config.model import Binary, Builtin, Crate, SchedulerDecl, Source
from ktstr.schedulers.artifact import Artifact, Build
from ktstr.schedulers.binary import binary_artifact
from ktstr.schedulers.crate import crate_artifact
from ktstr.schedulers.source import source_artifact

ResolveSource: TypeAlias = Literal["path", "auto_built", "not_found"]


def find_scheduler(scheduler: SchedulerDecl, build: Build) -> Artifact | None:
    """The program that ``scheduler`` runs on the kernel of ``build``; None for one of the kernel's own.

    Builds nothing. Raises KtstrError, InputError or HostError, for whatever is wrong with this scheduler: an error of
    the cells that it is in, and of no others.
    """
    kind = scheduler.kind
    match kind:
        case Builtin():
            return None
        case Binary(path):
            return binary_artifact(scheduler.name, path, scheduler.where or scheduler.name, build.environ)
        case Source(folder):
            return source_artifact(folder, build)
        case Crate():
            return crate_artifact(kind, scheduler.where or scheduler.name, build)
        case _:
            assert_never(kind)


def depends_on_kernel(scheduler: SchedulerDecl) -> bool:
    """Whether ``find_scheduler`` gives another artifact for another kernel; if not, once is enough for all."""
    kind = scheduler.kind
    match kind:
        case Builtin() | Binary() | Crate():
            return False
        case Source():
            return True
        case _:
            assert_never(kind)


def resolve_source(scheduler: SchedulerDecl) -> ResolveSource:
    """The sidecar's word for how the program was found; ``not_found`` is that of a kernel's own scheduler."""
    kind = scheduler.kind
    match kind:
        case Builtin():
            return "not_found"
        case Binary():
            return "path"
        case Source() | Crate():
            return "auto_built"
        case _:
            assert_never(kind)
