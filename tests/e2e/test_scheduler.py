"""Schedulers under test, for real: one that works, one that stalls, one that dies, and what is none.

Cost: five guests of 2 vCPUs, about 40 s. Slow: twenty seeds of each, about four minutes.
"""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SOURCE = ROOT / "schedulers" / "scx_ktstr"
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers:
  scx_ktstr: {{source: {SOURCE}}}
  stalls: {{source: {SOURCE}, args: [--stall-after, 0, --timeout-ms, 500]}}
  dies: {{path: ./dies_at_load}}
  missing: {{path: ./no_such_file}}
  script: {{path: ./script}}
  plain: {{path: ./plain}}
  lacks: {{path: ./lacks}}
presets: {{pair: 1n1l2c1t}}
tests:
  busy:
    duration: 1s
    cgroups:
      - {{name: spin, workers: 4}}
      - {{name: pipes, work: PipeIo, workers: 2}}
    checks: {{max_spread_pct: 25}}
"""
WHERE = ("test=busy", "preset=pair", "accel=icount")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    folder = tmp_path_factory.mktemp("scheduler")
    made = make_project(folder, lock)
    made.write(YAML)
    source = ROOT / "tests" / "schedulers" / "dies_at_load.c"
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", str(folder / "dies_at_load"), str(source)], check=True)
    (folder / "script").write_text("#!/bin/sh\nexec true\n", encoding="utf-8")
    (folder / "script").chmod(0o755)
    (folder / "plain").write_bytes((folder / "dies_at_load").read_bytes())
    gone = folder / "libgone.so"
    empty = ("-x", "c", "/dev/null", "-shared", "-Wl,-soname,libgone.so", "-o", str(gone))
    subprocess.run(["gcc", *empty], check=True)
    needing = ("-Wl,--no-as-needed", str(gone), "-o", str(folder / "lacks"))
    subprocess.run(["gcc", str(source), *needing], check=True)
    gone.unlink()
    return made


def run(project: UserProject, scheduler: str, seeds: int) -> tuple[int, list[dict[str, Any]]]:
    code, found = project.test(*WHERE, f"scheduler={scheduler}", f"seeds=1..{seeds}")
    assert len(found["cells"]) == seeds
    return code, found["cells"]


def works(project: UserProject, seeds: int) -> None:
    code, cells = run(project, "scx_ktstr", seeds)
    assert {cell["name"]: cell["reasons"] for cell in cells if cell["verdict"] != "pass"} == {}
    assert code == 0
    for cell in cells:
        events = [event["kind"] for event in project.sidecar(cell)["sched_events"]]
        assert events == ["started", "attached", "detached"], cell["name"]


def stalls(project: UserProject, seeds: int) -> None:
    code, cells = run(project, "stalls", seeds)
    assert code == 1
    for cell in cells:
        assert cell["verdict"] == "fail", cell
        (reason,) = [r for r in project.sidecar(cell)["reasons"] if r["kind"] == "Evicted"]
        assert "the kernel's watchdog evicted the scheduler (runnable task stall)" in reason["message"]
        # The kernel's own words, from its log: who, and why.
        assert 'sched_ext: BPF scheduler "ktstr" disabled (runnable task stall)' in reason["message"]
        assert "failed to run for" in reason["message"]


def test_scx_ktstr_passes_and_detaches(project: UserProject) -> None:
    works(project, 3)


def test_a_stall_is_named_and_the_kernel_quoted(project: UserProject) -> None:
    stalls(project, 1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_scx_ktstr_passes_twenty_seeds_of_twenty(project: UserProject) -> None:
    works(project, 20)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_stall_of_twenty_is_named(project: UserProject) -> None:
    stalls(project, 20)


def test_a_binary_that_dies_at_load_shows_its_last_words(project: UserProject) -> None:
    code, (cell,) = run(project, "dies", 1)
    assert (code, cell["verdict"]) == (1, "fail")
    (reason,) = [r for r in project.sidecar(cell)["reasons"] if r["kind"] == "SchedulerDied"]
    assert "at load, before it attached" in reason["message"]
    assert "exit status 7" in reason["message"]
    assert "the verifier rejected dispatch: R1 invalid mem access 'scalar'" in reason["message"]
    assert "dies_at_load: last words" in reason["message"]
    (log,) = [project.path / name for name in cell["files"] if name.endswith("sched.log")]
    assert log.read_text(encoding="utf-8").splitlines()[0] == "dies_at_load: loading"


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ("missing", "found no such file"),
        ("script", "found a script (the guest has no shell)"),
        ("plain", "is not executable"),
        ("lacks", "libgone.so"),
    ],
)
def test_what_is_no_program_is_refused_before_a_machine_starts(project: UserProject, scheduler: str, said: str) -> None:
    done = project.doit("test", *WHERE, f"scheduler={scheduler}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        said in done.stderr and str(project.path / {"missing": "no_such_file"}.get(scheduler, scheduler)) in done.stderr
    )
    assert f"ktstr.yaml:{line_of(scheduler)}:" in done.stderr
    assert "Traceback" not in done.stderr


def line_of(scheduler: str) -> int:
    """Where the YAML declares it, counted from 1."""
    return next(n for n, line in enumerate(YAML.splitlines(), 1) if line.strip().startswith(f"{scheduler}:"))
