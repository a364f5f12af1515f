"""What a second run redoes, and how its cells are chosen. Costs 15 boots of one vCPU: 40 s on two cores.

One project is measured once; each test works on a copy of it, results included.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import pygit2
import pytest

from ktstr.commands.declare.registry import builtin_commands
from ktstr.commands.declare.variables import environment_name, variables_of
from ktstr.results.store import folder_name
from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = pytest.mark.e2e

YAML = """\
kernels:
  default: deb:forky/cloud-amd64
presets:
  one: 1n1l1c1t
  pair: 1n1l2c1t
tests:
  alpha:
    duration: 300ms
    cgroups:
      - {name: left, workers: 1}
      - {name: right, workers: 1}
    checks: {max_gap_ms: 1000}
  beta:
    duration: 300ms
    cgroups:
      - {name: all, workers: 4}
    checks: {max_spread_pct: 60} # they begin on the CPU where they were forked; balancing them takes tenths of seconds
matrices:
  all: {tests: [alpha, beta], presets: [one, pair]}
"""
NAMES = [f"{test}/{preset}/default/eevdf/icount-s0" for test in ("alpha", "beta") for preset in ("one", "pair")]
LONGER_ALPHA = YAML.replace("duration: 300ms", "duration: 301ms", 1)
IMPOSSIBLE_ALPHA = YAML.replace("max_gap_ms: 1000", "max_gap_ms: 0")
IMPOSSIBLE = IMPOSSIBLE_ALPHA.replace("max_spread_pct: 60", "max_spread_pct: 60, max_gap_ms: 0")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    """A project whose four cells have been run, and passed."""
    project = make_project(tmp_path_factory.mktemp("measured"), lock)
    project.write(YAML)
    code, report = project.test()
    assert code == 0, report
    assert [(c["name"], c["verdict"], c["ran"]) for c in report["cells"]] == [(n, "pass", True) for n in NAMES]
    return project


@pytest.fixture
def project(measured: UserProject, tmp_path: Path) -> UserProject:
    """A copy of it that a test may change."""
    shutil.copytree(measured.path, tmp_path, dirs_exist_ok=True)
    return UserProject(tmp_path)


def _ran(report: dict[str, Any]) -> list[str]:
    return [cell["name"] for cell in report["cells"] if cell["ran"]]


def _checkout(path: Path) -> Path:
    """A copy of ktstr itself, as a checkout, whose sources a test may edit."""
    for name in ("ktstr", "vmm_c", "schemas", "schedulers", "docs"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return path


def _schema_errors(name: str, instance: object) -> list[str]:
    schema = json.loads((ROOT / f"schemas/{name}.schema.json").read_text(encoding="utf-8"))
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(instance)]


# What is redone

AUDIT = """\
import os, sys
def _note(event, args):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind"}:
        _say(event + " " + repr(args[1:]))
    elif event in {"subprocess.Popen", "os.posix_spawn", "os.system", "os.exec"}:
        _say(event + " " + str(args[0]))
def _say(text):
    fd = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, (text + "\\n").encode())
    os.close(fd)
