"""``accel=auto`` decides by a guest, says once what it chose and why, and remembers it."""

from __future__ import annotations

import json
import os

import pytest

from ktstr.host.cache import cache_root
from tests.e2e.conftest import UserProject
from tests.e2e.small import tiny_yaml

pytestmark = pytest.mark.e2e


def chosen(stderr: str) -> tuple[str, str]:
    """The machine and the reason, from the one line that names them."""
    lines = [line for line in stderr.splitlines() if line.startswith("accel=")]
    assert len(lines) == 1, stderr
    name, _, why = lines[0].removeprefix("accel=").partition(": ")
    return name, why


def test_auto_falls_back_with_one_line_of_explanation(project: UserProject) -> None:
    """Here or wherever this runs: kvm only where the probe guest came to its end."""
    project.write(tiny_yaml(1))
    done = project.doit("test", "dry_run=1", "json=1", KTSTR_ACCEL="auto")
    assert done.returncode == 0, done.stderr
    name, why = chosen(done.stderr)
    assert why.startswith("KVM runs guests" if name == "kvm" else ("KVM here runs no", "/dev/kvm", "no machine")), why
    cells = [cell["name"] for cell in json.loads(done.stdout)["cells"]]
    assert cells
    assert all(cell.endswith(f"/{name}-s1") for cell in cells)
    finding = {f["name"]: f for f in json.loads(project.doit("doctor", "json=1").stdout)["findings"]}["kvm"]
    assert name in finding["detail"]


def test_the_choice_is_recorded_with_its_reason(project: UserProject) -> None:
    project.write(tiny_yaml(1))
    done = project.doit("test", "json=1", KTSTR_ACCEL="auto")
    (cell,) = json.loads(done.stdout)["cells"]
    assert project.sidecar(cell)["host"]["accel_reason"] == chosen(done.stderr)[1]


def test_the_verdict_is_remembered(project: UserProject) -> None:
    project.write(tiny_yaml(1))
    first = project.doit("test", "dry_run=1", KTSTR_ACCEL="auto")
    kept = list(cache_root(os.environ).glob("**/kvm-probe.json"))
    before = [path.stat().st_mtime_ns for path in kept]
    second = project.doit("test", "dry_run=1", KTSTR_ACCEL="auto")
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert chosen(first.stderr) == chosen(second.stderr)


def test_kvm_that_is_asked_for_is_not_replaced(project: UserProject) -> None:
    """Where no stock kernel runs, that is the environment's error: nothing is blamed on the scheduler."""
    project.write(tiny_yaml(1))
    name, _ = chosen(project.doit("test", "dry_run=1", KTSTR_ACCEL="auto").stderr)
    code, report = project.test("accel=kvm", "timeout=5s")
    (cell, *_) = report["cells"]
    assert cell["name"].endswith("/kvm-s1")
    if name == "icount":
        assert (code, cell["verdict"]) == (3, "error")
