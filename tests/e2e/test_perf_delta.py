"""Two commits of a scheduler compared end to end. Costs 30 clones of two vCPUs and three small builds: 25 s.

One repository, each commit held against the first: what is measured of that is measured once.
"""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.e2e.commits import LONGER, YAML, change, delta, edit, from_first, repository, words
from tests.e2e.conftest import UserProject
from tests.repositories import git

pytestmark = pytest.mark.e2e

NOISE = ("noise_adjust=5", "kernel=default")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    return repository(tmp_path_factory.mktemp("perf"), YAML, lock)


def test_a_longer_slice_is_found_on_the_metrics_it_harms(project: UserProject, tmp_path: Path) -> None:
    change(project, *LONGER)
    summary, junit = tmp_path / "summary.md", tmp_path / "junit.xml"
    found = delta(project, *NOISE, f"junit={junit}", codes=(1,), GITHUB_STEP_SUMMARY=str(summary))
    verdicts = words(found, "bursts")
    assert verdicts["worst_p99_wake_latency_us"] == verdicts["worst_median_wake_latency_us"] == "regressed"
    assert found["failed"] and any("worst_p99_wake_latency_us" in why for why in found["failures"])
    assert {one["test"] for one in found["findings"]} == {"bursts"}  # quiet declares nothing
    [divergence] = found["divergences"]
    assert divergence["cell"].endswith("-s1") and divergence["at_ms"] < 300
    assert "worst_p99_wake_latency_us" in summary.read_text().replace("\\", "")
    assert int(ET.parse(junit).getroot().get("failures", "0")) >= 1
    assert not (project.path / "target/ktstr/.trees").exists() or not any(
        (project.path / "target/ktstr/.trees").iterdir()
    )
    text = project.doit("perf_delta", "base=first", *NOISE)  # nothing is run again
    assert text.returncode == 1 and "REGRESSED" in text.stdout and "pass  " not in text.stderr


def test_a_commit_of_comments_is_no_regression(project: UserProject) -> None:
    change(
        project,
        "static __always_inline u64 slice_of(const struct task_struct *p)",
        "/* How long a turn is. */\nstatic __always_inline u64 slice_of(const struct task_struct *p)",
    )
    assert "regressed" not in words(delta(project, *NOISE), "bursts").values()


def test_what_no_cell_is_made_of_is_the_same_and_is_not_run(project: UserProject) -> None:
    from_first(project)
    (project.path / "README.md").write_text("words\n")
    git(project.path, "add", "README.md")
    git(project.path, "commit", "-qm", "words")
    found = delta(project, *NOISE)
    assert found["findings"] == [] and len(found["same_cells"]) == 5
    done = project.doit("perf_delta", "base=first", *NOISE, "relevant=1")
    assert (done.returncode, "nothing to compare" in done.stdout) == (0, True)


def test_what_is_not_committed_is_held_against_head(project: UserProject) -> None:
    from_first(project)
    edit(project, *LONGER)
    found = delta(project, *NOISE, codes=(1,))
    assert found["head"] == found["baseline"] + "-dirty"


def test_a_scheduler_that_is_not_tracked_is_refused(project: UserProject) -> None:
    from_first(project)
    shutil.copy("/bin/true", project.path / "scx_built")
    (project.path / "ktstr.yaml").write_text(YAML.replace("{source: schedulers/scx_ktstr}", "{path: scx_built}"))
    git(project.path, "commit", "-qam", "binary")
    done = project.doit("perf_delta", "base=first", *NOISE)
    (project.path / "scx_built").unlink()
    assert (done.returncode, "not tracked by git" in done.stderr, "source:" in done.stderr) == (2, True, True), (
        done.stderr
    )


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("noise_adjust=1", "kernel=default"), "expected at least 2"),
        (("noise_adjust=5",), "kernel="),
        (("base=nowhere",), "no such commit"),
        (("base=first", "threshold=5", "policy=x.json"), "expected one of them"),
        (("base=first", "phase=1"), "noise_adjust="),
        (("base=first", "must_fail=worst_sprea"), "worst_spread"),
        (("base=first", *NOISE, "seeds=1..3"), "seeds="),
        (("base=first", *NOISE, "test=nothing_such"), "no such test"),
    ],
)
def test_bad_variables_are_refused_before_anything_runs(
    project: UserProject, given: tuple[str, ...], found: str
) -> None:
    done = project.doit("perf_delta", *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert found in done.stderr
