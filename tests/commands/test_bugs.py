"""Bugs that were written down: how their files are read, which are meant, and when one counts as found again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ktstr.config.bugdecl import Version, bug_files, chosen, read_bug
from ktstr.config.model import CellKey
from ktstr.errors import InputError
from ktstr.planning.bugs import is_of
from ktstr.results.bugs import Run, Told, finding_of, render, to_json
from tests.commands.projects import ROOT, CommandProject, command_project

YAML = """
about: It idles.
mended_in: mine 2
reason: 'CPU [0-9]+ was idle'
schedulers:
  faulty: {path: old, args: [--fast]}
  mended: {path: new}
  other: {path: other}
tests:
  idle:
    topology: 1n1l3c1t
    demo: true
    cgroups: [{name: a, workers: 4}]
    scheduler_ops:
      - {at: 100ms, op: replace, scheduler: mended}
      - {at: 200ms, op: replace, scheduler: other}
"""
TOLD = Told("idles", "It\nidles.", "mine 2", "CPU [0-9]+ was idle")
IDLE = Run("fail", ("starved: worker 1", "work conservation: CPU 3 was idle from 1 to 2 ms"))


@pytest.fixture
def project(tmp_path: Path) -> CommandProject:
    made = command_project(tmp_path)
    (tmp_path / "bugs").mkdir()
    (tmp_path / "bugs/idles.yaml").write_text(YAML)
    return made


def problem(project: CommandProject, text: str) -> str:
    """What reading a bug of this text says is wrong."""
    path = project.path / "bugs/idles.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_bug(path)
    return raised.value.message


def test_names_of_a_bug_are_its_own(project: CommandProject) -> None:
    bug = read_bug(project.path / "bugs/idles.yaml")
    assert (bug.name, bug.about, bug.mended_in, bug.reason) == ("idles", "It idles.", "mine 2", "CPU [0-9]+ was idle")
    assert (bug.faulty, bug.mended) == (Version("idles.faulty"), Version("idles.mended"))
    assert not bug.by_kernel
    assert set(bug.config.schedulers) == {"idles.faulty", "idles.mended", "other", "eevdf"}
    (test,) = bug.config.tests.values()
    assert (test.name, test.demo, test.topology) == ("idles", False, "1n1l3c1t")
    assert [op.scheduler for op in test.scheduler_ops] == ["idles.mended", "other"]
    assert bug.config.schedulers["idles.faulty"].args == ("--fast",)


def test_a_kernel_of_its_own_is_called_as_it_is(project: CommandProject) -> None:
    path = project.path / "bugs/idles.yaml"
    path.write_text("kernels: {old: 'deb:trixie/cloud-amd64', new: 'deb:forky/cloud-amd64'}" + YAML)
    bug = read_bug(path)
    assert {name: kernel.spec for name, kernel in bug.config.kernels.items()} == {"idles": "deb:trixie/cloud-amd64"}


KERNELS = """
about: It warns.
mended_in: 6.13 (some commit)
reason: 'WARNING'
takes: 10 minutes, for two kernels
kernels:
  faulty: {spec: 'debsrc:6.12', patch: take-back.patch}
  mended: debsrc:6.12
tests:
  warns: {topology: 1n1l2c1t, cgroups: [a]}
