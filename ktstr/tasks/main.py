"""The front end: variables, planning, doit's run, the summary and the exit code.

``./doit`` runs this module; plain ``doit`` reaches it through ``plain``. doit decides what
is stale and in which order; a cell never fails as a task, so the exit code is made here
from what the cells and the other tasks left in the session.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ktstr import __version__
from ktstr.cells.tokens import TokenPool
from ktstr.commands.bisect import ABORT, bisecting
from ktstr.commands.bisect import exit_code as bisect_code
from ktstr.commands.variables import Value, read_variables
from ktstr.config.project import Project, current_dir, find_project
from ktstr.errors import EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_OK, EXIT_VERDICT, InputError, KtstrError
from ktstr.files import full_or_denied
from ktstr.progress import Progress
from ktstr.tasks import session as sessions
from ktstr.tasks.session import Session
from ktstr.tasks.table import DOIT_COMMANDS, TASKS
from ktstr.tasks.usage import listing, task_help, unknown_task, usage

PRECEDENCE = (EXIT_INPUT, EXIT_ENVIRONMENT, EXIT_VERDICT, EXIT_OK)
_ONE_PRESS_S = 0.5


def running() -> bool:
    """Whether the front end is already in charge of this process."""
    return sessions.current.get() is not None


def split_arguments(argv: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Words and ``name=value`` variables. Raises InputError for an option: ktstr takes none."""
    words: list[str] = []
    given: dict[str, list[str]] = {}
    for arg in argv:
        name, equals, value = arg.partition("=")
        if arg.startswith("-"):
            raise InputError(f"{arg}: found an option, expected name=value", fix="doit help TASK")
        if equals and not name.startswith(("cell:", "kernel:", "source:")):
            given.setdefault(name, []).append(value)
        else:
            words.append(arg)
    return words, given


def load_namespace(project: Project) -> dict[str, Any]:
    """The task creators of the project's own ``dodo.py``. Raises InputError when it cannot be read."""
    from doit.loader import get_module  # type: ignore[import-untyped]

    try:
        return dict(vars(get_module(str(project.dodo))))
    except Exception as err:
        if os.environ.get("KTSTR_DEBUG"):
            raise
        raise InputError(f"{project.dodo}: {type(err).__name__}: {err}", fix="correct that file") from None


def own_tasks(namespace: dict[str, Any]) -> dict[str, str]:
    """Name and first docstring line of every task creator."""
    found = {}
    for name, value in namespace.items():
        if name.startswith("task_") and callable(value):
            found[name[5:]] = (value.__doc__ or "").strip().split("\n")[0]
    return found


def _check_words(words: Sequence[str], known: dict[str, str]) -> None:
    for word in words:
        if word.split(":")[0] not in known:
            raise unknown_task(word, known)


def _allowed(words: Sequence[str]) -> tuple[str, ...]:
    names = [name for word in words if (info := TASKS.get(word.split(":")[0])) for name in info.variables]
    return tuple(dict.fromkeys(names))


def _plans(words: Sequence[str]) -> bool:
    return any((info := TASKS.get(word.split(":")[0])) is not None and info.plans for word in words)


def _on_signal(session: Session) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if session.signal and now - session.signalled > _ONE_PRESS_S:
            os._exit(128 + number)  # asked twice: leave now; children die with us
        if session.signal:
            return  # timeout(1) and job runners send it to us and to our group
        session.signal, session.signalled = number, now
        session.cancel.set()
        os.write(2, b"\ninterrupted: ending what runs\n")  # sys.stderr may be in the middle of a write
        _end_children()

    return handle


