"""The cells of a run as JUnit XML, for what shows test results."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from ktstr.record.outcome import UNSUCCESSFUL, Outcome
from ktstr.results.summary import CellSummary, counts

# XML 1.0 cannot carry these, not even escaped.
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_JUNIT: dict[str, str] = {
    Outcome.FAIL: "failure",
    Outcome.INCONCLUSIVE: "failure",
    Outcome.ERROR: "error",
    Outcome.SKIP: "skipped",
    Outcome.NOT_RUN: "skipped",
}


def _case(suite: ET.Element, cell: CellSummary) -> None:
    test, _, rest = cell.name.partition("/")
    case = ET.SubElement(suite, "testcase", classname=_xml(test), name=_xml(rest or test))
    if cell.seconds is not None:
        case.set("time", f"{cell.seconds:.3f}")
    if cell.verdict in _JUNIT:
        text = _xml("\n".join(cell.reasons))
        child = ET.SubElement(case, _JUNIT[cell.verdict], message=text.partition("\n")[0])
        if cell.verdict in UNSUCCESSFUL:
            child.set("type", cell.verdict)
            child.text = "\n".join(_xml(line) for line in (*cell.reasons, *cell.files, cell.command) if line)


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def junit(cells: Sequence[CellSummary]) -> str:
    """JUnit XML. Inconclusive is a failure of that type; cells not run are skipped."""
    n = counts(cells)
    totals = {
        "tests": str(len(cells)),
        "failures": str(n[Outcome.FAIL] + n[Outcome.INCONCLUSIVE]),
        "errors": str(n[Outcome.ERROR]),
        "skipped": str(n[Outcome.SKIP] + n[Outcome.NOT_RUN]),
        "time": f"{sum(c.seconds or 0.0 for c in cells):.3f}",
    }
    top = ET.Element("testsuites", {"name": "ktstr", **totals})
    suite = ET.SubElement(top, "testsuite", {"name": "ktstr", **totals})
    for cell in cells:
        _case(suite, cell)
    ET.indent(top)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(top, encoding="unicode") + "\n"
