"""``doit kernel_build``: fetch and build one kernel, or a range of releases."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ktstr.commands.declare.command import Command, Invocation, Planned, Report
from ktstr.commands.declare.plans import plan_kernels
from ktstr.errors import InputError
from ktstr.options import FLAG, LIST, PATH, Building, Fetching, GraphOptions, Kind, variable, word

_WAYS = ("version", "source", "git", "kernel")  # of naming the kernel, one at a time


def _others(name: str) -> tuple[str, ...]:
    return tuple(way for way in _WAYS if way != name)


@dataclass(frozen=True)
class Options:
    """Which kernel, and how it is built."""

    version: str | None = variable(
        Kind[str]("version", word),
        "the release to build: 6.14.2, 6.14, 6.15-rc3, a range; default: stable",
        None,
        rivals=_others("version"),
    )
    source: str | None = variable(PATH, "the kernel tree to build", None, rivals=_others("source"))
    git: str | None = variable(
        Kind[str]("url", word), "the repository to build from, with ref=", None, rivals=_others("git")
    )
    ref: str | None = variable(
        Kind[str]("ref", word), "its branch, tag or commit", None, rivals=("version", "source", "kernel")
    )
    kernel: tuple[str, ...] = variable(
        LIST,
        "kernels: declared names, versions, ranges, paths, git+URL#REF, deb:..., debsrc:...",
        (),
        rivals=_others("kernel"),
    )
    building: Building = Building()
    force: bool = variable(FLAG, "build again, even when it is in the cache", False)
    clean: bool = variable(FLAG, "throw the objects of earlier builds away first", False)
    fetching: Fetching = Fetching()
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


def kernel_words(options: Options, stand: Path) -> tuple[str, ...]:
    """The kernels that are named. Raises InputError for two ways of naming them at once."""
    ways = {"version": options.version, "source": options.source, "git": options.git}
    given = [f"{name}={value}" for name, value in ways.items() if value is not None]
    given += [f"kernel={','.join(options.kernel)}"] if options.kernel else []
    if len(given) > 1:
        raise InputError(f"kernel_build: found {' and '.join(given)}, expected one of them")
    if (options.git is None) != (options.ref is None):
        raise InputError("kernel_build: expected git= and ref= together", fix="doit kernel_build git=URL ref=BRANCH")
    if options.source is not None:
        return (str(stand / Path(options.source).expanduser()),)
    if options.git is not None:
        return (f"git+{options.git}#{options.ref}",)
    return options.kernel or (options.version or "stable",)


def _plan(invocation: Invocation, options: Options) -> Planned:
    from ktstr.planning.request import Rebuild

    words = kernel_words(options, invocation.project.stand)
    graph = GraphOptions(building=options.building, fetching=options.fetching)
    return plan_kernels(invocation, graph, Rebuild(options.force, options.clean), words)


def _finish(invocation: Invocation, options: Options, planned: Planned) -> Report:
    """Key and place of each kernel asked for; those that could not be built are counted at the end."""
    steps = planned.plan.steps["kernel"]
    done = [step for step in steps if step.task not in invocation.ledger.failures and step.target.is_file()]
    failed = [step.name for step in steps if step not in done]
    if options.json:
        rows = [{"key": step.target.parent.name, "path": str(step.target.parent)} for step in done]
        return Report(json.dumps({"built": rows, "failed": failed}, indent=2) + "\n")
    lines = [f"{step.target.parent.name}  {step.target.parent}" for step in done]
    if failed and len(steps) > 1:
        lines.append(f"{len(failed)}/{len(steps)} version(s) failed: {', '.join(failed)}")
    return Report("".join(f"{line}\n" for line in lines))


COMMAND = Command(
    "kernel_build",
    "Kernels",
    "fetch and build one kernel, or a range of releases",
    Options,
    plan=_plan,
    finish=_finish,
    needs=lambda planned: (step.task for step in planned.plan.steps["kernel"]),
    alone=True,
)
