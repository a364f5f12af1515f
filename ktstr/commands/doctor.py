"""``doit doctor``: what this host can do, each line with its fix."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ktstr.columns import beside
from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import EXIT_ENVIRONMENT, EXIT_OK
from ktstr.options import Json

if TYPE_CHECKING:
    from ktstr.planning.readiness import Finding

MARKS = {True: "ok", False: "FAIL", None: "-"}


def ready(findings: Iterable[Finding]) -> bool:
    """Whether every need is met."""
    return all(finding.ok is not False for finding in findings)


def to_json(findings: Sequence[Finding]) -> str:
    """One object, as ``schemas/doctor.schema.json`` has it."""
    body = {"ok": ready(findings), "findings": [asdict(finding) for finding in findings]}
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def to_text(findings: Sequence[Finding]) -> str:
    """A line for each finding, and one below it for its fix."""
    width = max(len(finding.name) for finding in findings)
    lines: list[str] = []
    for finding in findings:
        lines += beside(f"{MARKS[finding.ok]:<5}{finding.name}", finding.detail, width + 7)
        if finding.fix is not None:
            lines += beside("", f"fix: {finding.fix}", width + 7)
    return "\n".join(lines) + "\n"


def report(findings: Sequence[Finding], options: Json) -> Report:
    """3 when a need is not met, else 0."""
    code = EXIT_OK if ready(findings) else EXIT_ENVIRONMENT
    return Report(to_json(findings) if options.json else to_text(findings), code)


def run(invocation: Invocation, options: Json) -> Report:
    """Look at everything that runs need of this host."""
    from ktstr.planning.readiness import examine

    return report(examine(invocation.project.runs_root, invocation.environ, invocation.cancel), options)


COMMAND = Command("doctor", "Host", "what this host can do, and the fix for what it cannot", Json, run)
