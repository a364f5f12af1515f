"""Failure dumps of schedulers that go wrong on demand, under counted instructions: what they name is what the kernel's
own dump and memory read from outside say, independently, of the same machine.

Cost: five machines loaded and eight clones, about 90 s.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SOURCE = ROOT / "schedulers" / "scx_ktstr"
SCHEMA = json.loads((ROOT / "schemas/failure_dump.schema.json").read_text())
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers:
  scx_ktstr: {{source: {SOURCE}}}
  uncounted: {{source: {SOURCE}, sysctls: {{kernel.bpf_stats_enabled: 0}}}}
  starves: {{source: {SOURCE}, args: [--starve, victims, --timeout-ms, 600]}}
  stalls: {{source: {SOURCE}, args: [--stall-after, 1, --timeout-ms, 500]}}
  fails: {{source: {SOURCE}, args: [--error-after, 1]}}
  refused: {{source: {SOURCE}, args: [--fail-verify]}}
tests:
  mixed:
    duration: 3s
    cgroups:
      - {{name: victims, workers: 3}}
      - {{name: others, workers: 3}}
"""
WHERE = ("test=mixed", "preset=tiny-1llc", "accel=icount")
TICK_MS = 4  # CONFIG_HZ=250


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    made = make_project(tmp_path_factory.mktemp("dumps"), lock)
    made.write(YAML)
    return made


def run(project: UserProject, scheduler: str, *more: str) -> tuple[dict[str, Any], str, list[str]]:
    """The failed cell's dump, what standard error said, and the cell's files."""
    done = project.doit("test", "json=1", *WHERE, f"scheduler={scheduler}", *more)
    assert done.returncode == 1, done.stderr
    (cell,) = json.loads(done.stdout)["cells"]
    (path,) = [file for file in cell["files"] if file.endswith(".failure-dump.json")]
    found: dict[str, Any] = json.loads((project.path / path).read_text())
    jsonschema_rs.Draft202012Validator(SCHEMA).validate(found)
    return found, done.stderr, [*cell["files"], cell["sidecar"]]


@pytest.fixture(scope="module")
def starved(project: UserProject) -> tuple[dict[str, Any], str, list[str]]:
    return run(project, "starves")


