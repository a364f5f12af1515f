"""``doit doctor``: what this host can do, each line with its fix; or what a cluster and its workers can."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ktstr.columns import beside
from ktstr.commands.declare.clusters import cluster_looked_at
from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import EXIT_ENVIRONMENT, EXIT_OK
from ktstr.options import FLAG, WORD, variable

if TYPE_CHECKING:
    from ktstr.cluster.survey import Surveyed
    from ktstr.planning.readiness import Finding

MARKS = {True: "ok", False: "FAIL", None: "-"}


@dataclass(frozen=True)
class Options:
    """What is looked at, and how it is shown."""

    json: bool = variable(FLAG, "print one JSON object instead of text", False)
    cluster: str | None = variable(WORD, "look at this Dask cluster instead: its scheduler's address, or local", None)


def ready(findings: Iterable[Finding]) -> bool:
    """Whether every need is met."""
    return all(finding.ok is not False for finding in findings)


def to_json(findings: Sequence[Finding]) -> str:
    """One object, as ``schemas/doctor.schema.json`` has it."""
    return _dumped({"ok": ready(findings), "findings": _rows(findings), "cluster": None, "workers": None})


def to_text(findings: Sequence[Finding]) -> str:
    """A line for each finding, and one below it for its fix."""
    return "\n".join(_lines(findings, max(len(finding.name) for finding in findings))) + "\n"


def cluster_to_json(seen: Surveyed) -> str:
    """The same of a cluster: ``findings`` are those about its scheduler."""
    from ktstr.cluster import survey

    workers = [{**survey.worker_value(one), "findings": _rows(survey.worker_findings(one))} for one in seen.workers]
    findings = _rows(survey.scheduler_findings(seen))
    cluster = survey.scheduler_value(seen)
    return _dumped({"ok": survey.is_ready(seen), "findings": findings, "cluster": cluster, "workers": workers})


def cluster_to_text(seen: Surveyed) -> str:
    """The findings about the scheduler, then those about each worker below its name."""
    from ktstr.cluster import survey
    from ktstr.cluster.told import heading

    first = survey.scheduler_findings(seen)
    others = [survey.worker_findings(worker) for worker in seen.workers]
    width = max(len(one.name) for findings in (first, *others) for one in findings)
    lines = _lines(first, width)
    for worker, findings in zip(seen.workers, others, strict=True):
        host = worker.address.partition("://")[2] if worker.facts is None else worker.facts.host
        lines += ["", heading(worker.name, host), *_lines(findings, width)]
    return "\n".join(lines) + "\n"


def _lines(findings: Iterable[Finding], width: int) -> list[str]:
    lines: list[str] = []
    for finding in findings:
        lines += beside(f"{MARKS[finding.ok]:<5}{finding.name}", finding.detail, width + 7)
        if finding.fix is not None:
            lines += beside("", f"fix: {finding.fix}", width + 7)
    return lines


def _rows(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [asdict(finding) for finding in findings]


def _dumped(value: Mapping[str, object]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def report(findings: Sequence[Finding], options: Options) -> Report:
    """3 when a need is not met, else 0."""
    code = EXIT_OK if ready(findings) else EXIT_ENVIRONMENT
    return Report(to_json(findings) if options.json else to_text(findings), code)


def cluster_report(seen: Surveyed, options: Options) -> Report:
    """3 when no worker is there, one is left out, or the scheduler has not this ktstr."""
    from ktstr.cluster.survey import is_ready

    text = cluster_to_json(seen) if options.json else cluster_to_text(seen)
    return Report(text, EXIT_OK if is_ready(seen) else EXIT_ENVIRONMENT)


def run(invocation: Invocation, options: Options) -> Report:
    """Look at everything that runs need of this host, or of a cluster."""
    address = cluster_looked_at(invocation, options.cluster)
    if address is None:
        from ktstr.planning.readiness import examine

        return report(examine(invocation.project.runs_root, invocation.environ, invocation.cancel), options)
    from ktstr.cluster.visit import survey, visiting

    with visiting(address, invocation.environ, invocation.cancel) as connection:
        return cluster_report(survey(connection), options)


COMMAND = Command("doctor", "Host", "what this host or a cluster can do, and the fix for the rest", Options, run)
