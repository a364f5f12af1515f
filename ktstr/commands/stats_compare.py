"""``doit stats_compare``: two sides of the pool of results, paired and judged metric by metric."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.commands.declare.notes import warn
from ktstr.errors import EXIT_OK, EXIT_VERDICT, InputError
from ktstr.options import FLAG, LIST, PATH, PERCENT, TEXT, variable

if TYPE_CHECKING:
    from ktstr.stats.compare.filters import Filters
    from ktstr.stats.compare.policy import Policy

Values = tuple[str, ...]


@dataclass(frozen=True)
class Both:
    """What both sides have in common, which is what pairs them.

    Filters have no environment: what it says of the next run (KTSTR_KERNEL) is not which results to look at.
    """

    kernel: Values = variable(LIST, "kernel versions; 6.14 is its whole series", (), environment=False)
    scheduler: Values = variable(LIST, "schedulers, by their names", (), environment=False)
    topology: Values = variable(LIST, "topologies, such as 1n2l4c1t", (), environment=False)
    work_type: Values = variable(LIST, "kinds of work, such as SpinWait", (), environment=False)
    project_commit: Values = variable(
        LIST, "the project's commits: hex digits, or HEAD~1, a tag, a branch, A..B", (), environment=False
    )
    kernel_commit: Values = variable(
        LIST, "the kernel's commits, likewise in the tree KTSTR_KERNEL", (), environment=False
    )
    run_source: Values = variable(LIST, "where it ran: local, ci or archive", (), environment=False)
    resolve_source: Values = variable(LIST, "how the scheduler's binary was found", (), environment=False)
    cpu_budget: Values = variable(LIST, "host CPUs that the guest could use at once", (), environment=False)


@dataclass(frozen=True)
class A:
    """What side A has of its own."""

    a_kernel: Values = variable(LIST, "kernel= of side A, in its place", (), environment=False)
    a_scheduler: Values = variable(LIST, "scheduler= of side A, in its place", (), environment=False)
    a_topology: Values = variable(LIST, "topology= of side A, in its place", (), environment=False)
    a_work_type: Values = variable(LIST, "work_type= of side A, in its place", (), environment=False)
    a_project_commit: Values = variable(LIST, "project_commit= of side A, in its place", (), environment=False)
    a_kernel_commit: Values = variable(LIST, "kernel_commit= of side A, in its place", (), environment=False)
    a_run_source: Values = variable(LIST, "run_source= of side A, in its place", (), environment=False)
    a_resolve_source: Values = variable(LIST, "resolve_source= of side A, in its place", (), environment=False)
    a_cpu_budget: Values = variable(LIST, "cpu_budget= of side A, in its place", (), environment=False)


@dataclass(frozen=True)
class B:
    """What side B has of its own."""

    b_kernel: Values = variable(LIST, "kernel= of side B, in its place", (), environment=False)
    b_scheduler: Values = variable(LIST, "scheduler= of side B, in its place", (), environment=False)
    b_topology: Values = variable(LIST, "topology= of side B, in its place", (), environment=False)
    b_work_type: Values = variable(LIST, "work_type= of side B, in its place", (), environment=False)
    b_project_commit: Values = variable(LIST, "project_commit= of side B, in its place", (), environment=False)
    b_kernel_commit: Values = variable(LIST, "kernel_commit= of side B, in its place", (), environment=False)
    b_run_source: Values = variable(LIST, "run_source= of side B, in its place", (), environment=False)
    b_resolve_source: Values = variable(LIST, "resolve_source= of side B, in its place", (), environment=False)
    b_cpu_budget: Values = variable(LIST, "cpu_budget= of side B, in its place", (), environment=False)


@dataclass(frozen=True)
class Options:
    """Which results are compared, and how."""

    both: Both = Both()
    a: A = A()
    b: B = B()
    filter: str | None = variable(
        TEXT, "only where 'test topology scheduler work_type' contains it", None, environment=False
    )
    no_average: bool = variable(FLAG, "refuse several runs of one key, rather than average them", False)
    threshold: float | None = variable(
        PERCENT, "smallest relative change that counts, for every metric", None, rivals=("policy",)
    )
    policy: str | None = variable(PATH, "a JSON file of such limits by metric", None, rivals=("threshold",))
    dir: str | None = variable(PATH, "a folder of run directories, as an archive; default: the project's own", None)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


def run(invocation: Invocation, options: Options) -> Report:
    """Compare, and exit 1 when something got worse."""
    from ktstr.stats.needs import need_reports

    need_reports()
    from ktstr.stats.compare import document, engine, sides, text
    from ktstr.stats.pool import load_pool, skipped_note

    policy = _policy(options, invocation.project.stand)
    shared = filters_of(invocation, options.both, "")
    a, b = (filters_of(invocation, own, prefix).over(shared) for own, prefix in ((options.a, "a_"), (options.b, "b_")))
    warn([sides.contrast(a, b).warning])
    folder = invocation.project.runs(options.dir)
    pool = load_pool(folder, archive=options.dir is not None)
    warn([skipped_note(pool, folder)])
    chosen = engine.Options(options.filter, not options.no_average, policy, str(folder))
    found = engine.compare(pool, a, b, chosen)
    warn(found.warnings)
    code = EXIT_VERDICT if found.regressions else EXIT_OK
    return Report(document.to_json(found) if options.json else text.render(found, colour=_colour(invocation)), code)


def _policy(options: Options, stand: Path) -> Policy:
    from ktstr.stats.compare.policy import REGISTRY, given_policy

    if options.threshold is not None and options.policy is not None:
        raise InputError("threshold= and policy=: found both, expected at most one of them", fix="put it in the policy")
    return given_policy(options.threshold, options.policy, stand) or REGISTRY


def filters_of(invocation: Invocation, own: Both | A | B, prefix: str) -> Filters:
    """The filters of one group of variables, with commits as they are recorded."""
    from ktstr.stats.compare.dims import DIMENSIONS
    from ktstr.stats.compare.filters import Filters
    from ktstr.stats.compare.revisions import Revisions

    values: dict[str, Values] = {dim.name: getattr(own, prefix + dim.name) for dim in DIMENSIONS}
    repositories = (
        ("project_commit", invocation.project.root, 7),
        ("kernel_commit", _kernel_tree(invocation.environ, invocation.project.stand), 12),
    )
    for name, folder, digits in repositories:
        resolved = Revisions(prefix + name, folder, digits).resolve(values[name])
        warn(f"warning: {line}" for line in resolved.warnings)
        values[name] = resolved.values
    return Filters(**values)


def _kernel_tree(environ: Mapping[str, str], stand: Path) -> Path | None:
    """The kernel's sources, where KTSTR_KERNEL names a folder."""
    named = environ.get("KTSTR_KERNEL", "").strip()
    folder = stand / Path(named).expanduser() if named else None
    return folder if folder is not None and folder.is_dir() else None


def _colour(invocation: Invocation) -> bool:
    environ = invocation.environ
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


COMMAND = Command("stats_compare", "Results", "two sets of results, paired and judged by metric", Options, run)
