"""Schedulers that a command makes, that must not pass, and that are no program; what each is told.

Cost: five guests of 2 vCPUs, about 40 s. Slow: the kernel's own schedulers, whose sources are 160 MB to fetch and 1.8
GB on disk.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ktstr.scenarios.program import AddCgroup, Cgroup, Op, Program, Read, RemoveCgroups
from tests.e2e.conftest import ROOT, UserProject
from tests.e2e.programs import Guests, S, op_errors, read_by

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SOURCE = ROOT / "schedulers" / "scx_ktstr"
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers:
  told:
    build: {{command: [make, -s, scx_told], inputs: [told.c, Makefile], output: scx_told}}
    config: conf/layers.json
    cgroup_parent: /cells/mine
    args: [-v]
    expect: {{end: refused, message: 'argument 5: -v'}}
  stalls:
    source: {SOURCE}
    args: [--stall-after, 0, --timeout-ms, 500]
    expect: {{end: stalls, message: 'failed to run for \\d'}}
  fine: {{source: {SOURCE}, expect: stalls}}
  tuned:
    builtin: eevdf
    enable: {{/sys/kernel/debug/sched/base_slice_ns: 3000000, /proc/sys/kernel/sched_schedstats: 1}}
    disable: {{/proc/sys/kernel/sched_schedstats: 0}}
  untuned: {{builtin: eevdf, enable: {{/proc/sys/kernel/sched_schedstats: 7}}}}
presets: {{pair: 1n1l2c1t}}
tests:
  busy: {{duration: 500ms, checks: {{max_spread_pct: 100}}, cgroups: [{{name: spin, workers: 4}}]}}
"""


def test_what_must_not_pass_does_by_failing_and_what_a_scheduler_is_told(project: UserProject) -> None:
    (project.path / "conf").mkdir()
    (project.path / "conf/layers.json").write_text('[{"name": "all"}]\n')
    shutil.copy(ROOT / "tests/e2e/told.c", project.path)
    (project.path / "Makefile").write_text("scx_told: told.c\n\t$(CC) -Wall -Werror -o $@ $<\n")
    project.write(YAML)
    code, found = project.test("test=busy", "preset=pair", "scheduler=told,stalls,fine,tuned,untuned")
    assert code == 1, found
    cells = {cell["name"].split("/")[3]: cell for cell in found["cells"]}
    sidecars = {name: project.sidecar(cell) for name, cell in cells.items()}
    assert {name: (cell["verdict"], sidecars[name]["expected_failure"]) for name, cell in cells.items()} == {
        "told": ("pass", True),
        "stalls": ("pass", True),
        "fine": ("fail", False),
        "tuned": ("pass", False),
        "untuned": ("inconclusive", False),
    }, found
    assert cells["fine"]["reasons"][0] == (
        "expected the scheduler to be evicted by the kernel's watchdog, but it attached, ran to the end and detached"
    )
    assert cells["untuned"]["reasons"][0] == (
        "a step of the scenario failed in the guest: cannot write 7 to /proc/sys/kernel/sched_schedstats:"
        " Invalid argument"
    )
    assert sidecars["told"]["resolve_source"] == "auto_built"
    (log,) = [Path(project.path / file) for file in cells["told"]["files"] if file.endswith("sched.log")]
    assert log.read_text().splitlines() == [
        "argument 1: --config",
        "argument 2: /sched/files/conf/layers.json",
        "argument 3: --cell-parent-cgroup",
        "argument 4: /cells/mine",
        "argument 5: -v",
        '/sched/files/conf/layers.json: [{"name": "all"}]',
        "/sys/fs/cgroup/cells/mine/cgroup.subtree_control: cpuset cpu",
    ]


def test_a_scenario_s_cgroups_are_made_below_the_parent_which_stays(guests: Guests, tmp_path: Path) -> None:
    parent = "/sys/fs/cgroup/cells/mine"
    inside, above = Read(f"{parent}/a/b/cgroup.controllers"), Read("/sys/fs/cgroup/cells/cgroup.subtree_control")
    gone, stays = Read(f"{parent}/a/cgroup.procs", on_error="record"), Read(f"{parent}/cgroup.controllers")
    ours = Read("/sys/fs/cgroup/ktstr/cgroup.procs", on_error="record")
    ops: tuple[Op, ...] = (above, AddCgroup(0), inside, RemoveCgroups(), gone, stays, ours)
    program = Program(0, 20 * S, cgroups=(Cgroup("a/b"),), ops=ops)
    record = guests.run(tmp_path, program, cgroup_parent="/cells/mine")
    assert record.errors == ()
    assert "cpuset" in read_by(record, program, inside)[0].split()
    assert set(read_by(record, program, above)[0].split()) == {"cpuset", "cpu"}
    assert op_errors(record, program, gone) and op_errors(record, program, ours)
    assert read_by(record, program, stays)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kernel", ["default", "debsrc:7.2", "debsrc:6.12"])
def test_a_kernel_s_own_scheduler_is_built_from_its_own_sources(project: UserProject, kernel: str) -> None:
    project.write(YAML)
    command = ("test=busy", "preset=pair", "scheduler=tree:scx_simple", f"kernel={kernel}")
    done = project.doit("test", "json=1", *command, timeout=7000)
    (cell,) = json.loads(done.stdout)["cells"]
    assert (done.returncode, cell["verdict"]) == (0, "pass"), done.stderr
    assert cell["name"].split("/")[3] == "scx_simple"
    sidecar = project.sidecar(cell)
    assert [event["kind"] for event in sidecar["sched_events"]] == ["started", "attached", "detached"]