sys.addaudithook(_note)
_say("began")
"""


def test_a_second_run_runs_no_cell_and_makes_no_network_call(project: UserProject, tmp_path_factory: Any) -> None:
    hook = tmp_path_factory.mktemp("hook")
    (hook / "sitecustomize.py").write_text(AUDIT, encoding="utf-8")
    log = hook / "log"
    code, report = project.test(PYTHONPATH=f"{hook}:{ROOT}", AUDIT_LOG=str(log))
    assert code == 0
    assert _ran(report) == []
    events = log.read_text(encoding="utf-8").splitlines()
    assert events[0] == "began"
    # The compiler is asked for its version, which is part of the agent's digest. Nothing else is started.
    assert {Path(event.split()[1]).name for event in events[1:]} <= {"gcc"}, events
    code, report = project.test("offline=1")
    assert (code, _ran(report)) == (0, [])


def test_cells_that_are_up_to_date_need_nothing_of_what_they_were_made_of(project: UserProject, tmp_path: Path) -> None:
    """No kernel, no QEMU, no image: an empty cache, and nothing may be fetched."""
    code, report = project.test("offline=1", KTSTR_CACHE_DIR=str(tmp_path / "empty"))
    assert (code, _ran(report)) == (0, [])


def test_editing_one_test_reruns_its_cells_only_and_going_back_reruns_none(project: UserProject) -> None:
    project.write(LONGER_ALPHA)
    plan = project.doit("test", "dry_run=1").stdout.splitlines()
    assert [line.split()[0] for line in plan] == NAMES
    assert [line.partition("[")[2].partition("-")[0] for line in plan] == [
        "machine:default/one/eevdf/icount", "machine:default/pair/eevdf/icount", "", "",
    ]  # fmt: skip
    assert [line.split(maxsplit=1)[1].split(":")[0].strip() for line in plan] == ["run", "run"] + ["up to date"] * 2
    code, report = project.test()
    assert code == 0
    assert _ran(report) == [name for name in NAMES if name.startswith("alpha/")]
    project.write(YAML)
    code, report = project.test()
    assert (code, _ran(report)) == (0, [])


def test_editing_a_threshold_judges_again_without_a_boot(project: UserProject) -> None:
    project.write(IMPOSSIBLE_ALPHA)
    code, report = project.test()
    assert code == 1
    assert _ran(report) == []
    first, second, *others = [cell["verdict"] for cell in report["cells"]]
    assert others == ["pass", "pass"]
    assert {"fail"} <= {first, second} <= {"fail", "inconclusive"}  # the longest gap may be the emulator's
    for cell in report["cells"][:2]:
        assert any("limit 0 ms" in reason for reason in cell["reasons"]), cell["reasons"]
        assert not project.sidecar(cell)["passed"]
    project.write(YAML)
    code, report = project.test()
    assert (code, _ran(report)) == (0, [])
    assert report["counts"]["pass"] == 4


def test_editing_the_agent_reruns_all_and_editing_stats_or_docs_reruns_none(
    project: UserProject, tmp_path_factory: Any
) -> None:
    copy = _checkout(tmp_path_factory.mktemp("checkout"))
    with (copy / "ktstr/stats/runs.py").open("a") as file:
        file.write("\n# edited\n")
    (copy / "docs").mkdir(exist_ok=True)
    (copy / "docs/page.md").write_text("edited\n")
    code, report = project.test(PYTHONPATH=str(copy))
    assert (code, _ran(report)) == (0, [])

    with (copy / "vmm_c/guest/pid1/main.c").open("a") as file:
        file.write("\n/* edited */\n")
    plan = project.doit("test", "dry_run=1", PYTHONPATH=str(copy)).stdout.splitlines()
    assert [line.split()[1] for line in plan] == ["run:"] * 4
    code, report = project.test(PYTHONPATH=str(copy))
    assert (code, _ran(report)) == (0, NAMES)


def test_a_commit_in_the_project_reruns_none_and_names_the_new_run_directory(project: UserProject) -> None:
    repository = pygit2.init_repository(str(project.path))
    index = repository.index
    for name in ("dodo.py", "ktstr.yaml", "ktstr.lock"):
        index.add(name)
    author = pygit2.Signature("A User", "user@example.com")
    commit = repository.create_commit("HEAD", author, author, "one", index.write_tree(), [])
    index.write()
    code, report = project.test()
    assert (code, _ran(report)) == (0, [])
    for cell in report["cells"]:
        sidecar = project.sidecar(cell)
        assert f"-{str(commit)[:7]}/" in cell["sidecar"]
        assert sidecar["project_commit"] == str(commit)[:7]
        assert sidecar["measured_commit"] is None  # it was measured before there was a commit


def test_removing_one_result_reruns_one(project: UserProject) -> None:
    _, report = project.test()
    digest = project.sidecar(report["cells"][2])["input_digest"]
    shutil.rmtree(project.path / "target/ktstr/.cells" / folder_name(digest))
    code, report = project.test()
    assert (code, _ran(report)) == (0, [NAMES[2]])


@pytest.mark.parametrize("damage", ["", "{", '{"version": 1}'])
def test_a_damaged_result_is_measured_again(project: UserProject, damage: str) -> None:
    _, report = project.test()
    digest = project.sidecar(report["cells"][0])["input_digest"]
    record = project.path / "target/ktstr/.cells" / folder_name(digest) / "record.json"
    record.write_text(damage)
    assert "run: " in project.doit("test", "dry_run=1", "test=alpha", "preset=one").stdout
    if damage == "{":  # one boot is enough: the three differ in reading only
        code, report = project.test()
        assert (code, _ran(report)) == (0, [NAMES[0]])


def test_doits_database_is_a_cache_that_may_be_deleted_or_damaged(project: UserProject) -> None:
    database = project.path / "target/ktstr/.state/doit.json"
    assert database.is_file()
    database.unlink()
    code, report = project.test()
    assert (code, _ran(report)) == (0, [])
    database.write_text('{"agent": {"deps:": [')
    code, report = project.test()
    assert (code, _ran(report)) == (0, [])


# What is chosen


def test_dry_run_says_why_and_runs_nothing(project: UserProject) -> None:
    done = project.doit("test", "dry_run=1", "seed=5")
    assert done.returncode == 0
    assert [line.split()[1:3] for line in done.stdout.splitlines()] == [["run:", "no"]] * 4
    done = project.doit("test", "dry_run=1", "rerun=1", "test=alpha", "preset=one")
    assert done.stdout.startswith(f"{NAMES[0]}  run: rerun=1  [machine:default/one/eevdf/icount-")
    assert len(done.stdout.splitlines()) == 1
    assert len(list((project.path / "target/ktstr/.cells").glob("*/record.json"))) == 4


def test_failed_selects_what_did_not_pass_last_time(project: UserProject) -> None:
    project.write(IMPOSSIBLE_ALPHA)
    assert project.test()[0] == 1
    code, report = project.test("failed=1")
    assert (code, [cell["name"] for cell in report["cells"]], _ran(report)) == (1, NAMES[:2], [])
    project.write(YAML)
    code, report = project.test("failed=1")
    assert (code, [cell["verdict"] for cell in report["cells"]]) == (0, ["pass", "pass"])
    done = project.doit("test", "failed=1")
    assert done.returncode == 2
    assert "failed=1" in done.stderr


def test_shards_partition_the_cells(project: UserProject) -> None:
    shards = [project.test(f"shard={i}/2") for i in (1, 2)]
    assert [code for code, _ in shards] == [0, 0]
    parts = [{cell["name"] for cell in report["cells"]} for _, report in shards]
    assert parts[0] | parts[1] == set(NAMES)
    assert not parts[0] & parts[1]
    assert [len(part) for part in parts] == [2, 2]


def test_maxfail_starts_no_more_cells(project: UserProject) -> None:
    project.write(IMPOSSIBLE)
    code, report = project.test("maxfail=1", "jobs=1")
    assert code == 1
    assert report["counts"]["fail"] == 1
    assert report["counts"]["not run"] == 3


def test_seeds_expand_and_perturb_differently(project: UserProject) -> None:
    code, report = project.test("test=alpha", "preset=pair", "seeds=1..3")
    assert code == 0
    assert [cell["name"][-2:] for cell in report["cells"]] == ["s1", "s2", "s3"]
    sidecars = [project.sidecar(cell) for cell in report["cells"]]
    assert [sidecar["seed"] for sidecar in sidecars] == [1, 2, 3]
    perturbations = {json.dumps(sidecar["perturbations"], sort_keys=True) for sidecar in sidecars}
    assert len(perturbations) == 3


def test_a_single_cell_can_be_named(project: UserProject) -> None:
    done = project.doit(f"cell:{NAMES[1]}", "rerun=0")
    assert done.returncode == 0, done.stderr
    done = project.doit("cell:alpha/nosuch")
    assert done.returncode == 2
    assert "cell:alpha/nosuch" in done.stderr


# What is said


def test_json_and_junit_agree_and_validate(project: UserProject) -> None:
    project.write(IMPOSSIBLE_ALPHA)
    code, report = project.test("junit=out/junit.xml")
    assert code == 1
    assert _schema_errors("test_output", report) == []
    suite = ET.parse(project.path / "out/junit.xml").getroot()
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "2", "errors": "0", "skipped": "0",
    }  # fmt: skip
    cases = [f"{case.get('classname')}/{case.get('name')}" for case in suite.iter("testcase")]
    assert cases == NAMES
    for cell in report["cells"]:
        assert _schema_errors("sidecar", project.sidecar(cell)) == []


def test_the_table_names_the_files_and_the_command_of_a_failed_cell(project: UserProject) -> None:
    project.write(IMPOSSIBLE_ALPHA)
    done = project.doit("test")
    assert done.returncode == 1
    lines = [line.split() for line in done.stdout.splitlines()]
    named = [words[1] for words in lines if words and words[0] in ("sidecar", "file")]
    assert named
    assert all((project.path / name).is_file() for name in named)
    commands = [words[1:] for words in lines if words and words[0] == "reproduce"]
    assert len(commands) == 2
    again = project.doit(*commands[0][1:], "dry_run=1")
    assert again.stdout.split()[0] == NAMES[0]
    assert len(again.stdout.splitlines()) == 1


def test_stats_list_lists_the_run_directory(project: UserProject) -> None:
    done = project.doit("stats_list", "json=1")
    assert done.returncode == 0
    rows = json.loads(done.stdout)
    assert _schema_errors("stats_list", rows) == []
    folders = [p.name for p in (project.path / "target/ktstr").iterdir() if not p.name.startswith(".")]
    text = project.doit("stats_list").stdout
    assert len(folders) == 1
    assert text.splitlines()[1].split()[:2] == [folders[0], "4"]


def test_show_thresholds_says_where_each_came_from(project: UserProject) -> None:
    done = project.doit("show_thresholds", "test=alpha")
    assert done.returncode == 0
    found = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.startswith("max_")}
    assert found["max_gap_ms"] == ["max_gap_ms", "1000", "ms", "test"]
    assert found["max_spread_pct"][-1] == "default"
    done = project.doit("show_thresholds", "test=alhpa")
    assert done.returncode == 2
    assert "nearest match 'alpha'" in done.stderr


def test_doctor_validates_against_its_schema(project: UserProject) -> None:
    done = project.doit("doctor", "json=1")
    found = json.loads(done.stdout)
    assert _schema_errors("doctor", found) == []
    assert done.returncode == (0 if found["ok"] else 3)
    for finding in found["findings"]:
        assert finding["ok"] is not False or finding["fix"]


def test_list_fits_80_columns_and_describes_every_line(project: UserProject) -> None:
    done = project.doit("list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines) <= 80
    tasks = [line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("   ")]
    assert set(tasks) == set(builtin_commands())
    assert all(len(line.split()) > 1 or line.endswith(":") for line in lines if not line.startswith("    "))


@pytest.mark.parametrize("arguments", [("list",), ("test", "dry_run=1")])
def test_loading_the_graph_imports_no_heavy_package(project: UserProject, arguments: tuple[str, ...]) -> None:
    program = (
        "import sys; from ktstr.tasks.main import main; code = main(sys.argv[1:]);"
        "print([m for m in ('pandas', 'drgn', 'scipy', 'rich', 'requests') if m in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=project.path, env=project.environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "[] 0"


@pytest.mark.parametrize("task", sorted(builtin_commands()))
def test_help_shows_each_variable_with_its_environment_name(project: UserProject, task: str) -> None:
    done = project.doit("help", task)
    assert done.returncode == 0
    words = done.stdout.split()
    for name, var in variables_of(builtin_commands()[task].options).items():
        assert f"{name}=" in words
        assert (f"({environment_name(name)})" in words) == var.environment
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_kernel_arguments_make_another_cell_and_two_names_of_one_scheduler_do_not_stop_each_other(
    tmp_path: Path, lock: str
) -> None:
    project = make_project(tmp_path, lock)
    source = ROOT / "schedulers/scx_ktstr"
    declared = f"schedulers: {{one: {{source: {source}}}, two: {{source: {source}}}}}\n"
    project.write(YAML.replace("presets:\n", f"{declared}presets:\n"))
    selected = ("test=alpha", "preset=one", "scheduler=one,two")
    code, report = project.test(*selected)
    assert (code, [cell["verdict"] for cell in report["cells"]]) == (0, ["pass", "pass"]), report
    changed = YAML.replace(
        "duration: 300ms", "duration: 300ms\n    sysctls: {kernel.sched_cfs_bandwidth_slice_us: 4000}", 1
    )
    project.write(changed.replace("presets:\n", f"{declared}presets:\n"))
    code, report = project.test(*selected)
    assert (code, [cell["ran"] for cell in report["cells"]]) == (0, [True, True]), report
