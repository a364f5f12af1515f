"""What ``doit doctor`` prints of its findings, and its exit code."""

from __future__ import annotations

import json
import os

import jsonschema
import pytest

from ktstr import resources
from ktstr.commands import doctor
from ktstr.commands.doctor import Options
from ktstr.planning.readiness import Finding, examine


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finding, ...]:
    """All of this host's, with the cache of this run of the tests: an empty one has the VMM compiled first."""
    folder = tmp_path_factory.mktemp("doctor")
    cache = os.environ.get("KTSTR_CACHE_DIR") or str(folder / "cache")
    return examine(folder, {"PATH": os.environ["PATH"], "KTSTR_CACHE_DIR": cache})


def test_json_satisfies_the_schema_and_holds_every_finding(findings: tuple[Finding, ...]) -> None:
    parsed = json.loads(doctor.to_json(findings))
    jsonschema.validate(parsed, json.loads(resources.schema("doctor").read_text()))
    assert [item["name"] for item in parsed["findings"]] == [found.name for found in findings]
    assert parsed["ok"] is (doctor.report(findings, Options()).code == 0)


def test_a_need_that_is_not_met_exits_3_and_an_unproven_one_does_not() -> None:
    fine, unknown, bad = Finding("a", True, "x"), Finding("b", None, "y"), Finding("c", False, "z", "do this")
    assert doctor.report((fine, unknown), Options()).code == 0
    assert doctor.report((fine, bad), Options()).code == 3


def test_text_has_the_fix_below_its_finding() -> None:
    text = doctor.to_text((Finding("gcc", True, "gcc 12"), Finding("kvm", False, "no device", "modprobe kvm")))
    assert text == "ok   gcc  gcc 12\nFAIL kvm  no device\n          fix: modprobe kvm\n"
