"""The fixture scx_ktstr, wrong on demand: each switch is caught and rightly named, and without one nothing is found.

Costs eight clones and five machines of 2 vCPUs. Slow: every switch, 20 seeds of each.
"""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SWITCHES = {
    "fair": "",
    "stalls": "--stall-after, 0, --timeout-ms, 500",
    "fails": "--error-after, 0",
    "starves": "--starve, spin, --timeout-ms, 30000",
    "widens": "--ignore-cpuset, pinned",
    "misplaces": "--ignore-affinity",
    "refused": "--fail-verify, --quiet",
    "refused_map": "--fail-map, --quiet",
    "refused_kfunc": "--fail-kfunc",
    "loses": "--lose-wakeups, 3, --timeout-ms, 20000",
    "degrades": "--degrade-after, 3",
    "slow": "--slow-dispatch, 2000",
    "floods": "--flood-local",
    "leaks": "--leak-dsq",
    "loops": "--verify-loop, 20000",
    "prints": "--print",
}
_DECLARED = "".join(
    f"  {name}: {{source: {ROOT / 'schedulers' / 'scx_ktstr'}, args: [{args}]}}\n" for name, args in SWITCHES.items()
)
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers:
{_DECLARED}
  other: {{source: other/scx_ktstr, args: [--print], files: [other/scx_ktstr/README.md], env: {{A: b}}}}
presets: {{pair: 1n1l2c1t}}
tests:
  busy:
    duration: 3s
    cgroups:
      - {{name: spin, workers: 2}}
      - {{name: pipes, work: PipeIo, workers: 2}}
      - {{name: pinned, workers: 1, cpuset: {{exact: 0}}}}
    checks: {{isolation: true, max_gap_ms: 2000, max_spread_pct: 100}}
  sleepers: # fewer than CPUs but for one: whoever wakes finds one that idles
    duration: 3s
    cgroups: [{{name: left, work: Bursty, workers: 3, burst: 5ms, sleep: 20ms}}]
    checks: {{not_starved: false}}
  forks:
    duration: 2s
    cgroups: [{{name: left, work: ForkExit, workers: 3}}]
  turns:
    duration: 3s
    cgroups: [{{name: left, workers: 4}}]
    temporal: [never longest_wait_ms > 24]
  reloads:
    duration: 1s
    cgroups: [{{name: spin, workers: 4}}]
    scheduler_ops:
      - {{at: 200ms, op: detach}}
      - {{at: 400ms, op: attach}}
      - {{at: 600ms, op: restart}}
      - {{at: 800ms, op: replace, args: [--slice-us, 2000]}}
      - {{at: 900ms, op: replace, scheduler: other}}
"""
# By switch: the test that it shows in, the kind of the first reason for it, and words of that.
CAUGHT = {
    "stalls": ("busy", "Evicted", "the kernel's watchdog evicted the scheduler (runnable task stall)"),
    "fails": ("busy", "Evicted", "scx_ktstr was asked to fail after 0 ms"),
    "starves": ("busy", "Stuck", "cgroup spin: worker "),
    "widens": ("busy", "Isolation", "ran on CPU 1, limit: cpuset 0"),
    "misplaces": ("busy", "Evicted", "target CPU 1 not allowed for"),
    "refused": (
        "busy",
        "SchedulerDied",
        "the kernel refused BPF_PROG_LOAD of ktstr_dispatch (Permission denied)",
        "R1 invalid mem access 'scalar'; it said nothing",
    ),
    "refused_map": ("busy", "SchedulerDied", "the kernel refused BPF_MAP_CREATE of refused_map", "4294967295 entries"),
    "refused_kfunc": (
        "busy", "SchedulerDied", "the kernel refused BPF_PROG_LOAD of ktstr_dispatch", "scx_bpf_ktstr_missing",
    ),
    "loses": ("sleepers", "Invariant", "work conservation: CPU ", " in DSQ 0x2: "),
    "degrades": ("turns", "Temporal", "never longest_wait_ms > 24: longest_wait_ms was "),
    "slow": ("busy", "Callback", "callback ktstr_dispatch: ", " on average, limit 1000 us (max_callback_us, default)"),
    "floods": ("busy", "Invariant", "work conservation: CPU 1 was idle from ", "in CPU 0's local DSQ"),
    "leaks": ("forks", "Invariant", "DSQ leak: the scheduler had ", "(max_dsq_growth, default)"),
}  # fmt: skip
IN_CI = ("refused", "leaks", "degrades")  # others: test_watching, test_failure_dump, test_verifier; slow: all
FINE = ("fair", "loops", "prints")  # of those that run, what no check of a run is about


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    made = make_project(tmp_path_factory.mktemp("faults"), lock)
    made.write(YAML)
    folder = made.path / "other" / "scx_ktstr"  # another program, by the name that it gives its ops
    shutil.copytree(ROOT / "schedulers" / "scx_ktstr", folder)
    bpf = folder / "scx_ktstr.bpf.c"
    bpf.write_text(bpf.read_text(encoding="utf-8").replace('"ktstr"', '"other"'), encoding="utf-8")
    return made


def run(project: UserProject, test: str, *schedulers: str, seeds: str = "1..1") -> list[dict[str, Any]]:
    where = (f"test={test}", "preset=pair", "accel=icount", f"scheduler={','.join(schedulers)}", f"seeds={seeds}")
    _, found = project.test(*where)
    cells: list[dict[str, Any]] = found["cells"]
    return cells


def check_caught(project: UserProject, cell: dict[str, Any]) -> None:
    """The first reason of the fault's kind has its words."""
    _, kind, *words = CAUGHT[cell["name"].split("/")[3]]
    assert cell["verdict"] == "fail", cell
    reasons = [reason for reason in project.sidecar(cell)["reasons"] if reason["kind"] == kind]
    assert reasons, cell
    for word in words:
        assert word in reasons[0]["message"]


