"""One invocation: options, plan, doit's run, report. doit decides what is stale and in which order."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktstr.cancel import Cancel
from ktstr.commands.declare.command import Command, Invocation, Planned, Report
from ktstr.commands.declare.registry import builtin_commands
from ktstr.commands.declare.variables import read_options, refuse_unknown, variables_of
from ktstr.config.project import Project
from ktstr.errors import EXIT_ENVIRONMENT, InputError, KtstrError
from ktstr.files import full_or_denied
from ktstr.host.flock import refuse_remote
from ktstr.host.limits import usable
from ktstr.planning.hosts import all_cpus
from ktstr.progress import Progress
from ktstr.results.ledger import ExitRules, Ledger
from ktstr.results.store import CellStore
from ktstr.results.view import epoch
from ktstr.tasks.graph import Graph, creators
from ktstr.tasks.interrupt import Interrupts
from ktstr.tasks.namespace import Namespace, doit_loader
from ktstr.tasks.usage import unknown_task

if TYPE_CHECKING:
    from ktstr.planning.plan import Plan

MOST_WAITING = 512  # threads
_NOT_STARTED = 3  # doit's code for an error before any task ran


@dataclass(frozen=True)
class Asked:
    """What the command line means. ``reached``: its words, and the tasks that the project's own among them need;
    ``commands``: those of these, in the order of the table.

    ``lead`` is the first of them that plans: the plan, its preview and the report are its.
    """

    words: tuple[str, ...]
    reached: tuple[str, ...]
    commands: tuple[Command[Any], ...]
    options: Mapping[str, Any]

    @property
    def lead(self) -> Command[Any] | None:
        return next((command for command in self.commands if command.plan is not None), None)

    @property
    def rules(self) -> ExitRules:
        """Those of the first of them that has some."""
        return next((one.rules(self.options[one.name]) for one in self.commands if one.rules), ExitRules())

    @property
    def judges(self) -> bool:
        """Whether cells are run."""
        return any(command.judges for command in self.commands)


def read_request(
    namespace: Namespace, words: Sequence[str], given: Mapping[str, Sequence[str]], environ: Mapping[str, str]
) -> Asked:
    """Check words and variables, and read every command's options. Raises InputError naming what is wrong."""
    known = namespace.descriptions
    for word in words:
        if word.partition(":")[0] not in known:
            raise unknown_task(word, known)
    reached = namespace.reached(words)
    bases = {word.partition(":")[0] for word in reached}
    commands = tuple(command for name, command in namespace.commands.items() if name in bases)
    _check_alone(commands, words)
    refuse_unknown(given, _variables(commands), " ".join(words), _variables(builtin_commands().values()))
    options = {command.name: read_options(command.options, given, environ) for command in commands}
    return Asked(tuple(words), reached, commands, options)


def _variables(commands: Iterable[Command[Any]]) -> Iterator[str]:
    return (name for command in commands for name in variables_of(command.options))


def _check_alone(commands: Sequence[Command[Any]], words: Sequence[str]) -> None:
    for command in commands:
        if command.alone and tuple(words) != (command.name,):
            raise InputError(f"{command.name}: found other tasks beside it, expected it alone")


def invoke(project: Project, namespace: Namespace, asked: Asked, ledger: Ledger, cancel: Cancel) -> ExitRules:
    """Run it all; what came of it is in the ledger. Gives the rules that its exit code is made by.

    Raises KtstrError for what stops everything before it begins.
    """
    environ = dict(os.environ)
    invocation = Invocation(
        project, environ, asked.reached, Progress(sys.stderr, environ), cancel, ledger, epoch(environ)
    )
    Interrupts(cancel)
    with invocation.held:
        return _invoke(namespace, asked, invocation)


