"""The front end: from the words of a command line to its exit code. ``./doit`` runs this module; plain ``doit``
reaches it through ``plain``."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ktstr import __version__
from ktstr.cancel import Cancel
from ktstr.config.project import current_dir, find_project
from ktstr.errors import HostError, InputError, KtstrError
from ktstr.files import refused
from ktstr.results.ledger import ExitRules, Ledger
from ktstr.tasks.usage import DOIT_COMMANDS, help_text, listing

_WITH_EQUALS = ("cell:", "kernel:", "source:")  # words, whatever is in them


@dataclass(frozen=True)
class Arguments:
    """``words`` are tasks, ``given`` the values of each ``name=value`` in order."""

    words: tuple[str, ...]
    given: Mapping[str, Sequence[str]]


def split_arguments(argv: Sequence[str]) -> Arguments:
    """Words and ``name=value`` variables. Raises InputError for an option: ktstr takes none."""
    words: list[str] = []
    given: dict[str, list[str]] = {}
    for arg in argv:
        name, equals, value = arg.partition("=")
        if arg.startswith("-"):
            raise InputError(f"{arg}: found an option, expected name=value", fix="doit help TASK")
        if equals and not name.startswith(_WITH_EQUALS):
            given.setdefault(name, []).append(value)
        else:
            words.append(arg)
    return Arguments(tuple(words), given)


def bisecting(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether ``bisect=1`` was given, seen before anything is checked: a mistyped word is no bad commit."""
    given = [arg.partition("=")[2] for arg in argv if arg.startswith("bisect=")]
    return (given[-1] if given else environ.get("KTSTR_BISECT", "0")).lower() not in ("0", "false", "no", "off", "")


def _tasks(argv: Sequence[str], ledger: Ledger, cancel: Cancel) -> ExitRules:
    from ktstr.tasks.invoke import invoke, read_request
    from ktstr.tasks.namespace import load_namespace

    arguments = split_arguments(argv)
    project = find_project(current_dir(), os.environ)
    namespace = load_namespace(project)
    asked = read_request(namespace, arguments.words, arguments.given, os.environ)
    return invoke(project, namespace, asked, ledger, cancel)


def _list(rest: Sequence[str]) -> None:
    from ktstr.tasks.namespace import load_namespace

    if rest:
        raise InputError(
            f"list {' '.join(rest)}: found arguments, expected none", fix="doit help TASK for its variables"
        )
    sys.stdout.write(listing(load_namespace(find_project(current_dir(), os.environ))) + "\n")


def _clean(rest: Sequence[str]) -> None:
    """Remove the results ktstr made: run directories, store and state; nothing else that lies beside them."""
    from ktstr.results.clean import remove_results

    if rest:
        raise InputError(f"clean {' '.join(rest)}: found arguments, expected none", fix="doit clean")
    project = find_project(current_dir(), os.environ)
    for path in remove_results(project.runs_root):
        sys.stdout.write(f"removed {path}\n")


def _doit_command(argv: Sequence[str]) -> None:
    raise InputError(
        f"{argv[0]}: doit's own command works on doit's database, which ktstr treats as a cache",
        fix="doit test dry_run=1 shows each cell and why it would run; rerun=1 runs it again",
    )


def dispatch(argv: Sequence[str], ledger: Ledger, cancel: Cancel) -> ExitRules:
    """Run one command line; what came of it is in the ledger. Raises KtstrError for the caller to print."""
    first = argv[0] if argv else "help"
    if first == "run":
        return dispatch(argv[1:], ledger, cancel)
    if first in ("--version", "version"):
        sys.stdout.write(f"ktstr {__version__}\n")
    elif first in ("help", "-h", "--help"):
        sys.stdout.write(help_text(argv[1:]) + "\n")
    elif first == "list":
        _list(argv[1:])
    elif first == "clean":
        _clean(argv[1:])
    elif first in DOIT_COMMANDS:
        _doit_command(argv)
    elif all("=" in arg for arg in argv):
        raise InputError(f"{' '.join(argv)}: found variables, expected a task too", fix="doit test " + " ".join(argv))
    else:
        return _tasks(argv, ledger, cancel)
    return ExitRules()


def guarded(program: str, act: Callable[[Ledger, Cancel], ExitRules], rules: ExitRules) -> int:
    """Do it, and give the exit code. Errors are printed as the user should see them; never a traceback.

    ``rules`` make the code where ``act`` did not get as far as giving its own.
    """
    ledger, cancel = Ledger(), Cancel()

    def failed(error: KtstrError) -> None:
        sys.stderr.write(f"{program}: {error}\n")
        ledger.fail(program, error)

    try:
        rules = act(ledger, cancel)
    except KtstrError as err:
        if not cancel.signal:
            failed(err)
    except KeyboardInterrupt:
        cancel.set(signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as err:
        if os.environ.get("KTSTR_DEBUG"):
            raise
        failed(refused(err, Path.cwd(), None))
    except Exception as err:
        if os.environ.get("KTSTR_DEBUG"):
            traceback.print_exc()
        failed(
            HostError(f"internal error: {type(err).__name__}: {err}", fix="KTSTR_DEBUG=1 shows where; please report it")
        )
    return ledger.exit_code(rules, cancel.signal)


def main(argv: Sequence[str] | None = None) -> int:
    """The whole program."""
    argv = list(sys.argv[1:] if argv is None else argv)
    gc.set_threshold(100_000, 50, 50)  # a graph of thousands of tasks is garbage to nobody: a tenth of a no-op's time
    # What stops a bisection, instead of misleading it.
    return guarded("doit", partial(dispatch, argv), ExitRules(bisect=bisecting(argv, os.environ)))


if __name__ == "__main__":
    sys.exit(main())
