"""``doit stats``: what the newest run says as a whole."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.commands.declare.notes import warn
from ktstr.options import FLAG, PATH, WORD, variable


@dataclass(frozen=True)
class Options:
    """Which run."""

    dir: str | None = variable(PATH, "a run directory; default: KTSTR_SIDECAR_DIR, else the newest run", None)
    kernel: str | None = variable(WORD, "the newest run of this kernel, by its full version", None)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


def run(invocation: Invocation, options: Options) -> Report:
    """Outliers, each scenario, topology and work type, phases, BPF programs, KVM. No data is no error."""
    from ktstr.stats.analysis.source import source_of
    from ktstr.stats.needs import need_reports

    project = invocation.project
    named = None if options.dir is None else project.stand / options.dir
    folder = source_of(named, options.kernel, project.runs_root, invocation.environ)
    if folder is None:
        wanted = "" if options.kernel is None else f" for a run of kernel {options.kernel}"
        return _nothing(f"{project.runs_root}{wanted}")
    folder = project.stand / folder
    if not folder.is_dir():
        return _nothing(str(folder))
    need_reports()
    from ktstr.stats.analysis import report
    from ktstr.stats.pool import load_run, skipped_note

    pool = load_run(folder)
    warn([skipped_note(pool, folder)])
    if pool.runs.empty:
        return _nothing(str(folder))
    found = report.analyse(pool)
    return Report(report.to_json(folder.name, len(pool.skipped), found) if options.json else report.to_text(found))


def _nothing(where: str) -> Report:
    """No data is no error: a note on standard error, and nothing on standard output."""
    sys.stderr.write(f"stats: no sidecar data found (skipped): searched {where}\n")
    return Report()


COMMAND = Command("stats", "Results", "the newest run: what stands out, and every dimension", Options, run, first=True)
