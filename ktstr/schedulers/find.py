"""Where the program of a declared scheduler comes from, by kind.

A kind is a dataclass in ``config.model`` with its key in ``config.fields`` and ``config.schedulerdecl``, a module here
that makes its artifact, and one case in each function below; the type checker names what is missing.
"""

from __future__ import annotations

from typing import assert_never

from ktstr.config.model import Binary, Builtin, Command, Crate, Discover, SchedulerDecl, Source, Tree
from ktstr.schedulers.artifact import Artifact, Build


def find_scheduler(scheduler: SchedulerDecl, build: Build) -> Artifact | None:
    """The program that ``scheduler`` runs on the kernel of ``build``; None for one of the kernel's own.

    Builds nothing. Raises KtstrError, InputError or HostError, for whatever is wrong with this scheduler: an error of
    the cells that it is in, and of no others.
    """
    # What each kind takes is imported where one is met: most plans have one kind, and many have nothing to build.
    kind, name, where = scheduler.kind, scheduler.name, scheduler.where or scheduler.name
    match kind:
        case Builtin():
            return None
        case Binary(path):
            from ktstr.schedulers.binary import binary_artifact

            return binary_artifact(name, path, where, build.environ)
        case Source(folder):
            from ktstr.schedulers.source import source_artifact

            return source_artifact(folder, build)
        case Crate():
            from ktstr.schedulers.crate import crate_artifact

            return crate_artifact(kind, where, build)
        case Tree():
            from ktstr.schedulers.tree import tree_artifact

            return tree_artifact(kind, where, build)
        case Command():
            from ktstr.schedulers.command import command_artifact

            return command_artifact(name, kind, where, build)
        case Discover():
            from ktstr.schedulers.discover import discover_artifact

            return discover_artifact(name, kind, where, build)
        case _:
            assert_never(kind)


def depends_on_kernel(scheduler: SchedulerDecl) -> bool:
    """Whether ``find_scheduler`` gives another artifact for another kernel; if not, once is enough for all."""
    kind = scheduler.kind
    match kind:
        case Builtin() | Binary() | Crate() | Command() | Discover():
            return False
        case Source() | Tree():
            return True
        case _:
            assert_never(kind)