def by_pid(snapshot: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {task["pid"]: task for task in snapshot["waiting"]}


def test_a_stall_is_told_on_the_first_lines_by_cpu_task_wait_and_queue(starved: Any) -> None:
    dump, stderr, _ = starved
    told = " ".join(stderr[stderr.index("BUG SUMMARY:") :].split())
    found = re.match(
        r"BUG SUMMARY: ktstr stalled: task (\S+)\[(\d+)\] waited (\d+\.\d{3}) s and did not run, in DSQ (0x[0-9a-f]+)"
        r" with 2 other tasks, on the runqueue of CPU (\d), which ",
        told,
    )
    assert found is not None, told
    task = by_pid(dump["late"])[int(found[2])]
    # The kernel's own words of the same exit, which come by another way (its log).
    (words,) = [line for line in dump["kernel_log"] if "failed to run for" in line]
    assert f"{found[1]}[{found[2]}] failed to run for {found[3]}s" in words
    assert (task["dsq"], task["cpu"], task["comm"]) == (found[4], int(found[5]), found[1])
    assert task["dsq"] == "0x1"  # STARVED_DSQ of the fixture
    assert dump["exit"]["cpu"] == task["cpu"]
    assert 600 <= task["waited_ms"] <= 900 + TICK_MS  # the watchdog looks every half of the timeout


def test_what_memory_shows_early_is_what_the_kernel_itself_dumps_later(starved: Any) -> None:
    dump, _, _ = starved
    early, late = dump["early"], dump["late"]
    assert (early["source"], late["source"]) == ("guest_memory", "sched_ext_dump")
    before, after = by_pid(early), by_pid(late)
    victims = [pid for pid, task in after.items() if task["dsq"] == "0x1"]
    assert len(victims) == 3
    early_victims = [pid for pid in victims if pid in before]  # one may still run where nobody else is to
    assert len(early_victims) >= 2
    gaps = {after[pid]["waited_ms"] - before[pid]["waited_ms"] for pid in early_victims}
    assert max(gaps) - min(gaps) <= TICK_MS  # all waited on, for the same time
    for pid in early_victims:
        for fact in ("comm", "cpu", "dsq", "where", "allowed_cpus", "weight", "slice_ns", "vtime", "owner", "state"):
            assert before[pid][fact] == after[pid][fact], fact
    assert max(task["waited_ms"] for task in before.values()) >= 300  # half of the timeout
    (queue,) = [queue for queue in early["dsqs"] if queue["id"] == "0x1"]
    assert sorted(queue["pids"]) == sorted(early_victims) and queue["depth"] == len(early_victims)
    assert {cpu["cpu"] for cpu in early["cpus"]} == {0, 1, 2, 3}


def test_an_early_dump_has_programs_maps_registers_and_stacks(starved: Any) -> None:
    early = starved[0]["early"]
    assert early["unavailable"] == {}
    programs = {program["callback"]: program for program in early["programs"]}
    assert {"enqueue", "dispatch", "select_cpu", "init", "exit"} <= programs.keys()
    assert all(program["verified_insns"] > 0 for program in programs.values())
    assert starved[0]["verifier_stats"] == [
        {"name": program["name"], "verified_insns": program["verified_insns"]} for program in early["programs"]
    ]
    (rodata,) = [found for found in early["maps"] if found["name"].endswith(".rodata")]
    assert rodata["entries"][0]["value"]["starved_cgroup"] == "victims"
    assert [len(each["rip"]) > 2 for each in early["registers"]] == [True] * 4
    stacks = [cpu["current"]["stack"] for cpu in early["cpus"]]
    assert any(stack == ["(in user space)"] for stack in stacks) and all(stacks)


def test_dumps_of_reruns_are_the_same_bytes_and_lie_beside_the_sidecar(project: UserProject, starved: Any) -> None:
    _, _, files = starved
    (path,) = [project.path / file for file in files if file.endswith(".failure-dump.json")]
    first = path.read_bytes()
    for _ in range(2):
        run(project, "starves", "rerun=1")
        assert path.read_bytes() == first
    sidecar = project.path / files[-1]
    beside = sidecar.with_name(sidecar.name.replace(".ktstr.json", ".failure-dump.json"))
    assert beside.read_bytes() == first
    assert beside.with_suffix(".txt").read_text().startswith("BUG SUMMARY: ktstr stalled: task worker/")


def test_a_cell_with_nothing_to_do_still_tells_and_brings_back_a_copy_that_was_removed(
    project: UserProject, starved: Any
) -> None:
    beside = (project.path / starved[2][-1]).parent
    shutil.rmtree(beside)
    _, stderr, _ = run(project, "starves")
    assert "BUG SUMMARY: ktstr stalled" in stderr
    assert sorted(path.suffix for path in beside.glob("*.failure-dump.*")) == [".json", ".txt"]


def test_an_error_exit_names_the_message_and_the_program(project: UserProject) -> None:
    dump, stderr, _ = run(project, "fails")
    told = " ".join(stderr.split())
    assert re.search(
        r"BUG SUMMARY: ktstr was ended by the kernel: scx_bpf_error: scx_ktstr was asked to fail after 1000 ms, in the"
        r" BPF program ktstr_dispatch on CPU \d\.",
        told,
    ), told
    assert (dump["exit"]["kind"], dump["is_placeholder"]) == ("error_bpf", False)


def test_one_that_is_refused_leaves_a_placeholder_with_the_verifiers_words(project: UserProject) -> None:
    dump, stderr, _ = run(project, "refused")
    assert (dump["is_placeholder"], dump["stage"], dump["late"]) == (True, "scheduler_started", None)
    assert "R1 invalid mem access 'scalar'" in dump["summary"]
    assert dump["unavailable"]["programs"] == "the scheduler never attached"
    assert "BUG SUMMARY: refused's process ended before it attached" in " ".join(stderr.split())
    shown = stderr.partition("--- what the kernel refused ---\n")[2].splitlines()[:10]
    assert "  R1 invalid mem access 'scalar'" in shown and any("@ faults.bpf.h:" in line for line in shown)


def test_of_several_failed_cells_the_first_is_told_whole_and_the_others_in_a_sentence(project: UserProject) -> None:
    done = project.doit("test", *WHERE, "scheduler=starves,fails")
    assert done.stderr.count("BUG SUMMARY:") == 2
    assert done.stderr.count("--- waiting tasks ---") == 1
    second = done.stderr[done.stderr.rindex("BUG SUMMARY:") :]
    named = re.search(r": (target/\S+\.failure-dump\.txt)$", second, re.MULTILINE)
    assert named is not None and (Path(project.path) / named[1]).exists()
    assert "BUG SUMMARY" not in done.stdout


def test_a_scheduler_that_is_well_leaves_none_and_its_sidecar_says_what_was_verified(project: UserProject) -> None:
    done = project.doit("test", "json=1", *WHERE, "scheduler=scx_ktstr")
    (cell,) = json.loads(done.stdout)["cells"]
    assert not [file for file in cell["files"] if "failure-dump" in file]
    assert "BUG SUMMARY" not in done.stderr
    stats = {row["name"]: row["verified_insns"] for row in project.sidecar(cell)["verifier_stats"]}
    assert {"ktstr_enqueue", "ktstr_dispatch", "ktstr_init"} <= stats.keys() and min(stats.values()) > 0


def test_a_sidecar_has_the_callbacks_profile_and_without_run_counts_has_none(project: UserProject) -> None:
    profiles = {}
    for scheduler in ("scx_ktstr", "uncounted"):
        done = project.doit("test", "json=1", *WHERE, f"scheduler={scheduler}")
        (cell,) = json.loads(done.stdout)["cells"]
        profiles[scheduler] = project.sidecar(cell)["monitor"].get("prog_stats_deltas", [])
    assert profiles["uncounted"] == []
    dispatch = {row["name"]: row for row in profiles["scx_ktstr"]}["ktstr_dispatch"]
    assert dispatch["cnt"] > 100  # six spinners on four CPUs, in turns of 10 ms, for 3 s
    assert dispatch["nsecs_per_call"] == pytest.approx(dispatch["nsecs"] / dispatch["cnt"])
