"""Tests that need a real KVM: those in ``inside/`` run in one nested lab, and are reported here one by one.

Outside, the first of them starts a lab that runs all that were selected. pytest in the lab writes
each report, serialized, to the folder it shares with us, and it is replayed here as the test's own.
What the lab did not report, and what was skipped in it, has failed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ktstr.errors import KtstrError
from ktstr.lab.environ import in_lab, passed_on
from tests.nested.guests import GUESTS, prepare
from tests.nested.reports import Reports, failure, whole

if TYPE_CHECKING:
    from ktstr.lab.run import LabResult

ROOT = Path(__file__).parent.parent.parent
TESTS = Path(__file__).parent / "inside"
REPORTS = "KTSTR_LAB_REPORTS"  # in the lab: the file that takes the reports, one JSON object a line
SESSION_S = 900.0
IN_LAB = in_lab(os.environ)
_TOLD = 8000  # characters of the lab's output that are shown

_STORED = pytest.StashKey[Reports]()


class Reporter:
    """In the lab: hands each report out."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config, self._path = config, path
        path.write_text("", encoding="utf-8")  # of a lab that panicked before this one

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(data) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    if IN_LAB and (path := os.environ.get(REPORTS)) is not None:
        config.pluginmanager.register(Reporter(config, Path(path)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in filter(_is_inside, items):
        item.add_marker(pytest.mark.e2e)
        if not IN_LAB:  # the first one waits for all
            item.add_marker(pytest.mark.timeout(2 * (SESSION_S + 60)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Replay what the lab reported of a test of its own."""
    if IN_LAB or not _is_inside(item):
        return None
    stash, hook = item.session.stash, item.config.hook
    if _STORED not in stash:
        stash[_STORED] = _session(list(filter(_is_inside, item.session.items)))
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for data in stash[_STORED][item.nodeid]:
        report = hook.pytest_report_from_serializable(config=item.config, data=data)
        if report.skipped:
            report.outcome, report.longrepr = "failed", f"skipped in the lab: {report.longrepr}"
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _is_inside(item: pytest.Item) -> bool:
    return item.path.is_relative_to(TESTS)


def _session(items: list[pytest.Item]) -> Reports:
    """Run these in one lab, and those that failed once more in another, with a warning: what emulates the lab's SVM
    ends a guest in one of some fifty boots, those of QEMU's own microvm too. What fails twice has failed."""
    found = _attempt(items)
    failed = {name: why for name, reports in found.items() if (why := failure(reports)) is not None}
    if failed:
        told = "\n".join(f"{name}: {why}" for name, why in failed.items())
        warnings.warn(f"lab: tests run again:\n{told}", stacklevel=1)
        found |= _attempt([item for item in items if item.nodeid in failed])
    return found


def _attempt(items: list[pytest.Item]) -> Reports:
    """Run these in one lab. A lab that does not come up is a failure of each, for its own reason."""
    with tempfile.TemporaryDirectory(prefix="ktstr-nested-") as folder:
        reports = Path(folder) / "reports.jsonl"
        try:
            prepare(Path(folder))
            result = _lab([item.nodeid for item in items], reports)
        except KtstrError as err:
            return {item.nodeid: [_failure(item, f"no lab: {err}")] for item in items}
        found = whole(reports.read_text(encoding="utf-8").splitlines() if reports.exists() else ())
    if result.lost is not None:
        warnings.warn(f"lab: it was started again: {result.lost}", stacklevel=1)
    said = result.output.decode(errors="replace")[-_TOLD:]
    missing = f"pytest in the lab ended {result.status} before the end of this test:\n{said}"
    return {item.nodeid: found.get(item.nodeid) or [_failure(item, missing)] for item in items}


def _lab(names: list[str], reports: Path) -> LabResult:
    # Not imported in the lab, where it would take seconds; as the plugin that is left out there would.
    from ktstr.host.apt import Apt
    from ktstr.host.cache import Cache, cache_root
    from ktstr.lab.run import run_in_lab
    from ktstr.pins.lock import read_lock

    plugins = tuple(word for name in ("cacheprovider", "hypothesispytest", "xdist") for word in ("-p", f"no:{name}"))
    options = ("-q", *plugins, f"--rootdir={ROOT}", f"--timeout={SESSION_S}")
    cache = Cache(cache_root(os.environ))
    return run_in_lab(
        [sys.executable, "-m", "pytest", *options, *names],
        checkout=ROOT,
        cache=cache,
        apt=Apt(cache.apt),
        lock=read_lock(ROOT / "ktstr.lock"),
        environ=passed_on({**os.environ, REPORTS: str(reports), GUESTS: str(reports.parent)}),
        timeout_s=SESSION_S,
        writable=reports.parent,
    )


def _failure(item: pytest.Item, text: str) -> dict[str, Any]:
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "call")
    data: dict[str, Any] = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
    return data
