"""The spine's test set on a real KVM, its verdicts beside those of counted instructions, and the topologies that
guests there show.

The nested lab is slow: a guest's second takes several, and two emulated CPUs run all of it. So the run is
made once for each kernel, and every test looks at another side of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ktstr.config.topology import PRESETS, Topology
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.kernels.prebuilt import ensure
from ktstr.kernels.resolve import resolve
from ktstr.kernels.spec import DEFAULT
from ktstr.lab.environ import passed_on
from ktstr.lab.run import run_in_lab
from ktstr.pins.lock import read_lock
from ktstr.record.guest import GuestRecord
from ktstr.resources import c_dir
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import Program
from ktstr.vm import agent
from ktstr.vm.guest_image import base_part, run_part
from ktstr.vm.messages import decode_channel
from tests.c.objects import C_DIR, HERE, run
from tests.e2e.conftest import ROOT, UserProject, make_project
from tests.e2e.conftest import lock as lock
from tests.e2e.test_topologies import EXPECTED, agrees
from tests.nested.retry import (
    SHARED,
    Cells,
    Results,
    by_name,
    companies,
    doubtful,
    machine_of,
    merged,
    read_results,
)

pytestmark = pytest.mark.e2e

LAB_CPUS = 2
LAB_S = 2400.0
MOST_CPUS = 16  # of a preset that the lab boots
CELL_S = 300  # all of it is waited for where a guest hangs in the emulated SVM
MINIMAL = "debsrc:6.12"
QUICK = ("numa2-tiny",)
SLOW = bool(os.environ.get("KTSTR_CHECK_SLOW"))
# With as many CPUs as the lab has: 3 cells that have to pass, and 3 that must not; and one that only KVM can run. All
# are one invocation: to start another takes the lab as long as a boot.
PAIR = """
  pair:
    tests: [cgroup_steady, pipe_wake]
    presets: pair
    schedulers: scx_ktstr
    include:
      - {test: cgroup_steady, preset: pair, scheduler: eevdf}
      - {test: demo_unfair, preset: pair, scheduler: eevdf}
      - {test: demo_isolation, preset: pair, scheduler: eevdf}
      - {test: cgroup_steady, preset: pair, scheduler: stuck}
      - {test: alone, preset: single, scheduler: eevdf}
"""
# Some cells of the matrices, where not all of them are run; and how many there are.
FEW = """
  few: {tests: [cgroup_steady, cpuset_llc], presets: numa2-tiny, schedulers: scx_ktstr}
"""
CELLS = 11 if SLOW else 2
# By name, or the demos are left out. ``alone`` is for KVM.
MORE = ("cpuset_thirds", "futex_wake") if SLOW else ()
BOTH = ("cgroup_steady", "cpuset_llc", "pipe_wake", "demo_unfair", "demo_isolation", *MORE)
# As the repository's own scx_ktstr_stall, but longer than the lab's host stands still.
STUCK = "  stuck: {source: schedulers/scx_ktstr, args: [--stall-after, 0, --timeout-ms, 3000]}\n"
SHOWN = """
  shown: {duration: 100ms, cgroups: [{name: one, workers: 1}], checks: {not_starved: false}}
  alone: {duration: 200ms, cgroups: [{name: one, workers: 2}], performance_mode: true}
