"""The cheap report tasks: each puts its text into the session, written once at the end."""

from __future__ import annotations

import sys
from collections.abc import Collection

from ktstr.config.model import Config, SchedulerDecl
from ktstr.config.suggest import nearest
from ktstr.errors import EXIT_VERDICT, InputError
from ktstr.tasks.session import Session


def stats_list(run: Session) -> None:
    """``doit stats_list``: run directories, newest first."""
    from ktstr.stats import runs

    rows = runs.list_runs(run.project.runs_root)
    run.report.append(runs.to_json(rows) if run.flag("json") else runs.to_text(rows))


def doctor(run: Session) -> None:
    """``doit doctor``: what this host can do, each line with its fix."""
    from ktstr.commands import doctor as doc

    findings = doc.examine(run.project.runs_root, run.environ)
    run.report.append(doc.to_json(findings) if run.flag("json") else doc.to_text(findings))
    run.exit_codes.append(doc.exit_code(findings))


def kernel_list(run: Session) -> None:
    """``doit kernel_list``: what is in the kernel cache."""
    from ktstr.commands import kernel_reports

    kernel_reports.kernel_list(run)


def kernel_clean(run: Session) -> None:
    """``doit kernel_clean``: remove kernels from it."""
    from ktstr.commands import kernel_reports

    kernel_reports.kernel_clean(run)


def lab(run: Session) -> None:
    """``doit lab command=...``: its output as it comes, and its exit status."""
    from ktstr.host.apt import Apt
    from ktstr.host.cache import Cache, cache_root
    from ktstr.lab.environ import passed_on
    from ktstr.lab.run import run_in_lab
    from ktstr.planning.pins import Pins

    command, timeout = run.text("command"), run.values["timeout"]
    if command is None:
        raise InputError("lab: expected command=", fix="doit lab command='ls -l /dev/kvm'")
    assert isinstance(timeout, float)

    def sink(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()

    cache = Cache(cache_root(run.environ), run.cancel)
    done = run_in_lab(
        ["sh", "-c", command],
        checkout=run.project.stand,
        cache=cache,
        apt=Apt(cache.apt, run.flag("offline"), run.environ, run.cancel),
        lock=Pins(run).lock,
        environ=passed_on(run.environ),
        timeout_s=timeout,
        sink=sink,
        cancel=run.cancel,
    )
    if done.status != 0:
        run.progress.step(f"lab: the command ended with status {done.status}")
        run.exit_codes.append(EXIT_VERDICT)


def locks(run: Session) -> None:
    """``doit locks``: once, or with ``watch=`` until interrupted; then each look replaces the one before."""
    from ktstr.host import locks as shown
    from ktstr.host.cache import cache_root
    from ktstr.host.cpu_topology import read_topology
    from ktstr.host.reserve import lock_dir

    every = run.values.get("watch")

    def look() -> str:
        rows = shown.survey(read_topology(), lock_dir(run.environ), cache_root(run.environ), run.project.runs_root)
        return shown.to_json(rows, compact=every is not None) if run.flag("json") else shown.to_text(rows)

    if not isinstance(every, float):
        run.report.append(look())
        return
    clear = "\x1b[H\x1b[2J" if sys.stdout.isatty() and not run.flag("json") else ""
    while not run.cancel.is_set():
        sys.stdout.write(clear + look())
        sys.stdout.flush()
        run.cancel.wait(every)


def show_thresholds(run: Session) -> None:
    """``doit show_thresholds test=NAME``: the merged thresholds, and where each came from."""
    from ktstr.checks import thresholds
    from ktstr.config.load import load

    config = load(run.project.config)
    names = run.words_of("test")
    if len(names) != 1:
        raise InputError(f"test=: found {len(names)} names, expected one", fix="doit show_thresholds test=NAME")
    test = config.tests.get(names[0])
    if test is None:
        raise _unknown("test", names[0], config.tests)
    scheduler = _named_scheduler(config, run.words_of("scheduler") or ("eevdf",))
    merged = thresholds.merge(scheduler.checks, test.checks)
    render = thresholds.to_json if run.flag("json") else thresholds.to_text
    run.report.append(render(test.name, scheduler.name, merged))


def _unknown(what: str, name: str, known: Collection[str]) -> InputError:
    hint = nearest(name, known)
    return InputError(
        f"{what}={name}: found no such {what}" + (f", nearest match {hint!r}" if hint else ""),
        fix=f"declared: {', '.join(known)}",
    )


def _named_scheduler(config: Config, names: tuple[str, ...]) -> SchedulerDecl:
    if len(names) != 1 or names[0] not in config.schedulers:
        raise _unknown("scheduler", ",".join(names), config.schedulers)
    return config.schedulers[names[0]]
