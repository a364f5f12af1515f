"""``doit perf_delta`` on what is already measured, and the variables that it refuses. Nothing boots here."""

from __future__ import annotations

import json
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from ktstr import resources
from ktstr.errors import HostError, InputError
from ktstr.stats import needs
from tests.commands.invocations import run_report
from tests.commands.projects import CommandProject, command_project
from tests.repositories import git
from tests.results.cells import sidecar
from tests.stats.pools import put

SCHEMA = Draft202012Validator(json.loads(resources.schema("perf_delta").read_text()))
YAML = """\
tests:
  steady: {duration: 1s, cgroups: [{name: a, workers: 1}], perf_delta: [worst_spread]}
  plain: {duration: 1s, cgroups: [{name: a, workers: 1}]}
"""
PASSED = sidecar(passed=True, skipped=False, inconclusive=False, kernel_version="7.2.0")


@pytest.fixture
def project(tmp_path: Path) -> CommandProject:
    """A repository of two commits, without results."""
    made = command_project(tmp_path)
    (tmp_path / "ktstr.yaml").write_text(YAML)
    (tmp_path / ".gitignore").write_text("target\n")
    git(tmp_path, "init", "-q", "-b", "main")
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", name)
    return made


def measure(project: CommandProject, revision: str, test: str = "steady", spread: float = 10.0, **changes: Any) -> None:
    """A run directory of a commit with one sidecar; ``spread`` is its worst_spread in percent."""
    commit = git(project.path, "rev-parse", revision)[:7]
    stats = replace(PASSED.stats, worst_spread=spread)
    whole = replace(PASSED, test_name=test, project_commit=commit, stats=stats, **changes)
    put(project.runs, f"7.2.0-{commit}/icount-s7/{test}-0000000000000000", whole)


def delta(project: CommandProject, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return project.doit("perf_delta", "base=HEAD~1", "accel=icount", *args, **environ)


def test_averages_fail_from_as_many_regressions_as_the_user_says(project: CommandProject) -> None:
    measure(project, "HEAD~1")
    measure(project, "HEAD", spread=30.0)
    plain = delta(project)
    assert (plain.returncode, "REGRESSION" in plain.stdout) == (0, True), plain.stderr
    assert "1 test(s) declare gates, which only noise_adjust=N evaluates" in plain.stdout
    assert delta(project, "fail_threshold=1").returncode == 1
    assert delta(project, "must_fail=worst_spread").returncode == 1
    assert delta(project, "must_fail=worst_gap_ms", "fail_threshold=0").returncode == 0
    assert delta(project, "threshold=300", "fail_threshold=1").returncode == 0


def test_json_and_junit_hold_the_same_verdict(project: CommandProject, tmp_path: Path) -> None:
    measure(project, "HEAD~1")
    measure(project, "HEAD", spread=30.0)
    done = delta(project, "json=1", "junit=j.xml", "must_fail=worst_spread")
    found = json.loads(done.stdout)
    SCHEMA.validate(found)
    assert (done.returncode, found["failed"], found["rule"]) == (1, True, None)
    [finding] = [one for one in found["findings"] if one["metric"] == "worst_spread"]
    assert (finding["verdict"], finding["a"]["center"], finding["b"]["center"]) == ("regressed", 10, 30)
    assert int(ET.parse(project.path / "j.xml").getroot().get("failures", "0")) == 2  # the metric, and the whole


def test_only_the_perf_set_is_compared(project: CommandProject) -> None:
    for test in ("steady", "plain"):
        measure(project, "HEAD~1", test)
        measure(project, "HEAD", test, spread=30.0 if test == "plain" else 10.0)
    done = delta(project, "json=1", "fail_threshold=1")
    assert (done.returncode, json.loads(done.stdout)["findings"]) == (0, [])


def test_an_empty_perf_set_is_a_notice(project: CommandProject) -> None:
    done = delta(project, "test=plain")
    assert (done.returncode, "nothing to compare" in done.stdout) == (0, True)
    both = project.doit("perf_delta", "base=HEAD~1", "accel=icount", "test=plain", "noise_adjust=2", "kernel=default")
    assert (both.returncode, "nothing to compare" in both.stdout) == (0, True), both.stderr


def test_documents_alone_are_not_relevant(project: CommandProject) -> None:
    (project.path / "README.md").write_text("words\n")
    git(project.path, "add", "-A")
    git(project.path, "commit", "-qm", "words")
    done = delta(project, "relevant=1")
    assert (done.returncode, "nothing to compare" in done.stdout) == (0, True)


def test_a_side_without_results_is_an_error_that_says_which(project: CommandProject) -> None:
    measure(project, "HEAD")
    done = delta(project)
    assert (done.returncode, done.stdout) == (2, "")
    assert "A side filter matched 0 sidecars" in done.stderr


def test_an_archive_is_compared_where_it_lies(project: CommandProject, tmp_path: Path) -> None:
    measure(project, "HEAD~1")
    measure(project, "HEAD", spread=30.0)
    (project.path / "target").rename(project.path / "kept")
    assert delta(project).returncode == 2
    assert delta(project, "dir=kept/ktstr", "fail_threshold=1").returncode == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("threshold=5", "policy=p.json"), "expected one of them"),
        (("policy=nowhere.json",), "nowhere.json"),
        (("no_phases=1",), "noise_adjust="),
        (("phase=0",), "noise_adjust="),
        (("rule=welch",), "noise_adjust="),
        (("rule=wlech", "noise_adjust=3"), "welch"),
        (("threshold=-1",), "percentage"),
        (("must_fail=total_cpu_time_sec",), "component"),
        (("must_fail=worst_sprea",), "worst_spread"),
        (("must_fail=worst_sprea", "noise_adjust=2", "kernel=default"), "worst_spread"),
        (("policy=nowhere.json", "noise_adjust=2", "kernel=default"), "nowhere.json"),
        (("noise_adjust=1", "kernel=default"), "at least 2"),
        (("noise_adjust=2",), "kernel="),
        (("noise_adjust=2", "kernel=default", "seeds=1"), "seeds="),
        (("noise_adjust=2", "kernel=default", "no_phases=1", "phase=1"), "no_phases"),
        (("noise_adjust=2", "kernel=default", "steps_only=1", "phase=1"), "steps_only"),
        (("base=HEAD",), "nothing to compare"),
        (("base=HEAD~7",), "no such commit"),
    ],
)
def test_what_does_not_go_together_is_refused(project: CommandProject, given: tuple[str, ...], said: str) -> None:
    base = () if any(word.startswith("base=") for word in given) else ("base=HEAD~1",)
    with pytest.raises(InputError, match=re.escape(said)):
        run_report(project.path, " ".join(("perf_delta", "accel=icount", *base, *given)))


def test_a_file_that_is_no_sidecar_is_counted_on_standard_error(project: CommandProject) -> None:
    measure(project, "HEAD~1")
    measure(project, "HEAD")
    put(project.runs, "7.2.0-broken/icount-s7/steady-0000000000000000", b"{")
    done = delta(project)
    assert (done.returncode, "skipped 1" in done.stderr, "skipped" in done.stdout) == (0, True, False), done.stderr


@pytest.mark.parametrize("more", ["", " noise_adjust=2 kernel=default"])
def test_without_the_extra_it_says_what_is_missing(
    project: CommandProject, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    monkeypatch.setattr(needs, "find_spec", lambda name: None)
    with pytest.raises(HostError, match="needs jinja2, pyarrow, scipy"):
        run_report(project.path, f"perf_delta base=HEAD~1 accel=icount{more}")
