"""``doit bugs`` for real: a bug of the fixture's that is found again, one that is not, and those of published
schedulers.

Cost: four machines of 2 vCPUs, about 15 s. Slow: the repository's own bugs, whose schedulers cargo builds (minutes of
all CPUs each, once).
"""

from __future__ import annotations

import json
import shutil

import pytest

from ktstr.config.bugdecl import bug_files
from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SOURCE = ROOT / "schedulers" / "scx_ktstr"
BUG = """
about: Everything is put into the local queue of CPU 0, and the other CPU idles.
mended_in: scx_ktstr without --flood-local
reason: 'CPU 1 was idle .* in CPU 0.s local DSQ'
schedulers:
  faulty: {{source: {source}, args: [{args}]}}
  mended: {{source: {source}}}
tests:
  busy: {{topology: 1n1l2c1t, duration: 1s, cgroups: [{{name: spin, workers: 4}}]}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    made = make_project(tmp_path_factory.mktemp("bugs"), lock)
    made.write('kernels: {default: "deb:forky/cloud-amd64"}\ntests: {t: {cgroups: [a]}}\n')
    (made.path / "bugs").mkdir()
    for name, args in (("floods", "--flood-local"), ("harmless", "--print")):
        (made.path / f"bugs/{name}.yaml").write_text(BUG.format(source=SOURCE, args=args), encoding="utf-8")
    return made


def test_a_bug_is_found_again_and_what_is_none_is_not(project: UserProject) -> None:
    done = project.doit("bugs", "json=1")
    assert done.stdout, done.stderr
    bugs = {bug["name"]: bug for bug in json.loads(done.stdout)["bugs"]}
    floods, harmless = bugs["floods"], bugs["harmless"]
    assert done.returncode == 1
    assert (floods["faulty"]["verdict"], floods["mended"]["verdict"], floods["found"]) == ("fail", "pass", True)
    assert (harmless["found"], harmless["why"]) == (False, "the faulty version passes")

    again = project.doit("bugs", "name=floods")
    assert again.returncode == 0, again.stderr
    assert "1 of 1 found again" in again.stdout


def test_dry_run_shows_the_cells_and_runs_none(project: UserProject) -> None:
    done = project.doit("bugs", "dry_run=1", "rerun=1", "name=flood")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "floods:",
        "floods/1n1l2c1t/default/floods.faulty/icount-s0",
        "floods/1n1l2c1t/default/floods.mended/icount-s0",
    ]


def test_a_bug_that_cannot_be_planned_here_leaves_the_others(project: UserProject) -> None:
    path = project.path / "bugs/afar.yaml"
    path.write_text("kernels: {old: 6.1.1}" + BUG.format(source=SOURCE, args="--print"), encoding="utf-8")
    try:
        done = project.doit("bugs", "dry_run=1", "offline=1", "json=1", "name=floods,afar")
    finally:
        path.unlink()
    cells = {bug["name"]: list(bug["cells"].values()) for bug in json.loads(done.stdout)["bugs"]}
    assert done.returncode == 3 and len(cells["floods"]) == 2
    assert "6.1.1" in cells["afar"][0] and "error: " in cells["afar"][0]


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("bug", bug_files(ROOT))
def test_the_repositorys_own_are_found_again(project: UserProject, bug: str) -> None:
    (project.path / f"own-{bug}").mkdir()
    own = make_project(project.path / f"own-{bug}", (project.path / "ktstr.lock").read_text(encoding="utf-8"))
    shutil.copytree(ROOT / "bugs", own.path / "bugs")
    shutil.copy(project.path / "ktstr.yaml", own.path)
    done = own.doit("bugs", f"name={bug}", timeout=7000)
    assert done.returncode == 0, done.stdout + done.stderr