@pytest.mark.parametrize("scheduler", IN_CI)
def test_a_fault_is_caught_and_named(project: UserProject, scheduler: str) -> None:
    (cell,) = run(project, CAUGHT[scheduler][0], scheduler)
    check_caught(project, cell)


def test_without_a_switch_nothing_is_found(project: UserProject) -> None:
    cells = run(project, "busy,sleepers,forks,turns", "fair")
    assert [(cell["verdict"], cell["reasons"]) for cell in cells] == [("pass", [])] * 4


def test_a_scheduler_is_reloaded_within_a_run_as_declared(project: UserProject) -> None:
    (cell,) = run(project, "reloads", "prints")
    assert (cell["verdict"], cell["reasons"]) == ("pass", [])
    sidecar = project.sidecar(cell)
    assert [event["kind"] for event in sidecar["sched_events"]] == ["started", "attached", "detached"] * 5
    attached = [event["text"] for event in sidecar["sched_events"] if event["kind"] == "attached"]
    assert attached == [*["ktstr"] * 4, "other"]
    started = [event["text"] for event in sidecar["sched_events"] if event["kind"] == "started"]
    assert started == [*["/sched/bin/scx_ktstr"] * 4, "/sched/other/other/bin/scx_ktstr"]
    (printed,) = [project.path / name for name in cell["files"] if name.endswith("sched.printk")]
    assert "bpf_trace_printk: scx_ktstr: dispatch on CPU " in printed.read_text(encoding="utf-8")


def test_a_kernel_without_sched_ext_is_an_error_that_says_so(project: UserProject) -> None:
    """Of a kernel that has it, its start is left out."""
    without = 'default: {spec: "deb:forky/cloud-amd64", kargs: ["initcall_blacklist=scx_init"]}'
    project.write(YAML.replace('default: "deb:forky/cloud-amd64"', without))
    done = project.doit("test", "test=busy", "preset=pair", "scheduler=fair")
    project.write(YAML)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 3, said
    assert "this kernel has no sched_ext: /sys/kernel/sched_ext/state is absent" in said


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_fault_of_twenty_seeds_is_caught_and_named(project: UserProject) -> None:
    for scheduler, (test, *_) in CAUGHT.items():
        cells = run(project, test, scheduler, seeds="1..20")
        assert len(cells) == 20
        for cell in cells:
            check_caught(project, cell)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_is_not_wrong_is_not_found(project: UserProject) -> None:
    cells = run(project, "busy,sleepers,forks,turns", *FINE, seeds="1..5")
    assert len(cells) == 4 * 3 * 5
    assert {cell["name"]: cell["reasons"] for cell in cells if cell["verdict"] != "pass"} == {}