"""


def test_versions_may_be_kernels_that_run_eevdf_or_one_scheduler(project: CommandProject) -> None:
    path = project.path / "bugs/warns.yaml"
    path.write_text(KERNELS)
    bug = read_bug(path)
    assert (bug.faulty, bug.mended) == (Version("eevdf", "warns.faulty"), Version("eevdf", "warns.mended"))
    assert bug.by_kernel and bug.takes == "10 minutes, for two kernels"
    assert bug.config.kernels["warns.faulty"].patches == (project.path / "bugs/take-back.patch",)
    assert bug.config.kernels["warns.mended"].patches == ()
    path.write_text(KERNELS + "scheduler: mine\nschedulers: {mine: {tree: scx_simple}}\n")
    assert read_bug(path).mended == Version("mine", "warns.mended")
    path.write_text(KERNELS + "scheduler: mien\nschedulers: {mine: {tree: scx_simple}}\n")
    with pytest.raises(InputError, match="nearest match 'mine'"):
        read_bug(path)


def test_versions_may_be_a_scheduler_and_a_kernel_each(project: CommandProject) -> None:
    path = project.path / "bugs/both.yaml"
    path.write_text(KERNELS + "schedulers: {faulty: {tree: scx_simple}, mended: {tree: scx_qmap}}\n")
    bug = read_bug(path)
    assert (bug.faulty, bug.mended) == (Version("both.faulty", "both.faulty"), Version("both.mended", "both.mended"))


def test_a_cell_is_of_the_version_whose_scheduler_and_kernel_it_has() -> None:
    def key(kernel: str, scheduler: str) -> CellKey:
        return CellKey("both", "1n1l2c1t", kernel, scheduler, 0)

    faulty = Version("both.faulty", "both.faulty")
    assert is_of(faulty, key("both.faulty", "both.faulty"))
    assert not is_of(faulty, key("both.mended", "both.faulty")) and not is_of(faulty, key("both.faulty", "eevdf"))
    assert is_of(Version("eevdf"), key("any", "eevdf"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("about: It idles.\n", "", "idles.yaml:2:1 about: found nothing, expected what went wrong"),
        ("mended_in: mine 2", "mended_in: [2]", "idles.yaml:3:12 mended_in: found a list"),
        ("'CPU [0-9]+ was idle'", "'CPU ['", "idles.yaml:4:9 reason: found 'CPU ['"),
        ("  faulty:", "  fualty:", "idles.yaml:6:3 schedulers.faulty: found nothing, expected a scheduler faulty, "
                                   "nearest match 'fualty'"),
        ("schedulers:", "kernels: {faulty: default}\nschedulers:", "idles.yaml:5:10 kernels.mended: found nothing, "
                        "expected a kernel mended"),
        ("schedulers:", "kernels: {faulty: default, mended: stable, more: default}\nschedulers:",
         "idles.yaml:5:44 kernels: found 'more', expected no kernel beside faulty and mended"),
        ("schedulers:", "scheduler: other\nschedulers:", "idles.yaml:5:1 scheduler: found 'scheduler', expected none "
                                                         "beside schedulers.faulty"),
        ("  idle:", "  more: {cgroups: [b]}\n  idle:", "idles.yaml:10:3 tests: found 2 of them, expected one test"),
        ("tests:", "abuot: x\ntests:", "idles.yaml:9:1 abuot: found 'abuot', expected one of "),
        ("tests:", "matrices: {m: {tests: idle, presets: tiny-1llc}}\ntests:", "idles.yaml:9:1 matrices: found "),
        ("    demo: true", "    compare: [faulty, mended]", ": found compare, expected no comparison"),
        ("workers: 4", "workers: many", "idles.yaml:13:34 tests.idle.cgroups[0].workers: found 'many'"),
    ],
)  # fmt: skip
def test_mistakes_have_their_place(project: CommandProject, old: str, new: str, said: str) -> None:
    assert old in YAML
    assert said in problem(project, YAML.replace(old, new, 1))


def test_a_bug_has_a_name_that_its_cells_can_have(project: CommandProject) -> None:
    path = project.path / "bugs" / f"{'x' * 49}.yaml"
    path.write_text(YAML)
    with pytest.raises(InputError, match="at most 48"):
        read_bug(path)


def test_bugs_are_meant_by_name_glob_and_part(project: CommandProject) -> None:
    for name in ("waits", "idles-long"):
        (project.path / f"bugs/{name}.yaml").write_text(YAML)
    files = bug_files(project.path)
    assert list(files) == ["idles", "idles-long", "waits"]
    assert list(chosen(files, ())) == ["idles", "idles-long", "waits"]
    assert list(chosen(files, ("idles",))) == ["idles"]
    assert list(chosen(files, ("wait", "*-long"))) == ["idles-long", "waits"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("name=idlse",), "name=idlse: found no bug of that name, expected a bug, a glob or a part of one, "
                          "nearest match 'idles'"),
        (("test=idle",), "test=idle: a bug has its own test"),
        (("scheduler=eevdf",), "scheduler=eevdf: a bug has its own scheduler"),
    ],
)  # fmt: skip
def test_what_is_asked_for_wrongly_exits_2(project: CommandProject, words: tuple[str, ...], said: str) -> None:
    done = project.doit("bugs", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and "Traceback" not in done.stderr


def test_another_kernel_is_no_word_on_versions_that_are_kernels(project: CommandProject) -> None:
    (project.path / "bugs/warns.yaml").write_text(KERNELS)
    done = project.doit("bugs", "kernel=7.2", "dry_run=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "kernel=7.2: the two versions of warns are kernels of its own" in done.stderr


def test_a_kernel_that_nobody_can_be_asked_for_exits_3(project: CommandProject) -> None:
    """debsrc:6.1, which no lock pins."""
    text = KERNELS.replace(", patch: take-back.patch", "").replace("debsrc:6.12", "debsrc:6.1")
    (project.path / "bugs/warns.yaml").write_text(text)
    done = project.doit("bugs", "name=warns", "dry_run=1", "offline=1", KTSTR_CACHE_DIR=str(project.path / "none"))
    assert (done.returncode, done.stdout) == (3, ""), done
    assert "debsrc:6.1" in done.stderr and "Traceback" not in done.stderr


def test_a_project_without_bugs_is_told_how_to_write_one(tmp_path: Path) -> None:
    done = command_project(tmp_path).doit("bugs", "dry_run=1")
    assert done.returncode == 2
    assert "bugs: found no such folder, expected bugs" in done.stderr and "docs/bugs.md" in done.stderr


def test_the_repositorys_own_can_be_read() -> None:
    bugs = [read_bug(path) for path in bug_files(ROOT).values()]
    assert [bug.name for bug in bugs if not bug.about.strip()] == []
    assert "scx_bpfland-pinned" in [bug.name for bug in bugs]


@pytest.mark.parametrize(
    ("faulty", "mended", "found", "why"),
    [
        (IDLE, Run("pass"), True, None),
        (Run("pass"), Run("pass"), False, "the faulty version passes"),
        (Run("fail", ("stuck",)), Run("pass"), False, "the faulty version fails, but no reason matches "
                                                      "'CPU [0-9]+ was idle'"),
        (IDLE, IDLE, False, "the mended version fails"),
        (Run("inconclusive", IDLE.reasons), Run("pass"), None, "the faulty version was not judged (inconclusive)"),
        (IDLE, Run("error"), None, "the mended version was not judged (error)"),
        (IDLE, Run("skip"), None, "the mended version was not judged (skip)"),
    ],
)  # fmt: skip
def test_a_bug_is_found_when_one_fails_for_the_reason_and_the_other_passes(
    faulty: Run, mended: Run, found: bool | None, why: str | None
) -> None:
    finding = finding_of(TOLD, [faulty], [mended])
    assert (finding.found, finding.why) == (found, why)


def test_of_several_seeds_one_that_shows_it_is_enough_and_one_that_fails_too_many() -> None:
    assert finding_of(TOLD, [Run("pass"), IDLE], [Run("pass"), Run("pass")]).found is True
    assert finding_of(TOLD, [Run("pass"), IDLE], [Run("pass"), Run("fail", ("x",))]).found is False


def test_the_report_has_a_row_and_the_reasons_of_each() -> None:
    findings = [finding_of(TOLD, [IDLE], [Run("pass")]), finding_of(TOLD, [Run("pass")], [Run("pass")])]
    lines = render(findings).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["BUG", "FAULTY", "MENDED", "FOUND", "AGAIN"], ["idles", "FAIL", "PASS", "yes"], ["idles", "PASS", "PASS", "NO"]
    ]  # fmt: skip
    assert "idles (mended in mine 2): It idles." in lines
    assert "  not found again: the faulty version passes" in lines
    assert lines[-1] == "1 of 2 found again"
    first = json.loads(to_json(findings))["bugs"][0]
    assert first["faulty"] == {"verdict": "fail", "reasons": list(IDLE.reasons)}
    assert (first["name"], first["found"], first["why"]) == ("idles", True, None)