def _invoke(namespace: Namespace, asked: Asked, invocation: Invocation) -> ExitRules:
    planned = _plan(invocation, asked)
    lead = asked.lead
    if planned is not None and lead is not None and lead.preview is not None:
        text = lead.preview(invocation, asked.options[lead.name], planned)
        if text is not None:
            sys.stdout.write(text)
            return replace(asked.rules, bisect=False)
    texts: list[str] = []
    try:
        _run_doit(namespace, asked, Graph(invocation, asked.options, planned, asked.judges, texts.append))
    finally:
        invocation.progress.close()
    try:
        _finish(invocation, asked, planned, texts)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return asked.rules


def _plan(invocation: Invocation, asked: Asked) -> Planned | None:
    lead = asked.lead
    if lead is None or lead.plan is None:
        return None
    refuse_remote(invocation.project.runs_root)
    planned = lead.plan(invocation, asked.options[lead.name])
    if planned is None:
        return None
    known = planned.plan.tasks()
    for word in asked.reached:
        if ":" in word and word.partition(":")[0] in builtin_commands() and word not in known:
            raise _why_missing(word, planned.plan) or unknown_task(word, known)
    return planned


def _why_missing(word: str, plan: Plan) -> KtstrError | None:
    """What is wrong with the scheduler that a task's name begins with: the task would be there without that."""
    family, _, name = word.partition(":")
    broken = plan.broken if family in ("scheduler", "image") else ()
    return next((cell.error for cell in broken if name.startswith(cell.scheduler)), None)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise full_or_denied(err, path, "KTSTR_RUNS_ROOT") from None


def _run_doit(namespace: Namespace, asked: Asked, graph: Graph) -> None:
    from doit.cmd_base import ModuleTaskLoader  # type: ignore[import-untyped]

    from ktstr.tasks.doit_main import Doit
    from ktstr.tasks.reporter import Reporter

    invocation = graph.invocation
    invocation.progress.expect(len(graph.planned.turns) if graph.planned else 0)
    reporter = Reporter(invocation.ledger, invocation.progress)
    _make_folder(invocation.project.state)
    if graph.planned is not None:  # doit cleanup says what it removes
        CellStore(invocation.project.cells).sweep()
    config = {
        "BACKEND": {"ktstr": "ktstr.tasks.statedb:StateDB"},
        "GLOBAL": {
            "backend": "ktstr",
            "dep_file": str(invocation.project.state / "doit.json"),
            "reporter": reporter,
            "continue": True,
            "verbosity": 2,
            "num_process": _jobs(graph.planned),
            "par_type": "thread",
        },
    }
    doit_loader(namespace.stand)
    tasks = {**namespace.tasks, **creators(graph, tuple(namespace.commands.values()))}
    main = Doit(ModuleTaskLoader(tasks), config_filenames=(), extra_config=config)
    code = main.run(["run", *asked.words])
    if code == _NOT_STARTED or reporter.runtime_errors:
        invocation.ledger.note(EXIT_ENVIRONMENT)


def _jobs(planned: Planned | None) -> int:
    """How many threads run tasks; 0 for this one alone. On a cluster each waits for a cell, and one more for each
    worker keeps that from standing still between two."""
    if planned is None or len(planned.turns) < 2:
        return 0
    request = planned.plan.request
    if request.hosts:
        return request.options.running.jobs or min(all_cpus(request.hosts) + len(request.hosts), MOST_WAITING)
    return request.options.running.jobs or usable().cpus


def _finish(invocation: Invocation, asked: Asked, planned: Planned | None, texts: Sequence[str]) -> None:
    """The report, written whatever happened; what goes wrong here is one more failure."""
    lead = asked.lead
    report = Report()
    if planned is not None and lead is not None and lead.finish is not None:
        report = lead.finish(invocation, asked.options[lead.name], planned)
        invocation.ledger.note(report.code)
    for task, error in invocation.ledger.failures.items():
        sys.stderr.write(f"{task}: {error}\n")
    sys.stdout.write("".join((*texts, report.text)))
    sys.stdout.flush()