"""


def declarations() -> str:
    """This repository's own, presets that fit the lab's CPUs, and tests of the topology and of performance mode."""
    text = (ROOT / "ktstr.yaml").read_text(encoding="utf-8")
    text = text.replace("\npresets:\n", "\npresets:\n  single: 1n1l1c1t\n  pair: 1n1l2c1t\n", 1)
    text = text.replace("\nschedulers:\n", f"\nschedulers:\n{STUCK}", 1)
    tests, _, matrices = text.partition("\n# Each matrix is")
    declared = matrices.partition("\nmatrices:\n")[2] if SLOW else FEW
    return f"{tests}{SHOWN}\nmatrices:\n{declared}{PAIR}"


@dataclass(frozen=True)
class Runs:
    """One kernel's cells, KVM's sidecars and guests by name; ``wide`` is the guest with an APIC id above 255.
    ``project``: the folder that paths of files are relative to."""

    project: Path
    kvm: Cells
    icount: Cells
    sidecars: dict[str, dict[str, Any]]
    guests: dict[str, dict[str, Any]]
    wide: GuestRecord | None


class Lab:
    """A project that a lab sees, and the folder it writes to: what each lab measured stays in a folder of its own."""

    def __init__(self, project: UserProject, out: Path) -> None:
        self.project, self.out, self.labs = project, out, 0

    def run(self, invocations: Sequence[str], more: Sequence[str] = ()) -> Results:
        """``doit test json=1`` for each and then ``more`` commands, in one lab; what its cells gave.

        A lab that is lost is started again, without the machines that it had made: nothing that was measured in it
        stays either, or clones of two machines would be taken for those of one.
        """
        command = f"{sys.executable} -m ktstr.tasks.main test json=1 accel=kvm offline=1 jobs=1 timeout={CELL_S}"
        root = self.out / f"runs-{self.labs}"
        self.labs += 1
        lines = [f"rm -rf {root}"]
        lines += [f"{command} {words} >{self.out}/report-{i}.json" for i, words in enumerate(invocations)]
        extra = {"KTSTR_RUNS_ROOT": str(root)}
        cache = Cache(cache_root(os.environ))
        result = run_in_lab(
            ["sh", "-c", "; ".join((*lines, *more))],
            checkout=self.project.path,
            cache=cache,
            apt=Apt(cache.apt),
            lock=read_lock(ROOT / "ktstr.lock"),
            environ=passed_on(self.project.environment(**extra)),
            timeout_s=LAB_S,
            writable=self.out,
        )
        if result.lost is not None:
            warnings.warn(f"lab: it was started again: {result.lost}", stacklevel=2)
        texts = [(self.out / f"report-{i}.json").read_text(encoding="utf-8") for i in range(len(invocations))]
        assert all(texts), result.output.decode(errors="replace")[-4000:]
        return read_results(root / ".cells", [json.loads(text) for text in texts])


def presets() -> tuple[str, ...]:
    """Those that the lab boots beside those of the matrices."""
    small = tuple(name for name, label in PRESETS.items() if Topology.parse(label).cpus <= MOST_CPUS)
    assert len(small) >= 8
    return small if SLOW else QUICK


def measure(path: Path, lock: str, kernel: str) -> Runs:
    """Build outside, where it is fast, then run the same cells under icount here and under kvm in a lab."""
    for name in ("project", "out"):
        (path / name).mkdir()
    project, out = make_project(path / "project", lock), path / "out"
    project.write(declarations())
    shutil.copytree(ROOT / "schedulers", project.path / "schedulers")
    built = project.doit(
        "image", "kernel", "scheduler", "vmm", "accel=kvm", f"kernel={kernel}", f"lock_update={kernel}", timeout=2400
    )
    assert built.returncode == 0, built.stderr
    chosen = f"kernel={kernel}"
    # Few of them share the matrices' machine: each boot of another takes half a minute.
    shown = f"test=shown preset={','.join(presets())} scheduler={'eevdf' if SLOW else 'scx_ktstr'}"
    more = [wide_machine(out / "wide")] if kernel == "default" else []
    lab = Lab(project, out)
    both = f"test={','.join(BOTH)}"
    first = lab.run([f"{chosen} {both},alone", f"{chosen} {shown}"], more)
    icount = by_name([project.test("accel=icount", chosen, both, timeout="1200")[1]])
    kvm = again(lab, kernel, first, icount)
    wide = decode_channel((out / "wide/channel").read_bytes())[0] if more else None
    return Runs(project.path, kvm.cells, icount, kvm.sidecars, kvm.guests, wide)


def again(lab: Lab, kernel: str, first: Results, icount: Cells) -> Results:
    """Doubtful cells once more, with a warning, and with all that share a machine with them: a cell that is run alone
    is no clone, and clones of two machines are not those of one. What emulates the lab's SVM ends a guest in one of
    some fifty boots (of 40 of QEMU's own microvm two), and the lab cannot know when its host stands still. What fails
    twice has failed.
    """
    found = doubtful(first, icount)
    if not found:
        return first
    warnings.warn(f"lab: cells run again: {found}", stacklevel=2)
    groups = companies(first.reports, found)
    second = lab.run([f"{words} kernel={kernel}" for words in groups])
    return merged(first, second, set().union(*groups.values()))


def wide_machine(folder: Path) -> str:
    """The command that boots a machine with the APIC ids 0 and 300; its channel goes to ``folder/channel``."""
    folder.mkdir()
    cc = agent.compiler(os.environ)
    agent.build(c_dir(), cc, folder / "agent")
    (folder / "image").write_bytes(base_part(folder / "agent") + run_part(b"", encode(Program(0, 60_000_000_000))))
    sources = [HERE / "vmm_run.c", HERE / "wide_ids.c", *sorted((C_DIR / "core").glob("*.c"))]
    flags = ["-std=c11", "-O2", "-D_GNU_SOURCE", "-pthread", "-Wl,--wrap=topology_apic_id"]
    includes = [f"-I{C_DIR / 'include'}", f"-I{C_DIR / 'core'}"]
    run([cc, *flags, *includes, *map(str, sources), "-o", str(folder / "vmm_wide")])
    cache = Cache(cache_root(os.environ))
    lock, apt = read_lock(ROOT / "ktstr.lock"), Apt(cache.apt)
    kernel = ensure(resolve(DEFAULT, lock, cache, apt), cache, apt).vmlinux
    append = "console=ttyS0 loglevel=4 panic=-1 oops=panic reboot=k cryptomgr.notests=1 mitigations=off rdinit=/init"
    options = f"-t 2n2l1c1t -m 512 -d 240000 -c {folder}/channel -a '{append}'"
    return f"{folder}/vmm_wide {options} {kernel} {folder}/image"


@pytest.fixture(
    scope="module",
    params=["default", pytest.param(MINIMAL, marks=pytest.mark.slow)],
)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, lock: str) -> Runs:
    return measure(tmp_path_factory.mktemp("cells"), lock, request.param)


timeout = pytest.mark.timeout(LAB_S + 3600)


@timeout
def test_every_cell_of_the_matrices_passes_and_the_demos_fail(runs: Runs) -> None:
    found = {name: cell["verdict"] for name, cell in runs.kvm.items()}
    assert len(found) >= CELLS + 3 + 3 + len(QUICK) + 1
    wrong = {name: runs.kvm[name]["reasons"] for name, verdict in found.items() if verdict == "error"}
    assert not wrong
    assert {found[name] for name in found if name.startswith("demo_")} == {"fail"}
    assert {found[name] for name in found if name.startswith("shown/")} == {"pass"}


@timeout
def test_what_runs_is_watched_and_a_stall_is_told_with_who_waits_where(runs: Runs) -> None:
    # A look takes tenths of a second there: not every cell is over late enough to have had one of its workload.
    seen = {name: sidecar["verifier_stats"] for name, sidecar in runs.sidecars.items() if "/scx_ktstr" in name}
    assert any({program["name"] for program in stats} >= {"ktstr_enqueue"} for stats in seen.values()), seen
    (cell,) = [cell for name, cell in runs.kvm.items() if name.endswith("/stuck")]
    assert cell["verdict"] == "fail", cell
    (path,) = [file for file in cell["files"] if file.endswith(".failure-dump.txt")]
    first = " ".join((runs.project / path).read_text(encoding="utf-8").split())
    assert first.startswith("BUG SUMMARY: "), first[:400]
    assert re.search(r"task \S+ waited [\d.]+ s and did not run, in DSQ 0x0", first[:400]), first[:400]


@timeout
def test_no_cell_passes_on_one_machine_and_fails_on_the_other(runs: Runs) -> None:
    pairs = {name: (runs.kvm[name]["verdict"], cell["verdict"]) for name, cell in runs.icount.items()}
    assert len(pairs) >= CELLS + 3 + 3
    apart = {name: pair for name, pair in pairs.items() if set(pair) >= {"pass", "fail"}}
    assert not apart, [(name, runs.kvm[name]["reasons"], runs.icount[name]["reasons"]) for name in apart]


@timeout
def test_inconclusive_needs_recorded_steal_and_more_vcpus_than_the_lab_has(runs: Runs) -> None:
    conclusive = [name for name, cell in runs.kvm.items() if cell["verdict"] != "inconclusive"]
    assert any("/pair/" in name for name in conclusive)
    for name in set(runs.kvm) - set(conclusive):
        sidecar = runs.sidecars[name]
        assert sidecar["vcpus"] > LAB_CPUS
        assert max(thread["run_delay_ns"] for thread in sidecar["kvm_run"]["vcpu_threads"]) > 1_000_000, name


@timeout
def test_the_guests_sysfs_shows_what_was_declared(runs: Runs) -> None:
    shown = {name.split("/")[1]: guest for name, guest in runs.guests.items() if name.startswith("shown/")}
    assert len(shown) >= len(QUICK)
    for preset, guest in shown.items():
        agrees(guest, EXPECTED["far" if preset == "numa2-tiny" else preset])


@timeout
def test_an_apic_id_above_255_boots(runs: Runs) -> None:
    if runs.wide is None:
        return  # one kernel is enough
    assert runs.wide.ended
    assert [(cpu.cpu, cpu.node, cpu.package) for cpu in runs.wide.cpus] == [(0, 0, 0), (1, 1, 300)]


@timeout
def test_sidecars_say_what_kvm_did(runs: Runs) -> None:
    assert runs.sidecars
    for sidecar in runs.sidecars.values():
        ran = sidecar["kvm_run"]
        assert (sidecar["accel"], sidecar["cpu_budget"]) == ("kvm", min(LAB_CPUS, sidecar["vcpus"]))
        assert ran["overcommit"] == sidecar["vcpus"] / sidecar["cpu_budget"]
        assert len(ran["vcpu_threads"]) == sidecar["vcpus"]
        assert all(thread["run_ns"] > 0 for thread in ran["vcpu_threads"])
        assert sidecar["kvm_stats"]["per_vcpu"]
        assert ran["boot_ms"] is None or (ran["boot_ms"] > 0 and not ran["cloned"])


@timeout
def test_cells_that_differ_in_their_program_only_are_clones(runs: Runs) -> None:
    demos = [name for name in runs.sidecars if name.startswith("demo_")]
    for names, kind in (
        ([name for name in runs.sidecars if machine_of(name) == SHARED], "attached"),
        (demos, "booted"),
    ):
        origins = [runs.sidecars[name]["origin"] for name in names]
        assert [origin["kind"] for origin in origins] == [kind] * 2, origins
        assert len({origin["ram_digest"] for origin in origins}) == 1
        assert [runs.sidecars[name]["kvm_run"]["cloned"] for name in names] == [True] * 2


@timeout
def test_a_scheduler_is_loaded_once_for_all_its_clones(runs: Runs) -> None:
    both = [guest["sched_events"] for name, guest in runs.guests.items() if machine_of(name) == SHARED]
    first, second = ([event for event in events if event["kind"] in ("started", "attached")] for events in both)
    assert [event["kind"] for event in first] == ["started", "attached"]
    assert first == second  # at the same times: one machine's


@timeout
def test_a_cell_that_shares_its_machine_with_none_boots(runs: Runs) -> None:
    alone = [name for name in runs.sidecars if name.startswith(("alone/", "shown/"))]
    assert len(alone) == 1 + len(presets())
    for sidecar in (runs.sidecars[name] for name in alone):
        assert sidecar["origin"] == {"kind": "cold", "ram_digest": None, "why_cold": None}
        assert not sidecar["kvm_run"]["cloned"]


@timeout
def test_performance_mode_gives_a_guest_cpus_of_its_own(runs: Runs) -> None:
    for name, sidecar in runs.sidecars.items():
        mode = sidecar["kvm_run"]["performance_mode"]
        if not name.startswith("alone/"):
            assert mode is None
            continue
        assert len(mode["pin"]) == 1
        assert mode["service_cpu"] not in mode["pin"]
        assert mode["fifo_priority"] == 1
        assert any("huge" in warning for warning in sidecar["kvm_run"]["warnings"])  # the lab has none
