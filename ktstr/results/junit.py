"""The cells of a run as JUnit XML, for what shows test results."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ktstr.record.outcome import UNSUCCESSFUL, Outcome
from ktstr.results.summary import CellSummary

# XML 1.0 cannot carry these, not even escaped.
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_JUNIT: dict[str, str] = {
    Outcome.FAIL: "failure",
    Outcome.INCONCLUSIVE: "failure",
    Outcome.ERROR: "error",
    Outcome.SKIP: "skipped",
    Outcome.NOT_RUN: "skipped",
}


@dataclass(frozen=True)
class Case:
    """One test case. ``verdict`` is an ``Outcome``; ``lines`` say why, the first one in short."""

    classname: str
    name: str
    verdict: str
    lines: tuple[str, ...] = ()
    seconds: float | None = None


def _case(suite: ET.Element, case: Case) -> None:
    element = ET.SubElement(suite, "testcase", classname=_xml(case.classname), name=_xml(case.name))
    if case.seconds is not None:
        element.set("time", f"{case.seconds:.3f}")
    if case.verdict in _JUNIT:
        first = _xml("\n".join(case.lines)).partition("\n")[0]
        child = ET.SubElement(element, _JUNIT[case.verdict], message=first)
        if case.verdict in UNSUCCESSFUL:
            child.set("type", case.verdict)
            child.text = "\n".join(_xml(line) for line in case.lines if line)


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _of_cell(cell: CellSummary) -> Case:
    test, _, rest = cell.name.partition("/")
    lines = (*cell.reasons, *((*cell.files, cell.command) if cell.verdict in UNSUCCESSFUL else ()))
    return Case(test, rest or test, cell.verdict, lines, cell.seconds)


def junit(cells: Sequence[CellSummary], more: Sequence[Case] = ()) -> str:
    """JUnit XML of cells, and of what else was judged. Inconclusive is a failure of that type; cells not run are
    skipped."""
    return document([*map(_of_cell, cells), *more])


def document(cases: Sequence[Case]) -> str:
    """JUnit XML of any cases."""
    n = Counter(case.verdict for case in cases)
    totals = {
        "tests": str(len(cases)),
        "failures": str(n[Outcome.FAIL] + n[Outcome.INCONCLUSIVE]),
        "errors": str(n[Outcome.ERROR]),
        "skipped": str(n[Outcome.SKIP] + n[Outcome.NOT_RUN]),
        "time": f"{sum(case.seconds or 0.0 for case in cases):.3f}",
    }
    top = ET.Element("testsuites", {"name": "ktstr", **totals})
    suite = ET.SubElement(top, "testsuite", {"name": "ktstr", **totals})
    for case in cases:
        _case(suite, case)
    ET.indent(top)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(top, encoding="unicode") + "\n"
