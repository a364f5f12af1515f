"""What ``doit verifier`` runs: each scheduler that is declared on each kernel and topology, just long enough to run
its first tasks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ktstr.config.model import Builtin, Config, Matrix, TestDecl
from ktstr.config.patterns import match
from ktstr.config.scenario import Cgroup, Work
from ktstr.config.select import DEFAULT_PRESET
from ktstr.errors import InputError
from ktstr.kernels.spec import ImageSpec
from ktstr.planning.plan import Plan

TEST = "verifier"
_DURATION_NS = 100_000_000
_WORKERS = 2


def swept(config: Config, *, everywhere: bool = False) -> Config:
    """The declarations with a sweep in place of tests and matrices: every scheduler but the kernel's own, on every
    kernel that is declared, on the topologies of its matrices, else on its own preset, else on tiny-1llc.
    ``everywhere``: on every topology, for who has named those that are meant."""
    work = Cgroup("first", (Work(workers=_WORKERS),))
    test = TestDecl(TEST, (work,), "each scheduler attaches and runs its first tasks", duration_ns=_DURATION_NS)
    loaded = {name: decl for name, decl in config.schedulers.items() if not isinstance(decl.kind, Builtin)}
    matrices = tuple(
        Matrix(
            f"{TEST}-{name}",
            (TEST,),
            tuple(config.presets if everywhere else _presets(config, name)),
            tuple(config.kernels),
            (name,),
        )
        for name in loaded
    )
    quiet = {name: replace(decl, expect=None, checks={}) for name, decl in loaded.items()}
    return replace(config, tests={TEST: test}, schedulers={**config.schedulers, **quiet}, matrices=matrices)


def _presets(config: Config, scheduler: str) -> Iterable[str]:
    """The topologies that a scheduler is tested on."""
    found = {
        preset: None
        for matrix in config.matrices
        if any(scheduler in match(pattern, config.schedulers) for pattern in matrix.schedulers)
        for pattern in matrix.presets
        for preset in match(pattern, config.presets)
    }
    return found or (config.schedulers[scheduler].preset or DEFAULT_PRESET,)


def check_schedulers(config: Config, patterns: Iterable[str]) -> None:
    """Raise InputError for a scheduler that is asked for and is the kernel's own: it has no programs."""
    for pattern in patterns:
        meant = match(pattern, config.schedulers)
        if meant and all(isinstance(config.schedulers[name].kind, Builtin) for name in meant):
            raise InputError(
                f"scheduler={pattern}: {meant[0]} is the kernel's own, and has no BPF programs to verify",
                fix="name one that is loaded",
            )


def check_kernels(plan: Plan) -> None:
    """Raise InputError for a kernel that is a bare image: nothing says what its programs were checked against."""
    for cell in plan.cells:
        if isinstance(cell.point.kernel.spec, ImageSpec):
            raise InputError(
                f"kernel={cell.point.kernel.label}: is a raw image, expected a kernel with its types and symbols",
                fix="name a package, a version, a git URL or a tree",
            )