def _end_children() -> None:
    """Ask fetchers and compilers we started to end; machines end by the session's cancel."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.terminate()
        except psutil.Error:
            continue


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise full_or_denied(err, path, "KTSTR_RUNS_ROOT") from None


def _run_doit(session: Session, namespace: dict[str, Any]) -> None:
    from doit.cmd_base import ModuleTaskLoader  # type: ignore[import-untyped]
    from doit.doit_cmd import DoitMain  # type: ignore[import-untyped]

    from ktstr.results.store import CellStore
    from ktstr.tasks.reporter import Reporter

    cells = len(session.plan.cells) if session.plan else 0
    session.progress.expect(cells)
    reporter = Reporter(session, session.progress)
    _make_folder(session.project.state)
    CellStore(session.project.cells).sweep()
    jobs = session.number("jobs") or usable_cpus()
    config = {
        "BACKEND": {"ktstr": "ktstr.tasks.statedb:StateDB"},
        "GLOBAL": {
            "backend": "ktstr",
            "dep_file": str(session.project.state / "doit.json"),
            "reporter": reporter,
            "continue": True,
            "verbosity": 2,
            "num_process": jobs if cells > 1 else 0,
            "par_type": "thread",
        },
    }
    main = DoitMain(ModuleTaskLoader(namespace), config_filenames=(), extra_config=config)
    code = main.run(["run", *session.words])
    if code == 3 or reporter.runtime_errors:
        session.exit_codes.append(EXIT_ENVIRONMENT)


def exit_code(session: Session) -> int:
    """2 before 3 before 1 before 0; an interruption is 128 plus its signal."""
    if session.signal:
        return 128 + session.signal
    codes = {*session.exit_codes, *(err.exit_code for err in session.failures.values())}
    codes |= {outcome.exit_code for outcome in session.outcomes.values()}
    return next((code for code in PRECEDENCE if code in codes), EXIT_OK)


def _report_failures(session: Session) -> None:
    for task, error in session.failures.items():
        sys.stderr.write(f"{task}: {error}\n")


def _runs_cells(words: Sequence[str]) -> bool:
    return any(word.split(":")[0] in ("test", "cell") for word in words)


def _check_tasks(session: Session) -> None:
    """Refuse ``family:name`` that the plan does not have, before anything runs."""
    plan = session.plan
    if plan is None:
        return
    known = {step.task(family) for family, steps in plan.steps.items() for step in steps}
    known |= {f"cell:{cell.name}" for cell in plan.cells}
    for word in session.words:
        if ":" in word and word not in known:
            raise unknown_task(word, known)


def _finish(session: Session) -> None:
    """The report, written whatever happened; what goes wrong here is one more failure."""
    if _runs_cells(session.words) and session.plan is not None:
        from ktstr.commands.test import finish_test

        session.report.append(finish_test(session))
    if "kernel_build" in session.words and session.plan is not None:
        from ktstr.commands.kernel_reports import built

        session.report.append(built(session))
    _report_failures(session)
    sys.stdout.write("".join(session.report))
    sys.stdout.flush()


def _execute(session: Session, namespace: dict[str, Any]) -> int:
    import psutil  # noqa: F401 -- the signal handler needs it, and must not import

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal(session))
    if _plans(session.words):
        from ktstr.host.flock import refuse_remote
        from ktstr.planning.plan import make_plan

        refuse_remote(session.project.runs_root)
        try:
            session.plan = make_plan(session)
        except KtstrError:
            if session.signal:
                return exit_code(session)
            raise
        _check_tasks(session)
    if session.flag("dry_run") and session.plan is not None:
        from ktstr.commands.test import dry_run

        sys.stdout.write(dry_run(session))
        return EXIT_OK
    _run_doit(session, namespace)
    try:
        _finish(session)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exit_code(session)


def usable_cpus() -> int:
    """Host CPUs this process may run on, and has time on."""
    from ktstr.host.limits import usable  # most command lines run nothing

    return usable().cpus


def _session(project: Project, words: Sequence[str], values: dict[str, Value]) -> Session:
    from ktstr.host.limits import usable
    from ktstr.results.view import epoch

    jobs = values.get("jobs")
    cpus = jobs if isinstance(jobs, int) else usable_cpus()
    return Session(
        project,
        tuple(words),
        values,
        dict(os.environ),
        Progress(sys.stderr),
        TokenPool(cpus, usable().memory_mib * 3 // 4),
        epoch(os.environ),
    )


def _tasks(argv: Sequence[str]) -> int:
    words, given = split_arguments(argv)
    project = find_project(current_dir(), os.environ)
    namespace = load_namespace(project)
    _check_words(words, own_tasks(namespace))
    values = read_variables(given, _allowed(words), " ".join(words), os.environ)
    session = _session(project, words, values)
    token = sessions.current.set(session)
    try:
        code = _execute(session, namespace)
    finally:
        sessions.current.reset(token)
    return bisect_code(session) if session.flag("bisect") and not session.flag("dry_run") else code


def _list(rest: Sequence[str]) -> int:
    if rest:
        raise InputError(
            f"list {' '.join(rest)}: found arguments, expected none", fix="doit help TASK for its variables"
        )
    project = find_project(current_dir(), os.environ)
    sys.stdout.write(listing(own_tasks(load_namespace(project))) + "\n")
    return EXIT_OK


def _clean(rest: Sequence[str]) -> int:
    """Remove the results ktstr made: run directories, store and state; nothing else that lies beside them."""
    from ktstr.commands.clean import remove_results

    if rest:
        raise InputError(f"clean {' '.join(rest)}: found arguments, expected none", fix="doit clean")
    project = find_project(current_dir(), os.environ)
    for path in remove_results(project.runs_root):
        sys.stdout.write(f"removed {path}\n")
    return EXIT_OK


def _help(words: Sequence[str]) -> int:
    sys.stdout.write("\n\n".join(task_help(word) for word in words) + "\n" if words else usage() + "\n")
    return EXIT_OK


def _doit_command(argv: Sequence[str]) -> int:
    raise InputError(
        f"{argv[0]}: doit's own command works on doit's database, which ktstr treats as a cache",
        fix="doit test dry_run=1 shows each cell and why it would run; rerun=1 runs it again",
    )


def dispatch(argv: Sequence[str]) -> int:
    """Run one command line and give its exit code. Raises KtstrError for the caller to print."""
    first = argv[0] if argv else "help"
    if first in ("--version", "version"):
        sys.stdout.write(f"ktstr {__version__}\n")
        return EXIT_OK
    if first in ("help", "-h", "--help"):
        return _help(argv[1:])
    if first == "run":
        return dispatch(argv[1:])
    if first == "list":
        return _list(argv[1:])
    if first == "clean":
        return _clean(argv[1:])
    if first in DOIT_COMMANDS:
        return _doit_command(argv)
    if all("=" in arg for arg in argv):
        raise InputError(f"{' '.join(argv)}: found variables, expected a task too", fix="doit test " + " ".join(argv))
    return _tasks(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The whole program. Prints errors as the user should see them; never a traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    gc.set_threshold(100_000, 50, 50)  # a graph of thousands of tasks is garbage to nobody: a tenth of a no-op's time
    failed = ABORT if bisecting(argv, os.environ) else None  # what stops a bisection instead of misleading it
    try:
        return dispatch(argv)
    except KtstrError as err:
        sys.stderr.write(f"doit: {err}\n")
        return failed or err.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as err:
        if os.environ.get("KTSTR_DEBUG"):
            raise
        sys.stderr.write(f"doit: {err.filename or 'the system'}: {err.strerror or err}\n")
        return failed or EXIT_ENVIRONMENT
    except Exception as err:
        if os.environ.get("KTSTR_DEBUG"):
            traceback.print_exc()
        sys.stderr.write(
            f"doit: internal error: {type(err).__name__}: {err}\n  fix: KTSTR_DEBUG=1 shows where; please report it\n"
        )
        return failed or EXIT_ENVIRONMENT


if __name__ == "__main__":
    sys.exit(main())
